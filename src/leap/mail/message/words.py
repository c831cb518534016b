"""Encoded words in header fields (RFC 2047), read generously and written correctly.

encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
"""

from __future__ import annotations

import binascii
import re

import pybase64

from leap.mail.message.charsets import codec_of, decode_charset, decode_unlabelled

# An encoded-text may not hold spaces (RFC 2047 2); programs write them, so they are read.
# Question marks inside are as wrong and as real; eight of them at most, so that the search stays linear.
_WORD = re.compile(
    rb"=\?([^?*\s]{1,60})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*+(?:\?(?!=)[^?]*){0,8})\?="
)
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_ONLY_BASE64 = re.compile(rb"[A-Za-z0-9+/ \t\r\n]*")
_PIECE = re.compile(rb"([^=]+)(=*)")
_MAX_WORD = 75  # RFC 2047 2
_MAX_DECODED = 1 << 18  # octets of a value in which encoded words are looked for


def decode_words(value: bytes) -> str:
    """A field value as text: folding undone, encoded words and raw 8-bit octets decoded. Never raises."""
    value = unfold(value)
    if b"=?" not in value:
        return _clean(decode_unlabelled(value))
    out: list[str] = []
    # Words of one charset that touch are joined before decoding: many programs cut inside a character.
    pending, pending_charset = b"", ""
    position = 0
    for found in _WORD.finditer(value, 0, _MAX_DECODED):
        between = value[position : found.start()]
        position = found.end()
        charset = found[1].decode("latin-1").lower()
        octets = _word_octets(found[2], found[3])
        touching = pending_charset and not between.strip(
            b" \t"
        )  # RFC 2047 6.2: space between words is not shown
        if touching and charset == pending_charset:
            pending += octets
            continue
        if pending_charset:
            out.append(_decode_word(pending, pending_charset))
        if not touching:
            out.append(decode_unlabelled(between))
        pending, pending_charset = octets, charset
    if pending_charset:
        out.append(_decode_word(pending, pending_charset))
    out.append(decode_unlabelled(value[position:]))
    return _clean("".join(out))


def unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3: the line ends go, the white space after them stays; outer white space goes."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r\n")


def encode_words(text: str, *, first_width: int = 60) -> list[str]:
    """`text` as encoded words in UTF-8, each within RFC 2047's 75 characters, the first within `first_width`."""
    words: list[str] = []
    width = max(20, min(first_width, _MAX_WORD))
    chunk = b""
    overhead = len("=?utf-8?b??=")
    for character in text:
        octets = character.encode("utf-8", "replace")
        if chunk and overhead + (len(chunk + octets) + 2) // 3 * 4 > width:
            words.append(_base64_word(chunk))
            chunk, width = b"", _MAX_WORD
        chunk += octets
    if chunk:
        words.append(_base64_word(chunk))
    return words


def _base64_word(octets: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(octets, newline=False).decode('ascii')}?="


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return _QUOTED.sub(lambda found: bytes((int(found[1], 16),)), text.replace(b"_", b" "))
    return decode_base64(text)


def decode_base64(data: bytes) -> bytes:
    """Base64 as generous as it can be: other octets are passed over, missing padding is added."""
    stripped = data.rstrip(b"= \t\r\n")
    if b"=" not in stripped:  # nearly always
        # pybase64 passes over as much as binascii does, and is six times as fast on large parts
        for padding in (data[len(stripped) :], b"==="):
            try:
                return pybase64.b64decode(stripped + padding)
            except binascii.Error:
                continue
    # RFC 2045 6.8: "=" ends the data. Some programs join several encodings, and list servers add their footer:
    # behind the end only what is whole base64 counts. Where it can end nothing, "=" is noise.
    decoded: list[bytes] = []
    pieces: list[bytes] = []
    length = 0
    for piece, padding in _PIECE.findall(data):
        clean = _NOT_BASE64.sub(b"", piece)
        if decoded and (not _ONLY_BASE64.fullmatch(piece) or (len(clean) + len(padding)) % 4):
            break
        pieces.append(clean)
        length += len(clean)
        if padding and length % 4 in (0, 1):
            continue
        decoded.append(_whole_groups(b"".join(pieces)))
        pieces, length = [], 0
    decoded.append(_whole_groups(b"".join(pieces)))
    return b"".join(decoded)


def _whole_groups(digits: bytes) -> bytes:
    if len(digits) % 4 == 1:
        digits = digits[:-1]  # six bits are no octet
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _decode_word(octets: bytes, charset: str) -> str:
    return decode_charset(octets, charset) if codec_of(charset) else decode_unlabelled(octets)


def _clean(text: str) -> str:
    """Control characters have no place in one line of text; lone surrogates cannot travel."""
    if text.isprintable():
        return text
    text = "".join(" " if c in "\t\r\n" else c for c in text if c in "\t\r\n" or not _is_control(c))
    return (
        text.encode("utf-8", "replace").decode("utf-8")
        if any("\ud800" <= c <= "\udfff" for c in text)
        else text
    )


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"
