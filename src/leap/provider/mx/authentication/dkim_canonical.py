"""The octets that a DKIM signature covers: canonical forms of header fields and body (RFC 6376 3.4, 3.7). Pure.

Invariants:
* The header is cut as the standard cuts it: at CRLF, an empty line ends it. A header that some other program could
  cut in another way is none (`plain_fields`): a signature must not stand over what nobody signed.
* A body is gone through in pieces, so that other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

PIECE = 64 * 1024  # octets; 0.1 ms of hashing, at most 2 ms of regular expressions

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n\0]*\r\n(?:[ \t][^\r\n\0]*\r\n)*)")
_BLANK_CONTINUATION = re.compile(rb"\r\n[ \t]*\r\n")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_SPACES = re.compile(rb"[ \t]+")
_SPACES_AT_END = re.compile(rb"[ \t]+(?=\r\n)")
_B_TAG = re.compile(rb"(?:(?<=;)|\A)([ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class HeaderField(NamedTuple):
    """One field: its lower-case name, all its octets with CRLF, and those behind the colon."""

    name: str
    raw: bytes
    value: bytes


def split_mail(raw: bytes) -> tuple[bytes, int]:
    """The header section, and where the body begins."""
    if raw.startswith(b"\r\n"):
        return b"", 2
    end = raw.find(b"\r\n\r\n")
    return (raw, len(raw)) if end < 0 else (raw[: end + 2], end + 4)


def plain_fields(header: bytes) -> list[HeaderField] | None:
    """The fields of a header section; None when two programs could see different ones in it."""
    fields = []
    position = 0
    while position < len(header):
        found = _FIELD.match(header, position)
        # a line of white space alone is the end of the header for some
        if found is None or _BLANK_CONTINUATION.search(found[0]):
            return None
        fields.append(HeaderField(found[1].decode("ascii").lower(), found[0], found[2]))
        position = found.end()
    return fields


FieldsByName = Mapping[str, Sequence[HeaderField]]


def by_name(fields: Iterable[HeaderField]) -> FieldsByName:
    """The fields of each name, from top to bottom."""
    found: dict[str, list[HeaderField]] = {}
    for one in fields:
        found.setdefault(one.name, []).append(one)
    return found


def signed_fields(fields: FieldsByName, names: Iterable[str]) -> list[HeaderField]:
    """The fields that h= names, in its order: of one name the lowest first, then upwards (RFC 6376 5.4.2)."""
    taken: Counter[str] = Counter()
    signed = []
    for name in names:
        taken[name] += 1
        found = fields.get(name, ())
        if taken[name] <= len(found):
            signed.append(found[-taken[name]])
    return signed


def header_octets(signed: Iterable[HeaderField], signature: HeaderField, *, relaxed: bool) -> bytes:
    """What the signature is over: the fields, then its own field with an empty b= and without CRLF."""
    value = _B_TAG.sub(rb"\1", signature.value, count=1)
    if not value.endswith(b"\r\n"):  # the line end stood behind b=
        value += b"\r\n"
    raw = signature.raw[: len(signature.raw) - len(signature.value)] + value
    own = HeaderField(signature.name, raw, value)
    form = _relaxed_field if relaxed else _simple_field
    return b"".join([*(form(one) for one in signed), form(own).removesuffix(b"\r\n")])


def body_digest(raw: bytes, start: int, *, relaxed: bool, length: int | None) -> tuple[bytes, int]:
    """SHA-256 of the canonical body from `start` on, of its first `length` octets, and how long it is as a whole."""
    digest, size = hashlib.sha256(), 0
    for piece in _canonical_body(raw, start, relaxed=relaxed):
        if length is None or size + len(piece) <= length:
            digest.update(piece)
        elif size < length:
            digest.update(piece[: length - size])
        size += len(piece)
    return digest.digest(), size


def _canonical_body(raw: bytes, start: int, *, relaxed: bool) -> Iterator[bytes]:
    """Pieces; empty lines at the end are left out (RFC 6376 3.4.3, 3.4.4)."""
    empty = 0  # lines that are written only if something follows
    written = False
    for piece in _pieces(raw, start):
        text = _relaxed_text(piece) if relaxed else piece
        body_end = _end_of_text(text)
        if body_end == 0:
            empty += text.count(b"\r\n")
            continue
        yield b"\r\n" * empty + text[:body_end] if empty else text[:body_end]
        written = True
        empty = (len(text) - body_end) // 2
    if not written and not relaxed:
        yield b"\r\n"  # RFC 6376 3.4.3: an empty body is one CRLF


def _end_of_text(text: bytes) -> int:
    """Where the empty lines at the end of whole lines begin; 0 when there is nothing else."""
    end = len(text.rstrip(b"\r\n"))
    if text[end:] == b"\r\n" * ((len(text) - end) // 2):
        return end + 2 if end else 0
    end = len(text)  # a bare CR or LF among them is text
    while text.endswith(b"\r\n\r\n", 0, end):
        end -= 2
    return end


def _pieces(raw: bytes, start: int) -> Iterator[bytes]:
    """The body in pieces that end with CRLF; one is put at the end where it is missing."""
    while start < len(raw):
        end = raw.find(b"\r\n", min(start + PIECE, len(raw)) - 2)
        if end < 0 or end + 2 >= len(raw):
            rest = raw[start:]
            yield rest if rest.endswith(b"\r\n") else rest + b"\r\n"
            return
        yield raw[start : end + 2]
        start = end + 2


def _relaxed_text(text: bytes) -> bytes:
    if b"\t" in text or b"  " in text:
        text = _SPACES.sub(b" ", text)
    return _SPACES_AT_END.sub(b"", text) if b" \r\n" in text else text


def _relaxed_field(one: HeaderField) -> bytes:
    value = _SPACES.sub(b" ", _FOLD.sub(b"", one.value[:-2])).strip(b" ")
    return b"%b:%b\r\n" % (one.name.encode("ascii"), value)


def _simple_field(one: HeaderField) -> bytes:
    return one.raw
