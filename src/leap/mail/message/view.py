"""One message, read through its offsets: header fields, parts by IMAP's numbers, text.

    message = Message(raw)
    message.field("subject").text, message.part("1.2"), message.body_text

Parsing happens when first asked for, never raises, and leaves `raw` as it is. Over about 200 kB the caller should
ask from a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from leap.mail.message import attachments as files
from leap.mail.message import text as texts
from leap.mail.message.addresses import Address, parse_address_fields
from leap.mail.message.all_text import contains
from leap.mail.message.dates import Instant, parse_date
from leap.mail.message.decoding import decode_body, decode_text
from leap.mail.message.defects import Defect
from leap.mail.message.envelope import envelope
from leap.mail.message.header import Field, iter_fields, message_ids
from leap.mail.message.inspection import inspect
from leap.mail.message.scanner import Part, scan
from leap.mail.message.structure import body_structure

_PATH = re.compile(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8})*")


class Message:
    """A message: exact bytes, and what they mean."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"Message({len(self.raw)} octets)"

    @cached_property
    def root(self) -> Part:
        """The MIME tree."""
        return scan(self.raw)

    @property
    def header_size(self) -> int:
        """Octets up to and with the empty line."""
        return self.root.body_start

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the message's own header, in order."""
        return tuple(self.fields_of(self.root))

    def fields_of(self, part: Part) -> Iterator[Field]:
        """The fields of the header of a part (MIME header, or header of an embedded message)."""
        return iter_fields(self.raw, part.header_start, part.body_start)

    def field(self, name: str) -> Field | None:
        """The first field of that name."""
        key = name.lower()
        return next((field for field in self.fields if field.key == key), None)

    def all_fields(self, name: str) -> list[Field]:
        """Every field of that name, in order."""
        key = name.lower()
        return [field for field in self.fields if field.key == key]

    def addresses(self, name: str) -> list[Address]:
        """The mailboxes in all fields of that name, groups opened."""
        values = (field.value for field in self.all_fields(name))
        return [address for address in parse_address_fields(values) if address.is_mailbox]

    @property
    def subject(self) -> str:
        field = self.field("subject")
        return field.text if field else ""

    @property
    def date(self) -> Instant | None:
        field = self.field("date")
        return parse_date(field.value) if field else None

    @property
    def message_id(self) -> str | None:
        """The Message-ID with its angle brackets."""
        field = self.field("message-id")
        found = message_ids(field.value) if field else []
        return found[0] if found else None

    @property
    def references(self) -> list[str]:
        """The ids of the conversation before, oldest first (RFC 5322 3.6.4)."""
        ids = [
            i
            for name in ("references", "in-reply-to")
            for f in self.all_fields(name)
            for i in message_ids(f.value)
        ]
        return list(dict.fromkeys(ids))

    def part(self, path: str | Sequence[int]) -> Part | None:
        """The part with this number as IMAP counts (RFC 9051 6.4.5.1), "" being the whole; None if there is none.

        A message that is no multipart has one part, 1, whose body is the message's. Below a message/rfc822 the
        numbers count the parts of the message inside.
        """
        if isinstance(path, str):
            if not path:
                return self.root
            if not _PATH.fullmatch(path):
                return None
            path = [int(number) for number in path.split(".")]
        part = self.root
        for depth, number in enumerate(path):
            if depth and part.is_message and part.children:
                part = part.children[0]
            elif depth and not part.is_multipart:
                return None
            if part.is_multipart:
                if not 1 <= number <= len(part.children):
                    return None
                part = part.children[number - 1]
            elif number != 1:
                return None
        return part

    def header(self, part: Part) -> bytes:
        """The exact header of a part, its empty line included."""
        return self.raw[part.header_start : part.body_start]

    def body(self, part: Part) -> bytes:
        """The exact body of a part, still encoded."""
        return self.raw[part.body_start : part.end]

    def content(self, part: Part) -> bytes:
        """The body of a part with its transfer encoding undone."""
        return decode_body(self.raw, part)

    def text_of(self, part: Part) -> str:
        """The decoded text of a text part."""
        return decode_text(self.raw, part)

    def leaves(self) -> Iterator[Part]:
        """The parts without children, in order."""
        return (part for part in self.root.walk() if not part.children)

    def attachments(self, *, nested: bool = False) -> Iterator[tuple[str, Part]]:
        """(name or "", part) of every file beside the text, an attached message being one; also of the files inside
        attached messages when `nested`."""
        return files.attachments(self.raw, self.root, nested=nested)

    @property
    def body_text(self) -> str:
        return texts.body_text(self.raw, self.root)

    @property
    def body_html(self) -> str | None:
        return texts.body_html(self.raw, self.root)

    @property
    def preview(self) -> str:
        return texts.preview(self.raw, self.root)

    def contains(self, needle: str, *, headers: bool) -> bool:
        """Whether the decoded text holds `needle`, letter case aside."""
        return contains(self.raw, self.root, needle, headers=headers)

    @property
    def envelope(self) -> bytes:
        """IMAP ENVELOPE."""
        return envelope(self.fields)

    @property
    def body_structure(self) -> bytes:
        """IMAP BODYSTRUCTURE."""
        return body_structure(self.raw, self.root)

    @property
    def body_summary(self) -> bytes:
        """IMAP BODY without a section."""
        return body_structure(self.raw, self.root, extended=False)

    @property
    def defects(self) -> list[Defect]:
        """What is odd about the message, by its place; made anew each time, linear in the size."""
        return inspect(self.raw, self.root)
