"""Transfer encodings undone piece by piece: what comes out joined is what `decode_transfer` makes of the whole.

Memory is constant for sound base64 and quoted-printable with line ends, and for what is not encoded. Behind a "=" that
does not end base64, in a line without end, and for uuencode, octets are held until the end.
"""

from __future__ import annotations

import re
from typing import Protocol

import pybase64

from leap.mail.message.decoding import UU_ENCODINGS, decode_transfer

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


class Decoder(Protocol):
    """Octets go in as they stand, the content comes out."""

    def feed(self, data: bytes) -> bytes:
        """What the next octets add to the content, perhaps nothing yet."""

    def end(self) -> bytes:
        """What is left when no more octets come."""


def decoder_for(encoding: str) -> Decoder:
    """A new decoder for a Content-Transfer-Encoding in lower case; unknown ones mean "as it is"."""
    if encoding == "base64":
        return _Base64()
    if encoding == "quoted-printable":
        return _QuotedPrintable()
    return _Whole(encoding) if encoding in UU_ENCODINGS else _Plain()


class _Plain:
    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class _Whole:
    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        return b""

    def end(self) -> bytes:
        return decode_transfer(bytes(self._held), self._encoding)


class _Base64:
    def __init__(self) -> None:
        self._digits = b""  # less than a group
        self._held: bytearray | None = None  # all from the first "=" on

    def feed(self, data: bytes) -> bytes:
        if self._held is not None:
            self._held += data
            return b""
        before, mark, behind = data.partition(b"=")
        digits = self._digits + _NOT_BASE64.sub(b"", before)
        whole = len(digits) // 4 * 4
        self._digits = digits[whole:]
        if mark:
            self._held = bytearray(self._digits + mark + behind)
        return pybase64.b64decode(digits[:whole])

    def end(self) -> bytes:
        left = self._digits if self._held is None else bytes(self._held)
        return decode_transfer(left, "base64")


class _QuotedPrintable:
    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> bytes:
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._line += data
            return b""
        lines = bytes(self._line) + data[:cut]
        self._line = bytearray(data[cut:])
        return decode_transfer(lines, "quoted-printable")

    def end(self) -> bytes:
        return decode_transfer(bytes(self._line), "quoted-printable")
