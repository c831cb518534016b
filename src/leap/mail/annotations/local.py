"""Annotations of an account on Soledad."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from leap.mail.annotations.documents import (
    annotated_place,
    entries_of,
    read_annotations,
    write_annotations,
)
from leap.mail.annotations.rules import changed_entries
from leap.mail.contract import MailboxId
from leap.mail.feed import ChangeFeed
from leap.mail.mailboxes import Directory
from leap.soledad.changes import DocChange
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction

T = TypeVar("T")


class LocalAnnotations:
    """A part of `LocalAccount`."""

    _feed: ChangeFeed

    async def _read(self, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def _edit(
        self, job: Callable[[Transaction, Directory], T], *, durable: bool = False
    ) -> T:
        raise NotImplementedError

    async def annotations(self, mailbox_id: MailboxId | None = None) -> dict[str, bytes]:
        def job(connection: Connection) -> dict[str, bytes]:
            return read_annotations(connection, mailbox_id)

        return await (self._read(job) if mailbox_id is None else self._look(mailbox_id, job))

    async def annotate(
        self, mailbox_id: MailboxId | None, values: Mapping[str, bytes | None]
    ) -> None:
        def job(tx: Transaction, directory: Directory) -> None:
            if mailbox_id is not None:
                directory.require(mailbox_id)
            write_annotations(tx, mailbox_id, values)

        await self._edit(job)

    def _tell_annotations(self, change: DocChange) -> None:
        """Announces what a document of annotations changed."""
        place = annotated_place(change.doc_id)
        if place is not None:
            entries = changed_entries(entries_of(change.before), entries_of(change.after))
            if entries:
                self._feed.announce("annotations", place[0], entries=entries)
