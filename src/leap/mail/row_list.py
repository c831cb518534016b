"""All rows of a mailbox in one list that many sessions share, with what opening the mailbox asks of them.

Invariants: ascending by uid; nobody changes it once it is given away, what follows a change is another list.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from leap.mail.contract import MessageRow, Uid


class RowList(list[MessageRow]):
    """The rows, their uids as an array, the keywords in use, and the first message that is not seen."""

    def __init__(self, rows: Iterable[MessageRow]) -> None:
        super().__init__(rows)
        self.uids: array[int] = array("I", [row.uid for row in self])  # RFC 9051 2.3.1.1: 32 bits
        self.first_unseen: int | None = None  # a place in the list, from 0
        kinds = dict.fromkeys([row.flags for row in self])  # few, among many rows
        self.keywords: dict[str, str] = {}  # in lower case -> as first seen
        for flags in kinds:
            for flag in flags:
                if not flag.startswith("\\"):
                    self.keywords.setdefault(flag.lower(), flag)
        if any("\\Seen" not in flags for flags in kinds):
            self.first_unseen = next(
                place for place, row in enumerate(self) if "\\Seen" not in row.flags
            )

    def followed(self, changed: Iterable[MessageRow], gone: Iterable[Uid]) -> RowList:
        """The list after some rows changed or came, and some went."""
        left = set(gone)
        rows: list[MessageRow] = [row for row in self if row.uid not in left] if left else self[:]
        uids = [row.uid for row in rows] if left else self.uids
        arrived = []
        for row in changed:
            place = bisect_left(uids, row.uid)
            if place < len(uids) and uids[place] == row.uid:
                rows[place] = row
            else:
                arrived.append(row)
        rows += arrived
        if arrived and len(rows) > len(arrived) and arrived[0].uid < rows[-len(arrived) - 1].uid:
            rows.sort(key=lambda row: row.uid)
        return RowList(rows)
