"""The inbox: a leased queue of mail which the MX sealed, from delivery to the client's acknowledgement.

Invariants:
* `deliver` answers after everything of the call is on disk; a repeated (submission, recipient) is left out.
* A claimed item is given to nobody else until its lease ends; only `ack` removes it.
* Items leave in the order of their arrival, whoever claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence

from leap.provider.contract import SUBMISSION_MEMORY, Delivery, UnknownAccount, normal_address
from leap.provider.errors import TooLarge
from leap.provider.storage.blobs import write_sealed
from leap.provider.storage.files import FileStore
from leap.provider.storage.orphans import remove_unnamed
from leap.provider.storage.room import Room
from leap.soledad.sqlite import Connection, Database
from leap.soledad.wire import MAX_CLAIM_BYTES, InboxClaim, InboxItem, InboxItems

INLINE_BYTES = 256 * 1024  # most mail goes without a file of its own: two fsyncs less each
MAX_CLAIM_ITEMS = 1000
MAX_LEASE = 3600  # seconds; a device that needs longer claims again
MAX_IDS = 1000

_log = logging.getLogger(__name__)


class Inbox:
    """The inboxes of all accounts; `account` is the number of one."""

    def __init__(
        self,
        db: Database,
        files: FileStore,
        room: Room,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._room = room
        self._files = files
        self._now = now

    async def deliver(self, deliveries: Sequence[Delivery]) -> dict[int, int]:
        """Stores all or nothing; answers how many wait now in each inbox that got something.

        Raises UnknownAccount, StoreFull.
        """
        self._room.need(sum(len(delivery.sealed) for delivery in deliveries))
        files = await self._write_files(deliveries)
        now = int(self._now())

        def job(connection: Connection) -> tuple[dict[int, int], list[str]]:
            touched: set[int] = set()
            unneeded: list[str] = []
            for delivery, file in zip(deliveries, files, strict=True):
                account = _account_number(connection, delivery.account_id)
                if _delivered_before(connection, delivery, now):
                    if file is not None:
                        unneeded.append(file)
                    continue
                connection.execute(
                    "INSERT INTO inbox (account, inbox_id, key_id, received, size, file, sealed)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        account,
                        secrets.token_hex(16),
                        delivery.key_id,
                        now,
                        len(delivery.sealed),
                        file,
                        delivery.sealed if file is None else None,
                    ),
                )
                touched.add(account)
            return {account: _waiting(connection, account, now) for account in touched}, unneeded

        try:
            waiting, unneeded = await self._db.write(job, durable=True)
        except Exception:  # not on cancellation: then the job may still be committed
            written = [file for file in files if file is not None]
            if written:
                await remove_unnamed(self._db, self._files, written)
            raise
        await self._remove(unneeded)
        return waiting

    async def claim(
        self, account: int, request: InboxClaim, device_id: str | None = None
    ) -> InboxItems:
        """Leases the oldest free items; `waiting` counts those still free afterwards.

        A device takes one batch at a time, so what it leased before is free for itself: after a crash it goes
        on at once, not when the lease ends.
        """
        now = int(self._now())
        until = now + min(max(request.ttl, 1), MAX_LEASE)
        limit = min(max(request.limit, 1), MAX_CLAIM_ITEMS)
        max_bytes = min(request.max_bytes, MAX_CLAIM_BYTES)

        def job(connection: Connection) -> tuple[list[tuple[InboxItem, str | None]], int]:
            taken: list[tuple[InboxItem, str | None]] = []
            positions: list[tuple[int, str | None, int]] = []
            size = 0
            for position, inbox_id, key_id, received, length, file, sealed in connection.execute(
                "SELECT position, inbox_id, key_id, received, size, file, sealed FROM inbox"
                " WHERE account = ? AND (leased_until <= ? OR leased_by = ?) ORDER BY position LIMIT ?",
                (account, now, device_id, limit),
            ):
                size += length
                if taken and size > max_bytes:
                    break
                positions.append((until, device_id, position))
                item = InboxItem(
                    inbox_id=inbox_id, key_id=key_id, sealed=sealed or b"", received=received
                )
                taken.append((item, file))
            connection.executemany(
                "UPDATE inbox SET leased_until = ?, leased_by = ? WHERE position = ?", positions
            )
            return taken, _waiting(connection, account, now)

        taken, waiting = await self._db.write(job)
        if any(file is not None for _, file in taken):
            items = await asyncio.to_thread(self._read_files, taken)
        else:
            items = [item for item, _ in taken]
        return InboxItems(items=items, waiting=waiting)

    async def ack(self, account: int, inbox_ids: Sequence[str]) -> None:
        """Removes items for good, durably; those which are gone already are fine."""
        _check_ids(inbox_ids)

        def job(connection: Connection) -> list[str]:
            files: list[str] = []
            for inbox_id in inbox_ids:
                for (file,) in connection.execute(
                    "DELETE FROM inbox WHERE account = ? AND inbox_id = ? RETURNING file",
                    (account, inbox_id),
                ).fetchall():
                    if file is not None:
                        files.append(file)
            return files

        await self._remove(await self._db.write(job, durable=True))

    async def release(self, account: int, inbox_ids: Sequence[str]) -> int:
        """Ends leases early; answers how many items are free now."""
        _check_ids(inbox_ids)
        now = int(self._now())

        def job(connection: Connection) -> int:
            connection.executemany(
                "UPDATE inbox SET leased_until = 0, leased_by = NULL WHERE account = ? AND inbox_id = ?",
                [(account, inbox_id) for inbox_id in inbox_ids],
            )
            return _waiting(connection, account, now)

        return await self._db.write(job)

    async def waiting(self, account: int) -> int:
        """How many items are free to be claimed."""
        now = int(self._now())
        return await self._db.read(lambda connection: _waiting(connection, account, now))

    async def forget_submissions(self) -> int:
        """Forgets submission ids older than `SUBMISSION_MEMORY`; how many."""
        before = int(self._now()) - SUBMISSION_MEMORY
        return await self._db.write(
            lambda connection: (
                connection.execute("DELETE FROM delivered WHERE at < ?", (before,)).rowcount
            )
        )

    # -- files ----------------------------------------------------------------------------------

    async def _write_files(self, deliveries: Sequence[Delivery]) -> list[str | None]:
        if all(len(delivery.sealed) < INLINE_BYTES for delivery in deliveries):
            return [None] * len(deliveries)

        def write() -> list[str | None]:
            files: list[str | None] = []
            with contextlib.ExitStack() as on_failure:
                for delivery in deliveries:
                    file = None
                    if len(delivery.sealed) >= INLINE_BYTES:
                        file = write_sealed(self._files, delivery.sealed)
                        on_failure.callback(self._files.remove, file)
                    files.append(file)
                on_failure.pop_all()
            return files

        return await asyncio.to_thread(write)

    def _read_files(self, taken: Sequence[tuple[InboxItem, str | None]]) -> list[InboxItem]:
        items: list[InboxItem] = []
        for item, file in taken:
            if file is None:
                items.append(item)
                continue
            try:
                sealed = self._files.read(file)
            except OSError as error:
                # It stays leased and comes again; the others must not wait behind it.
                _log.error("an inbox item cannot be read: %s", error.strerror)
                continue
            items.append(
                InboxItem(
                    inbox_id=item.inbox_id,
                    key_id=item.key_id,
                    sealed=sealed,
                    received=item.received,
                )
            )
        return items

    async def _remove(self, files: Sequence[str]) -> None:
        def remove() -> None:
            for file in files:
                with contextlib.suppress(OSError):  # the sweep at the next start finds it
                    self._files.remove(file)

        if files:
            await asyncio.to_thread(remove)


def _check_ids(inbox_ids: Sequence[str]) -> None:
    if len(inbox_ids) > MAX_IDS:
        raise TooLarge(f"a request names at most {MAX_IDS} inbox items")


def _account_number(connection: Connection, account_id: str) -> int:
    row = connection.execute(
        "SELECT number FROM account WHERE account_id = ?", (account_id,)
    ).fetchone()
    if row is None:
        raise UnknownAccount("the account of a delivery does not exist")
    return int(row[0])


def _delivered_before(connection: Connection, delivery: Delivery, now: int) -> bool:
    """Remembers the submission; True when it was remembered already."""
    if delivery.submission is None:
        return False
    remembered = connection.execute(
        "INSERT INTO delivered (submission, recipient, at) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET at = excluded.at WHERE at < ?",
        (
            delivery.submission,
            normal_address(delivery.recipient),
            now,
            now - SUBMISSION_MEMORY,
        ),
    ).rowcount
    return remembered == 0


def _waiting(connection: Connection, account: int, now: int) -> int:
    row = connection.execute(
        "SELECT count(*) FROM inbox WHERE account = ? AND leased_until <= ?", (account, now)
    ).fetchone()
    return int(row[0])
