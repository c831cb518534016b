"""The public face of an account: `Account`, `MessageCollection`, `Message`, `MessagePart`.

    async with await Account.open("alice@example.test") as account:
        inbox = await account.collection("INBOX")
        async for message in inbox:
            print(message.date, await message.subject())

`Account.open` opens the store itself, or talks to the bitmask daemon which holds it; the program cannot tell which.
Every method may raise `leap.mail.contract.AccountError`, whose text is for people.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Self

from leap.mail.contract import (
    AccountBackend,
    Appended,
    Change,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageMetadata,
    MessageRow,
    NewMessage,
    NoSuchMailbox,
    OutboxEntry,
    RowId,
    SearchResult,
    SecurityStatus,
    SyncStatus,
    Transferred,
    Uid,
)
from leap.mail.message import Message as MessageView
from leap.mail.message import Part
from leap.mail.opening import open_backend

BATCH_MESSAGES = 500
BATCH_OCTETS = 32 * 1024 * 1024  # one transaction; larger ones make others wait for the disk


class Account:
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
        """Makes a mailbox. Raises MailboxExists, InvalidName."""
        return await self.backend.create_mailbox(name, special_use)

    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        """Renames a mailbox and its inferiors."""
        await self.backend.rename_mailbox(mailbox_id, name)

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None:
        """Deletes a mailbox and the messages in it; inferiors stay."""
        await self.backend.delete_mailbox(mailbox_id)

    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None:
        await self.backend.set_subscribed(mailbox_id, subscribed)

    # -- search

    async def search(self, query: str, limit: int = 50) -> SearchResult:
        """Messages of all mailboxes that fit `query` (docs/searching.md), newest first, at most `limit`.
        `open_found` makes messages of them. Raises QueryError."""
        return await self.backend.search(query, limit)

    async def open_found(self, found: Sequence[FoundMessage]) -> list[Message]:
        """What `search` found, with what a list shows of each. Raises NoSuchMessage, ContentUnavailable."""
        metadata = await self.backend.metadata([one.row.row_id for one in found])
        return [
            Message(self.backend, one.mailbox_id, one.row, made)
            for one, made in zip(found, metadata, strict=True)
        ]

    # -- the account as a whole

    def changes(self) -> AsyncIterator[Change]:
        """Every change from now on; those of one mailbox may be gathered into one."""
        return self.backend.changes()

    async def send(
        self, raw: bytes, recipients: Sequence[str], *, sender: str | None = None
    ) -> str:
        """Puts a message into the durable outbox; answers its id there. Raises NotPermitted, TooLarge."""
        return await self.backend.submit(raw, sender or self.address, recipients)

    async def outbox(self) -> list[OutboxEntry]:
        return await self.backend.outbox()

    async def sync(self) -> None:
        """Syncs with the provider now, and returns when that is done."""
        await self.backend.sync_now()

    async def sync_status(self) -> SyncStatus:
        return await self.backend.sync_status()

    async def close(self) -> None:
        """Ends what `open` began; a daemon goes on."""
        await self.backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class MessageCollection:
    """The messages of one mailbox, ascending by uid. Nothing of them is held here."""

    def __init__(self, backend: AccountBackend, mailbox: MailboxInfo) -> None:
        self.backend = backend
        self.mailbox = mailbox

    def __repr__(self) -> str:
        return f"MessageCollection({self.mailbox.mailbox_id!r})"

    async def status(self) -> MailboxStatus:
        return await self.backend.status(self.mailbox.mailbox_id)

    async def count(self) -> int:
        return (await self.status()).messages

    async def unseen(self) -> int:
        return (await self.status()).unseen

    async def rows(self, *, first: int = 1, last: int | None = None) -> list[MessageRow]:
        """The rows with uids in [first, last]."""
        return await self.backend.rows(
            self.mailbox.mailbox_id, first=Uid(first), last=None if last is None else Uid(last)
        )

    async def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> list[Message]:
        """`count` messages from position `start`, with what a list shows of them."""
        start, end = max(0, start), max(0, start) + max(0, count)
        rows = await (self._newest(end) if newest_first else self._oldest(end))
        return await self._messages(rows[start:end])

    async def _newest(self, count: int) -> list[MessageRow]:
        """The newest `count` rows, newest first, without reading a large mailbox whole."""
        uid_next = (await self.status()).uid_next
        span = max(2 * count, 100)
        while True:
            first = max(1, uid_next - span)
            rows = await self.rows(first=first)
            if len(rows) >= count or first == 1:
                return rows[::-1]
            span *= 4

    async def _oldest(self, count: int) -> list[MessageRow]:
        uid_next = (await self.status()).uid_next
        last = max(2 * count, 100)
        while True:
            rows = await self.rows(last=last)
            if len(rows) >= count or last >= uid_next:
                return rows
            last *= 4

    async def by_uid(self, uid: int) -> Message | None:
        """The message with this uid, or None."""
        found = await self.rows(first=uid, last=uid)
        return (await self._messages(found))[0] if found else None

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Every message there is when the iteration begins; those that go meanwhile raise when they are read."""
        for row in await self.rows():
            yield Message(self.backend, self.mailbox.mailbox_id, row)

    async def search(self, needle: str, *, body_only: bool = False) -> list[Message]:
        """Messages whose decoded text holds `needle`, letter case aside."""
        rows = await self.rows()
        where = "body" if body_only else "text"
        found = set(
            await self.backend.search_text(
                self.mailbox.mailbox_id,
                [row.uid for row in rows],
                where,  # type: ignore[arg-type]
                needle,
            )
        )
        return await self._messages([row for row in rows if row.uid in found])

    async def add(
        self,
        raw: bytes,
        *,
        flags: Sequence[str] = (),
        internal_date: int | None = None,
        zone: int = 0,
    ) -> Appended:
        """Adds one message, its octets kept exactly."""
        message = NewMessage(raw=raw, flags=tuple(flags), internal_date=internal_date, zone=zone)
        return (await self.backend.append(self.mailbox.mailbox_id, [message]))[0]

    async def add_many(self, messages: Iterable[NewMessage]) -> list[Appended]:
        """Adds messages in order, in one transaction for each 500 or 32 MiB: an error leaves the batches before."""
        out: list[Appended] = []
        batch: list[NewMessage] = []
        octets = 0
        for message in messages:
            if batch and (len(batch) >= BATCH_MESSAGES or octets + len(message.raw) > BATCH_OCTETS):
                out += await self.backend.append(self.mailbox.mailbox_id, batch)
                batch, octets = [], 0
            batch.append(message)
            octets += len(message.raw)
        if batch:
            out += await self.backend.append(self.mailbox.mailbox_id, batch)
        return out

    async def set_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> list[MessageRow]:
        return await self.backend.store_flags(self.mailbox.mailbox_id, uids, "set", flags)

    async def add_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> list[MessageRow]:
        return await self.backend.store_flags(self.mailbox.mailbox_id, uids, "add", flags)

    async def remove_flags(self, uids: Sequence[Uid], flags: Sequence[str]) -> list[MessageRow]:
        return await self.backend.store_flags(self.mailbox.mailbox_id, uids, "remove", flags)

    async def copy_to(self, uids: Sequence[Uid], target: MessageCollection) -> Transferred:
        return await self.backend.copy(self.mailbox.mailbox_id, uids, target.mailbox.mailbox_id)

    async def move_to(self, uids: Sequence[Uid], target: MessageCollection) -> Transferred:
        return await self.backend.move(self.mailbox.mailbox_id, uids, target.mailbox.mailbox_id)

    async def expunge(self, uids: Sequence[Uid] | None = None) -> list[Uid]:
        """Removes messages flagged \\Deleted (among `uids` when given); answers what went."""
        return await self.backend.expunge(self.mailbox.mailbox_id, uids)

    async def delete(self, uids: Sequence[Uid]) -> list[Uid]:
        """Removes messages for good, whatever their flags."""
        await self.add_flags(uids, ["\\Deleted"])
        return await self.expunge(uids)

    async def _messages(self, rows: Sequence[MessageRow]) -> list[Message]:
        metadata = await self.backend.metadata([row.row_id for row in rows])
        return [
            Message(self.backend, self.mailbox.mailbox_id, row, made)
            for row, made in zip(rows, metadata, strict=True)
        ]


