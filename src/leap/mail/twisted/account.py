"""`Account` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from twisted.internet.defer import Deferred

from leap.mail.account import Account as AsyncAccount
from leap.mail.answers import QueryCount
from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    Change,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MessageId,
    SearchResult,
    SyncStatus,
    Topic,
)
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.envelope import Person
from leap.mail.message.new_message import File
from leap.mail.sending import TOPICS, Event, Sendable
from leap.mail.threads.model import ThreadId, ThreadSummary
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.draft import Draft
from leap.mail.twisted.found_messages import FoundMessages
from leap.mail.twisted.message import Message
from leap.mail.twisted.message_collection import MessageCollection
from leap.mail.twisted.outbox import Outbox
from leap.mail.twisted.stream import Stream, same
from leap.mail.twisted.twin import ClosingTwin, listed, optional


class Account(ClosingTwin[AsyncAccount]):
    """One mail account. With Deferreds; `Account(that)` is made of one of `leap.mail`."""

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
        """The account's mail address."""
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
        """Makes a mailbox; `special_use` is a word of RFC 6154, as "\\Sent". Raises MailboxExists, InvalidName, and
        NotPermitted when another has this special use, or it is none.
        """
        return run(self.asyncio.add_mailbox(name, special_use))

    def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> Deferred[None]:
        """Renames a mailbox and its inferiors; of INBOX the mail moves to a new one (RFC 9051 6.3.6).
        Raises NoSuchMailbox, MailboxExists, InvalidName.
        """
        return run(self.asyncio.rename_mailbox(mailbox_id, name))

    def delete_mailbox(self, mailbox_id: MailboxId) -> Deferred[None]:
        """Deletes a mailbox and the messages in it; inferiors stay. Raises NoSuchMailbox, and InvalidName for
        INBOX.
        """
        return run(self.asyncio.delete_mailbox(mailbox_id))

    def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> Deferred[None]:
        """Whether mail programs show a mailbox. Raises NoSuchMailbox."""
        return run(self.asyncio.set_subscribed(mailbox_id, subscribed))

    def search(self, query: str, limit: int = 50, offset: int = 0) -> Deferred[SearchResult]:
        """Messages of all mailboxes that fit `query` (docs/searching.md), newest first: at most `limit`, without the
        first `offset`. `open_found` makes messages of them. Raises QueryError.
        """
        return run(self.asyncio.search(query, limit, offset))

    def open_found(self, found: Sequence[FoundMessage]) -> Deferred[list[Message]]:
        """What `search` found, with what a list shows of each. Raises NoSuchMessage, ContentUnavailable."""
        return run_as(listed(Message), self.asyncio.open_found(found))

    def count(self, query: str) -> Deferred[QueryCount]:
        """How many messages of all mailboxes fit `query`, exactly, and how many of them are unread. Raises
        QueryError.
        """
        return run(self.asyncio.count(query))

    def found(self, query: str) -> FoundMessages:
        """The messages of all mailboxes that fit `query`, as a collection; its methods raise QueryError."""
        return FoundMessages(self.asyncio.found(query))

    def tagged(self, tag: str) -> FoundMessages:
        """The messages of all mailboxes that have a tag, as a collection. Raises NotPermitted for what can be no
        tag.
        """
        return FoundMessages(self.asyncio.tagged(tag))

    def messages(self, ids: Sequence[MessageId]) -> Deferred[list[Message]]:
        """Messages by their ids, as `Message.id` gives them, with all their copies, wherever they are now.

        By message as asked, then by age; ids of messages that are gone are passed over. Raises ContentUnavailable.
        """
        return run_as(listed(Message), self.asyncio.messages(ids))

    def message(self, message_id: MessageId) -> Deferred[Message | None]:
        """The message of an id, its oldest copy; None when it is gone. Raises ContentUnavailable."""
        return run_as(optional(Message), self.asyncio.message(message_id))

    def thread(self, thread_id: ThreadId) -> FoundMessages:
        """The messages of a conversation, of all mailboxes, as a collection; empty when there is no such thread."""
        return FoundMessages(self.asyncio.thread(thread_id))

    def threads(
        self, mailbox: str | None = None, limit: int = 50, offset: int = 0
    ) -> Deferred[list[ThreadSummary]]:
        """Conversations, the one with the newest message first; of one mailbox (by name, special use or id) those that
        have a message in it. Raises NoSuchMailbox.
        """
        return run(self.asyncio.threads(mailbox, limit, offset))

    def contacts(self, prefix: str = "", limit: int = 20) -> Deferred[list[ContactUse]]:
        """Whom the person writes to and hears from, the most used first, as the stored mail says."""
        return run(self.asyncio.contacts(prefix, limit))

    def changes(self) -> Stream[Change]:
        """Every change from now on; those of one mailbox may be gathered into one."""
        return Stream(same, self.asyncio.changes())

    def sync(self) -> Deferred[None]:
        """Syncs with the provider now, and returns when that is done."""
        return run(self.asyncio.sync())

    def sync_status(self) -> Deferred[SyncStatus]:
        """How things stand with the provider; it asks nobody."""
        return run(self.asyncio.sync_status())

    def close(self) -> Deferred[None]:
        """Ends what `open` began; a daemon goes on."""
        return self._closing(self.asyncio.close())

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.asyncio.outbox)

    def send(
        self,
        raw: bytes | Sendable,
        recipients: Sequence[str] | None = None,
        *,
        sender: str | None = None,
        not_before: datetime | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> Deferred[str]:
        """Puts a message into the durable outbox; answers its id there.

        Without `recipients` it goes to those in its To, Cc and Bcc. `not_before` (with a time zone) is when it may
        leave; without it, it leaves after the account's delay. `wishes` say what to report, and whether every
        server on the way must use TLS. Raises NotPermitted, TooLarge.
        """
        return run(
            self.asyncio.send(raw, recipients, sender=sender, not_before=not_before, wishes=wishes)
        )

    def events(self, topics: Collection[Topic] = TOPICS) -> Stream[Event]:
        """What happens in the account from now on: changes of mail, each step of a mail on its way out, and of sync.

        What happened while the program was busy is told as it stands then, once. Ends when the account is closed.
        """
        return Stream(same, self.asyncio.events(topics))

    def drafts(self) -> Deferred[MessageCollection]:
        """The messages of the mailbox for drafts, which is made if there is none; `open_draft` opens one of them."""
        return run_as(MessageCollection, self.asyncio.drafts())

    def new_draft(
        self,
        *,
        to: Iterable[Person | str] = (),
        cc: Iterable[Person | str] = (),
        bcc: Iterable[Person | str] = (),
        subject: str = "",
        text: str = "",
        html: str | None = None,
        files: Iterable[File] = (),
        sender_name: str = "",
    ) -> Draft:
        """A new mail from this account; nothing is stored before its `save` or `send`."""
        return Draft(
            self.asyncio.new_draft(
                to=to,
                cc=cc,
                bcc=bcc,
                subject=subject,
                text=text,
                html=html,
                files=files,
                sender_name=sender_name,
            )
        )

    def open_draft(self, message: Message) -> Deferred[Draft]:
        """The draft that a message in Drafts is, to go on writing; `save` replaces the message.

        Header fields which a `Draft` has no place for are lost when it is saved. Raises NoSuchMessage,
        ContentUnavailable.
        """
        return run_as(Draft, self.asyncio.open_draft(message.asyncio))

    def reply(
        self, message: Message, *, everyone: bool = False, sender_name: str = ""
    ) -> Deferred[Draft]:
        """The beginning of a reply to a message: to whom, about what, with what its writer wrote as a quotation.

        Of a message of which some parts came encrypted and others did not nothing is quoted. Once it is sent, the
        message is marked as answered. Raises NoSuchMessage, ContentUnavailable.
        """
        return run_as(
            Draft, self.asyncio.reply(message.asyncio, everyone=everyone, sender_name=sender_name)
        )

    def forward(
        self, message: Message, *, as_attachment: bool = False, sender_name: str = ""
    ) -> Deferred[Draft]:
        """The beginning of a mail that passes a message on: as text with its files, or whole as an attachment.

        Once it is sent, the message is marked as forwarded. Raises NoSuchMessage, ContentUnavailable.
        """
        return run_as(
            Draft,
            self.asyncio.forward(
                message.asyncio, as_attachment=as_attachment, sender_name=sender_name
            ),
        )
