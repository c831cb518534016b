"""A mail that is signed and not encrypted (RFC 3156 5), in a form whose signature survives every transport.

    the fields of the mail but for Content-*
    Content-Type: multipart/signed; micalg=pgp-sha512; protocol="application/pgp-signature"; boundary=B
    --B  the Content-* fields of the mail, the other fields again (RFC 9788, hp="clear"), its body   <- what is signed
    --B  application/pgp-signature
    --B--

Invariants:
* The signed octets are `seven_bit.is_safe`.
* The header fields are signed too, when all of them are safe; else the signature covers the content alone.
* Mail which the mail program signed is never given a second signature.
* Nothing is signed in a form in which our own reader would not find the signature.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence

from leap.keymanager.openpgp import SecretKey
from leap.keymanager.openpgp import offload as openpgp
from leap.keymanager.openpgp.message import SigningHash, micalg
from leap.mail.message.compose import to_crlf
from leap.mail.outgoing.content_type import parse_content_type
from leap.mail.outgoing.field_lines import (
    Field,
    header_fields,
    is_plain,
    join_fields,
    split_header,
    values_of,
)
from leap.mail.outgoing.header_protection import fold, fresh_content_type
from leap.mail.outgoing.pgp_mime import content_type_of
from leap.mail.outgoing.seven_bit import CannotSign, is_safe, seven_bit

_HASH: SigningHash = "sha512"
_OFF_LOOP = 256 * 1024  # octets from which making them safe takes over 5 ms
_PREAMBLE = b"This mail is signed (OpenPGP/MIME, RFC 3156); most mail programs can check it.\r\n"
_CLEARSIGNED = re.compile(rb"(?:\A|\n)-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n")
_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
# Not signed again inside: of the way, or about the container.
_OUTSIDE = frozenset({"mime-version", "autocrypt", "received", "return-path", "bcc"})


def is_signed(message: bytes) -> bool:
    """Whether the mail program signed it: PGP/MIME, S/MIME, or inline PGP."""
    fields = header_fields(message)
    kind = content_type_of(fields)
    if kind is not None and (kind.media_type == "multipart/signed" or kind.media_type in _SMIME):
        return True
    if kind is not None and not kind.media_type.startswith("text/"):
        return False
    return _CLEARSIGNED.search(message) is not None


async def signed_mail(
    message: bytes,
    added: Sequence[bytes],
    signer: SecretKey,
    *,
    autocrypt: str | None,
    now: float,
    new_boundary: Callable[[], str] = lambda: "=_" + secrets.token_hex(16),
) -> bytes:
    """The mail with a signature; `added` are header lines of ours, `autocrypt` the value of a field to put in front.

    Raises CannotSign, OpenPGPError.
    """
    outer, entity = await _made(message, added)
    signature = await openpgp.sign_detached(entity, signer, hash_name=_HASH, now=now)
    boundary = new_boundary()
    assert boundary.encode() not in entity
    kind = (
        f"Content-Type: multipart/signed; micalg={micalg(_HASH)};"
        f' protocol="application/pgp-signature"; boundary="{boundary}"'
    )
    front = list(added)
    if autocrypt is not None:
        front.append(fold(f"Autocrypt: {autocrypt}"))
    if not values_of(outer, "mime-version"):
        outer.append(Field("mime-version", b"MIME-Version: 1.0\r\n"))
    delimiter = b"--" + boundary.encode("ascii")
    return b"".join(
        [
            *front,
            join_fields(outer),
            fold(kind),
            b"\r\n",
            _PREAMBLE,
            delimiter + b"\r\n",
            entity,
            b"\r\n" + delimiter + b"\r\n",
            b'Content-Type: application/pgp-signature; name="signature.asc"\r\n'
            b'Content-Disposition: attachment; filename="signature.asc"\r\n\r\n',
            to_crlf(signature.rstrip()) + b"\r\n",
            delimiter + b"--\r\n",
        ]
    )


async def check_signable(message: bytes, added: Sequence[bytes]) -> None:
    """Raises CannotSign for what `signed_mail` would refuse."""
    await _made(message, added)


def cannot_sign_sentence(problem: CannotSign) -> str:
    """What a person is told."""
    return (
        f"Not sent: it cannot be signed, as {problem};"
        " the header field X-Leap-Sign: no sends it without a signature."
    )


async def _made(message: bytes, added: Sequence[bytes]) -> tuple[list[Field], bytes]:
    if len(message) > _OFF_LOOP:
        return await asyncio.to_thread(_parts, message, added)
    return _parts(message, added)


def _parts(message: bytes, added: Sequence[bytes]) -> tuple[list[Field], bytes]:
    """The fields that stand outside, and what is to be signed."""
    fields, rest = split_header(to_crlf(message))
    if not is_plain(fields):
        raise CannotSign("its header has lines that are no fields")
    outer = [field for field in fields if not field.name.startswith("content-")]
    return outer, seven_bit(_entity(fields, added, rest))


def _entity(fields: Sequence[Field], added: Sequence[bytes], rest: bytes) -> bytes:
    """What is to be signed: the content, and where it can be, the header."""
    content = [field for field in fields if field.name.startswith("content-")]
    kinds = [field for field in content if field.name == "content-type"]
    kind = parse_content_type(kinds[0].value) if len(kinds) == 1 else None
    if len(kinds) > 1 or (kinds and kind is None):
        raise CannotSign("its Content-Type cannot be read beyond doubt")
    protected = [
        Field(one.name, re.sub(rb"[ \t]+(?=\r\n)", b"", one.raw))
        for one in fields
        if one not in content and one.name not in _OUTSIDE
    ]
    ours = [Field("", line) for line in added]
    covered = is_safe(join_fields([*ours, *protected])) and (
        kind is None or "hp" not in kind.parameters
    )
    if not covered:
        ours, protected = [], []
    if kind is None:
        first = fresh_content_type(None, rest, hp="clear" if covered else "")
        content = [Field("content-type", first), *content]
    elif covered:
        at = content.index(kinds[0])
        end = b"" if kind.open else b";"
        raw = kinds[0].raw.rstrip(b" \t\r\n")
        content[at] = Field("content-type", raw + end + b'\r\n hp="clear"\r\n')  # RFC 9788 2.1.1
    return join_fields([*content, *ours, *protected]) + (rest or b"\r\n")
