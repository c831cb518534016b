"""Changes of many messages of a mailbox whose rows are in memory: answered from there, and promised to the store.

Each method answers None where the change has to be made the other way (`changing`): the mailbox is not in memory, or
changed just now, or the answer does not follow from what is in memory.

Invariant: memory follows a promise when its record is committed, before whoever asked is answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from msgspec.structs import replace

from leap.mail import promised
from leap.mail.contract import (
    FlagOp,
    MailboxId,
    MailboxStatus,
    ModSeq,
    Stored,
    Transferred,
    Uid,
)
from leap.mail.flags import flags_of
from leap.mail.open_mailboxes import OpenMailboxes
from leap.mail.projection import DirectoryReader
from leap.mail.promised import Outdated, Promised, Verb, set_change, spans_of
from leap.mail.row_list import RowList
from leap.soledad.rows import SetEdit
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

FEWEST = (
    200  # messages: what is less is done in the time of a blink, and in one commit instead of two
)
MOST = 20_000  # of more than that the event loop would be held up

_flags = attrgetter("flags")
_size = attrgetter("size")


@dataclass(frozen=True, eq=False)
class PromiseMade:
    """A tag of the store's change feed: a mailbox that had the rows `before` has others now; `target` changed, too."""

    mailbox_id: MailboxId
    before: RowList
    rows: RowList
    status: MailboxStatus
    gone: Sequence[Uid] = ()
    target: MailboxId | None = None
    target_modseq: ModSeq = ModSeq(0)


class _Hand:
    """Some messages of a mailbox in memory, and how it is."""

    def __init__(self, rows: RowList, status: MailboxStatus, places: Sequence[int]) -> None:
        self.rows = rows
        self.status = status
        self.places = places
        self.found = rows.at(places)
        self.uids = [row.uid for row in self.found]

    def change(self, verb: Verb, **more: Any) -> Promised:
        status = self.status
        return Promised(
            verb=verb,
            mailbox_id=status.mailbox_id,
            uid_validity=status.uid_validity,
            modseq=status.highest_modseq,
            spans=spans_of(self.places, self.uids),
            messages=len(self.found),
            **more,
        )

    def all_gone(self, **target: Any) -> PromiseMade:
        """When they went; none of the mailbox may be \\Recent."""
        kinds = Counter(map(_flags, self.found))
        unseen = sum(count for flags, count in kinds.items() if "\\Seen" not in flags)
        status = replace(
            self.status,
            messages=self.status.messages - len(self.found),
            unseen=self.status.unseen - unseen,
            size=self.status.size - sum(map(_size, self.found)),
            highest_modseq=ModSeq(self.status.highest_modseq + 1),
        )
        left = self.rows.without(self.places)
        return PromiseMade(
            self.status.mailbox_id, self.rows, left, status, tuple(self.uids), **target
        )


class Promising:
    """Of one account."""

    def __init__(self, store: Soledad, opened: OpenMailboxes, directory: DirectoryReader) -> None:
        self._store = store
        self._opened = opened
        self._directory = directory

    async def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: frozenset[str],
        unchanged_since: ModSeq | None,
    ) -> Stored | None:
        hand = await self._hand(mailbox_id, uids)
        if hand is None:
            return None
        found, status = hand.found, hand.status
        if unchanged_since is not None and any(row.modseq > unchanged_since for row in found):
            return None
        edit, unseen = set_change(op, flags), 0
        new: dict[tuple[str, ...], tuple[str, ...]] = {}  # by what they are: few, among many rows
        for old, count in Counter(map(_flags, found)).items():
            changed = flags_of(edit.applied(" ".join(old)) if isinstance(edit, SetEdit) else edit)
            if changed != old:
                new[old] = changed
                unseen += count * (("\\Seen" not in changed) - ("\\Seen" not in old))
        if not new:
            return Stored(rows=tuple(found))
        modseq = ModSeq(status.highest_modseq + 1)
        rows = [
            replace(row, modseq=modseq, flags=new[row.flags]) if row.flags in new else row
            for row in found
        ]
        after = replace(status, unseen=status.unseen + unseen, highest_modseq=modseq)
        made = PromiseMade(mailbox_id, hand.rows, hand.rows.replaced(hand.places, rows), after)
        kept = await self._promise(hand.change("store", op=op, flags=sorted(flags)), made)
        return Stored(rows=tuple(rows), modseq=modseq) if kept else None

    async def transfer(
        self,
        verb: Literal["copy", "move"],
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        target: MailboxId,
    ) -> Transferred | None:
        if mailbox_id == target or len(uids) < FEWEST or not self._opened.is_open(mailbox_id):
            return None
        there = await self._opened.status(target)
        hand = await self._hand(mailbox_id, uids)
        if hand is None:
            return None
        to: dict[str, Any] = {
            "target": target,
            "target_modseq": ModSeq(there.highest_modseq + 1),
        }
        if verb == "copy":
            made = PromiseMade(mailbox_id, hand.rows, hand.rows, hand.status, **to)
        elif not hand.status.recent:
            made = hand.all_gone(**to)
        else:
            return None
        first = there.uid_next
        change = hand.change(verb, target_validity=there.uid_validity, first_uid=first, **to)
        if not await self._promise(change, made):
            return None
        return Transferred(
            uid_validity=there.uid_validity,
            source=tuple(hand.uids),
            target=tuple(map(Uid, range(first, first + len(hand.uids)))),
        )

    async def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None) -> list[Uid] | None:
        hand = await self._hand(mailbox_id, uids, flag="\\Deleted")
        if hand is None or hand.status.recent:
            return None
        kept = await self._promise(hand.change("expunge"), hand.all_gone())
        return hand.uids if kept else None

    async def _hand(
        self, mailbox_id: MailboxId, uids: Sequence[Uid] | None, flag: str = ""
    ) -> _Hand | None:
        """Those messages, of them those with the flag; None when it is too few, too many, or not known."""
        if uids is not None and len(uids) < FEWEST:
            return None
        known = await self._opened.at_hand(mailbox_id)
        if known is None:
            return None
        rows, status = known
        places = range(len(rows)) if uids is None else rows.places(uids)
        if flag:
            places = rows.with_flag(places, flag)
        if not FEWEST <= len(places) <= MOST:
            return None
        return _Hand(rows, status, places)

    async def _promise(self, change: Promised, made: PromiseMade) -> bool:
        """False when the mailboxes are not, or not any more, as the change was worked out for."""

        def check(connection: Connection) -> PromiseMade:
            directory = self._directory.read(connection)
            directory.require(change.mailbox_id)
            if change.target:
                directory.require(change.target)
            promised.check(connection, change)
            return made

        try:
            await self._store.promise(promised.KIND, promised.encode(change), check)
        except Outdated:
            return False
        return True
