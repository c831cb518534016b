"""ASCII armor (RFC 9580 6): reading what mail programs write, writing what all of them read.

The checksum line is never looked at (RFC 9580 6.1). GnuPG 2.2 fails on armor without one when the base64 has no
padding, so it is written for version 4 keys and signatures; for whole messages, where computing it would cost more
than encrypting, `armor_message` sees to it that there is padding.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator

from leap.keymanager.openpgp.errors import Malformed

MESSAGE = "MESSAGE"
SIGNATURE = "SIGNATURE"
PUBLIC_KEY = "PUBLIC KEY BLOCK"
SECRET_KEY = "PRIVATE KEY BLOCK"  # noqa: S105 - the armor's title, no secret

_BEGIN = b"-----BEGIN PGP "
_END = b"-----END PGP "
_MARKER = (
    b"\xca\x03PGP"  # RFC 9580 5.8: must be ignored; its five octets change the length modulo three
)
_WHITESPACE = b" \t\r\n\x0b\x0c"
_STEP = (
    1 << 20
)  # base64 digits decoded in one call, during which no other thread runs: 3 ms; a multiple of 4
_LINE = 76  # RFC 9580 6: at most 76 characters
_SPLIT = struct.Struct(f"{_LINE}s")


def armor(data: bytes, title: str, *, checksum: bool = False) -> bytes:
    """`data` as armored text with LF line ends, ending with a line end."""
    encoded = binascii.b2a_base64(data, newline=False)
    whole = len(encoded) // _LINE * _LINE
    lines = [line for (line,) in _SPLIT.iter_unpack(encoded[:whole])]  # half the time of slicing
    if whole < len(encoded):
        lines.append(encoded[whole:])
    if checksum:
        lines.append(b"=" + binascii.b2a_base64(crc24(data).to_bytes(3, "big"), newline=False))
    name = title.encode("ascii")
    return b"\n".join((_BEGIN + name + b"-----", b"", *lines, _END + name + b"-----", b""))


def armor_message(message: bytes) -> bytes:
    """An encrypted message as armored text without checksum that GnuPG 2.2 reads all the same."""
    if len(message) % 3 == 0:
        message = _MARKER + message
    return armor(message, MESSAGE)


def crc24(data: bytes) -> int:
    """The checksum of RFC 9580 6.1.1; 80 ns an octet, for small things."""
    value = 0xB704CE
    for octet in data:
        value = (value << 8) & 0xFFFFFF ^ _CRC_TABLE[value >> 16 ^ octet]
    return value


def _crc_row(octet: int) -> int:
    value = octet << 16
    for _ in range(8):
        value = value << 1 ^ (0x1864CFB if value & 0x800000 else 0)
    return value & 0xFFFFFF


_CRC_TABLE = [_crc_row(octet) for octet in range(256)]


def is_armored(data: bytes) -> bool:
    """Whether `data` is text with an armored block rather than packets."""
    return not (data[:1] and data[0] & 0x80) and _BEGIN in data


def dearmor(data: bytes) -> bytes:
    """The packets of `data`, armored or not; of several armored blocks, all one after the other.

    Raises Malformed if there is neither.
    """
    if data[:1] and data[0] & 0x80:
        return data
    blocks = [body for _, body in read_armor(data)]
    if not blocks:
        raise Malformed("there is no OpenPGP data here")
    return b"".join(blocks)


def read_armor(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Title and octets of each armored block of `text`; cleartext-signed text is passed over, its signature not."""
    at = 0
    while (start := _line_start(text, _BEGIN, at)) >= 0:
        title_end = text.find(b"-----", start + len(_BEGIN))
        if title_end < 0:
            raise Malformed("an armored block has no proper first line")
        title = text[start + len(_BEGIN) : title_end]
        at = title_end + 5
        if title == b"SIGNED MESSAGE":
            continue
        end = _line_start(text, _END, at)
        if end < 0:
            raise Malformed("an armored block has no last line")
        yield title.decode("ascii", "replace"), _body(text, at, end)
        at = end + len(_END)


def _line_start(text: bytes, needle: bytes, at: int) -> int:
    while (found := text.find(needle, at)) >= 0:
        if found == 0 or text[found - 1] in b"\r\n":
            return found
        at = found + 1
    return -1


def _body(text: bytes, start: int, stop: int) -> bytes:
    """Base64 between the header lines and the checksum of the block text[start:stop], decoded."""
    at = text.find(b"\n", start, stop) + 1
    while at:
        end = text.find(b"\n", at, stop)
        line = text[at : end if end >= 0 else stop]
        if not line.strip():
            break
        if b":" not in line:  # some mail systems eat the empty line
            break
        at = end + 1
    at = at or start
    while stop > at and text[stop - 1] in _WHITESPACE:
        stop -= 1
    last = max(text.rfind(b"\n", at, stop), text.rfind(b"\r", at, stop), at - 1)
    if stop - last == 6 and text[last + 1 : last + 2] == b"=":
        stop = max(last, at)
    encoded = text[at:stop]
    encoded = encoded.translate(None, _WHITESPACE)
    if 0 <= encoded.find(b"=") < len(encoded) - 2:
        raise Malformed("an armored block is not proper base64")
    try:
        return b"".join(
            binascii.a2b_base64(encoded[at : at + _STEP], strict_mode=True)
            for at in range(0, len(encoded), _STEP)
        )
    except binascii.Error:
        raise Malformed("an armored block is not proper base64") from None
