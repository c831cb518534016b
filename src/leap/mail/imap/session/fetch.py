"""FETCH (RFC 3501 6.4.5, 7.4.2; RFC 7162 3.1.4): rows, stored wire bytes, and octets, written as they are read.

Invariants:
* UID stands first in every answer, whoever asked for it;
* a literal's size is written only when its first octets are in hand; when later ones fail the connection is closed,
  because nothing else could tell the client;
* \\Seen is set only for messages whose octets could be read;
* what waits to be written is never more than twice `_WINDOW`, and one message of which parts are asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from leap.mail.contract import (
    AccountError,
    MessageMetadata,
    MessageRow,
    NoSuchMessage,
    RowId,
    Uid,
)
from leap.mail.imap.session.binary import binary_value
from leap.mail.imap.session.replies import Bad, ConnectionBroken, No, ok, refusal
from leap.mail.imap.session.resync import vanished_earlier
from leap.mail.imap.session.savedate import saved_lines
from leap.mail.imap.session.sections import header_section, section, sliced
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.commands import Fetch
from leap.mail.imap.wire.dates import format_date_time
from leap.mail.imap.wire.fetching import BodySection, FetchItem, Preview
from leap.mail.imap.wire.responses import flag_list, literal, nstring, object_id
from leap.mail.message import Message

_ROWS = 1_000  # answers without octets of messages that are written together
_MESSAGES = 64  # messages read before one transaction sets \Seen for them
_AHEAD = 8  # messages read at the same time, which hides the way to the store's threads
_LAZY_ROWS = 20  # one of them that is not at hand makes all of them NIL
_LAZY_WAIT = 0.5  # seconds
_WINDOW = 1 << 20  # octets kept ready to be written
_CHUNK = 1 << 18  # octets read at once of a message too large for the window
_SCAN_INLINE = 1 << 20  # a larger message is scanned in a thread: 1 MB takes about 5 ms


@dataclass(frozen=True, slots=True)
class _Rest:
    """Octets of a whole message which follow those in hand."""

    row_id: RowId
    start: int
    end: int


_Piece = bytes | _Rest
_Ready = tuple[SeqNum, list[_Piece]]


async def fetch(session: SessionState, command: Fetch) -> bytes:
    view = session.selected()
    since = command.changed_since
    if command.vanished and not session.qresync:  # RFC 7162 3.2.6
        raise Bad("ENABLE QRESYNC comes first.")
    if since is not None or "MODSEQ" in command.items:
        session.enable_condstore()
    if since is not None:
        await session.refresh()  # so that what changed this moment is answered whole
    numbers = session.resolve(command.numbers, command.by_uid)
    items = command.items
    if command.partial is not None:  # RFC 9394 3.4: of the set, before CHANGEDSINCE chooses
        numbers = list(command.partial.of(numbers))
    if since is not None:
        numbers = [n for n in numbers if view.row(n).modseq > since]
        items = (*items, "MODSEQ") if "MODSEQ" not in items else items  # RFC 7162 3.1.4.1
    if since is not None and command.vanished and not command.numbers.saved:
        await vanished_earlier(session, view, since, command.numbers)
    plan = _Plan(items)
    fetcher = _Fetcher(session, view, plan)
    if "SAVEDATE" in items:
        fetcher.saved = await saved_lines(fetcher.account, view, numbers)
    if plan.needs_octets:
        await fetcher.with_octets(numbers)
    else:
        await fetcher.without_octets(numbers)
    if plan.asks_flags and since is not None:
        view.settled(numbers)
    if fetcher.refused is not None:
        raise fetcher.refused
    return ok("Fetched.")


async def answer(
    session: SessionState, view: MailboxView, numbers: Sequence[SeqNum], items: Sequence[FetchItem]
) -> None:
    """FETCH answers nobody asked for by a command (RFC 5465 5.2); what cannot be given is left out."""
    plan = _Plan(items)
    fetcher = _Fetcher(session, view, plan)
    if plan.needs_octets:
        await fetcher.with_octets(numbers)
    else:
        await fetcher.without_octets(numbers)
    if plan.asks_flags:
        view.settled(numbers)


class _Plan:
    """What the items need, found once for the whole command."""

    def __init__(self, items: Sequence[FetchItem]) -> None:
        self.items = [item for item in items if item != "UID"]
        sections = [item for item in items if isinstance(item, BodySection)]
        self.sections = sections
        self.needs_octets = bool(sections)
        self.header_only = all(section.header_only for section in sections)
        self.whole_only = len(sections) == 1 and not sections[0].path and not sections[0].text
        self.needs_metadata = (bool(sections) and self.header_only) or any(
            item in ("ENVELOPE", "BODY", "BODYSTRUCTURE", Preview()) for item in items
        )
        self.likes_metadata = Preview(lazy=True) in items
        self.sets_seen = any(not section.peek for section in sections)
        self.asks_flags = "FLAGS" in items
        self.asks_modseq = "MODSEQ" in items


class _Fetcher:
    def __init__(self, session: SessionState, view: MailboxView, plan: _Plan) -> None:
        self.session = session
        self.view = view
        self.plan = plan
        self.account = session.signed_in()
        self.sets_seen = plan.sets_seen and not session.read_only
        self.refused: No | None = None
        self.saved: dict[Uid, bytes] = {}

    def refuse(self, error: AccountError) -> None:
        """Some message cannot be given: the others are, and the end is NO."""
        self.session.stale = True
        if self.refused is None:
            self.refused = refusal(error)

    # -- answers from rows and metadata

    async def without_octets(self, numbers: Sequence[SeqNum]) -> None:
        for start in range(0, len(numbers), _ROWS):
            batch = numbers[start : start + _ROWS]
            metadata = await self.metadata(batch)
            lines = []
            for number in batch:
                row = self.view.row(number)
                its = metadata.get(row.row_id)
                if self.plan.needs_metadata and its is None:
                    continue
                values = [self.simple(item, row, its) for item in self.plan.items]
                lines.append(self.answer(number, row, values))
            self.session.output.write(b"".join(lines))
            await self.session.output.drain()
            await asyncio.sleep(0)

    async def metadata(self, numbers: Sequence[SeqNum]) -> dict[RowId, MessageMetadata]:
        if not self.plan.needs_metadata:
            return await self.at_hand(numbers) if self.plan.likes_metadata else {}
        row_ids = [self.view.row(n).row_id for n in numbers if not self.view.is_gone(n)]
        if len(row_ids) < len(numbers):
            self.refuse(NoSuchMessage("Some of the messages were expunged."))
        try:
            return {m.row_id: m for m in await self.account.metadata(row_ids)}
        except AccountError:
            pass
        found = {}
        for row_id in row_ids:  # one of them is not there: give the others
            try:
                found[row_id] = (await self.account.metadata([row_id]))[0]
            except AccountError as error:
                self.refuse(error)
        return found

    async def at_hand(self, numbers: Sequence[SeqNum]) -> dict[RowId, MessageMetadata]:
        """What can be had without waiting for the provider, a few messages at a time."""
        found: dict[RowId, MessageMetadata] = {}
        row_ids = [self.view.row(n).row_id for n in numbers if not self.view.is_gone(n)]
        for start in range(0, len(row_ids), _LAZY_ROWS):
            try:
                async with asyncio.timeout(_LAZY_WAIT):
                    several = await self.account.metadata(row_ids[start : start + _LAZY_ROWS])
            except AccountError:
                continue
            except TimeoutError:  # the others would wait as long
                break
            found.update((its.row_id, its) for its in several)
        return found

    def simple(self, item: FetchItem, row: MessageRow, metadata: MessageMetadata | None) -> bytes:
        match item:
            case "FLAGS":
                return b"FLAGS " + flag_list(self.view.flags(row))
            case "MODSEQ":
                return b"MODSEQ (%d)" % row.modseq
            case "EMAILID":  # RFC 8474 5.1
                return b"EMAILID (%s)" % object_id(row.message_id)
            case "THREADID":  # RFC 8474 5.2: threads have no ids here
                return b"THREADID NIL"
            case "INTERNALDATE":
                return b"INTERNALDATE " + format_date_time(row.internal_date, row.zone)
            case "SAVEDATE":
                return self.saved[row.uid]
            case "RFC822.SIZE":
                return b"RFC822.SIZE %d" % row.size
        if isinstance(
            item, Preview
        ):  # RFC 8970 3.1: NIL only to those who said that they can ask again
            return b"PREVIEW " + nstring(
                None if metadata is None else metadata.preview.encode("utf-8", "replace")
            )
        if metadata is None:
            raise AssertionError("metadata was not asked for")
        match item:
            case "ENVELOPE":
                return b"ENVELOPE " + metadata.envelope
            case "BODY":
                return b"BODY " + metadata.body
            case _:
                return b"BODYSTRUCTURE " + metadata.body_structure

    def answer(self, number: SeqNum, row: MessageRow, values: list[bytes]) -> bytes:
        return b" ".join([self.session.answer_head(number, row.uid), *values]) + b")\r\n"

    # -- answers with octets

    async def with_octets(self, numbers: Sequence[SeqNum]) -> None:
        for start in range(0, len(numbers), _MESSAGES):
            batch = numbers[start : start + _MESSAGES]
            metadata = await self.metadata(batch)
            if self.plan.needs_metadata:
                batch = [n for n in batch if self.view.row(n).row_id in metadata]
            ready: list[_Ready] = []
            held = 0
            for several in self.groups(batch):
                prepared = await asyncio.gather(*(self.prepare(n, metadata) for n in several))
                for each in prepared:
                    if each is None:
                        continue
                    ready.append(each)
                    held += sum(len(piece) for piece in each[1] if isinstance(piece, bytes))
                if held >= _WINDOW:
                    await self.send(ready)
                    ready, held = [], 0
            await self.send(ready)
            await asyncio.sleep(0)

    def groups(self, batch: Sequence[SeqNum]) -> Iterator[list[SeqNum]]:
        """Messages to read at the same time: few, and large ones alone."""
        group: list[SeqNum] = []
        octets = 0
        for number in batch:
            size = 0 if self.plan.header_only else self.view.row(number).size
            if group and (len(group) == _AHEAD or octets + size > _WINDOW):
                yield group
                group, octets = [], 0
            group.append(number)
            octets += size
        if group:
            yield group

    async def prepare(
        self, number: SeqNum, metadata: dict[RowId, MessageMetadata]
    ) -> _Ready | None:
        row = self.view.row(number)
        try:
            return number, await self.pieces(row, metadata.get(row.row_id))
        except AccountError as error:
            self.refuse(error)
            return None
        except No as refused:  # UNKNOWN-CTE
            self.refused = self.refused or refused
            return None

    async def send(self, ready: list[_Ready]) -> None:
        newly_seen = await self.mark_seen([number for number, _ in ready])
        output = self.session.output
        for number, pieces in ready:
            row = self.view.row(number)
            flags = b""
            if self.plan.asks_flags or row.uid in newly_seen:
                flags = b" FLAGS " + flag_list(self.view.flags(row))
            if self.plan.asks_modseq or (row.uid in newly_seen and self.session.condstore):
                flags += b" MODSEQ (%d)" % row.modseq
            output.write(self.session.answer_head(number, row.uid) + flags)
            for piece in pieces:
                if isinstance(piece, bytes):
                    output.write(piece)
                else:
                    async for octets in self.rest(piece):
                        output.write(octets)
                        await output.drain()
            output.write(b")\r\n")
            await output.drain()

    async def mark_seen(self, numbers: Sequence[SeqNum]) -> set[Uid]:
        """Sets \\Seen where it is not; the answers then show the flags (RFC 3501 6.4.5)."""
        if not self.sets_seen:
            return set()
        unseen = [self.view.uid(n) for n in numbers if "\\Seen" not in self.view.row(n).flags]
        if not unseen:
            return set()
        try:
            done = await self.account.store_flags(self.view.mailbox_id, unseen, "add", ["\\Seen"])
        except AccountError:  # a full disk, say: mail can be read all the same
            return set()
        self.view.settle(done.rows)
        return {row.uid for row in done.rows}

    async def pieces(self, row: MessageRow, metadata: MessageMetadata | None) -> list[_Piece]:
        """The answer after UID and FLAGS; raises AccountError before anything was written."""
        pieces: list[_Piece] = []
        message: Message | None = None
        for item in self.plan.items:
            if item in ("FLAGS", "MODSEQ"):  # written by `send`, as they are then
                continue
            if not isinstance(item, BodySection):
                pieces.append(b" " + self.simple(item, row, metadata))
            elif item.binary and item.path:
                if message is None:
                    message = await self.message(row, metadata, item)
                pieces.append(b" " + _label(item) + b" " + await binary_value(message, item))
            elif item.binary == "size":
                pieces.append(b" %s %d" % (item.label, row.size))
            elif not item.path and not item.text:
                pieces.extend(await self.whole(row, item))
            else:
                if message is None:
                    message = await self.message(row, metadata, item)
                octets = (
                    header_section(message.raw, item)
                    if self.plan.header_only
                    else section(message, item)
                )
                pieces.append(b" " + _label(item) + b" " + _nliteral(octets, item.partial))
        return pieces

    async def whole(self, row: MessageRow, item: BodySection) -> list[_Piece]:
        """BODY[], or a slice of it, without reading more than is asked."""
        start, count = item.partial or (0, row.size)
        start = min(start, row.size)
        end = min(start + count, row.size)
        head = b" " + _label(item) + b" "
        if start == end:
            return [head + b'""']
        head += b"~" if item.binary else b""  # a literal8: nobody knows yet whether there is a NUL
        stop = min(end, start + (_WINDOW if self.plan.whole_only else _CHUNK))
        first = await self.account.read(row.row_id, start, stop - start)
        if len(first) != stop - start:
            raise NoSuchMessage("A message is shorter than its size says.")
        pieces: list[_Piece] = [head + b"{%d}\r\n" % (end - start) + first]
        if stop < end:
            pieces.append(_Rest(row.row_id, stop, end))
        return pieces

    async def rest(self, rest: _Rest) -> AsyncIterator[bytes]:
        position = rest.start
        while position < rest.end:
            wanted = min(_CHUNK, rest.end - position)
            try:
                octets = await self.account.read(rest.row_id, position, wanted)
            except AccountError as error:
                raise ConnectionBroken from error
            if len(octets) != wanted:
                raise ConnectionBroken
            yield octets
            position += wanted

    async def message(
        self, row: MessageRow, metadata: MessageMetadata | None, item: BodySection
    ) -> Message:
        """The message, or its header alone when no item needs more, scanned off the loop when it is large."""
        if self.plan.header_only and metadata is not None:
            return Message(await self.account.read(row.row_id, 0, metadata.header_size))
        kept = self.session.sliced_message
        if kept is not None and kept[0] == row.row_id:
            return kept[1]
        message = Message(await self.account.read(row.row_id))
        if len(message.raw) > _SCAN_INLINE:
            await asyncio.to_thread(lambda: message.root)
        # Who asks for a slice of a part asks for the next one in the next command.
        self.session.sliced_message = None if item.partial is None else (row.row_id, message)
        return message


def _label(item: BodySection) -> bytes:
    return item.label if item.partial is None else item.label + b"<%d>" % item.partial[0]


def _nliteral(octets: bytes | None, partial: tuple[int, int] | None) -> bytes:
    return b"NIL" if octets is None else literal(sliced(octets, partial))
