"""The PGP/MIME container (RFC 3156): made for what we send, found in what arrives or is submitted.

    outer fields
    Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=B
    --B  application/pgp-encrypted    "Version: 1"
    --B  application/octet-stream     the armored OpenPGP message
    --B--

Invariants:
* What we write is ASCII with CRLF, no line over 998 octets (RFC 5322 2.1.1).
* A message counts as encrypted only when it holds an OpenPGP or CMS message where its type says so, one that hides
  its content, and no text beside it: the label alone would let clear text pass as encrypted.
* Nothing that reads here raises; what is not of the form is None or False.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Sequence

from leap.keymanager.openpgp import OpenPGPError
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.packets import Tag, frames
from leap.mail.message.header_lines import empty_line
from leap.mail.outgoing.content_type import ContentType, parse_content_type
from leap.mail.outgoing.field_lines import Field, header_fields, split_fields, values_of
from leap.mail.outgoing.header_protection import fold

_LONG_HEADER = 64 * 1024  # octets of an entity within which its header nearly always ends
ARMOR_HEAD = b"-----BEGIN PGP MESSAGE-----"
ARMOR_TAIL = b"-----END PGP MESSAGE-----"

_MAX_KEYS = 5_000  # packets of one message; each recipient's key is one
_ENCRYPTED = (Tag.SEIPD, Tag.OCB, Tag.SED)

_PREAMBLE = b"This mail is encrypted (OpenPGP/MIME, RFC 3156); a mail program with your key can open it.\r\n"
_INLINE = re.compile(
    rb"\s*-----BEGIN PGP MESSAGE-----[ \t]*\r?\n(?:[!-~][ -~]*\r?\n)*[ \t]*\r?\n[A-Za-z0-9+/=\s]+"
    rb"-----END PGP MESSAGE-----\s*\Z"
)
# RFC 5652 6.1 and RFC 5083 2: what a CMS message that hides its content begins with.
_CMS_ENCRYPTED = (
    bytes.fromhex("06092a864886f70d010703"),  # envelopedData
    bytes.fromhex("060b2a864886f70d0109100117"),  # authEnvelopedData
)


def wrap(
    outer: Sequence[tuple[str, str]], autocrypt: str | None, armored: bytes, boundary: str
) -> bytes:
    """The whole message around an armored OpenPGP message."""
    assert armored.startswith(ARMOR_HEAD)
    assert boundary.encode() not in armored
    lines = [fold(f"{name}: {value}") for name, value in outer]
    if autocrypt is not None:
        lines.append(fold(f"Autocrypt: {autocrypt}"))
    content_type = (
        f'multipart/encrypted; protocol="application/pgp-encrypted"; boundary="{boundary}"'
    )
    lines.append(b"MIME-Version: 1.0\r\n")
    lines.append(fold(f"Content-Type: {content_type}"))
    delimiter = b"--" + boundary.encode("ascii")
    body = armored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    lines += [
        b"\r\n",
        _PREAMBLE,
        delimiter + b"\r\n",
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
        delimiter + b"\r\n",
        b'Content-Type: application/octet-stream; name="encrypted.asc"\r\n',
        b'Content-Disposition: inline; filename="encrypted.asc"\r\n\r\n',
        body,
        delimiter + b"--\r\n",
    ]
    return b"".join(lines)


def content_type_of(fields: Sequence[Field]) -> ContentType | None:
    """The one meaningful Content-Type of a header section; None when there is none beyond doubt."""
    values = values_of(fields, "content-type")
    return parse_content_type(values[0]) if len(values) == 1 else None


def find_ciphertext(message: bytes) -> bytes | None:
    """The OpenPGP message of a PGP/MIME encrypted mail (RFC 3156 4), decoded, or None."""
    kind = content_type_of(header_fields(message))
    if kind is None or kind.media_type != "multipart/encrypted":
        return None
    if kind.parameters.get("protocol", "").lower() != "application/pgp-encrypted":
        return None
    parts = _parts(message, kind.parameters.get("boundary", ""))
    if len(parts) != 2:
        return None
    (first, end), content = parts
    control = content_type_of(header_fields(message[first:end]))
    if control is None or control.media_type != "application/pgp-encrypted":
        return None
    data = _decoded_body(message, *content)
    start, end = data.find(ARMOR_HEAD), data.rfind(ARMOR_TAIL)
    if start < 0 or end < start or data[:start].strip():
        return None
    return _block(data, start, end)


def find_inline_ciphertext(message: bytes) -> bytes | None:
    """The OpenPGP message when the whole text is one ("inline PGP"), or None."""
    fields = header_fields(message)
    kind = content_type_of(fields)
    if kind is None and values_of(fields, "content-type"):
        return None
    if kind is not None and kind.media_type not in ("text/plain", "application/pgp"):
        return None
    body = _decoded_body(message)
    start = body.find(ARMOR_HEAD, 0, 4096)  # cheap look before the careful one
    if start < 0 or body[:start].strip() or not _INLINE.match(body):
        return None
    return _block(body, start, body.rfind(ARMOR_TAIL))


def is_encrypted(message: bytes) -> bool:
    """Whether nobody but a key's holder can read the content: PGP/MIME, inline PGP or S/MIME."""
    mime = find_ciphertext(message)
    if mime is not None:
        return _hides_content(mime) and _stands_alone(message)
    inline = find_inline_ciphertext(message)
    if inline is not None:
        return _hides_content(inline)
    return is_smime_encrypted(message)


