"""The account and all that comes from it, with Deferreds: made of `leap.mail` by tools/make_twisted.py.

What a method gives and raises is written there; here it is a Deferred of it, or a `Stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from twisted.internet.defer import Deferred

from leap.mail.account import Account as AsyncAccount
from leap.mail.account import Message as AsyncMessage
from leap.mail.account import MessageCollection as AsyncMessageCollection
from leap.mail.account import MessagePart
from leap.mail.contract import (
    Appended,
    Change,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageMetadata,
    MessageRow,
    NewMessage,
    OutboxEntry,
    RowId,
    SearchResult,
    SecurityStatus,
    SyncStatus,
    Transferred,
    Uid,
)
from leap.mail.message import Message as MessageView
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.stream import Stream, same
from leap.mail.twisted.twin import ClosingTwin, Twin, listed, optional


class Account(ClosingTwin[AsyncAccount]):
    """One mail account. `Account(twin)` puts it on one of asyncio's."""

    @classmethod
    def open(
        cls, address: str, *, home: Path | None = None, passphrase: str | None = None
    ) -> Deferred[Self]:
        """Opens an account set up on this machine: at the daemon if one runs, else its store with `passphrase`.

        `home` is bitmask's folder, by default $BITMASK_HOME or the platform's place for application data.
        Raises AccountUnavailable with a sentence that says what to do.
        """
        return run_as(cls, AsyncAccount.open(address, home=home, passphrase=passphrase))

    @property
    def address(self) -> str:
        return self.asyncio.address

    def mailboxes(self) -> Deferred[list[MailboxInfo]]:
        """All mailboxes, INBOX first, then by name."""
        return run(self.asyncio.mailboxes())

    def collection(self, mailbox: str) -> Deferred[MessageCollection]:
        """The messages of a mailbox, by its name, its id or its special use. Raises NoSuchMailbox."""
        return run_as(MessageCollection, self.asyncio.collection(mailbox))

    def find_mailbox(self, mailbox: str) -> Deferred[MailboxInfo | None]:
        """A mailbox by name, else by special use (as "\\Sent"), else by id."""
        return run(self.asyncio.find_mailbox(mailbox))

    def add_mailbox(self, name: str, special_use: str | None = None) -> Deferred[MailboxInfo]:
        """Makes a mailbox. Raises MailboxExists, InvalidName."""
        return run(self.asyncio.add_mailbox(name, special_use))

    def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> Deferred[None]:
        """Renames a mailbox and its inferiors."""
        return run(self.asyncio.rename_mailbox(mailbox_id, name))

    def delete_mailbox(self, mailbox_id: MailboxId) -> Deferred[None]:
        """Deletes a mailbox and the messages in it; inferiors stay."""
        return run(self.asyncio.delete_mailbox(mailbox_id))

    def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> Deferred[None]:
        return run(self.asyncio.set_subscribed(mailbox_id, subscribed))

    def search(self, query: str, limit: int = 50) -> Deferred[SearchResult]:
        """Messages of all mailboxes that fit `query` (docs/search.md), newest first, at most `limit`.
        `open_found` makes messages of them. Raises QueryError.
        """
        return run(self.asyncio.search(query, limit))

    def open_found(self, found: Sequence[FoundMessage]) -> Deferred[list[Message]]:
        """What `search` found, with what a list shows of each. Raises NoSuchMessage, ContentUnavailable."""
        return run_as(listed(Message), self.asyncio.open_found(found))

    def changes(self) -> Stream[Change]:
        """Every change from now on; those of one mailbox may be gathered into one."""
        return Stream(same, self.asyncio.changes())

    def send(
        self, raw: bytes, recipients: Sequence[str], *, sender: str | None = None
    ) -> Deferred[str]:
        """Puts a message into the durable outbox; answers its id there. Raises NotPermitted, TooLarge."""
        return run(self.asyncio.send(raw, recipients, sender=sender))

    def outbox(self) -> Deferred[list[OutboxEntry]]:
        return run(self.asyncio.outbox())

    def sync(self) -> Deferred[None]:
        """Syncs with the provider now, and returns when that is done."""
        return run(self.asyncio.sync())

    def sync_status(self) -> Deferred[SyncStatus]:
        return run(self.asyncio.sync_status())

    def close(self) -> Deferred[None]:
        """Ends what `open` began; a daemon goes on."""
        return self._closing(self.asyncio.close())


