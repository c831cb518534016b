"""`MessagePart` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from leap.mail.contract import PartSecurity
from leap.mail.parts import MessagePart as AsyncMessagePart
from leap.mail.twisted.bridge import run
from leap.mail.twisted.stream import Stream, same
from leap.mail.twisted.twin import Twin


class MessagePart(Twin[AsyncMessagePart]):
    """One leaf of a message's MIME tree. With Deferreds; `MessagePart(that)` is made of one of `leap.mail`."""

    @property
    def number(self) -> str:
        return self.asyncio.number

    @number.setter
    def number(self, value: str) -> None:
        self.asyncio.number = value

    @property
    def attachment_name(self) -> str | None:
        return self.asyncio.attachment_name

    @attachment_name.setter
    def attachment_name(self, value: str | None) -> None:
        self.asyncio.attachment_name = value

    @property
    def content_type(self) -> str:
        """Its type in lower case, as `text/plain`."""
        return self.asyncio.content_type

    @property
    def is_attachment(self) -> bool:
        """Whether it is a file beside the text; `attachment_name` is then its name as the sender wrote it, or
        empty, and else None.
        """
        return self.asyncio.is_attachment

    @property
    def name(self) -> str:
        """A name for a file of it: one component of a path on any system, never empty."""
        return self.asyncio.name

    @property
    def security(self) -> PartSecurity:
        """What covers this part: the innermost layer around it, else what covers the whole message."""
        return self.asyncio.security

    @property
    def encoding(self) -> str:
        """Its transfer encoding in lower case, as `base64`."""
        return self.asyncio.encoding

    @property
    def size(self) -> int:
        """Octets of its body, still encoded: base64 makes a third more of a content."""
        return self.asyncio.size

    def header(self, name: str) -> str | None:
        """The decoded value of the first field of that name in its own header."""
        return self.asyncio.header(name)

    def raw(self, start: int = 0, length: int | None = None) -> Deferred[bytes]:
        """The octets of its body, still encoded, or a range of them. Raises NoSuchMessage, ContentUnavailable."""
        return run(self.asyncio.raw(start, length))

    def content(self) -> Deferred[bytes]:
        """Its whole content, transfer encoding undone. Raises NoSuchMessage, ContentUnavailable."""
        return run(self.asyncio.content())

    def read(self, start: int = 0, length: int | None = None) -> Deferred[bytes]:
        """A range of its content, transfer encoding undone.

        Of a part without transfer encoding no other octets are read; of an encoded one those before the range are
        read too, a piece at a time, for only they tell where it begins. Raises NoSuchMessage, ContentUnavailable.
        """
        return run(self.asyncio.read(start, length))

    def stream(self) -> Stream[bytes]:
        """Its content piece by piece, transfer encoding undone, in constant memory for all encodings but uuencode.
        Raises NoSuchMessage, ContentUnavailable.
        """
        return Stream(same, self.asyncio.stream())

    def text(self) -> Deferred[str]:
        """The decoded text of a text part, its line ends as LF. Raises NoSuchMessage, ContentUnavailable."""
        return run(self.asyncio.text())
