"""Encrypted messages that can be changed by whoever carries them: no plaintext before integrity holds."""

from __future__ import annotations

import hashlib

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.packets import Tag, packet, read_packets
from leap.keymanager.openpgp.seipd import seal_v1
from leap.keymanager.openpgp.session_key import SessionKey
from tests.mail.incoming.attacks import building
from tests.mail.incoming.attacks.building import (
    block,
    container,
    content,
    mail,
    message,
    new_session,
    sealed,
    session_packets,
    text,
)

SECRET = text("SECRET words to Bob.")


def _ciphered(clear: bytes, session: SessionKey) -> bytes:
    """The block of chance, its last two octets again, and `clear`, in CFB."""
    start = building.octets(16)
    encryptor = algorithms.cfb(9, session.key, bytes(16)).encryptor()
    return encryptor.update(start + start[-2:] + clear) + encryptor.finalize()


def _sealed_body(session: SessionKey) -> bytes:
    whole = bytes(seal_v1(content(SECRET, "alice"), session, random=building.octets))
    return next(read_packets(whole)).body


def without_protection() -> bytes:
    session = new_session()
    # RFC 4880 5.7: the same as a SEIPD but for the code at the end, and without the octet for the version
    start = building.octets(16)
    first = algorithms.cfb(9, session.key, bytes(16)).encryptor()
    head = first.update(start + start[-2:]) + first.finalize()
    rest = algorithms.cfb(9, session.key, head[2:18]).encryptor()
    body = head + rest.update(content(SECRET, "alice")) + rest.finalize()
    return mail(container(block(session_packets(["bob"], session) + packet(Tag.SED, body))))


def protection_taken_off() -> bytes:
    session = new_session()
    body = b"\x01" + _ciphered(content(SECRET, "alice"), session)
    return mail(container(block(session_packets(["bob"], session) + packet(Tag.SEIPD, body))))


def protection_of_another_text() -> bytes:
    session = new_session()
    wrong = b"\xd3\x14" + hashlib.sha1(b"another", usedforsecurity=False).digest()
    body = b"\x01" + _ciphered(content(SECRET, "alice") + wrong, session)
    return mail(container(block(session_packets(["bob"], session) + packet(Tag.SEIPD, body))))


def one_bit_changed() -> bytes:
    packets = bytearray(dearmor(message(SECRET, "alice")))
    packets[-60] ^= 1
    return mail(container(block(bytes(packets))))


def cut_short() -> bytes:
    session = new_session()
    body = _sealed_body(session)
    lead = session_packets(["bob"], session)
    return mail(container(block(lead + packet(Tag.SEIPD, body[:-30]))))


def downgraded_to_a_packet_without_protection() -> bytes:
    session = new_session()
    body = _sealed_body(session)[1:]  # without the octet that says version 1
    return mail(container(block(session_packets(["bob"], session) + packet(Tag.SED, body))))


def only_signed_and_not_encrypted() -> bytes:
    return mail(container(block(content(SECRET, "alice"))))


def only_packed() -> bytes:
    return mail(container(block(building.packed(literal(SECRET)))))


def two_contents_of_which_one_is_signed() -> bytes:
    added = literal(text("ADDED: pay to another account."))
    return mail(container(sealed(added + content(SECRET, "alice"))))


def with_a_password_alone() -> bytes:
    session = new_session()
    # iterated and salted S2K, 1,024 octets: cheap, for nobody has the password
    locked = packet(Tag.SKESK, b"\x04\x09\x03\x08" + building.octets(8) + b"\x00" + bytes(33))
    whole = bytes(seal_v1(content(SECRET, "alice"), session, random=building.octets))
    return mail(container(block(locked + whole)))


def inline_without_protection() -> bytes:
    session = new_session()
    body = _ciphered(literal(b"SECRET words to Bob.\r\n"), session)
    return mail(text(block(session_packets(["bob"], session) + packet(Tag.SED, body))))
