"""`Draft` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import Deferred

from leap.mail.contract import AccountBackend, RowId
from leap.mail.draft import Draft as AsyncDraft
from leap.mail.envelope import Person
from leap.mail.message.new_message import File
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.message import Message
from leap.mail.twisted.twin import Twin


class Draft(Twin[AsyncDraft]):
    """A mail that is being written. With Deferreds; `Draft(that)` is made of one of `leap.mail`."""

    @property
    def sender(self) -> Person:
        return self.asyncio.sender

    @sender.setter
    def sender(self, value: Person) -> None:
        self.asyncio.sender = value

    @property
    def to(self) -> list[Person | str]:
        return self.asyncio.to

    @to.setter
    def to(self, value: list[Person | str]) -> None:
        self.asyncio.to = value

    @property
    def cc(self) -> list[Person | str]:
        return self.asyncio.cc

    @cc.setter
    def cc(self, value: list[Person | str]) -> None:
        self.asyncio.cc = value

    @property
    def bcc(self) -> list[Person | str]:
        return self.asyncio.bcc

    @bcc.setter
    def bcc(self, value: list[Person | str]) -> None:
        self.asyncio.bcc = value

    @property
    def subject(self) -> str:
        return self.asyncio.subject

    @subject.setter
    def subject(self, value: str) -> None:
        self.asyncio.subject = value

    @property
    def text(self) -> str:
        return self.asyncio.text

    @text.setter
    def text(self, value: str) -> None:
        self.asyncio.text = value

    @property
    def html(self) -> str | None:
        return self.asyncio.html

    @html.setter
    def html(self, value: str | None) -> None:
        self.asyncio.html = value

    @property
    def files(self) -> list[File]:
        return self.asyncio.files

    @files.setter
    def files(self, value: list[File]) -> None:
        self.asyncio.files = value

    @property
    def in_reply_to(self) -> tuple[str, ...]:
        return self.asyncio.in_reply_to

    @in_reply_to.setter
    def in_reply_to(self, value: tuple[str, ...]) -> None:
        self.asyncio.in_reply_to = value

    @property
    def references(self) -> tuple[str, ...]:
        return self.asyncio.references

    @references.setter
    def references(self, value: tuple[str, ...]) -> None:
        self.asyncio.references = value

    @property
    def message_id(self) -> str:
        return self.asyncio.message_id

    @message_id.setter
    def message_id(self, value: str) -> None:
        self.asyncio.message_id = value

    @property
    def is_saved(self) -> bool:
        """Whether a version of it is in the account."""
        return self.asyncio.is_saved

    @property
    def row_id(self) -> RowId | None:
        """The saved version in its mailbox; each save makes a new one. None before the first."""
        return self.asyncio.row_id

    @property
    def may_be_sent(self) -> bool:
        """Whether `send` was begun and not seen to end: the mail may be in the outbox, or delivered."""
        return self.asyncio.may_be_sent

    @property
    def recipients(self) -> list[str]:
        """The addresses of all who get it, each once."""
        return self.asyncio.recipients

    @property
    def raw(self) -> bytes:
        """The message as octets, Bcc included; who sends takes that away. Raises NotPermitted for what can be no
        address, subject or type of a file.
        """
        return self.asyncio.raw

    def attach(self, name: str, content: bytes, content_type: str | None = None) -> None:
        """Adds a file; without `content_type` its name decides. One of type message/rfc822 is a whole message."""
        return self.asyncio.attach(name, content, content_type)

    def save(self) -> Deferred[RowId]:
        """Keeps it in Drafts in place of the version before, in one durable transaction.

        When that version is gone (deleted elsewhere), it is kept anew. A draft that may be sent stays marked so.
        Raises NotPermitted, TooLarge, StorageFull.
        """
        return run(self.asyncio.save())

    def send(self, *, again: bool = False, not_before: datetime | None = None) -> Deferred[str]:
        """Puts it into the durable outbox, moves it to Sent, and answers its id in the outbox.

        `not_before` (with a time zone) is when it may leave; without it, it leaves after the account's delay.
        Raises NotPermitted when policy forbids it (then it stays a draft), when nobody is named, and when an earlier
        `send` succeeded or may have, unless `again` says to send it all the same. Raises TooLarge, StorageFull.
        """
        return run(self.asyncio.send(again=again, not_before=not_before))

    def discard(self) -> Deferred[None]:
        """Removes it from the account for good."""
        return run(self.asyncio.discard())

    @classmethod
    def of(
        cls, backend: AccountBackend, message: Message, *, now: Callable[[], float] = time.time
    ) -> Deferred[Draft]:
        """The draft that a stored message is; fields which a `Draft` does not know are not kept by a save."""
        return run_as(Draft, AsyncDraft.of(backend, message.asyncio, now=now))

    def answering(self, message: Message, flag: str) -> Draft:
        """Marks `message` with `flag` once this was sent."""
        return Draft(self.asyncio.answering(message.asyncio, flag))
