"""The public face of an account: `Account`, and what comes from it.

    async with await Account.open("alice@example.test") as account:
        inbox = await account.collection("INBOX")
        async for message in inbox:
            print(message.date, await message.subject())

`Account.open` opens the store itself, or talks to the bitmask daemon which holds it; the program cannot tell which.
Every method may raise `leap.mail.contract.AccountError`, whose text is for people.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

from leap.mail.answers import QueryCount
from leap.mail.collection import BATCH_MESSAGES as BATCH_MESSAGES
from leap.mail.collection import BATCH_OCTETS as BATCH_OCTETS
from leap.mail.collection import MessageCollection as MessageCollection
from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    AccountBackend,
    Change,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MessageId,
    NoSuchMailbox,
    SearchResult,
    SyncStatus,
)
from leap.mail.found_messages import FoundMessages
from leap.mail.mailboxes import special_use_of
from leap.mail.messages import Message as Message
from leap.mail.messages import messages_of
from leap.mail.opening import open_backend
from leap.mail.parts import MessagePart as MessagePart
from leap.mail.sending import Sending
from leap.mail.tags import keyword_of
from leap.mail.threads.model import ThreadId, ThreadSummary
from leap.mail.writing import Writing

ALL = 2**31 - 1  # more than an account can hold; a larger number asks for no more


class Account(Sending, Writing):
    """One mail account. Made by `open`; `Account(backend)` puts it on any `AccountBackend`."""

    def __init__(self, backend: AccountBackend) -> None:
        self.backend = backend

    @classmethod
    async def open(
        cls, address: str, *, home: Path | None = None, passphrase: str | None = None
    ) -> Self:
        """Opens an account set up on this machine: at the daemon if one runs, else its store with `passphrase`.

        `home` is bitmask's folder, by default $BITMASK_HOME or the platform's place for application data.
        Raises AccountUnavailable with a sentence that says what to do.
        """
        return cls(await open_backend(address, home, passphrase))

    @property
    def address(self) -> str:
        """The account's mail address."""
        return self.backend.address

    # -- mailboxes

    async def mailboxes(self) -> list[MailboxInfo]:
        """All mailboxes, INBOX first, then by name."""
        return await self.backend.list_mailboxes()

    async def collection(self, mailbox: str) -> MessageCollection:
        """The messages of a mailbox, by its name, its id or its special use. Raises NoSuchMailbox."""
        found = await self.find_mailbox(mailbox)
        if found is None:
            raise NoSuchMailbox(f"There is no mailbox {mailbox}.")
        return MessageCollection(self.backend, found)

    async def find_mailbox(self, mailbox: str) -> MailboxInfo | None:
        """A mailbox by name, else by special use (as "\\Sent"), else by id."""
        infos = await self.backend.list_mailboxes()
        name = "INBOX" if mailbox.upper() == "INBOX" else mailbox
        for matches in (
            [info for info in infos if info.name == name],
            [info for info in infos if info.special_use == mailbox],
            [info for info in infos if info.mailbox_id == mailbox],
        ):
            if matches:
                return matches[0]
        return None

    async def add_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        """Makes a mailbox; `special_use` is a word of RFC 6154, as "\\Sent". Raises MailboxExists, InvalidName, and
        NotPermitted when another has this special use, or it is none."""
        use = None if special_use is None else special_use_of(special_use)
        return await self.backend.create_mailbox(name, use)

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        """Renames a mailbox and its inferiors; of INBOX the mail moves to a new one (RFC 9051 6.3.6).
        Raises NoSuchMailbox, MailboxExists, InvalidName."""
        await self.backend.rename_mailbox(mailbox_id, name)

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        """Deletes a mailbox and the messages in it; inferiors stay. Raises NoSuchMailbox, and InvalidName for
        INBOX."""
        await self.backend.delete_mailbox(mailbox_id)

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        """Whether mail programs show a mailbox. Raises NoSuchMailbox."""
        await self.backend.set_subscribed(mailbox_id, subscribed)

    # -- messages of all mailboxes

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        """Messages of all mailboxes that fit `query` (docs/searching.md), newest first: at most `limit`, without the
        first `offset`. `open_found` makes messages of them. Raises QueryError."""
        return await self.backend.search(query, min(limit, ALL), min(offset, ALL))

    async def open_found(self, found: Sequence[FoundMessage]) -> list[Message]:
        """What `search` found, with what a list shows of each. Raises NoSuchMessage, ContentUnavailable."""
        return await messages_of(self.backend, [(one.mailbox_id, one.row) for one in found])

    async def count(self, query: str) -> QueryCount:
        """How many messages of all mailboxes fit `query`, exactly, and how many of them are unread. Raises
        QueryError."""
        return await self.backend.count(query)

    def found(self, query: str) -> FoundMessages:
        """The messages of all mailboxes that fit `query`, as a collection; its methods raise QueryError."""
        return FoundMessages(self.backend, query)

    def tagged(self, tag: str) -> FoundMessages:
        """The messages of all mailboxes that have a tag, as a collection. Raises NotPermitted for what can be no
        tag."""
        keyword = keyword_of(tag)
        odd = '"' in tag or tag.lstrip().startswith(
            "\\"
        )  # no quotes in a query; system flags are no tags
        return FoundMessages(self.backend, f'tag:"{keyword if odd else tag.strip()}"')

    async def messages(self, ids: Sequence[MessageId]) -> list[Message]:
        """Messages by their ids, as `Message.id` gives them, with all their copies, wherever they are now.

        By message as asked, then by age; ids of messages that are gone are passed over. Raises ContentUnavailable.
        """
        return await self.open_found(await self.backend.rows_of(ids))

    async def message(self, message_id: MessageId) -> Message | None:
        """The message of an id, its oldest copy; None when it is gone. Raises ContentUnavailable."""
        found = await self.backend.rows_of([message_id])
        return (await self.open_found(found[:1]))[0] if found else None

    # -- conversations and people

    def thread(self, thread_id: ThreadId) -> FoundMessages:
        """The messages of a conversation, of all mailboxes, as a collection; empty when there is no such thread."""
        return FoundMessages(self.backend, f"thread:{thread_id}")

    async def threads(
        self, mailbox: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[ThreadSummary]:
        """Conversations, the one with the newest message first; of one mailbox (by name, special use or id) those that
        have a message in it. Raises NoSuchMailbox."""
        mailbox_id = None
        if mailbox is not None:
            mailbox_id = (await self.collection(mailbox)).mailbox.mailbox_id
        return await self.backend.threads(mailbox_id, min(limit, ALL), min(offset, ALL))

    async def contacts(self, prefix: str = "", limit: int = 20) -> list[ContactUse]:
        """Whom the person writes to and hears from, the most used first, as the stored mail says."""
        return await self.backend.contacts(prefix, min(limit, ALL))

    # -- the account as a whole

    def changes(self) -> AsyncIterator[Change]:
        """Every change from now on; those of one mailbox may be gathered into one."""
        return self.backend.changes()

    async def sync(self) -> None:
        """Syncs with the provider now, and returns when that is done."""
        await self.backend.sync_now()

    async def sync_status(self) -> SyncStatus:
        """How things stand with the provider; it asks nobody."""
        return await self.backend.sync_status()

    async def close(self) -> None:
        """Ends what `open` began; a daemon goes on."""
        await self.backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
