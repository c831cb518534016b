"""Threads and contacts of an account on Soledad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from leap.keymanager.canonical import canonical
from leap.mail.contacts.counting import find_contacts
from leap.mail.contacts.model import ContactUse
from leap.mail.contract import ContentUnavailable, FoundMessage, MailboxId, NoSuchMessage, RowId
from leap.mail.reading import MessageReader
from leap.mail.threads.asking import find_thread_ids, read_thread, read_threads
from leap.mail.threads.behind import FollowingBehind
from leap.mail.threads.model import ThreadId, ThreadSummary
from leap.soledad.sqlite import Connection

T = TypeVar("T")


class LocalThreads:
    """A part of `LocalAccount`."""

    _reader: MessageReader
    _behind: FollowingBehind

    @property
    def address(self) -> str:
        raise NotImplementedError

    async def _read(self, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def thread_ids(self, row_ids: Sequence[RowId]) -> list[ThreadId]:
        await self._behind.catch_up()
        for _ in range(2):
            found = await self._read(lambda connection: find_thread_ids(connection, row_ids))
            if any(one.gone for one in found):
                raise NoSuchMessage("The message was expunged.")
            absent = [
                row_id for row_id, one in zip(row_ids, found, strict=True) if not one.thread_id
            ]
            if not absent:
                return [one.thread_id for one in found]
            await self._reader.open_headers(absent)
        raise ContentUnavailable("A message's header record cannot be found.")

    async def threads(
        self, mailbox_id: MailboxId | None = None, limit: int = 50, offset: int = 0
    ) -> list[ThreadSummary]:
        await self._behind.catch_up()

        def job(connection: Connection) -> list[ThreadSummary]:
            return read_threads(connection, mailbox_id, limit, offset)

        return await (self._read(job) if mailbox_id is None else self._look(mailbox_id, job))

    async def thread_rows(self, thread_id: ThreadId) -> list[FoundMessage]:
        await self._behind.catch_up()
        return await self._read(lambda connection: read_thread(connection, thread_id))

    async def contacts(self, prefix: str = "", limit: int = 20) -> list[ContactUse]:
        await self._behind.catch_up()
        own = canonical(self.address)
        return await self._read(lambda connection: find_contacts(connection, prefix, limit, own))