def _hides_content(armored: bytes) -> bool:
    """Whether an armored message is an encrypted one (RFC 9580 10.3); a signed one looks alike and hides nothing."""
    try:
        tags = [tag for tag, _ in frames(memoryview(dearmor(armored)), limit=_MAX_KEYS)]
    except OpenPGPError:
        return False
    before = {Tag.PKESK, Tag.SKESK, Tag.MARKER, Tag.PADDING}
    tags = [tag for tag in tags if tag != Tag.PADDING]
    return bool(tags) and tags[-1] in _ENCRYPTED and before.issuperset(tags[:-1])


def _stands_alone(message: bytes) -> bool:
    """Whether nothing that somebody wrote stands beside the OpenPGP message of a PGP/MIME mail, but for a preamble."""
    kind = content_type_of(header_fields(message))
    assert kind is not None
    boundary = kind.parameters["boundary"]
    (first, first_end), (second, second_end) = _parts(message, boundary)
    data = _decoded_body(message, second, second_end)
    closing = b"--" + boundary.encode("ascii") + b"--"
    rest = message[second_end:].strip()
    return (
        _decoded_body(message, first, first_end).strip().lower() == b"version: 1"  # RFC 3156 4
        and not data[data.rfind(ARMOR_TAIL) + len(ARMOR_TAIL) :].strip()
        and data.count(ARMOR_TAIL) == 1
        and rest in (b"", closing)
    )


def is_smime_encrypted(message: bytes) -> bool:
    """Whether it is an application/pkcs7-mime that hides its content (RFC 8551 3.2.2)."""
    kind = content_type_of(header_fields(message))
    if kind is None or kind.media_type not in (
        "application/pkcs7-mime",
        "application/x-pkcs7-mime",
    ):
        return False
    der = _decoded_body(message)[:64]
    # ContentInfo is SEQUENCE { OBJECT IDENTIFIER, ... }: the identifier stands within the first octets.
    return der[:1] == b"\x30" and any(der.find(oid, 1, 24) > 0 for oid in _CMS_ENCRYPTED)


def _block(data: bytes, start: int, tail: int) -> bytes:
    """The armored block from `start` to the line at `tail`, ending in CRLF."""
    return b"".join((memoryview(data)[start : tail + len(ARMOR_TAIL)], b"\r\n"))


def _decoded_body(message: bytes, start: int = 0, end: int | None = None) -> bytes:
    """The body of the entity in message[start:end], its transfer encoding undone."""
    end = len(message) if end is None else end
    head = message[start : min(end, start + _LONG_HEADER)]
    stop = empty_line(head)
    if stop == len(head) < end - start:
        head = message[start:end]
        stop = empty_line(head)
    encodings = values_of(split_fields(head[:stop]), "content-transfer-encoding")
    newline = message.find(b"\n", start + stop, end)
    body = message[newline + 1 : end] if newline >= 0 else b""
    encoding = encodings[0].lower() if encodings else b""
    if encoding == b"base64":
        try:
            return base64.b64decode(re.sub(rb"[^A-Za-z0-9+/=]", b"", body))
        except binascii.Error:
            return b""
    if encoding == b"quoted-printable":
        return quopri.decodestring(body)
    return body


def _parts(message: bytes, boundary: str) -> list[tuple[int, int]]:
    """Where the body parts of a multipart begin and end (RFC 2046 5.1.1), at most 3 of them."""
    if not boundary or len(boundary) > 200:
        return []
    delimiter = b"--" + boundary.encode("ascii")
    parts: list[tuple[int, int]] = []
    start: int | None = None
    begin = position = empty_line(message)
    while len(parts) < 3:
        found = message.find(delimiter, position)
        if found < 0:
            break
        position = found + len(delimiter)
        if found > begin and message[found - 1 : found] != b"\n":
            continue
        line_end = message.find(b"\n", position)
        tail = message[position : len(message) if line_end < 0 else line_end]
        last = tail.startswith(b"--")
        if tail[2 * last :].strip(b" \t\r"):
            continue  # a longer boundary that begins with ours, or text
        if start is not None:
            end = found - 2 if message[found - 2 : found] == b"\r\n" else found - 1
            parts.append((start, max(start, end)))
            start = None
        if last or line_end < 0:
            break
        start = position = line_end + 1
    if start is not None and len(parts) < 3:
        parts.append((start, len(message)))
    return parts
