"""Reports on mail of the outbox, put into INBOX for who wants to hear (RFC 3461 4.1).

A report's row id is derived from the entry: made again after a crash, it is the same message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from leap.mail.contract import INBOX, MailboxId, RowId, SecurityStatus
from leap.mail.outgoing.delivery_report import delivery_report
from leap.mail.outgoing.outbox_entries import Entry, RecipientState

DELAY = 4 * 3600.0  # seconds; the provider's queue tells of a delay as late as that, too


class Reports(Protocol):
    """Where a report goes: `LocalAccount`."""

    async def deliver(
        self,
        served: bytes,
        *,
        row_id: RowId,
        security: SecurityStatus,
        original: bytes | None,
        internal_date: int,
        mailbox: MailboxId,
    ) -> bool: ...


class Reporter:
    """`row_key` is the store's."""

    def __init__(
        self, reports: Reports, row_key: Callable[[bytes], str], now: Callable[[], float]
    ) -> None:
        self._reports = reports
        self._row_key = row_key
        self._now = now

    async def tell_failures(self, entry: Entry) -> None:
        """Of the recipients that failed, but for those of whom the sender wants to hear nothing."""
        failed = [
            one
            for one in entry.recipients
            if one.state == "failed" and entry.wishes.notice(one.address).wants("FAILURE")
        ]
        if failed:
            await self._report(entry, failed, delayed=False)

    async def tell_delay(self, entry: Entry, reason: str) -> bool:
        """Whether there is a delay to tell of, and it was told now.

        Only to who asked: here a mail often waits only because the device was away.
        """
        if entry.delay_told or self._now() - entry.created < DELAY:
            return False
        late = [
            one if one.reply else replace(one, reply=reason)
            for one in entry.recipients
            if one.state == "waiting" and entry.wishes.notice(one.address).asks_for("DELAY")
        ]
        if late:
            await self._report(entry, late, delayed=True)
        return bool(late)

    async def _report(
        self, entry: Entry, about: Sequence[RecipientState], *, delayed: bool
    ) -> None:
        now = self._now()
        kind = b"delay report " if delayed else b"delivery report "
        await self._reports.deliver(
            delivery_report(entry, about, now=now, delayed=delayed),
            row_id=RowId(self._row_key(kind + entry.outbox_id.encode())),
            security=SecurityStatus(encryption="local"),
            original=None,
            internal_date=int(now),
            mailbox=INBOX,
        )
