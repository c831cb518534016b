"""What an account on Soledad answers from its tables and contents, without changing anything but what was seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from leap.mail import listing
from leap.mail.answers import PartTree, QueryCount
from leap.mail.contract import (
    FoundMessage,
    MailboxId,
    MailboxStatus,
    MessageId,
    MessageMetadata,
    MessageRow,
    ModSeq,
    RowId,
    SearchedText,
    SearchResult,
    Uid,
)
from leap.mail.deriving import Deriving
from leap.mail.expunged import read_expunged
from leap.mail.open_mailboxes import OpenMailboxes
from leap.mail.projection import (
    DirectoryReader,
)
from leap.mail.reading import MessageReader
from leap.mail.search.searching import Searching
from leap.mail.storing import (
    account_errors,
)
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

T = TypeVar("T")


class LocalReading:
    """A part of `LocalAccount`."""

    store: Soledad
    deriving: Deriving
    _open_mailboxes: OpenMailboxes
    _reader: MessageReader
    _searching: Searching
    _directory: DirectoryReader

    def _check_open(self) -> None:
        raise NotImplementedError

    async def _read(self, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
        self._check_open()
        return await self._open_mailboxes.status(mailbox_id)

    async def rows(
        self,
        mailbox_id: MailboxId,
        *,
        first: Uid = Uid(1),
        last: Uid | None = None,
        changed_since: ModSeq = ModSeq(0),
    ) -> list[MessageRow]:
        if first <= 1 and last is None and not changed_since:
            self._check_open()
            return await self._open_mailboxes.rows(mailbox_id)
        if first <= 1 and last is None:
            self._check_open()
            known = self._open_mailboxes.find_changed(mailbox_id, changed_since)
            if known is not None:
                return known

        def ask() -> Awaitable[list[MessageRow]]:
            return self._look(
                mailbox_id, lambda c: listing.read_rows(c, mailbox_id, first, last, changed_since)
            )

        if first <= 1 and last is None:
            return await self._open_mailboxes.since("rows", mailbox_id, changed_since, ask)
        return await ask()

    async def expunged(self, mailbox_id: MailboxId, since: ModSeq) -> list[Uid]:
        self._check_open()
        known = self._open_mailboxes.find_gone(mailbox_id, since)
        if known is not None:
            return known

        def ask() -> Awaitable[list[Uid]]:
            return self._look(mailbox_id, lambda c: read_expunged(c, mailbox_id, since))

        return await self._open_mailboxes.since("expunged", mailbox_id, since, ask)

    async def claim_recent(self, mailbox_id: MailboxId) -> list[Uid]:
        def job(connection: Connection) -> list[Uid]:
            self._directory.read(connection).require(mailbox_id)
            return listing.claim_recent(connection, mailbox_id)

        async def claim() -> list[Uid]:
            with account_errors():
                return await self.store.write(job)

        self._check_open()
        return await self._open_mailboxes.claim_recent(mailbox_id, claim)

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        self._check_open()
        return await self._reader.metadata(row_ids)

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
        self._check_open()
        return await self._reader.read(row_id, start, length)

    async def read_many(self, row_ids: Sequence[RowId]) -> list[bytes]:
        self._check_open()
        self.deriving.make_way()
        return await self._reader.read_many(row_ids)

    async def header_fields(self, row_ids: Sequence[RowId], names: Sequence[bytes]) -> list[bytes]:
        self._check_open()
        return await self._reader.header_fields(row_ids, names)

    async def read_original(self, row_id: RowId) -> bytes | None:
        self._check_open()
        ref = await self._reader.content_ref(row_id, "original")
        if ref is None:
            return None
        with account_errors():
            return await self.store.read_blob(ref)

    async def search_text(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        where: SearchedText,
        needle: str,
    ) -> list[Uid]:
        self._check_open()
        return await self._searching.search_text(mailbox_id, uids, where, needle)

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        self._check_open()
        return await self._searching.search_header(mailbox_id, uids, field, needle)

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        self._check_open()
        return await self._searching.search(query, limit, offset)

    async def count(self, query: str) -> QueryCount:
        self._check_open()
        return await self._searching.count(query)

    async def structure(self, row_id: RowId) -> PartTree:
        self._check_open()
        return await self._reader.structure(row_id)

    async def rows_of(self, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
        return await self._read(lambda c: listing.read_rows_of(c, message_ids))
