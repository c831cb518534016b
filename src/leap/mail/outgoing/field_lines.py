"""The header section of a message as exact lines: find fields, drop fields, keep every other byte.

What is dropped here is dropped for safety (Bcc, forged X-Leap-* fields), so a line counts as the start of
a field wherever *some* mail program could see one: after CRLF, after bare LF, after bare CR, and after
lines that are no fields at all. Nothing is ever re-written; joining the lines gives the input back.

Where the header ends is `leap.mail.message.header_lines`' word, and every field that `leap.mail.message`
sees is one here: what is judged by these lines is what is served.

Invariants:
* `b"".join(field.raw for field in fields) + rest` is the message, for any bytes.
* `rest` is empty, or begins with the empty line that ends the header section at the latest.
* Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from leap.mail.message.header_lines import empty_line

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
# A line and its continuation lines (RFC 5322 2.2.3).
_FOLDED = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r|\Z)(?:[ \t][^\r\n]*+(?:\r\n|\n|\r|\Z))*+")
# RFC 5322 3.6.8 field names; RFC 5322 4.5 lets white space stand before the colon.
_FIELD_START = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NOT_IN_NAMES = re.compile(rb"[^a-z0-9-]")
_LINE_ENDS = re.compile(rb"\r\n|\n|\r")
# What only some programs take for a line end (Python's str.splitlines, in Latin-1 or UTF-8): it counts where a
# name that matters for safety follows at once, and is text elsewhere.
_ODD_LINE_END = re.compile(
    rb"(?:[\x0b\x0c\x1c-\x1e\x85]|\xe2\x80[\xa8\xa9])(?=x-leap-|(?:from|bcc|authentication-results)[ \t]*:)",
    re.IGNORECASE,
)
# A field which every program reads as the same field: no space before the colon (RFC 5322 4.5), no line end
# but CRLF or LF, no blank continuation, which some take for the empty line.
_PLAIN = re.compile(
    rb"[!-9;-~]++:[^\r\n\0\x0b\x0c]*+(?:\r?\n[ \t]++[^\s\0][^\r\n\0\x0b\x0c]*+)*+\r?\n"
)

_READ_ANYWHERE = ("from", "bcc", "authentication-results")

RESERVED_PREFIX = "x-leap-"  # fields that speak for this program; nobody else's survive


class Field(NamedTuple):
    """One field with its continuation lines and line ends, or one line that is no field (`name` is "")."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, unfolded (RFC 5322 2.2.3), without white space around it."""
        if not self.name:
            return b""
        return _LINE_ENDS.sub(b"", self.raw.partition(b":")[2]).strip(b" \t")


def split_header(message: bytes) -> tuple[list[Field], bytes]:
    """The lines of the header section as fields, and the rest from the empty line on."""
    end = empty_line(message)
    return split_fields(message[:end]), message[end:]


def header_fields(message: bytes) -> list[Field]:
    """The lines of the header section as fields; what follows it is not copied, which counts with large mail."""
    return split_fields(message[: empty_line(message)])


def with_fields(fields: Iterable[Field], message: bytes) -> bytes:
    """The message with these lines in the place of its header section."""
    return b"".join((join_fields(fields), memoryview(message)[empty_line(message) :]))


def split_fields(header: bytes) -> list[Field]:
    """The fields of a header section given without its empty line."""
    if not _ODD_LINE_END.search(header):
        return [_field(raw) for raw in _FOLDED.findall(header) if raw]
    fields: list[Field] = []
    parts: list[bytes] = []
    for line in _lines(header):
        if parts and line[:1] not in (b" ", b"\t"):
            fields.append(_field(b"".join(parts)))
            parts = []
        parts.append(line)
    if parts:
        fields.append(_field(b"".join(parts)))
    return fields


def _lines(header: bytes) -> list[bytes]:
    """Lines which end where any program might end them."""
    pieces: list[bytes] = []
    for line in filter(None, _LINE.findall(header)):
        start = 0
        for found in _ODD_LINE_END.finditer(line):
            pieces.append(line[start : found.end()])
            start = found.end()
        pieces.append(line[start:])
    return pieces


def _field(raw: bytes) -> Field:
    start = _FIELD_START.match(raw)
    return Field(start[1].decode("ascii").lower() if start else _disguised(raw), raw)


def _disguised(raw: bytes) -> str:
    """A name some program may read in what is no field: other bytes before or inside it, or folding."""
    before, colon, _ = raw.partition(b":")
    if not colon or before[:1] in (b" ", b"\t"):
        return ""
    bare = _NOT_IN_NAMES.sub(b"", before.lower()).decode("ascii")
    # Only names that matter for safety are read so; all other odd lines stay what they are.
    return bare if bare in _READ_ANYWHERE or bare.startswith(RESERVED_PREFIX) else ""


def is_plain(fields: Iterable[Field]) -> bool:
    """Whether every mail program reads these fields, and no others, in these lines."""
    return all(field.name and _PLAIN.fullmatch(field.raw) for field in fields)


def join_fields(fields: Iterable[Field]) -> bytes:
    """The header section again."""
    return b"".join(field.raw for field in fields)


def drop_fields(fields: Sequence[Field], unwanted: Callable[[str], bool]) -> list[Field]:
    """The fields whose name is not unwanted, every other byte as it was.

    Where a dropped field began after a bare CR, a blank continuation takes its place: gluing what stood
    around it together could end the header section early, or begin another field.
    """
    kept: list[Field] = []
    for field in fields:
        if not (field.name and unwanted(field.name)):
            kept.append(field)
        elif kept and not kept[-1].raw.endswith(b"\n"):
            last = kept.pop()
            end = b"\r\n" if field.raw.endswith(b"\n") else b""
            kept.append(Field(last.name, last.raw + b" " + end))
    return kept


def is_reserved(name: str) -> bool:
    """Whether a field of this (lower-case) name may come only from the receiving program itself."""
    return name.startswith(RESERVED_PREFIX)


def values_of(fields: Iterable[Field], name: str) -> list[bytes]:
    """The unfolded values of all fields of a (lower-case) name, in order."""
    return [field.value for field in fields if field.name == name]


def begins_with_continuation(message: bytes) -> bool:
    """Whether its first line would become part of a field put in front of it."""
    return message[:1] in (b" ", b"\t")
