"""What one session believes of its selected mailbox: the only place where sequence numbers meet uids.

Invariants:
* a sequence number is a place in what the client was told, uids ascend with it (RFC 3501 2.3.1.2);
* expunged messages keep their numbers until `take_expunges`, which the session calls only at moments at which
  EXPUNGE may be sent (RFC 3501 7.4.1);
* arrivals get numbers only by `take_arrivals`; so between two announcements numbers stand still;
* `learn` may be told the same thing again and in pieces: every piece counts once;
* `told` is a modseq up to which the client was told of everything: what may be called HIGHESTMODSEQ (RFC 7162 3.2).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from itertools import chain
from typing import NewType, cast

from leap.mail.contract import MailboxId, MailboxStatus, MessageRow, ModSeq, Stored, Uid
from leap.mail.imap.wire.numbers import NumberSet
from leap.mail.row_list import RowList

SeqNum = NewType("SeqNum", int)  # RFC 3501 2.3.1.2, from 1; never to be mixed up with Uid

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


class MailboxView:
    """The selected mailbox as it was announced to one client."""

    def __init__(
        self, status: MailboxStatus, rows: Sequence[MessageRow], recent: Iterable[Uid]
    ) -> None:
        self.mailbox_id: MailboxId = status.mailbox_id
        self.uid_validity = status.uid_validity
        self.modseq: ModSeq = status.highest_modseq  # up to which `learn` was given everything
        self.told: ModSeq = status.highest_modseq
        self.tells_modseq = False  # the client wants every new modseq, not only changed flags
        opened = rows if isinstance(rows, RowList) else RowList(rows)
        self._first_unseen = opened.first_unseen
        self._uids: MutableSequence[int] = opened.uids
        self._rows: list[MessageRow] = opened
        self._shared = True  # with other sessions: copied before the first change
        self._arrived: dict[Uid, MessageRow] = {}
        self._gone: set[Uid] = set()
        self._changed: set[Uid] = set()
        self.recent: set[Uid] = set(recent)
        self._keywords: dict[str, str] = dict(opened.keywords)
        self._new_keywords = False

    def __len__(self) -> int:
        """The number of messages the client knows of."""
        return len(self._uids)

    # -- reading

    def uid(self, number: SeqNum) -> Uid:
        return Uid(self._uids[number - 1])

    def rows(self, numbers: Sequence[SeqNum]) -> list[MessageRow]:
        """Those of ascending numbers."""
        if numbers and numbers[-1] - numbers[0] + 1 == len(numbers):
            return self._rows[numbers[0] - 1 : numbers[-1]]
        return [self._rows[number - 1] for number in numbers]

    def uids(self, numbers: Sequence[SeqNum]) -> list[Uid]:
        known = cast("Sequence[Uid]", self._uids)
        if len(numbers) == len(known):  # all of them
            return list(known)
        return [known[number - 1] for number in numbers]

    def row(self, number: SeqNum) -> MessageRow:
        return self._rows[number - 1]

    def find(self, uid: Uid) -> SeqNum | None:
        """The number of a message, None when the client was not told of it."""
        place = bisect_left(self._uids, uid)
        if place < len(self._uids) and self._uids[place] == uid:
            return SeqNum(place + 1)
        return None

    def is_gone(self, number: SeqNum) -> bool:
        """Whether the message was expunged and the client was not told yet."""
        return bool(self._gone) and self._uids[number - 1] in self._gone

    def flags(self, row: MessageRow) -> tuple[str, ...]:
        """The flags to show, with \\Recent if it is this session's."""
        return (*row.flags, "\\Recent") if row.uid in self.recent else row.flags

    @property
    def recent_count(self) -> int:
        """How many of the messages the client knows of are recent; others may have been claimed just before."""
        last = self._uids[-1] if self._uids else 0
        return sum(uid <= last for uid in self.recent)

    def find_all(self, uids: Iterable[Uid]) -> list[SeqNum]:
        """The messages with these uids, in their order, those already gone left out."""
        return [n for uid in uids if uid not in self._gone and (n := self.find(uid)) is not None]

    def resolve(self, numbers: NumberSet, by_uid: bool, *, strict: bool = True) -> list[SeqNum]:
        """The messages of a set, ascending, those already gone left out of uid sets.

        If `strict`, raises IndexError when a sequence number was named which there is not (RFC 3501 9, seq-number).
        """
        count = len(self._uids)
        found: list[SeqNum] = []
        if by_uid:
            for span in numbers.positions(self._uids):
                found.extend(_numbers(span.start + 1, span.stop))
            return (
                [n for n in found if self._uids[n - 1] not in self._gone] if self._gone else found
            )
        if strict and numbers.highest_named() > count:
            raise IndexError(numbers.highest_named())
        if count:
            for low, high in numbers.spans(count):
                found.extend(_numbers(low, min(high, count)))
        return found

    def numbered(self) -> Iterator[tuple[SeqNum, MessageRow]]:
        """All messages with their numbers."""
        for place, row in enumerate(self._rows, 1):
            yield SeqNum(place), row

    def first_unseen(self) -> SeqNum | None:
        """As of when the mailbox was opened."""
        return None if self._first_unseen is None else SeqNum(self._first_unseen + 1)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The keywords in use, as first seen."""
        return tuple(self._keywords.values())

    def spelling(self, flag: str) -> str:
        """The writing of a keyword which the mailbox knows already; keywords differ not by case alone."""
        return flag if flag.startswith("\\") else self._keywords.get(flag.lower(), flag)

    # -- learning

    def _own(self) -> None:
        if self._shared:
            self._rows, self._uids, self._shared = list(self._rows), self._uids[:], False

    def learn(self, rows: Iterable[MessageRow], expunged: Iterable[Uid]) -> None:
        """Takes changes from the store; nothing of it shows until it is taken."""
        for uid in expunged:
            if self._arrived.pop(uid, None) is None and self.find(uid) is not None:
                self._gone.add(uid)
            else:  # the client never hears of it
                self.recent.discard(uid)
        for row in rows:
            number = self.find(row.uid)
            if number is None:
                if (not self._uids or row.uid > self._uids[-1]) and row.uid not in self._gone:
                    self._arrived[row.uid] = row
                    self._learn_keywords(row.flags)
                continue
            known = self._rows[number - 1]
            if row.modseq < known.modseq:
                continue
            if set(row.flags) != set(known.flags):
                self._changed.add(row.uid)
                self._learn_keywords(row.flags)
            elif self.tells_modseq and row.modseq > known.modseq:
                self._changed.add(row.uid)
            self._own()
            self._rows[number - 1] = row

    def settle(self, numbers: Sequence[SeqNum], done: Stored) -> None:
        """Takes what one change of flags left of the messages of ascending numbers: the client is told of it, or
        knows."""
        rows = done.rows
        if not rows:
            return
        known = self.rows(numbers)
        newer = [new if new.modseq >= old.modseq else old for old, new in zip(known, rows)]  # noqa: B905
        self._own()
        if numbers[-1] - numbers[0] + 1 == len(numbers):
            self._rows[numbers[0] - 1 : numbers[-1]] = newer
        else:
            for number, row in zip(numbers, newer, strict=True):
                self._rows[number - 1] = row
        for flags in {row.flags for row in newer}:  # few, among many messages
            self._learn_keywords(flags)
        if self._changed:
            self._changed.difference_update(
                row.uid for row, kept in zip(rows, newer, strict=True) if row is kept
            )
        # Nothing else has the modseq of a change: with the next one, all there was up to it is known
        if done.modseq == self.modseq + 1:
            self.modseq = done.modseq

    def learn_recent(self, status: MailboxStatus) -> None:
        """Takes for recent what nobody claimed, the newest: who only looks takes it from nobody (RFC 3501 6.3.2)."""
        arrived = sorted(self._arrived, reverse=True)
        late = sum(uid >= status.uid_next for uid in arrived)
        late += len(self._uids) - bisect_left(self._uids, status.uid_next)
        there = len(self._uids) + len(arrived) - len(self._gone) - late
        wanted = status.recent - max(status.messages - there, 0)  # went meanwhile: recent perhaps
        for uid in chain(arrived, map(Uid, reversed(self._uids))):
            if wanted <= 0:
                break
            if uid < status.uid_next and uid not in self._gone:
                self.recent.add(uid)
                wanted -= 1

    def _learn_keywords(self, flags: Iterable[str]) -> None:
        for flag in flags:
            if not flag.startswith("\\") and flag.lower() not in self._keywords:
                self._keywords[flag.lower()] = flag
                self._new_keywords = True

    def settled(self, numbers: Iterable[SeqNum]) -> None:
        """The client was told of these as they are now, by other means."""
        if self._changed:
            self._changed.difference_update(self.uid(n) for n in numbers)

    # -- announcing

    @property
    def withholds(self) -> bool:
        """Whether messages went of which the client was not told yet."""
        return bool(self._gone)

    def take_vanished(self) -> list[Uid]:
        """The uids to send as VANISHED, ascending (RFC 7162 3.2.10)."""
        vanished = sorted(self._gone)
        self.take_expunges()
        return vanished

    def take_expunges(self) -> list[SeqNum]:
        """The numbers to send as EXPUNGE, in an order in which each is right when it is read."""
        if not self._gone:
            return []
        numbers = sorted((n for uid in self._gone if (n := self.find(uid))), reverse=True)
        if len(numbers) > 32:  # one pass instead of many deletions from the middle
            kept = [row for row in self._rows if row.uid not in self._gone]
            self._rows, self._uids, self._shared = kept, [row.uid for row in kept], False
        else:
            self._own()
            for number in numbers:
                del self._rows[number - 1], self._uids[number - 1]
        self._changed -= self._gone
        self.recent -= self._gone
        self._gone.clear()
        return numbers

    @property
    def has_arrivals(self) -> bool:
        return bool(self._arrived)

    def take_arrivals(self) -> bool:
        """Whether EXISTS is to be sent; the arrivals have numbers now."""
        if not self._arrived:
            return False
        self._own()
        for uid in sorted(self._arrived):
            self._uids.append(uid)
            self._rows.append(self._arrived[uid])
        self._arrived.clear()
        return True

    def take_keywords(self) -> bool:
        """Whether the list of FLAGS grew since it was sent."""
        grown, self._new_keywords = self._new_keywords, False
        return grown

    def take_changes(self) -> list[SeqNum]:
        """The messages whose flags others changed, ascending; those gone need no word."""
        changed = sorted(self._changed - self._gone)
        self._changed &= self._gone
        return [n for uid in changed if (n := self.find(uid)) is not None]


def _numbers(first: int, last: int) -> Iterable[SeqNum]:
    return cast(Iterable[SeqNum], range(first, last + 1))
