"""An account held in memory: the contract's plainest reading, for tests and for protocol work.

Invariants: uids ascend and are never reused; every visible change raises its mailbox's modseq by one step;
a change is announced only after it can be read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from leap.mail.answers import AccountSpace
from leap.mail.contract import Change, MailboxInfo, MessageRow, SyncStatus
from leap.mail.memory_outbox import MemoryOutbox
from leap.mail.memory_search import MemorySearch
from leap.mail.outbox_access import OutboxAccess
from leap.mail.sorting.memory import MemorySorting

EXPUNGED_KEPT = 50_000  # uids remembered of each mailbox; as `leap.mail.projection`


class MemoryAccount(OutboxAccess, MemorySearch, MemorySorting):
    """An `AccountBackend` which forgets everything when it goes."""

    def __init__(
        self,
        address: str = "alice@example.test",
        *,
        now: Callable[[], float] = time.time,
        first_uid_validity: int = 1,
        expunged_kept: int = EXPUNGED_KEPT,
    ) -> None:
        super().__init__(now, first_uid_validity, expunged_kept)
        self._address = address
        self._outbox = MemoryOutbox(address, now=now)
        self._outbox.on_progress(
            lambda outbox_id: self._feed.announce("outbox", outbox_id=outbox_id)
        )

    @property
    def address(self) -> str:
        return self._address

    def _way_out(self) -> MemoryOutbox:
        self._check_open()
        return self._outbox

    def _listed(self) -> list[tuple[MailboxInfo, MessageRow, bytes]]:
        self._check_open()
        return [
            (box.info, row, self._contents[row.row_id])
            for box in self._mailboxes.values()
            for row in box.rows.values()
        ]

    async def space(self) -> AccountSpace:
        sizes = [row.size for _, row, _ in self._listed()]
        return AccountSpace(used=sum(sizes), messages=len(sizes), free=None)

    def changes(self) -> AsyncIterator[Change]:
        return self._feed.open()

    async def sync_now(self) -> None:
        """Nothing is elsewhere."""

    async def sync_status(self) -> SyncStatus:
        return SyncStatus(
            online=True,
            provisional=False,
            last_sync=None,
            pending=0,
            blobs_to_send=0,
            blobs_to_fetch=0,
        )

    async def close(self) -> None:
        self._closed = True
        self._feed.end()
