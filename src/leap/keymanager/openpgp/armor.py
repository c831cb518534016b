"""ASCII armor (RFC 9580 6): reading what mail programs write, writing what all of them read.

The checksum line is never looked at (RFC 9580 6.1). GnuPG 2.2 fails on armor without one when the base64 has no
padding, so it is written for version 4 keys and signatures; for whole messages, where computing it would take half as
long as encrypting, `armor_message` sees to it that there is padding.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from io import BytesIO

import pybase64

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
_BOM = b"\xef\xbb\xbf"  # what editors put in front of UTF-8
_MAX_LEAD = (
    4096  # octets of text in another script than Latin that are looked through for the block
)
_WHITESPACE = b" \t\r\n\x0b\x0c"
# Octets in one go, in whole lines. In smaller pieces than a large mail, since the system clears every new page of
# memory, which takes longer than base64 itself: pieces this small come from memory that is there already.
_STEP = 57 * 2048


def armor(data: bytes | bytearray, title: str, *, checksum: bool = False) -> bytes:
    """`data` as armored text with LF line ends, ending with a line end."""
    name, text, octets = title.encode("ascii"), BytesIO(), memoryview(data)
    text.write(b"%s%s-----\n\n" % (_BEGIN, name))
    for at in range(0, len(data), _STEP):
        # RFC 9580 6: at most 76 characters a line, and it makes 76
        text.write(pybase64.encodebytes(octets[at : at + _STEP]))
    if checksum:
        text.write(b"=" + pybase64.encodebytes(crc24(data).to_bytes(3, "big")))
    text.write(b"%s%s-----\n" % (_END, name))
    return text.getvalue()


def armor_message(message: bytes | bytearray) -> bytes:
    """An encrypted message as armored text without checksum that GnuPG 2.2 reads all the same."""
    if len(message) % 3 == 0:
        message = _MARKER + message
    return armor(message, MESSAGE)


def crc24(data: bytes | bytearray) -> int:
    """The checksum of RFC 9580 6.1.1; 6 to 80 ns an octet."""
    # All of it as one polynomial. What stands above x^(2^k) is added below, times what x^(2^k) leaves over:
    # some shifts of long numbers halve it, until the octets that are left are soon done one by one.
    value = int.from_bytes(data, "big") << 24 ^ _CRC_START << 8 * len(data)
    while (bits := value.bit_length()) > 1024:
        k = (bits - 1).bit_length() - 1
        high = value >> (1 << k)
        value ^= high << (1 << k)
        for shift in _CRC_POWERS[k]:
            value ^= high << shift
    rest = 0
    for octet in (value >> 24).to_bytes(128, "big"):
        rest = (rest << 8) & 0xFFFFFF ^ _CRC_TABLE[rest >> 16 ^ octet]
    return rest ^ value & 0xFFFFFF


_CRC_START = 0xB704CE
_CRC_GENERATOR = 0x1864CFB


def _crc_row(octet: int) -> int:
    value = octet << 16
    for _ in range(8):
        value = value << 1 ^ (_CRC_GENERATOR if value & 0x800000 else 0)
    return value & 0xFFFFFF


def _crc_powers(count: int) -> Iterator[tuple[int, ...]]:
    """The exponents in what x^(2^k) leaves over when divided by the generator, for each k."""
    power = 2
    for _ in range(count):
        yield tuple(bit for bit in range(24) if power >> bit & 1)
        square = sum(1 << 2 * bit for bit in range(24) if power >> bit & 1)
        while (excess := square.bit_length() - 25) >= 0:
            square ^= _CRC_GENERATOR << excess
        power = square


_CRC_TABLE = [_crc_row(octet) for octet in range(256)]
_CRC_POWERS = list(_crc_powers(64))


def is_armored(data: bytes) -> bool:
    """Whether `data` is text with an armored block rather than packets."""
    return not _is_binary(data) and _BEGIN in data


def _is_binary(data: bytes) -> bool:
    """Whether `data` begins with a packet; UTF-8 text in front of a block may begin with such an octet, too."""
    if not data or not data[0] & 0x80:
        return False
    start = _line_start(data[:_MAX_LEAD], _BEGIN, 0)
    if start < 0:
        return True
    try:
        data[:start].decode()
    except UnicodeDecodeError:
        return True
    return False


def dearmor(data: bytes) -> bytes:
    """The packets of `data`, armored or not; of several armored blocks, all one after the other.

    Raises Malformed if there is neither.
    """
    if _is_binary(data):
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
        dash = text.find(b"-", at)  # one octet is found fastest, and base64 has no dashes
        end = _line_start(text, _END, dash) if dash >= 0 else -1
        if end < 0:
            raise Malformed("an armored block has no last line")
        yield title.decode("ascii", "replace"), _body(text, at, end)
        at = end + len(_END)


def _line_start(text: bytes, needle: bytes, at: int) -> int:
    while (found := text.find(needle, at)) >= 0:
        if found == 0 or text[found - 1] in b"\r\n" or (found == 3 and text[:3] == _BOM):
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
    return _decode(text, at, stop)


def _decode(text: bytes, start: int, stop: int) -> bytes:
    """The octets that text[start:stop] is base64 of, with white space anywhere; raises Malformed."""
    try:
        return _decode_lines(text, start, stop)
    except binascii.Error:
        pass
    try:  # other white space than line ends is rare, and looking for it takes longer than all the rest
        bare = text[start:stop].translate(None, _WHITESPACE)
        return pybase64.b64decode(bare, validate=True)
    except binascii.Error:
        raise Malformed("an armored block is not proper base64") from None


def _decode_lines(text: bytes, start: int, stop: int) -> bytes:
    octets, digits = BytesIO(), b""
    for at in range(start, stop, _STEP):
        piece = text[at : min(at + _STEP, stop)].replace(b"\n", b"").replace(b"\r", b"")
        digits = digits + piece if digits else piece
        if stop - at > _STEP:
            whole = len(digits) // 4 * 4
            digits, after = digits[:whole], digits[whole:]
            if digits.endswith(b"="):
                raise binascii.Error  # padding before the end
        else:
            after = b""
        octets.write(pybase64.b64decode(digits, validate=True))
        digits = after
    return octets.getvalue()
