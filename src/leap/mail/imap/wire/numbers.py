"""Sets of message numbers as IMAP writes them: 1,4:7,9:* (RFC 3501 9, sequence-set)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leap.mail.imap.wire.errors import ImapSyntaxError

STAR = 0  # stands for "*", the greatest number in use; no message has number 0
MAX_NUMBER = 2**32 - 1


@dataclass(frozen=True, slots=True)
class NumberSet:
    """Ranges as written, either end may be `STAR`; or `saved`: "$", what the last search found (RFC 5182)."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    @classmethod
    def parse(cls, text: bytes, max_ranges: int) -> NumberSet:
        """Raises ImapSyntaxError for numbers out of 1..2^32-1 and for too many ranges."""
        pieces = text.split(b",")
        if len(pieces) > max_ranges:
            raise ImapSyntaxError("Too many ranges in one set.")
        ranges = []
        for piece in pieces:
            low, colon, high = piece.partition(b":")
            first = _number(low)
            ranges.append((first, _number(high) if colon else first))
        return cls(tuple(ranges))

    def highest_named(self) -> int:
        """The greatest number of a range without "*"; 0 when there is none."""
        return max((max(r) for r in self.ranges if STAR not in r), default=0)

    def count(self) -> int:
        """How many numbers it holds; it has no "*"."""
        return sum(high - low + 1 for low, high in self.spans(0))

    def spans(self, greatest: int) -> list[tuple[int, int]]:
        """Ascending ranges which do not touch, with `greatest` in the place of "*"."""
        spans: list[tuple[int, int]] = []
        ordered = sorted(
            (min(a or greatest, b or greatest), max(a or greatest, b or greatest))
            for a, b in self.ranges
        )
        for low, high in ordered:
            if spans and low <= spans[-1][1] + 1:
                spans[-1] = (spans[-1][0], max(spans[-1][1], high))
            else:
                spans.append((low, high))
        return spans

    def positions(self, ascending: Sequence[int], greatest: int | None = None) -> list[range]:
        """The places in `ascending` whose numbers are in the set; "*" is `greatest`, or else its last number."""
        if not ascending:
            return []
        found = []
        for low, high in self.spans(ascending[-1] if greatest is None else greatest):
            start, stop = bisect_left(ascending, low), bisect_right(ascending, high)
            if start < stop:
                found.append(range(start, stop))
        return found


def _number(text: bytes) -> int:
    if text == b"*":
        return STAR
    if not text.isdigit() or len(text) > 10:
        raise ImapSyntaxError("A set holds numbers, ranges and *.")
    value = int(text)
    if not 1 <= value <= MAX_NUMBER:
        raise ImapSyntaxError("Message numbers lie between 1 and 4294967295.")
    return value


def format_set(numbers: Iterable[int]) -> bytes:
    """Ascending numbers in the shortest writing; the order given is kept otherwise (RFC 4315 3)."""
    pieces: list[bytes] = []
    start = end = -1
    for number in numbers:
        if start >= 0 and number == end + 1:
            end = number
            continue
        if start >= 0:
            pieces.append(b"%d" % start if start == end else b"%d:%d" % (start, end))
        start = end = number
    if start >= 0:
        pieces.append(b"%d" % start if start == end else b"%d:%d" % (start, end))
    return b",".join(pieces)
