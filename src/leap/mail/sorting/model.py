"""What is asked of an account about the order of messages, in values that travel."""

from __future__ import annotations

from typing import Literal

import msgspec

# RFC 5256 3, RFC 5957 3
SortField = Literal[
    "arrival", "cc", "date", "displayfrom", "displayto", "from", "size", "subject", "to"
]
ThreadAlgorithm = Literal["references", "orderedsubject"]


class SortKey(msgspec.Struct, frozen=True):
    """One criterion; `descending` is REVERSE."""

    field: SortField
    descending: bool = False


class ThreadLine(msgspec.Struct, frozen=True, array_like=True):
    """A message in a forest that is told from its roots down, each message before those that follow it: `depth` is 0
    for a root; `uid` is 0 where a message is missing."""

    depth: int
    uid: int