class MessageCollection(Twin[AsyncMessageCollection]):
    """The messages of one mailbox, ascending by uid. `MessageCollection(twin)` puts it on one of asyncio's."""

    @property
    def mailbox(self) -> MailboxInfo:
        return self.asyncio.mailbox

    def status(self) -> Deferred[MailboxStatus]:
        return run(self.asyncio.status())

    def count(self) -> Deferred[int]:
        return run(self.asyncio.count())

    def unseen(self) -> Deferred[int]:
        return run(self.asyncio.unseen())

    def rows(self, *, first: int = 1, last: int | None = None) -> Deferred[list[MessageRow]]:
        """The rows with uids in [first, last]."""
        return run(self.asyncio.rows(first=first, last=last))

    def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> Deferred[list[Message]]:
        """`count` messages from position `start`, with what a list shows of them."""
        return run_as(listed(Message), self.asyncio.window(start, count, newest_first=newest_first))

    def by_uid(self, uid: int) -> Deferred[Message | None]:
        """The message with this uid, or None."""
        return run_as(optional(Message), self.asyncio.by_uid(uid))

    def __aiter__(self) -> Stream[Message]:
        """Every message there is when the iteration begins; those that go meanwhile raise when they are read."""
        return Stream(Message, aiter(self.asyncio))

    def each(self, callback: Callable[[Message], object]) -> Deferred[None]:
        """Calls back with one after another; see `Stream.each`."""
        return aiter(self).each(callback)

    def search(self, needle: str, *, body_only: bool = False) -> Deferred[list[Message]]:
        """Messages whose decoded text holds `needle`, letter case aside."""
        return run_as(listed(Message), self.asyncio.search(needle, body_only=body_only))

    def add(
        self,
        raw: bytes,
        *,
        flags: Sequence[str] = (),
        internal_date: int | None = None,
        zone: int = 0,
    ) -> Deferred[Appended]:
        """Adds one message, its octets kept exactly."""
        return run(self.asyncio.add(raw, flags=flags, internal_date=internal_date, zone=zone))

    def add_many(self, messages: Iterable[NewMessage]) -> Deferred[list[Appended]]:
        """Adds messages in order, in one transaction for each 500 or 32 MiB: an error leaves the batches before."""
        return run(self.asyncio.add_many(messages))

    def set_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        return run(self.asyncio.set_flags(uids, flags))

    def add_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        return run(self.asyncio.add_flags(uids, flags))

    def remove_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        return run(self.asyncio.remove_flags(uids, flags))

    def copy_to(self, uids: Sequence[Uid], target: MessageCollection) -> Deferred[Transferred]:
        return run(self.asyncio.copy_to(uids, target.asyncio))

    def move_to(self, uids: Sequence[Uid], target: MessageCollection) -> Deferred[Transferred]:
        return run(self.asyncio.move_to(uids, target.asyncio))

    def expunge(self, uids: Sequence[Uid] | None = None) -> Deferred[list[Uid]]:
        """Removes messages flagged \\Deleted (among `uids` when given); answers what went."""
        return run(self.asyncio.expunge(uids))

    def delete(self, uids: Sequence[Uid]) -> Deferred[list[Uid]]:
        """Removes messages for good, whatever their flags."""
        return run(self.asyncio.delete(uids))


class Message(Twin[AsyncMessage]):
    """One message in a mailbox. `Message(twin)` puts it on one of asyncio's."""

    @property
    def row(self) -> MessageRow:
        return self.asyncio.row

    @property
    def mailbox_id(self) -> MailboxId:
        return self.asyncio.mailbox_id

    @property
    def row_id(self) -> RowId:
        """Stable while the message is moved; a copy has another."""
        return self.asyncio.row_id

    @property
    def uid(self) -> Uid:
        return self.asyncio.uid

    @property
    def flags(self) -> tuple[str, ...]:
        """As of when this object was made."""
        return self.asyncio.flags

    @property
    def size(self) -> int:
        """Octets."""
        return self.asyncio.size

    @property
    def date(self) -> datetime:
        """When it arrived (IMAP's internal date), in the zone it came with."""
        return self.asyncio.date

    def metadata(self) -> Deferred[MessageMetadata]:
        """What was made of it at storage: subject, preview, security, IMAP's descriptions."""
        return run(self.asyncio.metadata())

    def subject(self) -> Deferred[str]:
        return run(self.asyncio.subject())

    def preview(self) -> Deferred[str]:
        return run(self.asyncio.preview())

    def security(self) -> Deferred[SecurityStatus]:
        """How it was protected on its way, and by whom it was signed."""
        return run(self.asyncio.security())

    def raw(self, start: int = 0, length: int | None = None) -> Deferred[bytes]:
        """The exact octets, or a range of them."""
        return run(self.asyncio.raw(start, length))

    def header(self, name: str) -> Deferred[str | None]:
        """The decoded value of the first header field of that name."""
        return run(self.asyncio.header(name))

    def text(self) -> Deferred[str]:
        """The body as text; HTML is turned into text when there is no other."""
        return run(self.asyncio.text())

    def html(self) -> Deferred[str | None]:
        """The body as HTML, exactly as it was sent: not made safe."""
        return run(self.asyncio.html())

    def open(self) -> Deferred[MessageView]:
        """The whole message at hand, to look at its fields and parts."""
        return run(self.asyncio.open())

    def parts(self) -> Deferred[list[MessagePart]]:
        """The parts that hold something, in order."""
        return run(self.asyncio.parts())

    def set_flags(self, *flags: str) -> Deferred[None]:
        return run(self.asyncio.set_flags(*flags))

    def add_flags(self, *flags: str) -> Deferred[None]:
        return run(self.asyncio.add_flags(*flags))

    def remove_flags(self, *flags: str) -> Deferred[None]:
        return run(self.asyncio.remove_flags(*flags))
