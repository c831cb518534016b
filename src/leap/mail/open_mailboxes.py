"""What is asked of mailboxes again and again, kept in memory while nothing changes it.

Mail programs ask for the status of a mailbox with every NOOP, and for the rows of one whenever they open it; several
sessions of one mailbox share its rows.

Invariants:
* An answer is as new as every change that was committed, and told of, before the question; and as every answer before.
* What was read while a change came is answered, but not kept.
* Rows follow changes by what changed; at most `KEPT_ROWS` are kept, those of the mailbox opened last in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from leap.mail import listing
from leap.mail.contract import (
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageRow,
    ModSeq,
    NoSuchMailbox,
    Uid,
)
from leap.mail.expunged import read_expunged
from leap.mail.mailboxes import Directory
from leap.mail.row_list import RowList
from leap.soledad.sqlite import Connection

T = TypeVar("T")
KEPT_ROWS = 150_000  # about 350 octets each
KEPT_GONE = 50_000  # uids that went of each of them, as many as the store remembers
LARGE = 5_000  # messages: smaller mailboxes are read in the time of a blink when they are opened


Gone = tuple[tuple[ModSeq, Sequence[Uid]], ...]  # uids that went, and the modseq at which


class _Opened(NamedTuple):
    rows: RowList
    uid_validity: int
    modseq: ModSeq
    seen: int  # how many changes had been told of when it was read
    gone: Gone = ()  # what went since
    gone_since: ModSeq = ModSeq(0)  # this modseq


class OpenMailboxes:
    """Reads through `read`, which runs a job on one snapshot; must be told of every change."""

    def __init__(
        self,
        read: Callable[[Callable[[Connection], Any]], Awaitable[Any]],
        directory: Callable[[Connection], Directory],
    ) -> None:
        self._read = read
        self._directory = directory
        self._changes = 0
        self._changed: dict[MailboxId, int] = {}  # the number of the last change of each
        self._list_changed = 0
        self._mailboxes: dict[MailboxId, MailboxInfo] | None = None
        self._statuses: dict[MailboxId, MailboxStatus] = {}
        # The highest that was answered of each: a reader may see a commit before it is told of here
        self._answered: dict[MailboxId, ModSeq] = {}
        self._opened: dict[MailboxId, _Opened] = {}  # the one asked for last comes last
        self._turns: dict[MailboxId, asyncio.Lock] = {}

    # -- changes

    def changed(self, mailbox_id: MailboxId, modseq: ModSeq | None = None) -> None:
        """Nothing is new when all up to `modseq` is known already."""
        if modseq is not None and self._knows(mailbox_id, modseq):
            return
        self._changes += 1
        self._changed[mailbox_id] = self._changes
        self._statuses.pop(mailbox_id, None)

    def _knows(self, mailbox_id: MailboxId, modseq: ModSeq) -> bool:
        opened, status = self._opened.get(mailbox_id), self._statuses.get(mailbox_id)
        return (
            opened is not None
            and status is not None
            and min(opened.modseq, status.highest_modseq) >= modseq
        )

    def followed(
        self, before: RowList, rows: RowList, status: MailboxStatus, gone: Sequence[Uid]
    ) -> None:
        """A mailbox of which `before` are the rows has these now; `gone` are the uids that went."""
        mailbox_id = status.mailbox_id
        opened = self._opened.get(mailbox_id)
        known = opened is not None and opened.rows is before
        self.changed(mailbox_id)
        if opened is None or not known:
            return
        modseq, since = status.highest_modseq, opened.gone_since
        kept: Gone = (*opened.gone, (modseq, gone)) if gone else opened.gone
        if sum(len(uids) for _, uids in kept) > KEPT_GONE:
            kept, since = (), modseq
        self._opened[mailbox_id] = _Opened(
            rows, status.uid_validity, modseq, self._changes, kept, since
        )
        self._statuses[mailbox_id] = status

    def list_changed(self) -> None:
        """Mailboxes came, went or were renamed."""
        self._changes += 1
        self._list_changed = self._changes
        self._mailboxes = None
        self._statuses.clear()

    def forget(self) -> None:
        """Everything may be different."""
        self.list_changed()
        self._opened.clear()
        self._answered.clear()

    def _last_change(self, mailbox_id: MailboxId) -> int:
        return max(self._list_changed, self._changed.get(mailbox_id, 0))

    # -- questions

    async def mailboxes(self) -> dict[MailboxId, MailboxInfo]:
        """By id, in the order of lists; not to be changed."""
        if self._mailboxes is not None:
            return self._mailboxes
        seen = self._changes
        shown = dict((await self._read(self._directory)).shown)
        if self._list_changed <= seen:
            self._mailboxes = shown
        return shown

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
        """Raises NoSuchMailbox."""
        found = self._statuses.get(mailbox_id)
        if found is not None:
            return found
        seen = self._changes
        statuses: dict[MailboxId, MailboxStatus] = await self._read(self._read_statuses)
        for one, status in statuses.items():
            newest = status.highest_modseq >= self._answered.get(one, 0)
            if newest:
                self._answered[one] = status.highest_modseq
                if self._last_change(one) <= seen:
                    self._statuses[one] = status
        if mailbox_id not in statuses:
            raise NoSuchMailbox("There is no such mailbox.")
        return statuses[mailbox_id]

    def _read_statuses(self, connection: Connection) -> dict[MailboxId, MailboxStatus]:
        """Of all mailboxes: one question costs little more than one of them, and lists ask for all."""
        shown = self._directory(connection).shown
        return {
            one.mailbox_id: one
            for one in listing.read_statuses(connection)
            if one.mailbox_id in shown
        }

    def none_recent(self, mailbox_id: MailboxId) -> bool:
        """Whether it is known that no message waits to be claimed as \\Recent."""
        found = self._statuses.get(mailbox_id)
        return found is not None and not found.recent

    def is_open(self, mailbox_id: MailboxId) -> bool:
        """Whether its rows are kept, perhaps as they were before the last change."""
        return mailbox_id in self._opened

    async def at_hand(self, mailbox_id: MailboxId) -> tuple[RowList, MailboxStatus] | None:
        """Rows and status of one moment, of a mailbox that is open. Raises NoSuchMailbox."""
        if mailbox_id not in self._opened:
            return None
        await self.rows(mailbox_id)
        await self.status(mailbox_id)
        opened = self._current(mailbox_id)
        return None if opened is None else (opened.rows, self._statuses[mailbox_id])

    def _current(self, mailbox_id: MailboxId) -> _Opened | None:
        """What is kept of a mailbox, when nothing newer was answered of it, nor told."""
        opened, status = self._opened.get(mailbox_id), self._statuses.get(mailbox_id)
        if opened is None or status is None or not self._is_newest(opened, mailbox_id):
            return None
        same = (opened.uid_validity, opened.modseq) == (status.uid_validity, status.highest_modseq)
        return opened if same else None

    def _is_newest(self, opened: _Opened, mailbox_id: MailboxId) -> bool:
        return opened.seen >= self._last_change(mailbox_id) and opened.modseq >= self._answered.get(
            mailbox_id, 0
        )

    def find_changed(self, mailbox_id: MailboxId, since: ModSeq) -> list[MessageRow] | None:
        """The rows that changed since a modseq, ascending by uid; None when they have to be read."""
        opened = self._current(mailbox_id)
        return None if opened is None else [row for row in opened.rows if row.modseq > since]

    def find_gone(self, mailbox_id: MailboxId, since: ModSeq) -> list[Uid] | None:
        """The uids that went since a modseq, ascending; None when they have to be read."""
        opened = self._current(mailbox_id)
        if opened is None or since < opened.gone_since:
            return None
        found = [uids for modseq, uids in opened.gone if modseq > since]
        return list(found[0]) if len(found) == 1 else sorted(chain.from_iterable(found))

    async def rows(self, mailbox_id: MailboxId) -> RowList:
        """All rows of a mailbox; not to be changed. Raises NoSuchMailbox."""
        turn = self._turns.setdefault(mailbox_id, asyncio.Lock())
        async with turn:
            opened = self._opened.pop(mailbox_id, None)
            if opened is None or not self._is_newest(opened, mailbox_id):
                seen = self._changes
                opened = await self._read(lambda c: self._follow(c, mailbox_id, opened, seen))
            self._opened[mailbox_id] = opened
            self._make_room()
        return opened.rows

    def _follow(
        self, connection: Connection, mailbox_id: MailboxId, known: _Opened | None, seen: int
    ) -> _Opened:
        self._directory(connection).require(mailbox_id)
        status = listing.read_status(connection, mailbox_id)
        modseq, validity = status.highest_modseq, status.uid_validity
        if known is None or known.uid_validity != validity:
            rows = RowList(listing.read_rows(connection, mailbox_id, Uid(1), None, ModSeq(0)))
        elif known.modseq == modseq:
            return known._replace(seen=seen)
        else:
            gone = read_expunged(connection, mailbox_id, known.modseq)
            changed = listing.read_rows(connection, mailbox_id, Uid(1), None, known.modseq)
            rows = known.rows.followed(changed, gone)
        return _Opened(rows, validity, modseq, seen, gone_since=modseq)

    async def read_large(self) -> None:
        """Reads the rows of large mailboxes, the largest first, as many as are kept, before somebody opens them."""
        statuses = (await self._read(self._read_statuses)).values()
        left = KEPT_ROWS
        for status in sorted(statuses, key=lambda one: -one.messages):
            if status.messages < LARGE:
                return
            if status.messages <= left:
                left -= status.messages
                await self.rows(status.mailbox_id)

    def _make_room(self) -> None:
        total = sum(len(opened.rows) for opened in self._opened.values())
        while total > KEPT_ROWS and len(self._opened) > 1:
            total -= len(self._opened.pop(next(iter(self._opened))).rows)
