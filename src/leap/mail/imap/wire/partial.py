"""One page of what a search found or a set names (RFC 9394 4), counted from either end.

partial-range-first = nz-number ":" nz-number
partial-range-last  = "-" nz-number ":" "-" nz-number
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.numbers import MAX_NUMBER
from leap.mail.imap.wire.scanner import Scanner

_RANGE = re.compile(rb"[1-9]\d{0,9}:[1-9]\d{0,9}(?!\d)|-[1-9]\d{0,9}:-[1-9]\d{0,9}(?!\d)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PartialRange:
    """Places from `low` to `high`, the first one is 1; `from_end` counts from the last one backwards.

    `text` is the range as the client wrote it, for the answer repeats it (RFC 9394 3.1).
    """

    low: int
    high: int
    from_end: bool
    text: bytes

    def of(self, ascending: Sequence[T]) -> Sequence[T]:
        """What of a list is on this page, in the order of the list."""
        count = len(ascending)
        if not self.from_end:
            return ascending[self.low - 1 : self.high]
        return ascending[max(0, count - self.high) : max(0, count - self.low + 1)]


def parse_partial(scanner: Scanner) -> PartialRange:
    """The range after "PARTIAL ". Raises ImapSyntaxError."""
    text = scanner.match(_RANGE, "a range of two numbers, both counted from one end")
    first, second = (abs(int(number)) for number in text.split(b":"))
    if max(first, second) > MAX_NUMBER:
        raise ImapSyntaxError("The number is too great.")
    return PartialRange(min(first, second), max(first, second), text.startswith(b"-"), text)
