"""Puts a message in the place of another in one transaction, as REPLACE does (RFC 8508)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from leap.mail import listing
from leap.mail.contract import Appended, MailboxId, NewMessage, NoSuchMessage, Uid
from leap.mail.flags import checked_flags, flags_text
from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import new_row_id, row_values
from leap.mail.projection import Report
from leap.mail.storing import LOCAL, Preparing, account_errors, keep_all
from leap.soledad.transaction import Transaction

T = TypeVar("T")


class Replacing:
    """The part of an account on Soledad that replaces messages; `LocalAccount` is the whole."""

    _preparing: Preparing
    _now: Callable[[], float]

    async def _edit(
        self, job: Callable[[Transaction, Directory], T], *, durable: bool = False
    ) -> T:
        raise NotImplementedError

    async def _check_replaced(self, mailbox_id: MailboxId, uid: Uid) -> None:
        """Refuses before anything is sealed what cannot be."""
        await self._edit(lambda tx, directory: _find(tx, directory, mailbox_id, uid))

    async def _replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        into: MailboxId,
        drop: Callable[[Transaction], None],
    ) -> Appended:
        """See `AccountBackend.replace`; `drop` runs in the same transaction."""
        flags = flags_text(checked_flags(message.flags))
        await self._check_replaced(mailbox_id, uid)
        with account_errors():
            prepared = await self._preparing.one(message.raw, LOCAL)
        report = Report()
        row_id = new_row_id()
        date = int(self._now()) if message.internal_date is None else message.internal_date

        def job(tx: Transaction, directory: Directory) -> None:
            directory.require(into)
            old = _find(tx, directory, mailbox_id, uid)
            tx.tags.add(report)
            [fixed] = keep_all(tx, [prepared])
            values = row_values(row_id, fixed, into, flags, date, message.zone)
            tx.insert_row(MAIL_ROWS.name, row_id, values)
            tx.delete_rows(MAIL_ROWS.name, [old])
            drop(tx)

        await self._edit(job, durable=True)
        placed = report.placed[row_id]
        return Appended(row_id=row_id, uid=placed.uid, uid_validity=placed.uid_validity)


def _find(tx: Transaction, directory: Directory, mailbox_id: MailboxId, uid: Uid) -> str:
    directory.require(mailbox_id)
    old = listing.rows_among(tx.connection, mailbox_id, [uid]).get(uid)
    if old is None:
        raise NoSuchMessage("The message to replace was expunged.")
    return old
