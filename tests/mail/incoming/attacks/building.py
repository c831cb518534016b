"""The pieces attack mails are built of: header, MIME entities, and OpenPGP messages that no honest program writes.

An entity is its header, an empty line and its body; lines end in CRLF. Nothing here draws from chance: `begin` names
the seed of what follows.
"""

from __future__ import annotations

import bz2
import itertools
from collections.abc import Callable, Sequence

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import MESSAGE, SIGNATURE, armor
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.message import _one_pass, keys_of
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.seipd import seal_v1
from leap.keymanager.openpgp.session_key import SessionKey, wrap
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
    text_form,
)
from leap.mail.outgoing.header_protection import fold, protect
from tests.mail.incoming.attacks.people import ALICE, BOB, make_key, seeded
from tests.mail.travel import NOW

DATE = "Mon, 21 Sep 2026 14:13:20 +0000"  # NOW
_numbers = itertools.count()
_draw: Callable[[int], bytes] = seeded("")
_message_id = ""


def octets(size: int) -> bytes:
    """The next octets, as if by chance."""
    return _draw(size)


def begin(name: str) -> None:
    """What follows is as it is in every other run for that name."""
    global _numbers, _draw, _message_id
    _numbers, _draw = itertools.count(), seeded(name)
    _message_id = f"<{octets(6).hex()}@mail.test>"  # of all mails in it, as inside so outside


def _boundary() -> str:
    return f"=_{next(_numbers)}_{octets(6).hex()}"


# --- mail ------------------------------------------------------------------------------------


def mail(
    entity: bytes,
    *,
    sender: bytes | str = ALICE,
    to: str = BOB,
    subject: str = "About tomorrow",
    before: bytes = b"",
    extra: bytes = b"",
    date: str = DATE,
) -> bytes:
    """A message: `before`, the usual fields, `extra`, then the entity. `sender`: octets are whole From lines."""
    from_field = sender if isinstance(sender, bytes) else f"From: {sender}\r\n".encode()
    fields = (
        f"To: {to}\r\nSubject: {subject}\r\nDate: {date}\r\n"
        f"Message-ID: {_message_id}\r\nMIME-Version: 1.0\r\n"
    ).encode()
    return before + from_field + fields + extra + entity


def text(body: bytes | str, kind: str = "text/plain; charset=utf-8", extra: bytes = b"") -> bytes:
    """A part of text."""
    content_ = body.encode() if isinstance(body, str) else body
    if not content_.endswith(b"\r\n"):
        content_ += b"\r\n"
    return b"Content-Type: %s\r\n%s\r\n%s" % (kind.encode(), extra, content_)


def html(body: bytes | str) -> bytes:
    """A part of HTML."""
    return text(body, "text/html; charset=utf-8")


def multipart(
    kind: str,
    parts: Sequence[bytes],
    *,
    parameters: str = "",
    extra: bytes = b"",
    preamble: bytes = b"",
    epilogue: bytes = b"",
) -> bytes:
    """A multipart of these parts."""
    boundary = _boundary()
    head = fold(f'Content-Type: multipart/{kind}; {parameters}boundary="{boundary}"')
    delimiter = b"--" + boundary.encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return head + extra + b"\r\n" + preamble + body + delimiter + b"--\r\n" + epilogue


def attached(message: bytes, extra: bytes = b"") -> bytes:
    """A message as a part."""
    return b"Content-Type: message/rfc822\r\n" + extra + b"\r\n" + message


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# --- signatures ------------------------------------------------------------------------------


def signature(
    data: bytes,
    signer: str,
    *,
    at: float = NOW,
    for_people: Sequence[str] = (),
    says: Sequence[bytes] = (),
    hash_number: int = algorithms.SHA512,
    kind: int = SignatureType.BINARY,
) -> bytes:
    """The body of a signature packet over `data`, whatever the key may sign at that time."""
    said = [
        subpacket(Subpacket.RECIPIENT_FINGERPRINT, keys_of(make_key(name).certificate))
        for name in for_people
    ]
    return make_signature(
        make_key(signer).primary_secret(),
        kind,
        (text_form(data) if kind == SignatureType.TEXT else data,),
        created=int(at),
        statements=[*said, *says],
        hash_number=hash_number,
    )


def armored_signature(*bodies: bytes) -> bytes:
    """Detached signatures as a block with CRLF."""
    packets = b"".join(packet(Tag.SIGNATURE, body) for body in bodies)
    return _crlf(armor(packets, SIGNATURE, checksum=True))


def signature_part(*bodies: bytes) -> bytes:
    return (
        b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n"
        + armored_signature(*bodies)
    )


def signed(entity: bytes, signer: str = "alice", *, at: float = NOW, extra: bytes = b"") -> bytes:
    """An entity with a PGP/MIME signature (RFC 3156 5)."""
    return signed_by(entity, signature(entity, signer, at=at), extra=extra)


