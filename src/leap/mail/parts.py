"""One part of a message, read by itself: the rest of a large message stays where it lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from leap.mail.answers import PartTree
from leap.mail.contract import PartSecurity, RowId, SecurityStatus
from leap.mail.covered import security_of_part
from leap.mail.message import Message as MessageView
from leap.mail.message import Part
from leap.mail.message.attachments import safe_name
from leap.mail.message.decoding import decode_text, decode_transfer
from leap.mail.message.transfer import Decoder, decoder_for

CHUNK = 256 * 1024  # octets read at a time while a part is streamed: some chunks of the blob


class Readable(Protocol):
    """What the octets come from: an `AccountBackend`."""

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes: ...


class MessagePart:
    """One leaf of a message's MIME tree. Its header was read with the message, its content is read when asked for."""

    def __init__(
        self,
        backend: Readable,
        row_id: RowId,
        number: str,
        place: PartTree,
        header: bytes,
        part: Part,
        attachment_name: str | None,
        security: SecurityStatus,
    ) -> None:
        self.number = number
        self.attachment_name = attachment_name
        self._backend = backend
        self._row_id = row_id
        self._place = place
        self._header = header
        self._part = part
        self._security = security

    def __repr__(self) -> str:
        return f"MessagePart({self.number!r}, {self.content_type!r}, {self.size} octets)"

    @property
    def content_type(self) -> str:
        """Its type in lower case, as `text/plain`."""
        return self._place.content_type

    @property
    def is_attachment(self) -> bool:
        """Whether it is a file beside the text; `attachment_name` is then its name as the sender wrote it, or
        empty, and else None."""
        return self.attachment_name is not None

    @property
    def name(self) -> str:
        """A name for a file of it: one component of a path on any system, never empty."""
        return safe_name(self.attachment_name or "")

    @property
    def security(self) -> PartSecurity:
        """What covers this part: the innermost layer around it, else what covers the whole message."""
        return security_of_part(self._security, self.number)

    @property
    def encoding(self) -> str:
        """Its transfer encoding in lower case, as `base64`."""
        return self._place.encoding

    @property
    def size(self) -> int:
        """Octets of its body, still encoded: base64 makes a third more of a content."""
        return self._place.size

    def header(self, name: str) -> str | None:
        """The decoded value of the first field of that name in its own header."""
        field = MessageView(self._header).field(name)
        return field.text if field else None

    async def raw(self, start: int = 0, length: int | None = None) -> bytes:
        """The octets of its body, still encoded, or a range of them. Raises NoSuchMessage, ContentUnavailable."""
        start = min(max(0, start), self.size)
        end = self.size if length is None else min(self.size, start + max(0, length))
        if end <= start:
            return b""
        return await self._backend.read(self._row_id, self._place.body_start + start, end - start)

    async def content(self) -> bytes:
        """Its whole content, transfer encoding undone. Raises NoSuchMessage, ContentUnavailable."""
        raw = await self.raw()
        return await asyncio.to_thread(self._decode, raw) if len(raw) > CHUNK else self._decode(raw)

    async def read(self, start: int = 0, length: int | None = None) -> bytes:
        """A range of its content, transfer encoding undone.

        Of a part without transfer encoding no other octets are read; of an encoded one those before the range are
        read too, a piece at a time, for only they tell where it begins. Raises NoSuchMessage, ContentUnavailable.
        """
        start = max(0, start)
        end = None if length is None else start + max(0, length)
        if end is not None and end <= start:
            return b""
        if self.encoding in ("7bit", "8bit", "binary"):
            return await self.raw(start, length)
        out = bytearray()
        position = 0
        async for piece in self.stream():
            first = max(0, start - position)
            last = len(piece) if end is None else max(0, end - position)
            out += piece[first:last]
            position += len(piece)
            if end is not None and position >= end:
                break
        return bytes(out)

    async def stream(self) -> AsyncIterator[bytes]:
        """Its content piece by piece, transfer encoding undone, in constant memory for all encodings but uuencode.
        Raises NoSuchMessage, ContentUnavailable."""
        decoder: Decoder = decoder_for(self.encoding)
        for start in range(0, self.size, CHUNK):
            piece = decoder.feed(await self.raw(start, CHUNK))
            if piece:
                yield piece
        if piece := decoder.end():
            yield piece

    async def text(self) -> str:
        """The decoded text of a text part, its line ends as LF. Raises NoSuchMessage, ContentUnavailable."""
        raw = await self.raw()
        return await asyncio.to_thread(self._text, raw) if len(raw) > CHUNK else self._text(raw)

    def _decode(self, raw: bytes) -> bytes:
        return decode_transfer(raw, self.encoding)

    def _text(self, raw: bytes) -> str:
        part = Part(
            0,
            0,
            len(raw),
            type=self._part.type,
            subtype=self._part.subtype,
            params=self._part.params,
            encoding=self._part.encoding,
        )
        return decode_text(raw, part)
