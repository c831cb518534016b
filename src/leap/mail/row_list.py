"""All rows of a mailbox in one list that many sessions share, with what opening the mailbox asks of them.

Invariants: ascending by uid; nobody changes it once it is given away, what follows a change is another list.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property

from leap.mail.contract import MessageRow, Uid


class RowList(list[MessageRow]):
    """The rows, their uids as an array, the keywords in use, and the first message that is not seen."""

    def __init__(self, rows: Iterable[MessageRow], uids: array[int] | None = None) -> None:
        """`uids` when they are known already."""
        super().__init__(rows)
        if uids is None:
            uids = array("I", [row.uid for row in self])  # RFC 9051 2.3.1.1: 32 bits
        self.uids = uids

    @cached_property
    def _kinds(self) -> Iterable[tuple[str, ...]]:
        return dict.fromkeys([row.flags for row in self])  # few, among many rows

    @cached_property
    def keywords(self) -> dict[str, str]:
        """In lower case -> as first seen."""
        found: dict[str, str] = {}
        for flags in self._kinds:
            for flag in flags:
                if not flag.startswith("\\"):
                    found.setdefault(flag.lower(), flag)
        return found

    @cached_property
    def first_unseen(self) -> int | None:
        """A place in the list, from 0."""
        if all("\\Seen" in flags for flags in self._kinds):
            return None
        return next(place for place, row in enumerate(self) if "\\Seen" not in row.flags)

    # -- some of them

    def places(self, uids: Sequence[int]) -> Sequence[int]:
        """Where those are which are there, ascending; a range when nothing lies between."""
        if not uids:
            return range(0)
        first = bisect_left(self.uids, uids[0])
        if self.uids[first : first + len(uids)] == array("I", uids):
            return range(first, first + len(uids))
        wanted = set(uids)
        found = [place for place, uid in enumerate(self.uids) if uid in wanted]
        if found and found[-1] - found[0] + 1 == len(found):
            return range(found[0], found[-1] + 1)
        return found

    def at(self, places: Sequence[int]) -> list[MessageRow]:
        if isinstance(places, range):
            return self[places.start : places.stop]
        return [self[place] for place in places]

    def with_flag(self, places: Sequence[int], flag: str) -> Sequence[int]:
        """Those of the places."""
        if all(flag in flags for flags in self._kinds):
            return places
        having = {flags for flags in self._kinds if flag in flags}
        if not having:
            return range(0)
        return [place for place in places if self[place].flags in having]

    # -- after a change

    def replaced(self, places: Sequence[int], rows: Sequence[MessageRow]) -> RowList:
        """The list with these rows, of the same uids, at these places."""
        if isinstance(places, range):
            made = self[:]
            made[places.start : places.stop] = rows
        else:
            made = self[:]
            for place, row in zip(places, rows, strict=True):
                made[place] = row
        return RowList(made, self.uids)

    def without(self, places: Sequence[int]) -> RowList:
        if isinstance(places, range):
            made, uids = self[:], self.uids[:]
            del made[places.start : places.stop], uids[places.start : places.stop]
            return RowList(made, uids)
        gone = set(places)
        return RowList(row for place, row in enumerate(self) if place not in gone)

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
