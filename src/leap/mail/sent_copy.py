"""The copy in Sent of a mail that was called back before anybody got it: it becomes a draft again.

Mail programs, and `Account`'s drafts, put their copy into Sent when the outbox has taken the mail, not when it left.
What nobody got must not look sent, and whoever called it back mostly wants to go on writing.

Invariants:
* Only a copy with the very Message-ID of the cancelled mail is touched, and only in the mailbox for sent mail.
* A mail that anybody got, or may have got, stays in Sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leap.mail.contract import (
    FlagOp,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageMetadata,
    MessageRow,
    ModSeq,
    RowId,
    Transferred,
    Uid,
)

LOOKED_AT = 200  # uids below the next one: a mail is called back soon after it was sent
SUBMITTED = "$Submitted"  # the keyword of the IANA registry for what was sent


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
    ) -> list[MessageRow]: ...
    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred: ...


async def return_to_drafts(account: Mailboxes, message_id: str) -> int:
    """Moves the copies of this mail from Sent to Drafts; answers how many. Raises AccountError."""
    by_use = {one.special_use: one.mailbox_id for one in await account.list_mailboxes()}
    sent, drafts = by_use.get("\\Sent"), by_use.get("\\Drafts")
    if not message_id or sent is None or drafts is None:
        return 0
    first = Uid(max(1, (await account.status(sent)).uid_next - LOOKED_AT))
    rows = await account.rows(sent, first=first)
    end = f'"{message_id}")'.encode()  # RFC 9051 7.5.2: the Message-ID is the last of an envelope
    uids = [
        row.uid
        for row, made in zip(
            rows, await account.metadata([row.row_id for row in rows]), strict=True
        )
        if made.envelope.endswith(end)
    ]
    if uids:
        await account.store_flags(sent, uids, "remove", [SUBMITTED])
        await account.store_flags(sent, uids, "add", ["\\Draft"])
        await account.move(sent, uids, drafts)
    return len(uids)
