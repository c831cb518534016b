"""The mailboxes of an account in memory, and their counters."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leap.mail.annotations.memory import MemoryAnnotations
from leap.mail.contract import (
    INBOX,
    SPECIAL_USE,
    AccountUnavailable,
    InvalidName,
    MailboxExists,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageRow,
    ModSeq,
    NoSuchMailbox,
    NotPermitted,
    RowId,
    Transferred,
    Uid,
)
from leap.mail.feed import ChangeFeed
from leap.mail.mailboxes import check_name


class MemoryMailbox:
    """One mailbox: its rows by uid, ascending, and what was expunged."""

    def __init__(self, info: MailboxInfo, uid_validity: int) -> None:
        self.info = info
        self.uid_validity = uid_validity
        self.uid_next = 1
        self.modseq = 1  # RFC 7162 3.1.2.1: HIGHESTMODSEQ is never 0
        self.rows: dict[Uid, MessageRow] = {}
        self.unclaimed: set[Uid] = set()
        self.saved: dict[Uid, int] = {}
        self.gone: list[tuple[int, Uid]] = []
        self.forgotten = 0  # what was expunged up to this modseq is not in `gone` any more

    def step(self) -> ModSeq:
        self.modseq += 1
        return ModSeq(self.modseq)


class MemoryMailboxes(MemoryAnnotations):
    """A part of `MemoryAccount`."""

    def __init__(self, first_uid_validity: int) -> None:
        self._validity = first_uid_validity
        self._serial = 0
        self._closed = False
        self._feed = ChangeFeed()
        self._mailboxes: dict[MailboxId, MemoryMailbox] = {}
        self._annotations: dict[MailboxId | None, dict[str, bytes]] = {}
        self._add(MailboxInfo(mailbox_id=INBOX, name="INBOX"))
        for mailbox_id, (name, use) in SPECIAL_USE.items():
            self._add(MailboxInfo(mailbox_id=mailbox_id, name=name, special_use=use))

    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred:
        raise NotImplementedError

    def _forget(self, row_id: RowId) -> None:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._closed:
            raise AccountUnavailable("The account is closed.")

    def _add(self, info: MailboxInfo) -> MemoryMailbox:
        mailbox = self._mailboxes[info.mailbox_id] = MemoryMailbox(info, self._validity)
        self._validity += 1
        return mailbox

    def _find(self, mailbox_id: MailboxId) -> MemoryMailbox:
        self._check_open()
        try:
            return self._mailboxes[mailbox_id]
        except KeyError:
            raise NoSuchMailbox("There is no such mailbox.") from None

    def _check_place(self, mailbox_id: MailboxId | None) -> None:
        self._find(INBOX if mailbox_id is None else mailbox_id)

    def _check_new(self, name: str) -> None:
        self._check_open()
        check_name(name)
        if name.upper() == "INBOX" or any(m.info.name == name for m in self._mailboxes.values()):
            raise MailboxExists("A mailbox of that name exists.")

    def _announce(self, mailbox: MemoryMailbox | None) -> None:
        if mailbox is None:
            self._feed.announce("mailboxes")
        else:
            self._feed.announce("messages", mailbox.info.mailbox_id, ModSeq(mailbox.modseq))

    async def list_mailboxes(self) -> list[MailboxInfo]:
        self._check_open()
        return [m.info for m in self._mailboxes.values()]

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        self._check_new(name)
        if special_use and any(m.info.special_use == special_use for m in self._mailboxes.values()):
            raise NotPermitted("Another mailbox has this special use.")
        self._serial += 1
        info = MailboxInfo(
            mailbox_id=MailboxId(f"m{self._serial}"), name=name, special_use=special_use
        )
        self._add(info)
        self._announce(None)
        return info

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        mailbox = self._find(mailbox_id)
        self._check_new(name)
        if mailbox_id == INBOX:  # RFC 9051 6.3.6
            target = await self.create_mailbox(name)
            await self.move(INBOX, list(mailbox.rows), target.mailbox_id)
            await self.annotate(target.mailbox_id, await self.annotations(INBOX))
            return
        prefix = mailbox.info.name + "/"
        if name.startswith(prefix):
            raise InvalidName("A mailbox cannot become its own inferior.")
        inferiors = [m for m in self._mailboxes.values() if m.info.name.startswith(prefix)]
        renamed = {m.info.mailbox_id: f"{name}/{m.info.name[len(prefix) :]}" for m in inferiors}
        for new in renamed.values():
            self._check_new(new)
        for one in inferiors:
            one.info = msgspec.structs.replace(one.info, name=renamed[one.info.mailbox_id])
        mailbox.info = msgspec.structs.replace(mailbox.info, name=name)
        self._announce(None)

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        mailbox = self._find(mailbox_id)
        if mailbox_id == INBOX:
            raise InvalidName("INBOX cannot be deleted.")
        del self._mailboxes[mailbox_id]
        self._annotations.pop(mailbox_id, None)
        for row in mailbox.rows.values():
            self._forget(row.row_id)
        self._announce(None)

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        mailbox = self._find(mailbox_id)
        if mailbox.info.subscribed != subscribed:
            mailbox.info = msgspec.structs.replace(mailbox.info, subscribed=subscribed)
            self._announce(None)

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
        mailbox = self._find(mailbox_id)
        rows = mailbox.rows.values()
        return MailboxStatus(
            mailbox_id=mailbox_id,
            uid_validity=mailbox.uid_validity,
            uid_next=Uid(mailbox.uid_next),
            messages=len(rows),
            unseen=sum("\\Seen" not in row.flags for row in rows),
            recent=len(mailbox.unclaimed),
            size=sum(row.size for row in rows),
            highest_modseq=ModSeq(mailbox.modseq),
        )
