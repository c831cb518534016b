"""A mail with one of its content fields changed: what was signed is the same, what programs make of it may not be."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FIELD = re.compile(
    rb"(?im)^(content-type|content-transfer-encoding|content-disposition)"
    rb":([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n"
)
_BOUNDARY = re.compile(rb'boundary="?([^"\r\n;]+)"?')
_TYPES = (
    b"multipart/mixed",
    b"multipart/alternative",
    b"multipart/related",
    b'multipart/signed; protocol="application/pgp-signature"',
    b'multipart/encrypted; protocol="application/pgp-encrypted"',
    b"multipart/x-foo",
    b"multipart/digest",
    b"multipart/report",
    b"text/plain",
    b"text/html",
    b"text/plain; charset=utf-7",
    b"text/plain; charset=utf-16",
    b"text/plain; format=flowed; delsp=yes",
    b"TEXT/PLAIN",
    b"text/plain (comment)",
    b"text",
    b"",
    b"message/rfc822",
    b"message/global",
    b"message/partial",
    b"application/octet-stream",
    b"application/pgp-signature",
    b"application/pgp-encrypted",
    b"application/pgp; x-action=sign",
)
_ENCODINGS = (b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable", b"x-uuencode", b"x-odd")


def _instead(name: bytes, value: bytes) -> Iterator[bytes]:
    """What stands in the place of a content field: nothing, another one, or two."""
    field = name + b":" + value + b"\r\n"
    yield b""
    yield name + b" :" + value + b"\r\n"
    if name.lower() == b"content-disposition":
        yield from (name + b": attachment; filename=a.html\r\n", name + b": inline\r\n")
    elif name.lower() == b"content-transfer-encoding":
        yield from (name + b": " + encoding + b"\r\n" for encoding in _ENCODINGS)
    else:
        found = _BOUNDARY.search(value)
        boundary = b'; boundary="' + found[1] + b'"' if found else b""
        yield from (name + b": " + kind + boundary + b"\r\n" for kind in _TYPES)
        yield field + name + b": text/html\r\n"
        yield name + b": text/html\r\n" + field
        yield b"Content-Disposition: attachment; filename=a.html\r\n" + field
        yield from (b"Content-Transfer-Encoding: " + one + b"\r\n" + field for one in _ENCODINGS)


def swapped(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What was put in, and the mail that it made."""
    for found in _FIELD.finditer(raw):
        for other in _instead(found[1], found[2]):
            yield other, raw[: found.start()] + other + raw[found.end() :]
