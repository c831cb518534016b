"""An account on Soledad: the `AccountBackend` that keeps mail on this machine and syncs it.

Invariants:
* What a method answers is committed. `append`, flags, moves and copies are atomic; `deliver` is durable too.
* Nothing here parses a message twice: what lists need is made when it is stored.
* The store belongs to whoever opened it; `close` ends the feed and the work in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from leap.keymanager.merges import MERGES as KEY_MERGES
from leap.mail import mailbox_documents, promised
from leap.mail.annotations.documents import ANNOTATIONS_TYPE
from leap.mail.annotations.local import LocalAnnotations
from leap.mail.changing import MessageChanges
from leap.mail.contract import (
    INBOX,
    AccountError,
    AccountUnavailable,
    Appended,
    Change,
    MailboxId,
    MailboxInfo,
    NewMessage,
    RowId,
    SecurityStatus,
    SyncStatus,
)
from leap.mail.deriving import Deriving
from leap.mail.feed import ChangeFeed
from leap.mail.flags import checked_flags, flags_text
from leap.mail.local_reading import LocalReading
from leap.mail.mailboxes import Directory
from leap.mail.model import (
    MAIL_ROWS,
    MAILBOX_TYPE,
)
from leap.mail.new_rows import Arrived as Arrived
from leap.mail.new_rows import new_row_id, row_values, was_there
from leap.mail.open_mailboxes import OpenMailboxes
from leap.mail.outbox_access import OutboxAccess, Outgoing
from leap.mail.projection import (
    DirectoryReader,
    MailboxChanged,
    MailboxListChanged,
    MailIndex,
    Report,
)
from leap.mail.promising import PromiseMade, Promising
from leap.mail.reading import MessageReader
from leap.mail.replacing import Replacing
from leap.mail.save_dates import LocalSaveDates
from leap.mail.search.forgetting import Forgetting
from leap.mail.search.searching import Searching
from leap.mail.sorting.local import LocalSorting, Worked
from leap.mail.space import LocalSpace
from leap.mail.storing import (
    LOCAL,
    MAX_SERVED_BYTES,
    Prepared,
    Preparing,
    account_errors,
    keep_all,
)
from leap.mail.threads.local import LocalThreads
from leap.soledad.changes import ChangeSet, Projection, Rebuilt, RowChange, RowsDeleted
from leap.soledad.rows import RowSchema
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

T = TypeVar("T")


class Syncing(Protocol):
    """What the account asks of whoever syncs its store."""

    async def sync_now(self) -> None: ...
    async def sync_status(self) -> SyncStatus: ...


async def open_mail_store(
    path: Path,
    key: bytes,
    *,
    rows: Sequence[RowSchema] = (),
    projections: Sequence[Projection] = (),
    schema: Callable[[Connection], None] | None = None,
    now: Callable[[], float] = time.time,
) -> Soledad:
    """A Soledad store which knows mail, and what the caller adds. Raises what `Soledad.open` raises."""
    return await Soledad.open(
        path,
        key,
        rows=(MAIL_ROWS, *rows),
        projections=(MailIndex(now=now), *projections),
        merges={MAILBOX_TYPE: "fields", ANNOTATIONS_TYPE: "fields", **KEY_MERGES},
        promised={promised.KIND: promised.keep},
        schema=schema,
        now=now,
    )


class LocalAccount(
    LocalReading,
    MessageChanges,
    Replacing,
    OutboxAccess,
    LocalThreads,
    LocalSorting,
    LocalSaveDates,
    LocalSpace,
    LocalAnnotations,
):
    """One account on this machine (`leap.mail.contract.AccountBackend`)."""

    def __init__(
        self,
        store: Soledad,
        address: str,
        outbox: Outgoing | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """In a store opened with `open_mail_store`, on a running event loop; `open` does the same."""
        self.store = store
        self._address = address
        self._outbox = outbox
        self._now = now
        self._sync: Syncing | None = None
        self._feed = ChangeFeed()
        self.deriving = Deriving(store)
        self._behind = self.deriving.threads
        self._forgetting = Forgetting(store)
        on_read = self.deriving.words.follow
        self._searching = Searching(store, on_read, self.deriving.before_searching)
        self._reader = MessageReader(store, on_read)
        self._preparing = Preparing(store)
        self._directory = DirectoryReader()
        self._worked = Worked.nothing()
        self._open_mailboxes = OpenMailboxes(self._read, self._directory.read)
        self._promising = Promising(store, self._open_mailboxes, self._directory)
        self._closed = False
        self._unsubscribe = [store.on_change(self._follow)]
        if outbox is not None:
            self._unsubscribe.append(outbox.on_progress(self._follow_outbox))
        self._reader.start()
        self.deriving.start()
        self._forgetting.start()
        self._reading_large = asyncio.create_task(self._read_large(), name="large mailboxes")

    @classmethod
    async def open(
        cls,
        store: Soledad,
        address: str,
        *,
        outbox: Outgoing | None = None,
        now: Callable[[], float] = time.time,
    ) -> LocalAccount:
        """The account in a store opened with `open_mail_store`."""
        return cls(store, address, outbox, now=now)

    @property
    def address(self) -> str:
        return self._address

    @property
    def outgoing(self) -> Outgoing | None:
        """The way out; without one `submit` is refused."""
        return self._outbox

    def attach_sync(self, sync: Syncing | None) -> None:
        """Who syncs the store; without it the account is offline."""
        self._sync = sync

    # -- mailboxes

    async def list_mailboxes(self) -> list[MailboxInfo]:
        self._check_open()
        return list((await self._open_mailboxes.mailboxes()).values())

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        return await self._edit(
            lambda tx, directory: mailbox_documents.create(tx, directory, name, special_use)
        )

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        await self._edit(
            lambda tx, directory: mailbox_documents.rename(tx, directory, mailbox_id, name)
        )

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        await self._edit(lambda tx, directory: mailbox_documents.delete(tx, directory, mailbox_id))

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        await self._edit(
            lambda tx, directory: mailbox_documents.set_subscribed(
                tx, directory, mailbox_id, subscribed
            )
        )

    # -- adding

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        flags = [flags_text(checked_flags(message.flags)) for message in messages]
        if not messages:
            await self._look(mailbox_id, lambda _: None)
            return []
        self._check_open()
        await self.deriving.before_adding()
        with account_errors():
            prepared = await self._preparing.all([message.raw for message in messages], LOCAL)
        report = Report()
        row_ids = [new_row_id() for _ in messages]
        now = int(self._now())

        def job(tx: Transaction, directory: Directory) -> None:
            directory.require(mailbox_id)
            tx.tags.add(report)
            dates = [
                now if message.internal_date is None else message.internal_date
                for message in messages
            ]
            kept = keep_all(tx, prepared)
            tx.insert_rows(
                MAIL_ROWS.name,
                [
                    (row_id, row_values(row_id, fixed, mailbox_id, text, date, message.zone))
                    for row_id, message, fixed, text, date in zip(
                        row_ids, messages, kept, flags, dates, strict=True
                    )
                ],
            )

        await self._edit(job)
        placed = (report.placed[row_id] for row_id in row_ids)
        return [
            Appended(row_id=row_id, uid=placement.uid, uid_validity=placement.uid_validity)
            for row_id, placement in zip(row_ids, placed, strict=True)
        ]

    async def deliver(
        self,
        served: bytes,
        *,
        row_id: RowId,
        security: SecurityStatus,
        original: bytes | None,
        internal_date: int,
        zone: int = 0,
        mailbox: MailboxId = INBOX,
        flags: Sequence[str] = (),
        also: Callable[[Transaction], None] | None = None,
    ) -> bool:
        """Stores incoming mail durably under an id the caller computed; False if it was there before, or was
        and has been deleted. `also` runs in the same transaction when the mail is stored.

        Raises TooLarge, StorageFull; then nothing was stored.
        """
        text = flags_text(checked_flags(flags))
        if await self._read(lambda connection: was_there(connection, row_id)):
            return False
        with account_errors():
            made: Prepared = await self._preparing.one(
                served, security, original, limit=MAX_SERVED_BYTES
            )

        def job(tx: Transaction, _: Directory) -> bool:
            if was_there(tx.connection, row_id):
                return False
            [fixed] = keep_all(tx, [made])
            values = row_values(row_id, fixed, mailbox, text, internal_date, zone)
            tx.insert_row(MAIL_ROWS.name, row_id, values)
            if also is not None:
                also(tx)
            return True

        return await self._edit(job, durable=True)

    async def deliver_all(
        self, arrived: Sequence[Arrived], also: Callable[[Transaction], None]
    ) -> None:
        """Stores prepared mail in INBOX, all of it in one durable transaction, in which `also` runs too.

        What was there before, or was and has been deleted, is passed over. Raises StorageFull; then nothing was
        stored.
        """

        def job(tx: Transaction, _: Directory) -> None:
            new = {
                one.row_id: one for one in arrived if not was_there(tx.connection, one.row_id)
            }.values()
            kept = keep_all(tx, [one.prepared for one in new])
            tx.insert_rows(
                MAIL_ROWS.name,
                [
                    (one.row_id, row_values(one.row_id, fixed, INBOX, "", one.internal_date, 0))
                    for one, fixed in zip(new, kept, strict=True)
                ],
            )
            also(tx)

        await self._edit(job, durable=True)

    # -- the account as a whole

    def look_for_headers(self) -> None:
        """Many messages came in by another way than `append`, or the index is new: opens their header records and
        indexes their texts in the background."""
        self._open_mailboxes.forget()
        self._reader.more_arrived()
        self.deriving.words.look_through_all()

    def changes(self) -> AsyncIterator[Change]:
        return self._feed.open()

    def _follow(self, changes: ChangeSet) -> None:
        """Called on the loop after each COMMIT."""
        self.deriving.follow(changes)
        if Rebuilt() in changes.tags:
            self._open_mailboxes.forget()
            self._feed.announce("mailboxes")
        if MailboxListChanged() in changes.tags:
            self._open_mailboxes.list_changed()
            self._feed.announce("mailboxes")
        for document in changes.docs:
            self._tell_annotations(document)
        for tag in changes.tags:
            if isinstance(tag, MailboxChanged):
                self._open_mailboxes.changed(tag.mailbox_id, tag.modseq)
                self._feed.announce("messages", tag.mailbox_id, tag.modseq)
            elif isinstance(tag, PromiseMade):
                self._follow_promise(tag)
        self._reader.forget(
            RowId(change.row_id) for change in changes.rows if _shows_another(change)
        )
        for many in changes.bulk:
            if isinstance(many, RowsDeleted):
                self._reader.forget(map(RowId, many.row_ids))
        if changes.from_sync:
            self._reader.more_arrived()

    def _follow_promise(self, made: PromiseMade) -> None:
        status = made.status
        if made.rows is not made.before:
            self._open_mailboxes.followed(made.before, made.rows, status, made.gone)
            self._feed.announce("messages", made.mailbox_id, status.highest_modseq)
        if made.target is not None:
            self._open_mailboxes.changed(made.target)
            self._feed.announce("messages", made.target, made.target_modseq)

    def _follow_outbox(self, outbox_id: str) -> None:
        self._feed.announce("outbox", outbox_id=outbox_id)

    def announce_sync(self) -> None:
        """Whoever syncs the store says that `sync_status` answers something new."""
        self._feed.announce("sync")

    def _way_out(self) -> Outgoing | None:
        self._check_open()
        return self._outbox

    async def sync_now(self) -> None:
        self._check_open()
        if self._sync is not None:
            await self._sync.sync_now()

    async def sync_status(self) -> SyncStatus:
        self._check_open()
        if self._sync is not None:
            return await self._sync.sync_status()
        return SyncStatus(
            online=False,
            provisional=False,
            last_sync=None,
            pending=0,
            blobs_to_send=0,
            blobs_to_fetch=0,
        )

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._feed.end()
        self._reading_large.cancel()
        await asyncio.gather(self._reading_large, return_exceptions=True)
        await self._reader.close()
        await self.deriving.close()
        await self._forgetting.close()

    async def _read_large(self) -> None:
        """In the background: what cannot be read now is read, or fails, when it is asked for."""
        with contextlib.suppress(AccountError):
            await self._open_mailboxes.read_large()

    def _check_open(self) -> None:
        if self._closed:
            raise AccountUnavailable("The account is closed.")

    async def _read(self, job: Callable[[Connection], T]) -> T:
        self._check_open()
        with account_errors():
            return await self.store.read(job)

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        """Reads about a mailbox that is there. Raises NoSuchMailbox."""

        def run(connection: Connection) -> T:
            self._directory.read(connection).require(mailbox_id)
            return job(connection)

        return await self._read(run)

    async def _edit(
        self, job: Callable[[Transaction, Directory], T], *, durable: bool = False
    ) -> T:
        self._check_open()
        with account_errors():
            return await self.store.transact(
                lambda tx: job(tx, self._directory.read(tx.connection)), durable
            )


def _shows_another(change: RowChange) -> bool:
    """Whether a row shows no message any more, or another one."""
    before, after = change.before, change.after
    return before is not None and (after is None or after["header_id"] != before["header_id"])


class OwnedAccount(LocalAccount):
    """A LocalAccount whose store was opened for it, and is closed with it."""

    @classmethod
    async def open_path(cls, path: Path, key: bytes, address: str) -> OwnedAccount:
        """Opens the store at `path`. Raises what `Soledad.open` raises."""
        return cls(await open_mail_store(path, key), address)

    async def close(self) -> None:
        await super().close()
        await self.store.close()
