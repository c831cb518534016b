"""One message of an account: what lists show is read once, the octets when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from leap.mail.answers import PartTree
from leap.mail.choosing import Target
from leap.mail.contract import (
    AccountBackend,
    FlagOp,
    MailboxId,
    MessageId,
    MessageMetadata,
    MessageRow,
    NoSuchMessage,
    RowId,
    SecurityStatus,
    Transferred,
    Uid,
)
from leap.mail.envelope import Envelope, read_envelope
from leap.mail.message import Message as MessageView
from leap.mail.message import Part
from leap.mail.moments import moment
from leap.mail.outline import INLINE, Outline, read_outline
from leap.mail.parts import CHUNK, MessagePart
from leap.mail.sent_fields import SentTo, read_sent_fields
from leap.mail.tags import keyword_of, tag_of, tags_of
from leap.mail.threads.model import ThreadId

T = TypeVar("T")
Transfer = Callable[[MailboxId, Sequence[Uid], MailboxId], Awaitable[Transferred]]


class Message:
    """One message in a mailbox.

    Its octets never change. Flags and place are those of the moment when this object was made, or last changed or
    refreshed through it; changing and reading work wherever the message is now. Reading may raise NoSuchMessage, when
    it was expunged, and ContentUnavailable, when its content is at the provider, which cannot be reached.
    """

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
        self._tree: PartTree | None = None
        self._header: MessageView | None = None

    def __repr__(self) -> str:
        return f"Message(uid={self.row.uid})"

    # -- what it is, and where

    @property
    def id(self) -> MessageId:
        """The message, the same in all its copies, in whatever mailbox, on all devices."""
        return self.row.message_id

    @property
    def row_id(self) -> RowId:
        """The message in its mailbox: stable while it is moved, and on all devices; a copy has another."""
        return self.row.row_id

    @property
    def uid(self) -> Uid:
        """Its number in its mailbox on this device (RFC 9051 2.3.1.1); a move gives it another."""
        return self.row.uid

    @property
    def flags(self) -> tuple[str, ...]:
        """System flags and keywords."""
        return self.row.flags

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, as people write them, sorted: those keywords which are tags (`leap.mail.tags`)."""
        return tags_of(self.row.flags)

    @property
    def size(self) -> int:
        """Octets."""
        return self.row.size

    @property
    def date(self) -> datetime:
        """When it arrived (IMAP's internal date), in the zone it came with."""
        return moment(self.row.internal_date, self.row.zone)

    async def thread_id(self) -> ThreadId:
        """The conversation it belongs to, for `Account.thread`; docs/threads.md says what may change it.

        Raises NoSuchMessage, ContentUnavailable.
        """
        [found] = await self._backend.thread_ids([self.row.row_id])
        return found

    async def refresh(self) -> None:
        """Looks where the message is now, and which flags it has. Raises NoSuchMessage."""
        for found in await self._backend.rows_of([self.row.message_id]):
            if found.row.row_id == self.row.row_id:
                self.mailbox_id, self.row = found.mailbox_id, found.row
                return
        raise NoSuchMessage("The message was expunged.")

    # -- what lists show

    async def metadata(self) -> MessageMetadata:
        """What was made of it at storage: subject, preview, security, IMAP's descriptions."""
        if self._metadata is None:
            [self._metadata] = await self._backend.metadata([self.row.row_id])
        return self._metadata

    async def subject(self) -> str:
        """The decoded subject, empty without one."""
        return (await self.metadata()).subject

    async def preview(self) -> str:
        """The first words of the body, in one line."""
        return (await self.metadata()).preview

    async def security(self) -> SecurityStatus:
        """How it was protected on its way, and by whom it was signed."""
        return (await self.metadata()).security

    async def envelope(self) -> Envelope:
        """Who wrote to whom, when, about what; no content is read for it."""
        return read_envelope((await self.metadata()).envelope)

    # -- its octets

    async def raw(self, start: int = 0, length: int | None = None) -> bytes:
        """The exact octets, or a range of them."""
        start = max(0, min(start, self.size))
        if length is not None:
            length = max(0, min(length, self.size - start))
        return await self._backend.read(self.row.row_id, start, length)

    async def original(self) -> bytes | None:
        """The mail as it came, of one in which something was decrypted or taken apart, so that it can be looked at
        again with any program; of an import with mixed line ends its source. None: what is served is what came, but
        for header fields."""
        return await self._backend.read_original(self.row.row_id)

    async def stream(self, chunk: int = CHUNK) -> AsyncIterator[bytes]:
        """The exact octets, `chunk` of them at a time, in constant memory."""
        step = max(1, chunk)
        for start in range(0, self.size, step):
            yield await self.raw(start, step)

    async def headers(self) -> list[tuple[str, str]]:
        """The fields of its header in order, names as written and values decoded."""
        return [(field.name, field.text) for field in (await self._header_view()).fields]

    async def header(self, name: str) -> str | None:
        """The decoded value of the first header field of that name."""
        field = (await self._header_view()).field(name)
        return field.text if field else None

    async def sent_to(self) -> list[SentTo]:
        """How a mail in Sent went to each recipient; nothing for other messages, and while it waits."""
        return read_sent_fields(await self.raw(0, (await self.metadata()).header_size))

    async def structure(self) -> PartTree:
        """Where its parts lie; no content is read for it."""
        if self._tree is None:
            self._tree = await self._backend.structure(self.row.row_id)
        return self._tree

    async def open(self) -> MessageView:
        """The whole message at hand, to look at its fields and parts."""
        return MessageView(await self.raw())

    # -- its body and parts

    async def text(self) -> str:
        """The body as text; HTML is turned into text when there is no other. Of files no content is read."""
        return await self._of_texts(lambda message: message.body_text)

    async def html(self) -> str | None:
        """The body as HTML, exactly as it was sent: not made safe. None when there is none."""
        return await self._of_texts(lambda message: message.body_html)

    async def parts(self) -> list[MessagePart]:
        """The parts that hold something, in order, those of attached messages too; their contents are not read."""
        outline = await self.outline()
        return await self._parts(outline, list(outline.message.leaves()))

    async def part(self, number: str) -> MessagePart | None:
        """The part of this number, as IMAP counts ("1", "2.1"); None when there is none."""
        outline = await self.outline()
        for found, place in (await self.structure()).numbered():
            if found == number:
                part = next(p for p in outline.message.root.walk() if outline.place(p) is place)
                return (await self._parts(outline, [part]))[0]
        return None

    async def attachments(self) -> list[MessagePart]:
        """The files beside the text, an attached message being one, in order; their contents are not read."""
        outline = await self.outline()
        return await self._parts(outline, [part for _, part in outline.message.attachments()])

    async def outline(self, *, texts: bool = False) -> Outline:
        """The headers of all its parts, and with `texts` the bodies of those that may be its text: enough to tell
        everything but the contents of files."""

        async def read(start: int, length: int) -> bytes:
            return await self._backend.read(self.row.row_id, start, length)

        return await read_outline(await self.structure(), read, texts=texts)

    async def _parts(self, outline: Outline, chosen: Sequence[Part]) -> list[MessagePart]:
        view = outline.message
        names = {id(part): name for name, part in view.attachments(nested=True)}
        numbers = {id(place): number for number, place in (await self.structure()).numbered()}
        security = await self.security()
        wanted = {id(part) for part in chosen}
        return [
            MessagePart(
                self._backend,
                self.row.row_id,
                numbers.get(id(outline.place(part)), ""),
                outline.place(part),
                view.header(part),
                part,
                names.get(id(part)),
                security,
            )
            for part in view.root.walk()
            if id(part) in wanted
        ]

    async def _of_texts(self, ask: Callable[[MessageView], T]) -> T:
        message = (await self.outline(texts=True)).message
        if len(message.raw) > INLINE:
            return await asyncio.to_thread(ask, message)
        return ask(message)

    async def _header_view(self) -> MessageView:
        if self._header is None:
            size = (await self.metadata()).header_size
            self._header = MessageView(await self.raw(0, size))
        return self._header

    # -- changing it

    async def set_flags(self, *flags: str) -> None:
        """Gives it these flags and no others, keywords and tags included."""
        await self._store("set", flags)

    async def add_flags(self, *flags: str) -> None:
        """Adds flags. Raises NotPermitted for what can be no flag."""
        await self._store("add", flags)

    async def remove_flags(self, *flags: str) -> None:
        """Takes flags away."""
        await self._store("remove", flags)

    async def set_tags(self, *tags: str) -> None:
        """Gives it these tags and no others; all else about it stays. Raises NotPermitted for what can be no tag."""
        await self.add_tags(*tags)
        keep = {keyword_of(tag).lower() for tag in tags}
        surplus = [
            flag for flag in self.flags if tag_of(flag) is not None and flag.lower() not in keep
        ]
        if surplus:
            await self._store("remove", surplus)

    async def add_tags(self, *tags: str) -> None:
        """Adds tags. Raises NotPermitted for what can be no tag."""
        await self._store("add", [keyword_of(tag) for tag in tags])

    async def remove_tags(self, *tags: str) -> None:
        """Takes tags away, in whatever letter case a mail program has put them on."""
        await self.refresh()
        lower = {keyword_of(tag).lower() for tag in tags}
        await self._store("remove", [flag for flag in self.flags if flag.lower() in lower])

    async def copy_to(self, target: Target) -> Transferred:
        """Copies it into a mailbox; its octets are not stored again. Raises NoSuchMailbox."""
        return await self._transfer(self._backend.copy, target)

    async def move_to(self, target: Target) -> None:
        """Moves it into a mailbox: it keeps its ids and gets a new uid. Raises NoSuchMailbox."""
        await self._transfer(self._backend.move, target)
        await self.refresh()

    async def delete(self) -> None:
        """Removes it for good, whatever its flags; copies of it stay."""
        await self.add_flags("\\Deleted")
        await self._backend.expunge(self.mailbox_id, [self.uid])

    async def _store(self, op: FlagOp, flags: Sequence[str]) -> None:
        rows = (await self._backend.store_flags(self.mailbox_id, [self.uid], op, list(flags))).rows
        if not rows:  # somebody moved it
            await self.refresh()
            rows = (
                await self._backend.store_flags(self.mailbox_id, [self.uid], op, list(flags))
            ).rows
        if not rows:
            raise NoSuchMessage("The message was expunged.")
        self.row = rows[0]

    async def _transfer(self, transfer: Transfer, target: Target) -> Transferred:
        into = target.mailbox.mailbox_id
        done = await transfer(self.mailbox_id, [self.uid], into)
        if not done.source:  # somebody moved it
            await self.refresh()
            done = await transfer(self.mailbox_id, [self.uid], into)
        if not done.source:
            raise NoSuchMessage("The message was expunged.")
        return done


async def messages_of(
    backend: AccountBackend, rows: Sequence[tuple[MailboxId, MessageRow]]
) -> list[Message]:
    """Messages of rows, with what lists show of them. Raises NoSuchMessage, ContentUnavailable."""
    metadata = await backend.metadata([row.row_id for _, row in rows]) if rows else []
    return [
        Message(backend, mailbox_id, row, made)
        for (mailbox_id, row), made in zip(rows, metadata, strict=True)
    ]
