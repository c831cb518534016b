"""Reads mbox files of all four kinds, in one pass, holding one message at a time.

Where a message begins: a line "From " with a time and a year in it (or just "From -", as Netscape wrote), at the start
of the file or after an empty line; without an empty line before it, only if a header field follows. In a file whose
first separator has no date, any line "From " after an empty line will do that a header field follows.

Which kind it is, unless the caller says so, from the first `SAMPLE` messages:
* At least half of them have a Content-Length that leads exactly to the next separator or the end of the file: mboxcl2
  if a body there has a line "From ", else mboxcl if one has a line ">From ", else mboxcl2 (they are the same then).
* Otherwise mboxrd. It differs from mboxo only in lines with two ">" and more.

A Content-Length is believed only where it leads to a separator or the end; else the next separator ends the message.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from leap.mail.porting.found import Found, Oddity, Tell, shown_path
from leap.mail.porting.mbox_flags import noted
from leap.mail.porting.mbox_kinds import (
    MARK,
    MboxKind,
    is_dated,
    is_field,
    separator_date,
    unquoted,
)
from leap.mail.porting.reading_files import open_plain, too_large

SAMPLE = 200  # messages that decide of the kind
LINE = 1000  # octets of a separator line; longer ones are text
HEADER = 256 * 1024  # octets in which the end of a header is looked for
STEP = 1024 * 1024
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,12})[ \t]*\r?$")
_HEADER_END = re.compile(rb"\n\r?\n")
_FROM = re.compile(rb"(?m)^From ")
_QUOTED_FROM = re.compile(rb"(?m)^>From ")


class _Place(NamedTuple):
    """A message in the file: its separator line, and where its octets begin and end."""

    line: bytes
    begin: int
    end: int
    following: int  # where the next separator is, or the end of the file
    by_length: bool | None  # whether its Content-Length is right; None when it has none


class MboxFile:
    """One mbox; a context. Raises OSError where it cannot be read."""

    def __init__(self, path: Path, kind: MboxKind | None = None) -> None:
        self._name = shown_path(path)
        self._descriptor = open_plain(path)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._descriptor)
            self._size = os.fstat(self._descriptor).st_size
            self._start = len(MARK) if self._read(0, len(MARK)) == MARK else 0
            self._dated = is_dated(self._read(self._start, LINE).partition(b"\n")[0])
            self.kind: MboxKind = kind or self._detect()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def messages(self, tell: Tell, limit: int) -> Iterator[Found]:
        """The messages in order; those above `limit` octets are told and passed over."""
        for number, place in enumerate(self._places(self.kind), 1):
            where = f"{self._name}, message {number}"
            if place.end - place.begin > limit:
                tell(too_large(where, limit))
                continue
            data = self._read(place.begin, place.end - place.begin)
            split = _HEADER_END.search(data)
            at = split.end() if split else len(data)
            state = noted(data[:at])
            if state.internal:
                tell(Oddity("skipped", where, "It holds data of the folder, no mail."))
                continue
            if state.expunged:
                tell(Oddity("expunged", where, "It was deleted in the program that wrote it."))
                continue
            if place.by_length is False and self.kind in ("mboxcl", "mboxcl2"):
                tell(Oddity("wrong-length", where, "Its Content-Length is wrong."))
            if self.kind == "mboxrd":
                at = 0  # it quotes every line of the message, also in a header that is none
            raw = data[:at] + unquoted(data[at:], self.kind)
            yield Found(raw, where, state.flags, separator_date(place.line))

    # -- where the messages are

    def _places(self, kind: MboxKind | None) -> Iterator[_Place]:
        at: int | None = self._start
        if self._read(self._start, 5) != b"From ":
            at = self._next_separator(self._start)
        while at is not None and at < self._size:
            line = self._read(at, LINE).partition(b"\n")[0]
            begin = min(at + len(line) + 1, self._size)
            place = self._place(line, begin, kind)
            yield place
            at = place.following if place.following < self._size else None

    def _place(self, line: bytes, begin: int, kind: MboxKind | None) -> _Place:
        by_length: bool | None = None
        if kind in (None, "mboxcl", "mboxcl2"):
            header = self._read(begin, HEADER)
            split = _HEADER_END.search(header)
            found = _LENGTH.search(header, 0, split.end()) if split else None
            if split and found:
                end = begin + split.end() + int(found[1])
                following = self._separator_after(end)
                by_length = following is not None
                if following is not None:
                    return _Place(line, begin, end, following, True)
        next_one = self._next_separator(begin)
        following = self._size if next_one is None else next_one
        return _Place(line, begin, self._without_empty_line(begin, following), following, by_length)

    def _separator_after(self, end: int) -> int | None:
        """Where the file goes on after a message that ends at `end`; None when that cannot be its end."""
        if end > self._size:
            return None
        rest = self._read(end, 4)
        for at in (end, end + 1, end + 2):
            between = rest[: at - end]
            if between not in (b"", b"\n", b"\r\n"):
                continue
            if at >= self._size:
                return self._size
            if self._read(at, 5) == b"From " and is_dated(self._read(at, LINE).split(b"\n")[0]):
                return at
        return None

    def _without_empty_line(self, begin: int, following: int) -> int:
        """The end of a message: the empty line before the next separator is the format's."""
        tail = self._read(max(begin, following - 4), following - max(begin, following - 4))
        if tail.endswith(b"\r\n\r\n"):
            return following - 2
        return following - 1 if tail.endswith(b"\n\n") else following

    def _next_separator(self, at: int) -> int | None:
        """The first separator line at or after `at`, which begins a line."""
        if at == self._start and self._is_separator(at):
            return at
        position = max(0, at - 1)
        while position < self._size:
            data = self._read(position, STEP)
            found = data.find(b"\nFrom ")
            while found >= 0:
                if self._is_separator(position + found + 1):
                    return position + found + 1
                found = data.find(b"\nFrom ", found + 1)
            if len(data) < STEP:
                return None
            position += len(data) - len(b"\nFrom ") + 1
        return None

    def _is_separator(self, at: int) -> bool:
        data = self._read(max(0, at - 3), LINE + 200)
        before, data = data[: min(at, 3)], data[min(at, 3) :]
        line, newline, rest = data.partition(b"\n")
        if not line.startswith(b"From ") or len(line) > LINE:
            return False
        after_empty = at == self._start or before.endswith((b"\n\n", b"\n\r\n")) or before == b"\n"
        dated, field = is_dated(line), bool(newline) and is_field(rest)
        if after_empty:
            return dated or (field and not self._dated)
        return dated and field

    # -- which kind

    def _detect(self) -> MboxKind:
        messages = right = 0
        plain = quoted = False
        for place in self._places(None):
            messages += 1
            if place.by_length:
                right += 1
                body = self._read(place.begin, min(place.end - place.begin, STEP))
                split = _HEADER_END.search(body)
                at = split.end() if split else 0
                plain = plain or _FROM.search(body, at) is not None
                quoted = quoted or _QUOTED_FROM.search(body, at) is not None
            if messages >= SAMPLE:
                break
        if right and right * 2 >= messages:
            return "mboxcl" if quoted and not plain else "mboxcl2"
        return "mboxrd"

    def _read(self, at: int, length: int) -> bytes:
        """So many octets from `at`, fewer at the end of the file."""
        if length <= 0:
            return b""
        data = os.pread(self._descriptor, length, at)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), at + len(data))
            if not more:
                break
            data += more
        return data
