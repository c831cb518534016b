"""An account that a running daemon holds, over its unix socket: the third `AccountBackend`.

How calls and answers travel is `remote_connection`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.annotations.remote import RemoteAnnotations
from leap.mail.answers import AccountSpace, PartTree, QueryCount
from leap.mail.contract import (
    Appended,
    FlagOp,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageId,
    MessageMetadata,
    MessageRow,
    ModSeq,
    NewMessage,
    RowId,
    SearchedText,
    SearchResult,
    Stored,
    SyncStatus,
    Transferred,
    Uid,
)
from leap.mail.remote_connection import DaemonConnection
from leap.mail.remote_outbox import RemoteOutbox
from leap.mail.rpc_frames import INLINE_BODY
from leap.mail.sorting.remote import RemoteSorting
from leap.mail.threads.remote import RemoteThreads


class RemoteAccount(
    DaemonConnection, RemoteOutbox, RemoteThreads, RemoteSorting, RemoteAnnotations
):
    """One account, asked over the socket; made by `connect`."""

    async def list_mailboxes(self) -> list[MailboxInfo]:
        found: list[MailboxInfo] = await self._call("list_mailboxes")
        return found

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        made: MailboxInfo = await self._call("create_mailbox", name, special_use)
        return made

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        await self._call("rename_mailbox", mailbox_id, name)

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        await self._call("delete_mailbox", mailbox_id)

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        await self._call("set_subscribed", mailbox_id, subscribed)

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
        found: MailboxStatus = await self._call("status", mailbox_id)
        return found

    async def rows(
        self,
        mailbox_id: MailboxId,
        *,
        first: Uid = Uid(1),
        last: Uid | None = None,
        changed_since: ModSeq = ModSeq(0),
    ) -> list[MessageRow]:
        found: list[MessageRow] = await self._call("rows", mailbox_id, first, last, changed_since)
        return found

    async def expunged(self, mailbox_id: MailboxId, since: ModSeq) -> list[Uid]:
        found: list[Uid] = await self._call("expunged", mailbox_id, since)
        return found

    async def claim_recent(self, mailbox_id: MailboxId) -> list[Uid]:
        found: list[Uid] = await self._call("claim_recent", mailbox_id)
        return found

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        found: list[MessageMetadata] = await self._call("metadata", list(row_ids))
        return found

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
        found: bytes = await self._call("read", row_id, start, length)
        return found

    async def read_many(self, row_ids: Sequence[RowId]) -> list[bytes]:
        found: list[bytes] = await self._call("read_many", list(row_ids))
        return found

    async def header_fields(self, row_ids: Sequence[RowId], names: Sequence[bytes]) -> list[bytes]:
        found: list[bytes] = await self._call("header_fields", list(row_ids), list(names))
        return found

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        large = sum(len(message.raw) for message in messages) > INLINE_BODY
        made: list[Appended] = await self._call("append", mailbox_id, list(messages), large=large)
        return made

    async def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Sequence[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        done: Stored = await self._call(
            "store_flags", mailbox_id, list(uids), op, list(flags), unchanged_since
        )
        return done

    async def copy(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred:
        done: Transferred = await self._call("copy", mailbox_id, list(uids), target)
        return done

    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred:
        done: Transferred = await self._call("move", mailbox_id, list(uids), target)
        return done

    async def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None = None) -> list[Uid]:
        gone: list[Uid] = await self._call(
            "expunge", mailbox_id, None if uids is None else list(uids)
        )
        return gone

    async def search_text(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        where: SearchedText,
        needle: str,
    ) -> list[Uid]:
        found: list[Uid] = await self._call("search_text", mailbox_id, list(uids), where, needle)
        return found

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        found: list[Uid] = await self._call("search_header", mailbox_id, list(uids), field, needle)
        return found

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        result: SearchResult = await self._call("search", query, limit, offset)
        return result

    async def count(self, query: str) -> QueryCount:
        counted: QueryCount = await self._call("count", query)
        return counted

    async def read_original(self, row_id: RowId) -> bytes | None:
        original: bytes | None = await self._call("read_original", row_id)
        return original

    async def structure(self, row_id: RowId) -> PartTree:
        tree: PartTree = await self._call("structure", row_id)
        return tree

    async def rows_of(self, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
        found: list[FoundMessage] = await self._call("rows_of", list(message_ids))
        return found

    async def replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        target: MailboxId | None = None,
    ) -> Appended:
        large = len(message.raw) > INLINE_BODY
        made: Appended = await self._call("replace", mailbox_id, uid, message, target, large=large)
        return made

    async def save_dates(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> list[int | None]:
        found: list[int | None] = await self._call("save_dates", mailbox_id, list(uids))
        return found

    async def space(self) -> AccountSpace:
        found: AccountSpace = await self._call("space")
        return found

    async def sync_now(self) -> None:
        await self._call("sync_now")

    async def sync_status(self) -> SyncStatus:
        found: SyncStatus = await self._call("sync_status")
        return found
