"""Small mails that ask for much: memory, time, depth or attempts."""

from __future__ import annotations

import bz2

from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.packets import Tag, packet, packet_head
from leap.keymanager.openpgp.seipd import seal_v1
from tests.mail.incoming.attacks import building
from tests.mail.incoming.attacks.building import (
    attached,
    block,
    cleartext,
    container,
    content,
    encrypted,
    mail,
    message,
    multipart,
    new_session,
    packed,
    sealed,
    session_packets,
    signature,
    signed,
    signed_by,
    text,
)

SECRET = text("SECRET words to Bob.")


def seventy_megabytes_in_three_kilobytes() -> bytes:
    size = 70 * 1024 * 1024
    packer = bz2.BZ2Compressor()
    head = packet_head(Tag.LITERAL, 6 + size) + b"b\0\0\0\0\0"
    small = packer.compress(head)
    for _ in range(70):
        small += packer.compress(bytes(1024 * 1024))
    small += packer.flush()
    return mail(container(sealed(packet(Tag.COMPRESSED, b"\x03" + small))))


def packed_nine_times() -> bytes:
    return mail(container(sealed(packed(content(SECRET, "alice"), 9))))


def twelve_layers_of_encryption() -> bytes:
    entity = SECRET
    for _ in range(12):
        entity = encrypted(entity)
    return mail(entity)


def three_hundred_signed_layers() -> bytes:
    entity = SECRET
    armored = building.signature_part(signature(SECRET, "eve"))
    for number in range(300):
        boundary = f"b{number}".encode()
        entity = (
            b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary='
            + boundary
            + b"\r\n\r\n--"
            + boundary
            + b"\r\n"
            + entity
            + b"\r\n--"
            + boundary
            + b"\r\n"
            + (armored if number < 20 else b"Content-Type: application/pgp-signature\r\n\r\n")
            + b"\r\n--"
            + boundary
            + b"--\r\n"
        )
    return mail(entity)


def six_hundred_hidden_recipients() -> bytes:
    session = new_session()
    one = session_packets(["carol"], session, hidden=True)
    whole = bytes(seal_v1(literal(SECRET), session, random=building.octets))
    return mail(container(block(one * 600 + whole)))


def a_hundred_signatures() -> bytes:
    made = signature(SECRET, "alice")
    return mail(signed_by(SECRET, *[made] * 100))


def forty_encrypted_parts() -> bytes:
    part = container(message(SECRET))
    return mail(multipart("mixed", [text("ABOVE."), *[part] * 40]))


def sixty_signed_texts_in_one() -> bytes:
    return mail(text(b"ABOVE.\r\n" + cleartext(b"WORDS of Alice.\r\n") * 60))


def fifty_mails_in_mails() -> bytes:
    message_ = mail(signed(SECRET))
    for _ in range(50):
        message_ = mail(attached(message_))
    return message_
