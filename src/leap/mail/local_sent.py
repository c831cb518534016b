"""A mail program puts its copy into Sent when the outbox has put one there already: the program's takes its place.

What became of the mail (`sent_fields`) goes over to the new copy. The other order is `sent_copy`'s business.

Invariant: the outbox's copy goes in the transaction in which the program's comes; when it came or went since it was
looked for, all is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from leap.mail.contract import Appended, MailboxId, NewMessage, NoSuchMessage, RowId, Uid
from leap.mail.message.header import message_ids
from leap.mail.model import MAIL_ROWS
from leap.mail.open_mailboxes import OpenMailboxes
from leap.mail.outbox_access import Outgoing
from leap.mail.outgoing.field_lines import header_fields, values_of
from leap.mail.sent_fields import is_same_mail, joined_sent_fields
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction

T = TypeVar("T")
Drop = Callable[[Transaction], None]
TRIES = 3


class _Changed(Exception):
    """The outbox's copy came or went meanwhile."""


def nothing(tx: Transaction) -> None:
    """Drops no row."""


class LocalSent:
    """The part of `LocalAccount` that adds messages one at a time."""

    _outbox: Outgoing | None
    _open_mailboxes: OpenMailboxes

    async def _read(self, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def read(self, row_id: RowId) -> bytes:
        raise NotImplementedError

    async def _append(
        self, mailbox_id: MailboxId, messages: Sequence[NewMessage], drop: Drop
    ) -> list[Appended]:
        raise NotImplementedError

    async def _replace(
        self, mailbox_id: MailboxId, uid: Uid, message: NewMessage, into: MailboxId, drop: Drop
    ) -> Appended:
        raise NotImplementedError

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        if len(messages) == 1:
            for _ in range(TRIES):
                try:
                    message, drop = await self._joined(mailbox_id, messages[0])
                    return await self._append(mailbox_id, [message], drop)
                except _Changed:
                    continue
        return await self._append(mailbox_id, messages, nothing)

    async def replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        target: MailboxId | None = None,
    ) -> Appended:
        into = mailbox_id if target is None else target
        if into != mailbox_id:
            for _ in range(TRIES):
                try:
                    joined, drop = await self._joined(into, message)
                    return await self._replace(mailbox_id, uid, joined, into, drop)
                except _Changed:
                    continue
        return await self._replace(mailbox_id, uid, message, into, nothing)

    async def find_named(
        self, mailbox_id: MailboxId, message_id: str, newest: int
    ) -> list[tuple[Uid, RowId]]:
        """Which of the newest so many messages of a mailbox have this Message-ID, in their order."""
        end = (
            f'"{message_id}")'.encode()
        )  # RFC 9051 7.5.2: the Message-ID is the last of an envelope

        def job(connection: Connection) -> list[tuple[Uid, RowId]]:
            rows = connection.execute(
                "SELECT i.uid, i.row_id FROM mail_index i JOIN mail_metadata m ON m.header_id = i.header_id"
                " WHERE i.mailbox_id = ?1 AND i.uid > (SELECT coalesce(max(uid), 0) FROM mail_index"
                " WHERE mailbox_id = ?1) - ?2 AND substr(m.envelope, -?3) = ?4 ORDER BY i.uid",
                (mailbox_id, newest, len(end), end),
            )
            return [(Uid(uid), RowId(row_id)) for uid, row_id in rows.fetchall()]

        return await self._read(job)

    async def _joined(self, mailbox_id: MailboxId, message: NewMessage) -> tuple[NewMessage, Drop]:
        """The message with the fields of the outbox's copy of it, and what takes that copy away."""
        candidates = await self._candidates(mailbox_id, message.raw)
        if not candidates:
            return message, nothing
        present = await self._read(lambda connection: _present(connection, mailbox_id, candidates))
        try:
            copies = {one: await self.read(one) for one in present}
        except NoSuchMessage:
            raise _Changed from None
        # Where a program gives one Message-ID to several mails, each has its own copy.
        ours = [
            one
            for one, raw in copies.items()
            if len(present) == 1 or is_same_mail(raw, message.raw)
        ]

        def drop(tx: Transaction) -> None:
            if _present(tx.connection, mailbox_id, candidates) != present:
                raise _Changed
            tx.delete_rows(MAIL_ROWS.name, ours)

        raw = message.raw
        for one in ours:
            raw = joined_sent_fields(raw, copies[one])
        return msgspec.structs.replace(message, raw=raw), drop

    async def _candidates(self, mailbox_id: MailboxId, raw: bytes) -> list[RowId]:
        if self._outbox is None:
            return []
        mailbox = (await self._open_mailboxes.mailboxes()).get(mailbox_id)
        if mailbox is None or mailbox.special_use != "\\Sent":
            return []
        ids = [
            one
            for value in values_of(header_fields(raw), "message-id")
            for one in message_ids(value)
        ]
        return await self._outbox.sent_copies(ids[0]) if len(ids) == 1 else []


def _present(
    connection: Connection, mailbox_id: MailboxId, candidates: Sequence[RowId]
) -> list[RowId]:
    return [
        one
        for one in candidates
        if connection.execute(
            "SELECT 1 FROM mail_index WHERE row_id = ? AND mailbox_id = ?", (one, mailbox_id)
        ).fetchone()
    ]
