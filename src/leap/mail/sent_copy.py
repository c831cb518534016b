"""The copy in Sent: one, with what became of each recipient, when a mail left; a draft again when nobody got it.

Mail programs, and `Account`'s drafts, put their copy into Sent when the outbox has taken the mail, not when it left;
others put none. When a mail ends, the copy that is there gets the fields of `sent_fields` in front, and where there is
none the outbox puts its own. A copy that a program puts there afterwards takes the place of the outbox's own.

Invariants:
* Only a copy with the very Message-ID of the mail is touched, and only in the mailbox for sent mail.
* A mail that was cancelled before anybody got it is a draft again; one that anybody got, or may have got, stays there.
* Whatever comes first, the program's copy or the end of the mail, there is one copy: the outbox looks again after it
  put its own, and who adds one looks for the outbox's within the transaction (`local_sent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from leap.mail.contract import (
    Appended,
    ContentUnavailable,
    FlagOp,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageMetadata,
    MessageRow,
    ModSeq,
    NewMessage,
    NoSuchMessage,
    RowId,
    SecurityStatus,
    Transferred,
    Uid,
)
from leap.mail.sent_fields import is_same_mail, joined_sent_fields, read_sent_fields

LOOKED_AT = 200  # uids below the next one: a mail is called back, or leaves, soon after it was sent
SUBMITTED = "$Submitted"  # the keyword of the IANA registry for what was sent
LOCAL = SecurityStatus(encryption="local")


class Mailboxes(Protocol):
    """What is asked of an account."""

    async def list_mailboxes(self) -> list[MailboxInfo]: ...
    async def status(self, mailbox_id: MailboxId) -> MailboxStatus: ...
    async def rows(
        self,
        mailbox_id: MailboxId,
        *,
        first: Uid = Uid(1),
        last: Uid | None = None,
        changed_since: ModSeq = ModSeq(0),
    ) -> list[MessageRow]: ...
    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]: ...
    async def store_flags(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], op: FlagOp, flags: Sequence[str]
    ) -> object: ...
    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred: ...


class SentMailbox(Mailboxes, Protocol):
    """What is asked of an account that keeps copies of what left: `LocalAccount`."""

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo: ...
    async def read(self, row_id: RowId) -> bytes: ...
    async def replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        target: MailboxId | None = None,
    ) -> Appended: ...
    async def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> object: ...
    async def find_named(
        self, mailbox_id: MailboxId, message_id: str, newest: int
    ) -> list[tuple[Uid, RowId]]: ...
    async def deliver(
        self,
        served: bytes,
        *,
        row_id: RowId,
        security: SecurityStatus,
        original: bytes | None,
        internal_date: int,
        zone: int = 0,
        mailbox: MailboxId,
        flags: Sequence[str] = (),
        durable: bool = True,
    ) -> bool: ...


class Left(NamedTuple):
    """A mail that ended: `fields` say what became of it, `row_id` is that of the outbox's own copy."""

    message_id: str
    message: bytes
    fields: bytes
    row_id: RowId
    ended: int


async def return_to_drafts(account: Mailboxes, message_id: str) -> int:
    """Moves the copies of this mail from Sent to Drafts; answers how many. Raises AccountError."""
    by_use = {one.special_use: one.mailbox_id for one in await account.list_mailboxes()}
    sent, drafts = by_use.get("\\Sent"), by_use.get("\\Drafts")
    if not message_id or sent is None or drafts is None:
        return 0
    uids = [row.uid for row in await _copies(account, sent, message_id)]
    if uids:
        await account.store_flags(sent, uids, "remove", [SUBMITTED])
        await account.store_flags(sent, uids, "add", ["\\Draft"])
        await account.move(sent, uids, drafts)
    return len(uids)


async def keep_sent_copy(account: SentMailbox, left: Left) -> None:
    """Makes sure that Sent has the mail once, with its fields. Repeating it changes nothing. Raises AccountError."""
    sent = await _sent(account)
    if await _mark(account, sent, left):
        return
    await account.deliver(
        left.fields + left.message,
        row_id=left.row_id,
        security=LOCAL,
        original=None,
        internal_date=left.ended,
        mailbox=sent,
        flags=("\\Seen", SUBMITTED),
        durable=False,  # what ends the mail in the outbox comes after it, and a crash before that does it again
    )
    if await _mark(account, sent, left):  # one came meanwhile
        found = await account.find_named(sent, left.message_id, LOOKED_AT)
        ours = [uid for uid, row_id in found if row_id == left.row_id]
        await account.store_flags(sent, ours, "add", ["\\Deleted"])
        await account.expunge(sent, ours)


async def _mark(account: SentMailbox, sent: MailboxId, left: Left) -> bool:
    """Puts the fields in front of the newest copy that is not the outbox's own; whether there is one."""
    found = await account.find_named(sent, left.message_id, LOOKED_AT) if left.message_id else []
    for uid, row_id in reversed(found):
        if row_id == left.row_id:
            continue
        try:
            raw = await account.read(row_id)
            if read_sent_fields(raw) and not is_same_mail(raw, left.message):
                continue  # another mail that was given the same Message-ID
            marked = joined_sent_fields(raw, left.fields)
            if marked != raw:
                rows = await account.rows(sent, first=uid, last=uid)
                if not rows:
                    continue
                [row] = rows
                flags = tuple(flag for flag in row.flags if flag != "\\Recent")
                message = NewMessage(
                    raw=marked, flags=flags, internal_date=row.internal_date, zone=row.zone
                )
                await account.replace(sent, uid, message)
        except NoSuchMessage:
            continue  # deleted meanwhile, or changed by another program
        except ContentUnavailable:
            return True  # it came from another device; it stays as it is
        return True
    return False


async def _copies(account: Mailboxes, mailbox_id: MailboxId, message_id: str) -> list[MessageRow]:
    if not message_id:
        return []
    first = Uid(max(1, (await account.status(mailbox_id)).uid_next - LOOKED_AT))
    rows = await account.rows(mailbox_id, first=first)
    end = f'"{message_id}")'.encode()  # RFC 9051 7.5.2: the Message-ID is the last of an envelope
    metadata = await account.metadata([row.row_id for row in rows])
    return [row for row, made in zip(rows, metadata, strict=True) if made.envelope.endswith(end)]


async def _sent(account: SentMailbox) -> MailboxId:
    """The mailbox for sent mail (RFC 6154), made anew where it was deleted."""
    boxes = await account.list_mailboxes()
    found = next((one for one in boxes if one.special_use == "\\Sent"), None)
    if found is None:
        names = {one.name for one in boxes}
        name = next(
            one for one in ("Sent", "Sent 2", "Sent Messages", "Sent 3") if one not in names
        )
        found = await account.create_mailbox(name, "\\Sent")
    return found.mailbox_id