class Message:
    """One message in a mailbox. What lists show is read once; the octets are read when asked for."""

    def __init__(
        self,
        backend: AccountBackend,
        mailbox_id: MailboxId,
        row: MessageRow,
        metadata: MessageMetadata | None = None,
    ) -> None:
        self.row = row
        self.mailbox_id = mailbox_id
        self._backend = backend
        self._metadata = metadata

    def __repr__(self) -> str:
        return f"Message(uid={self.row.uid})"

    @property
    def row_id(self) -> RowId:
        """Stable while the message is moved; a copy has another."""
        return self.row.row_id

    @property
    def uid(self) -> Uid:
        return self.row.uid

    @property
    def flags(self) -> tuple[str, ...]:
        """As of when this object was made."""
        return self.row.flags

    @property
    def size(self) -> int:
        """Octets."""
        return self.row.size

    @property
    def date(self) -> datetime:
        """When it arrived (IMAP's internal date), in the zone it came with."""
        return datetime.fromtimestamp(
            self.row.internal_date, timezone(timedelta(minutes=self.row.zone))
        )

    async def metadata(self) -> MessageMetadata:
        """What was made of it at storage: subject, preview, security, IMAP's descriptions."""
        if self._metadata is None:
            [self._metadata] = await self._backend.metadata([self.row.row_id])
        return self._metadata

    async def subject(self) -> str:
        return (await self.metadata()).subject

    async def preview(self) -> str:
        return (await self.metadata()).preview

    async def security(self) -> SecurityStatus:
        """How it was protected on its way, and by whom it was signed."""
        return (await self.metadata()).security

    async def raw(self, start: int = 0, length: int | None = None) -> bytes:
        """The exact octets, or a range of them."""
        return await self._backend.read(self.row.row_id, start, length)

    async def header(self, name: str) -> str | None:
        """The decoded value of the first header field of that name."""
        size = (await self.metadata()).header_size
        field = MessageView(await self.raw(0, size)).field(name)
        return field.text if field else None

    async def text(self) -> str:
        """The body as text; HTML is turned into text when there is no other."""
        return (await self.open()).body_text

    async def html(self) -> str | None:
        """The body as HTML, exactly as it was sent: not made safe."""
        return (await self.open()).body_html

    async def open(self) -> MessageView:
        """The whole message at hand, to look at its fields and parts."""
        return MessageView(await self.raw())

    async def parts(self) -> list[MessagePart]:
        """The parts that hold something, in order."""
        view = await self.open()
        names = {id(part): name for name, part in view.attachments(nested=True)}
        return [MessagePart(view, part, names.get(id(part))) for part in view.leaves()]

    async def set_flags(self, *flags: str) -> None:
        await self._store("set", flags)

    async def add_flags(self, *flags: str) -> None:
        await self._store("add", flags)

    async def remove_flags(self, *flags: str) -> None:
        await self._store("remove", flags)

    async def _store(self, op: str, flags: Sequence[str]) -> None:
        rows = await self._backend.store_flags(self.mailbox_id, [self.row.uid], op, flags)  # type: ignore[arg-type]
        if rows:
            self.row = rows[0]


class MessagePart:
    """One leaf of a message's MIME tree."""

    def __init__(self, view: MessageView, part: Part, attachment_name: str | None) -> None:
        self._view = view
        self._part = part
        self.attachment_name = attachment_name  # None: no attachment; "": one without a name

    @property
    def content_type(self) -> str:
        return self._part.content_type

    @property
    def content(self) -> bytes:
        """Its content, transfer encoding undone."""
        return self._view.content(self._part)

    @property
    def text(self) -> str:
        """The decoded text of a text part."""
        return self._view.text_of(self._part)