def signed_by(
    entity: bytes, *bodies: bytes, extra: bytes = b"", more: Sequence[bytes] = ()
) -> bytes:
    """The same with whatever signatures, and with more parts than there may be."""
    return multipart(
        "signed",
        [entity, signature_part(*bodies), *more],
        parameters='micalg=pgp-sha512; protocol="application/pgp-signature"; ',
        extra=extra,
    )


def cleartext(
    body: bytes, signer: str = "alice", *, headers: bytes = b"Hash: SHA512\r\n", at: float = NOW
) -> bytes:
    """A cleartext-signed text (RFC 9580 7); `body` is text with CRLF, and its dashes are escaped here."""
    lines = body.removesuffix(b"\r\n").split(b"\r\n")
    content = b"\r\n".join(line.rstrip(b" \t") for line in lines)
    made = signature(content, signer, at=at, kind=SignatureType.TEXT)
    escaped = b"\r\n".join(b"- " + line if line.startswith(b"-") else line for line in lines)
    return (
        b"-----BEGIN PGP SIGNED MESSAGE-----\r\n"
        + headers
        + b"\r\n"
        + escaped
        + b"\r\n"
        + armored_signature(made)
    )


# --- encryption ------------------------------------------------------------------------------


def content(data: bytes, *signers: str, for_people: Sequence[str] = (), at: float = NOW) -> bytes:
    """The packets inside an encrypted message: literal data and signatures over it."""
    bodies = [signature(data, name, at=at, for_people=for_people) for name in signers]
    return content_signed(data, *zip(signers, bodies, strict=True))


def content_signed(data: bytes, *made: tuple[str, bytes]) -> bytes:
    """The same with signatures made before, each with whose it is."""
    heads = b"".join(_one_pass(make_key(name).primary_secret(), body) for name, body in made)
    tails = b"".join(packet(Tag.SIGNATURE, body) for _, body in reversed(made))
    return heads + literal(data) + tails


def session_packets(to: Sequence[str], session: SessionKey, hidden: bool = False) -> bytes:
    """The session key, for each of these people."""
    keys = [make_key(name).certificate.encryption_key(NOW) for name in to]
    return b"".join(wrap(session, key, hidden=hidden, random=octets) for key in keys)


def new_session() -> SessionKey:
    return SessionKey(9, octets(32))


def sealed(packets: bytes, to: Sequence[str] = ("bob",)) -> bytes:
    """An armored OpenPGP message with whatever packets inside."""
    session = new_session()
    lead = session_packets(to, session)
    return block(bytes(seal_v1(packets, session, lead=lead, random=octets)))


def block(packets: bytes, headers: bytes = b"") -> bytes:
    """An armored OpenPGP message with CRLF."""
    made = _crlf(armor(packets, MESSAGE))
    return made.replace(b"-----\r\n", b"-----\r\n" + headers, 1)


def message(data: bytes, *signers: str, to: Sequence[str] = ("bob",), at: float = NOW) -> bytes:
    """An armored OpenPGP message as GnuPG writes it: it names no intended recipients."""
    return sealed(content(data, *signers, at=at), to)


def container(armored: bytes, **how: bytes) -> bytes:
    """The PGP/MIME entity around an armored message (RFC 3156 4)."""
    return container_of([armored_part(armored)], **how)


def armored_part(armored: bytes, kind: str = "application/octet-stream") -> bytes:
    return (
        f'Content-Type: {kind}; name="encrypted.asc"\r\n'
        'Content-Disposition: inline; filename="encrypted.asc"\r\n\r\n'
    ).encode() + armored


CONTROL_PART = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"


def container_of(parts: Sequence[bytes], **how: bytes) -> bytes:
    return multipart(
        "encrypted",
        [CONTROL_PART, *parts],
        parameters='protocol="application/pgp-encrypted"; ',
        **how,
    )


def encrypted(entity: bytes, *signers: str, to: Sequence[str] = ("bob",), at: float = NOW) -> bytes:
    """An entity encrypted, and signed inside, as GnuPG and most programs do."""
    return container(message(entity, *signers, to=to, at=at))


def packed(packets: bytes, layers: int = 1) -> bytes:
    """Packets compressed with bzip2, whose output is the same everywhere."""
    for _ in range(layers):
        packets = packet(Tag.COMPRESSED, b"\x03" + bz2.compress(packets))
    return packets


def ours(
    submitted: bytes, outer: Sequence[tuple[str, str]], *signers: str, **how: Sequence[str]
) -> bytes:
    """The encrypted entity of a mail as leap.mail sends it."""
    payload = protect(submitted, outer)
    return container(sealed(content(payload, *signers, for_people=how.get("for_people", ("bob",)))))
