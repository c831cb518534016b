"""Where a header ends and which of its lines begin fields: the one reading that everybody here shares.

    header = *(field / damaged) (CRLF / LF)       ; fields of 8-bit names, and space before ":" (RFC 5322 4.5), occur
    damaged = a line that begins no field, with the continuation lines after it

What is served (ENVELOPE, BODYSTRUCTURE, search), what is judged (signatures, From) and what is dropped (Bcc,
X-Leap-*) all begin here: two readings of one header would let a mail be verified as one thing and shown as another.

One rule for damaged lines: the header goes on over them when a field follows before the empty line. Lines
after the last field, with none behind them, are the beginning of the body (the empty line was forgotten), and
so is text in place of a header, unless it is one line (mbox's "From ") with a field behind it.

Invariants: linear in the size; never raises; a line ends with LF, and a bare CR is an ordinary octet.
"""

from __future__ import annotations

import re

from leap.mail.message.defects import Defect, DefectKind

# field-name = 1*%d33-57 / %d59-126 (RFC 5322 3.6.8), and 8-bit octets, which occur
FIELD_NAME = rb"[!-9;-~\x80-\xff]++"

_START = FIELD_NAME + rb"[ \t]*+:"
_FIELD_START = re.compile(_START)
_FIELDS = re.compile(rb"(?:" + _START + rb"[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+)*+")
_DAMAGED = re.compile(rb"(?:(?!" + _START + rb"|\r?\n)[^\n]++(?:\n|\Z))*+")
_EMPTY_LINE = re.compile(rb"(?<=\n)\r?\n")


def empty_line(raw: bytes) -> int:
    """Where the empty line stands that ends the header at the latest; the length when there is none."""
    if raw.startswith((b"\n", b"\r\n")):
        return 0
    found = _EMPTY_LINE.search(raw)
    return found.start() if found else len(raw)


def begins_field(line: bytes) -> bool:
    """Whether a line begins a field, be its name ever so odd."""
    return _FIELD_START.match(line) is not None


def header_end(raw: bytes, start: int, end: int) -> tuple[int, tuple[Defect, ...]]:
    """Where the body begins that follows the header at `start`, and what is wrong with that header.

    The empty line belongs to the header.
    """
    defects: tuple[Defect, ...] = ()
    position = start
    if raw.startswith((b" ", b"\t"), start, end):
        defects = (Defect(DefectKind.HEADER_BEGINS_FOLDED, start),)
    while True:
        if found := _FIELDS.match(raw, position, end):
            position = found.end()
        if position >= end:
            return end, (*defects, Defect(DefectKind.NO_BODY_SEPARATOR, end))
        for line_end in (b"\n", b"\r\n"):
            if raw.startswith(line_end, position, end):
                return position + len(line_end), defects
        damaged = _DAMAGED.match(raw, position, end)
        following = damaged.end() if damaged else end
        text = position == start and not defects and raw.count(b"\n", position, following) > 1
        if text or not _FIELD_START.match(raw, following, end):
            return position, (*defects, Defect(DefectKind.NO_BODY_SEPARATOR, position))
        if not defects:
            defects = (Defect(DefectKind.LINE_WITHOUT_FIELD, position),)
        position = following
