"""Threads and contacts of an account that a running daemon holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leap.mail.contacts.model import ContactUse
from leap.mail.contract import FoundMessage, MailboxId, RowId
from leap.mail.threads.model import ThreadId, ThreadSummary


class RemoteThreads:
    """A part of `RemoteAccount`."""

    async def _call(self, method: str, *arguments: Any, large: bool = False) -> Any:
        raise NotImplementedError

    async def thread_ids(self, row_ids: Sequence[RowId]) -> list[ThreadId]:
        found: list[ThreadId] = await self._call("thread_ids", list(row_ids))
        return found

    async def threads(
        self, mailbox_id: MailboxId | None = None, limit: int = 50, offset: int = 0
    ) -> list[ThreadSummary]:
        found: list[ThreadSummary] = await self._call("threads", mailbox_id, limit, offset)
        return found

    async def thread_rows(self, thread_id: ThreadId) -> list[FoundMessage]:
        found: list[FoundMessage] = await self._call("thread_rows", thread_id)
        return found

    async def contacts(self, prefix: str = "", limit: int = 20) -> list[ContactUse]:
        found: list[ContactUse] = await self._call("contacts", prefix, limit)
        return found
