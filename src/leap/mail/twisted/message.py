"""`Message` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from datetime import datetime

from twisted.internet.defer import Deferred

from leap.mail.answers import PartTree
from leap.mail.choosing import Target
from leap.mail.contract import (
    MailboxId,
    MessageId,
    MessageMetadata,
    MessageRow,
    RowId,
    SecurityStatus,
    Transferred,
    Uid,
)
from leap.mail.envelope import Envelope
from leap.mail.message import Message as MessageView
from leap.mail.messages import Message as AsyncMessage
from leap.mail.outline import Outline
from leap.mail.parts import CHUNK
from leap.mail.sent_fields import SentTo
from leap.mail.threads.model import ThreadId
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.message_part import MessagePart
from leap.mail.twisted.stream import Stream, same
from leap.mail.twisted.twin import Twin, listed, optional


class Message(Twin[AsyncMessage]):
    """One message in a mailbox. With Deferreds; `Message(that)` is made of one of `leap.mail`."""

    @property
    def row(self) -> MessageRow:
        return self.asyncio.row

    @row.setter
    def row(self, value: MessageRow) -> None:
        self.asyncio.row = value

    @property
    def mailbox_id(self) -> MailboxId:
        return self.asyncio.mailbox_id

    @mailbox_id.setter
    def mailbox_id(self, value: MailboxId) -> None:
        self.asyncio.mailbox_id = value

    @property
    def id(self) -> MessageId:
        """The message, the same in all its copies, in whatever mailbox, on all devices."""
        return self.asyncio.id

    @property
    def row_id(self) -> RowId:
        """The message in its mailbox: stable while it is moved, and on all devices; a copy has another."""
        return self.asyncio.row_id

    @property
    def uid(self) -> Uid:
        """Its number in its mailbox on this device (RFC 9051 2.3.1.1); a move gives it another."""
        return self.asyncio.uid

    @property
    def flags(self) -> tuple[str, ...]:
        """System flags and keywords."""
        return self.asyncio.flags

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, as people write them, sorted: those keywords which are tags (`leap.mail.tags`)."""
        return self.asyncio.tags

    @property
    def size(self) -> int:
        """Octets."""
        return self.asyncio.size

    @property
    def date(self) -> datetime:
        """When it arrived (IMAP's internal date), in the zone it came with."""
        return self.asyncio.date

    def thread_id(self) -> Deferred[ThreadId]:
        """The conversation it belongs to, for `Account.thread`; docs/threads.md says what may change it.

        Raises NoSuchMessage, ContentUnavailable.
        """
        return run(self.asyncio.thread_id())

    def refresh(self) -> Deferred[None]:
        """Looks where the message is now, and which flags it has. Raises NoSuchMessage."""
        return run(self.asyncio.refresh())

    def metadata(self) -> Deferred[MessageMetadata]:
        """What was made of it at storage: subject, preview, security, IMAP's descriptions."""
        return run(self.asyncio.metadata())

    def subject(self) -> Deferred[str]:
        """The decoded subject, empty without one."""
        return run(self.asyncio.subject())

    def preview(self) -> Deferred[str]:
        """The first words of the body, in one line."""
        return run(self.asyncio.preview())

    def security(self) -> Deferred[SecurityStatus]:
        """How it was protected on its way, and by whom it was signed."""
        return run(self.asyncio.security())

    def envelope(self) -> Deferred[Envelope]:
        """Who wrote to whom, when, about what; no content is read for it."""
        return run(self.asyncio.envelope())

    def raw(self, start: int = 0, length: int | None = None) -> Deferred[bytes]:
        """The exact octets, or a range of them."""
        return run(self.asyncio.raw(start, length))

    def original(self) -> Deferred[bytes | None]:
        """The mail as it came, of one in which something was decrypted or taken apart, so that it can be looked at
        again with any program; of an import with mixed line ends its source. None: what is served is what came, but
        for header fields.
        """
        return run(self.asyncio.original())

    def stream(self, chunk: int = CHUNK) -> Stream[bytes]:
        """The exact octets, `chunk` of them at a time, in constant memory."""
        return Stream(same, self.asyncio.stream(chunk))

    def headers(self) -> Deferred[list[tuple[str, str]]]:
        """The fields of its header in order, names as written and values decoded."""
        return run(self.asyncio.headers())

    def header(self, name: str) -> Deferred[str | None]:
        """The decoded value of the first header field of that name."""
        return run(self.asyncio.header(name))

    def sent_to(self) -> Deferred[list[SentTo]]:
        """How a mail in Sent went to each recipient; nothing for other messages, and while it waits."""
        return run(self.asyncio.sent_to())

    def structure(self) -> Deferred[PartTree]:
        """Where its parts lie; no content is read for it."""
        return run(self.asyncio.structure())

    def open(self) -> Deferred[MessageView]:
        """The whole message at hand, to look at its fields and parts."""
        return run(self.asyncio.open())

    def text(self) -> Deferred[str]:
        """The body as text; HTML is turned into text when there is no other. Of files no content is read."""
        return run(self.asyncio.text())

    def html(self) -> Deferred[str | None]:
        """The body as HTML, exactly as it was sent: not made safe. None when there is none."""
        return run(self.asyncio.html())

    def parts(self) -> Deferred[list[MessagePart]]:
        """The parts that hold something, in order, those of attached messages too; their contents are not read."""
        return run_as(listed(MessagePart), self.asyncio.parts())

    def part(self, number: str) -> Deferred[MessagePart | None]:
        """The part of this number, as IMAP counts ("1", "2.1"); None when there is none."""
        return run_as(optional(MessagePart), self.asyncio.part(number))

    def attachments(self) -> Deferred[list[MessagePart]]:
        """The files beside the text, an attached message being one, in order; their contents are not read."""
        return run_as(listed(MessagePart), self.asyncio.attachments())

    def outline(self, *, texts: bool = False) -> Deferred[Outline]:
        """The headers of all its parts, and with `texts` the bodies of those that may be its text: enough to tell
        everything but the contents of files.
        """
        return run(self.asyncio.outline(texts=texts))

    def set_flags(self, *flags: str) -> Deferred[None]:
        """Gives it these flags and no others, keywords and tags included."""
        return run(self.asyncio.set_flags(*flags))

    def add_flags(self, *flags: str) -> Deferred[None]:
        """Adds flags. Raises NotPermitted for what can be no flag."""
        return run(self.asyncio.add_flags(*flags))

    def remove_flags(self, *flags: str) -> Deferred[None]:
        """Takes flags away."""
        return run(self.asyncio.remove_flags(*flags))

    def set_tags(self, *tags: str) -> Deferred[None]:
        """Gives it these tags and no others; all else about it stays. Raises NotPermitted for what can be no tag."""
        return run(self.asyncio.set_tags(*tags))

    def add_tags(self, *tags: str) -> Deferred[None]:
        """Adds tags. Raises NotPermitted for what can be no tag."""
        return run(self.asyncio.add_tags(*tags))

    def remove_tags(self, *tags: str) -> Deferred[None]:
        """Takes tags away, in whatever letter case a mail program has put them on."""
        return run(self.asyncio.remove_tags(*tags))

    def copy_to(self, target: Target) -> Deferred[Transferred]:
        """Copies it into a mailbox; its octets are not stored again. Raises NoSuchMailbox."""
        return run(self.asyncio.copy_to(target))

    def move_to(self, target: Target) -> Deferred[None]:
        """Moves it into a mailbox: it keeps its ids and gets a new uid. Raises NoSuchMailbox."""
        return run(self.asyncio.move_to(target))

    def delete(self) -> Deferred[None]:
        """Removes it for good, whatever its flags; copies of it stay."""
        return run(self.asyncio.delete())
