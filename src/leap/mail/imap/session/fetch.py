"""FETCH (RFC 3501 6.4.5, 7.4.2; RFC 7162 3.1.4): rows, stored wire bytes, and octets, written as they are read.

Invariants:
* UID stands first in every answer, whoever asked for it;
* a literal's size is written only when its first octets are in hand; when later ones fail the connection is closed,
  because nothing else could tell the client;
* \\Seen is set only for messages whose octets could be read;
* what waits to be written is never more than twice `_WINDOW`, and messages of which parts are asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from leap.mail.contract import (
    AccountError,
    MessageMetadata,
    MessageRow,
    NoSuchMessage,
    RowId,
    Uid,
)
from leap.mail.imap.session.binary import binary_value
from leap.mail.imap.session.columns import flags, formatted, label, lines, value
from leap.mail.imap.session.replies import Bad, ConnectionBroken, No, ok, refusal
from leap.mail.imap.session.resync import vanished_earlier
from leap.mail.imap.session.savedate import saved_lines
from leap.mail.imap.session.sections import header_section, section, sliced
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.commands import Fetch
from leap.mail.imap.wire.fetching import BodySection, FetchItem, Preview
from leap.mail.imap.wire.responses import literal
from leap.mail.message import Message

T = TypeVar("T")

_ROWS = 1_000  # answers without octets of messages that are written together
_HEADERS = 250  # the same with header fields, about a kilobyte each
_MESSAGES = 64  # messages read together, and marked as \Seen by one transaction
_AHEAD = 8  # read at the same time where each has to be read by itself
_LAZY_ROWS = 20  # one of them that is not at hand makes all of them NIL
_LAZY_WAIT = 0.5  # seconds
_WINDOW = 1 << 20  # octets read together
_GROUPS_AHEAD = 2  # read in two threads, which give up the interpreter's lock to unpack, while others are written
_CHUNK = 1 << 18  # octets written at once at least, or read of a message too large for the window
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
    plan = _Plan(items, session.read_only)
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
    plan = _Plan(items, session.read_only)
    fetcher = _Fetcher(session, view, plan)
    if plan.needs_octets:
        await fetcher.with_octets(numbers)
    else:
        await fetcher.without_octets(numbers)
    if plan.asks_flags:
        view.settled(numbers)


class _Plan:
    """What the items need, found once for the whole command."""

    def __init__(self, items: Sequence[FetchItem], read_only: bool) -> None:
        self.items = [item for item in items if item != "UID"]
        sections = [item for item in items if isinstance(item, BodySection)]
        self.sets_seen = not read_only and any(not section.peek for section in sections)
        self.needs_fields = (
            bool(sections) and not self.sets_seen and all(map(_asks_fields, sections))
        )
        self.names = {section.fields for section in sections} if self.needs_fields else set()
        self.needs_octets = bool(sections) and not self.needs_fields
        self.header_only = all(section.header_only for section in sections)
        self.whole_only = len(sections) == 1 and not sections[0].path and not sections[0].text
        # BODY[] or its like, whole and once: what those ask for who download mail
        self.only_section = (
            sections[0]
            if self.whole_only and sections[0].partial is None and sections[0].binary != "size"
            else None
        )
        self.reads_whole = any(not one.header_only and one.partial is None for one in sections)
        self.needs_metadata = (self.needs_octets and self.header_only) or any(
            item in ("ENVELOPE", "BODY", "BODYSTRUCTURE", Preview()) for item in items
        )
        self.likes_metadata = Preview(lazy=True) in items
        self.asks_flags = "FLAGS" in items
        self.asks_modseq = "MODSEQ" in items


def _asks_fields(section: BodySection) -> bool:
    return not section.path and section.text == "HEADER.FIELDS"


class _Fetcher:
    def __init__(self, session: SessionState, view: MailboxView, plan: _Plan) -> None:
        self.session = session
        self.view = view
        self.plan = plan
        self.account = session.signed_in()
        self.refused: No | None = None
        self.saved: dict[Uid, bytes] = {}

    def refuse(self, error: AccountError) -> None:
        """Some message cannot be given: the others are, and the end is NO."""
        self.session.stale = True
        if self.refused is None:
            self.refused = refusal(error)

    # -- answers from rows and metadata

    async def without_octets(self, numbers: Sequence[SeqNum]) -> None:
        plan, view = self.plan, self.view
        together = _HEADERS if plan.needs_fields else _ROWS
        for start in range(0, len(numbers), together):
            batch = numbers[start : start + together]
            metadata = await self.metadata(batch)
            if plan.needs_metadata and len(metadata) < len(batch):
                batch = [n for n in batch if view.row(n).row_id in metadata]
            fields: dict[tuple[bytes, ...], dict[RowId, bytes]] = {}
            for names in plan.names:
                its = await self.each(batch, partial(self.account.header_fields, names=names))
                fields[names] = its
                batch = [n for n in batch if view.row(n).row_id in its]
            rows = view.rows(batch)
            self.session.output.write(
                lines(
                    view,
                    batch,
                    rows,
                    plan.items,
                    metadata,
                    fields,
                    saved=self.saved,
                    uid_only=self.session.uid_only,
                )
            )
            await self.session.output.drain()
            await asyncio.sleep(0)

    async def each(
        self, numbers: Sequence[SeqNum], ask: Callable[[Sequence[RowId]], Awaitable[list[T]]]
    ) -> dict[RowId, T]:
        """What is to be had of these messages: all by one question, or each for itself when one is not there."""
        row_ids = [self.view.row(n).row_id for n in numbers if not self.view.is_gone(n)]
        if len(row_ids) < len(numbers):
            self.refuse(NoSuchMessage("Some of the messages were expunged."))
        try:
            return dict(zip(row_ids, await ask(row_ids), strict=True))
        except AccountError:
            pass
        found = {}
        for row_id in row_ids:
            try:
                [found[row_id]] = await ask([row_id])
            except AccountError as error:
                self.refuse(error)
        return found

    async def metadata(self, numbers: Sequence[SeqNum]) -> dict[RowId, MessageMetadata]:
        if not self.plan.needs_metadata:
            return await self.at_hand(numbers) if self.plan.likes_metadata else {}
        return await self.each(numbers, self.account.metadata)

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

    # -- answers with octets

    async def with_octets(self, numbers: Sequence[SeqNum]) -> None:
        """Reads the next messages while the former are written."""
        if len(numbers) == 1:
            await self.send(await self.prepare_all(numbers))
            return
        coming: deque[asyncio.Task[list[_Ready]]] = deque()
        groups = self.groups(numbers)
        try:
            for group in islice(groups, _GROUPS_AHEAD):
                coming.append(asyncio.create_task(self.prepare_all(group)))
            while coming:
                ready = await coming[0]
                coming.popleft()
                for group in islice(groups, 1):
                    coming.append(asyncio.create_task(self.prepare_all(group)))
                await self.send(ready)
        finally:
            for task in coming:
                task.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    def groups(self, numbers: Sequence[SeqNum]) -> Iterator[list[SeqNum]]:
        """Messages to read together: no more than a window holds, and large ones alone."""
        group: list[SeqNum] = []
        octets = 0
        for number in numbers:
            size = 0 if self.plan.header_only else self.view.row(number).size
            if group and (len(group) == _MESSAGES or octets + size > _WINDOW):
                yield group
                group, octets = [], 0
            group.append(number)
            octets += size
        if group:
            yield group

    async def prepare_all(self, group: Sequence[SeqNum]) -> list[_Ready]:
        metadata = await self.metadata(group)
        if self.plan.needs_metadata:
            group = [n for n in group if self.view.row(n).row_id in metadata]
        contents = await self.contents(group)
        if contents and self.plan.only_section is not None:
            rows = self.view.rows(group)
            if all(len(contents[row.row_id]) == row.size for row in rows):
                return self.prepare_whole(self.plan.only_section, group, rows, metadata, contents)
        together = 1 if contents else _AHEAD
        ready: list[_Ready | None] = []
        for start in range(0, len(group), together):
            several = [self.prepare(n, metadata, contents) for n in group[start : start + together]]
            ready += await asyncio.gather(*several) if len(several) > 1 else [await several[0]]
        return [each for each in ready if each is not None]

    def prepare_whole(
        self,
        only: BodySection,
        group: Sequence[SeqNum],
        rows: Sequence[MessageRow],
        metadata: dict[RowId, MessageMetadata],
        contents: dict[RowId, bytes],
    ) -> list[_Ready]:
        """Messages asked for as they are, which is how a mailbox is downloaded: what stands around them in columns."""
        items, view = self.plan.items, self.view
        at = items.index(only)
        others = [
            [item for item in some if item not in ("FLAGS", "MODSEQ")]  # written by `send`
            for some in (items[:at], items[at + 1 :])
        ]
        before, after = (
            formatted(some, view, rows, metadata, self.saved) if some else [b""] * len(rows)
            for some in others
        )
        name = b" " + label(only)
        mark = b" ~" if only.binary else b" "  # a literal8: nobody knows yet whether there is a NUL
        octets = [contents[row.row_id] for row in rows]
        openings = [name + (mark + b"{%d}\r\n" % row.size if row.size else b' ""') for row in rows]
        return [
            (number, [head + opening, whole, tail])
            for number, head, opening, whole, tail in zip(
                group, before, openings, octets, after, strict=True
            )
        ]

    async def contents(self, group: Sequence[SeqNum]) -> dict[RowId, bytes]:
        """Whole messages, by one question; nothing if that fails, and each is asked for by itself."""
        rows = self.view.rows(group)
        if not self.plan.reads_whole or sum(row.size for row in rows) > _WINDOW:
            return {}
        row_ids = [row.row_id for row in rows]
        try:
            return dict(zip(row_ids, await self.account.read_many(row_ids), strict=True))
        except AccountError:
            return {}

    async def prepare(
        self, number: SeqNum, metadata: dict[RowId, MessageMetadata], contents: dict[RowId, bytes]
    ) -> _Ready | None:
        row = self.view.row(number)
        try:
            return number, await self.pieces(row, metadata, contents.get(row.row_id))
        except AccountError as error:
            self.refuse(error)
            return None
        except No as refused:  # UNKNOWN-CTE
            self.refused = self.refused or refused
            return None

    async def send(self, ready: list[_Ready]) -> None:
        newly_seen = await self.mark_seen([number for number, _ in ready])
        waiting: list[bytes] = []
        held = 0
        rows = self.view.rows([number for number, _ in ready])
        shown = flags(self.view, rows) if self.plan.asks_flags or newly_seen else []
        for place, ((number, pieces), row) in enumerate(zip(ready, rows, strict=True)):
            seen_now = row.uid in newly_seen
            waiting.append(self.session.answer_head(number, row.uid))
            if self.plan.asks_flags or seen_now:
                waiting.append(b" FLAGS " + shown[place])
            if self.plan.asks_modseq or (seen_now and self.session.condstore):
                waiting.append(b" MODSEQ (%d)" % row.modseq)
            for piece in pieces:
                if isinstance(piece, bytes):
                    waiting.append(piece)
                    held += len(piece)
                else:
                    await self.flush(waiting)
                    async for octets in self.rest(piece):
                        await self.flush([octets])
            waiting.append(b")\r\n")
            if held >= _CHUNK:
                await self.flush(waiting)
                held = 0
        await self.flush(waiting)

    async def flush(self, waiting: list[bytes]) -> None:
        self.session.output.write(b"".join(waiting))
        waiting.clear()
        await self.session.output.drain()
        await asyncio.sleep(0)

    async def mark_seen(self, numbers: Sequence[SeqNum]) -> set[Uid]:
        """Sets \\Seen where it is not; the answers then show the flags (RFC 3501 6.4.5)."""
        if not self.plan.sets_seen:
            return set()
        unseen = [self.view.uid(n) for n in numbers if "\\Seen" not in self.view.row(n).flags]
        if not unseen:
            return set()
        try:
            done = await self.account.store_flags(self.view.mailbox_id, unseen, "add", ["\\Seen"])
        except AccountError:  # a full disk, say: mail can be read all the same
            return set()
        marked = {row.uid for row in done.rows}
        known = [n for n in numbers if self.view.uid(n) in marked]
        self.view.settle(known, done)
        return marked

    async def pieces(
        self, row: MessageRow, metadata: dict[RowId, MessageMetadata], content: bytes | None
    ) -> list[_Piece]:
        """The answer after UID and FLAGS; raises AccountError before anything was written."""
        pieces: list[_Piece] = []
        message: Message | None = None
        for item in self.plan.items:
            if item in ("FLAGS", "MODSEQ"):  # written by `send`, as they are then
                continue
            if not isinstance(item, BodySection):
                pieces.append(b" " + value(item, self.view, row, metadata, self.saved))
            elif item.binary and item.path:
                if message is None:
                    message = await self.message(row, metadata.get(row.row_id), item, content)
                pieces.append(b" " + label(item) + b" " + await binary_value(message, item))
            elif item.binary == "size":
                pieces.append(b" %s %d" % (item.label, row.size))
            elif not item.path and not item.text:
                pieces.extend(await self.whole(row, item, content))
            else:
                if message is None:
                    message = await self.message(row, metadata.get(row.row_id), item, content)
                octets = (
                    header_section(message.raw, item)
                    if self.plan.header_only
                    else section(message, item)
                )
                pieces.append(b" " + label(item) + b" " + _nliteral(octets, item.partial))
        return pieces

    async def whole(
        self, row: MessageRow, item: BodySection, content: bytes | None
    ) -> list[_Piece]:
        """BODY[], or a slice of it, without reading more than is asked."""
        start, count = item.partial or (0, row.size)
        start = min(start, row.size)
        end = min(start + count, row.size)
        head = b" " + label(item) + b" "
        if start == end:
            return [head + b'""']
        head += b"~" if item.binary else b""  # a literal8: nobody knows yet whether there is a NUL
        stop = min(end, start + (_WINDOW if self.plan.whole_only else _CHUNK))
        if content is not None and len(content) == row.size:
            first, stop = content[start:end], end
        else:
            first = await self.account.read(row.row_id, start, stop - start)
        if len(first) != stop - start:
            raise NoSuchMessage("A message is shorter than its size says.")
        pieces: list[_Piece] = [head + b"{%d}\r\n" % (end - start), first]
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
        self,
        row: MessageRow,
        metadata: MessageMetadata | None,
        item: BodySection,
        content: bytes | None,
    ) -> Message:
        """The message, or its header alone when no item needs more, scanned off the loop when it is large."""
        if self.plan.header_only and metadata is not None:
            return Message(await self.account.read(row.row_id, 0, metadata.header_size))
        kept = self.session.sliced_message
        if kept is not None and kept[0] == row.row_id:
            return kept[1]
        message = Message(content or await self.account.read(row.row_id))
        if len(message.raw) > _SCAN_INLINE:
            await asyncio.to_thread(lambda: message.root)
        # Who asks for a slice of a part asks for the next one in the next command.
        self.session.sliced_message = None if item.partial is None else (row.row_id, message)
        return message


def _nliteral(octets: bytes | None, partial: tuple[int, int] | None) -> bytes:
    return b"NIL" if octets is None else literal(sliced(octets, partial))
