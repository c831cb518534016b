"""SEARCH (RFC 3501 6.4.4, 7.2.5; RFC 4731, 5032, 5182, 9394; RFC 7162 3.1.5): cheap keys first, the rest is read.

A key is asked about candidates and answers with those that fit; so AND narrows, OR asks its right side only about
what its left side left over, and text is looked for only in messages that nothing cheaper has excluded.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Literal, TypeVar, cast

from leap.mail.contract import (
    AccountBackend,
    AccountError,
    ContentUnavailable,
    NoSuchMessage,
    SearchedText,
    Uid,
)
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.row_keys import compare, fitting
from leap.mail.imap.session.savedate import saved_among
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.commands import Search
from leap.mail.imap.wire.dates import day_of
from leap.mail.imap.wire.numbers import format_set
from leap.mail.imap.wire.searching import (
    All,
    And,
    Day,
    Header,
    Not,
    Numbers,
    Or,
    Saved,
    SearchKey,
    SearchProgram,
    Text,
)
from leap.mail.message import Message
from leap.mail.message.metadata import MAX_SUBJECT
from leap.mail.search.folding import fold
from leap.mail.search.headers import field_test

_BATCH = 16  # headers read at the same time
_ROWS = 500  # metadata asked for at once
_ROW_BATCH = 10_000  # rows looked at before others get their turn

Candidates = list[SeqNum]
T = TypeVar("T", bound=int)


async def search(
    session: SessionState, tag: bytes, command: Search, now: Callable[[], float] = time.time
) -> bytes:
    view = session.selected()
    program = command.program
    if program.returns is None and session.rev2:  # RFC 9051 6.4.4, 7.3.4
        program = dataclasses.replace(program, returns=frozenset({"ALL"}))
    saves = program.returns is not None and "SAVE" in program.returns
    try:
        found, unreachable = await find_messages(session, program, now)
        numbers: Sequence[int] = view.uids(found) if command.by_uid else found
        returned = returned_of(program, found)
        highest = max((view.row(n).modseq for n in returned), default=0) if program.modseq else 0
        if not (
            saves and len(program.returns or ()) == 1
        ):  # RFC 5182 2.4: then nothing is answered
            session.untagged(esearch_line(tag, program, numbers, command.by_uid, highest))
        if unreachable:
            raise unreachable
    except (No, AccountError):
        if saves:  # RFC 5182 2.1; after BAD it stays as it is
            session.saved = ()
        raise
    if saves:
        session.saved = tuple(view.uids(returned))
    return ok("Searched.")


async def find_messages(
    session: SessionState, program: SearchProgram, now: Callable[[], float] = time.time
) -> tuple[Candidates, No | None]:
    """The numbers of the messages that fit, ascending; and what to say in the end when some could not be read."""
    if program.bad_charset:
        raise No("Only these charsets are known.", b"BADCHARSET (US-ASCII UTF-8)")
    view = session.selected()
    if program.modseq:
        session.enable_condstore()
        await session.refresh()
    search_in = _Search(session, session.signed_in(), view, now())
    everything = cast(Candidates, list(range(1, len(view) + 1)))
    if view.withholds:
        everything = [number for number in everything if not view.is_gone(number)]
    found = await search_in.among(everything, program.key)
    if not search_in.unreachable:
        return found, None
    return found, No("Some messages could not be read; the others were searched.", b"UNAVAILABLE")


def returned_of(program: SearchProgram, found: list[T]) -> list[T]:
    """The messages whose modseq is told and which "$" names: all, unless only ends or a page were asked for.

    RFC 4731 3.2, RFC 5182 2.4, RFC 9394 3.2
    """
    returns = program.returns or frozenset({"ALL"})
    if not found or returns & {"ALL", "COUNT"} or not returns & {"MIN", "MAX", "PARTIAL"}:
        return found
    if program.partial is not None:
        page = set(program.partial.of(found))
        page.update(found[:1] if "MIN" in returns else (), found[-1:] if "MAX" in returns else ())
        return [one for one in found if one in page]
    ends = found[:1] if "MIN" in returns else []
    return ends + found[-1:] if "MAX" in returns and found[-1:] != ends else ends


def esearch_line(
    tag: bytes,
    program: SearchProgram,
    numbers: Sequence[int],
    by_uid: bool,
    highest: int,
    name: bytes = b"SEARCH",
) -> bytes:
    """The answer to SEARCH or SORT, in the order of `numbers`; `highest` is the modseq to tell, 0 when none is due."""
    if program.returns is None:
        line = b"".join([name, b" " if numbers else b"", " ".join(map(str, numbers)).encode()])
        return line + b" (MODSEQ %d)" % highest if highest else line
    line = b'ESEARCH (TAG "' + tag + b'")' + (b" UID" if by_uid else b"")  # RFC 4731 3.1
    if numbers:
        if "MIN" in program.returns:
            line += b" MIN %d" % numbers[0]
        if "MAX" in program.returns:
            line += b" MAX %d" % numbers[-1]
        if "ALL" in program.returns:
            line += b" ALL " + format_set(numbers)
    if program.partial is not None:
        page = format_set(program.partial.of(numbers)) or b"NIL"
        line += b" PARTIAL (%s %s)" % (program.partial.text, page)
    if "COUNT" in program.returns:
        line += b" COUNT %d" % len(numbers)
    return line + b" MODSEQ %d" % highest if highest else line


class _Search:
    def __init__(
        self, session: SessionState, account: AccountBackend, view: MailboxView, now: float
    ) -> None:
        self.session = session
        self.account = account
        self.view = view
        self.now = now
        self.unreachable = False

    async def among(self, candidates: Candidates, key: SearchKey) -> Candidates:
        """Those of `candidates` which fit, in their order."""
        if not candidates:
            return []
        match key:
            case All():
                return candidates
            case And(keys):
                for each in sorted(keys, key=_cost):
                    candidates = await self.among(candidates, each)
                return candidates
            case Or(left, right):
                first, second = sorted((left, right), key=_cost)
                fits = set(await self.among(candidates, first))
                fits.update(await self.among([n for n in candidates if n not in fits], second))
                return [n for n in candidates if n in fits]
            case Not(inner):
                fits = set(await self.among(candidates, inner))
                return [n for n in candidates if n not in fits]
            case Numbers(numbers, by_uid):
                chosen = set(self.session.resolve(numbers, by_uid, strict=False))
                return [n for n in candidates if n in chosen]
            case Text(where, text):
                return await self.text(candidates, where, text)
            case Header("from" | "to" | "cc" | "bcc" | "subject" as field, text):
                return await self.indexed_field(candidates, field, text)
            case Header(field, text):
                return await self.header(candidates, field, text)
            case Saved(relation, day):
                return await saved_among(
                    self.account, self.view, candidates, compare(relation, day)
                )
            case Day(relation, day, True):
                return await self.headers(candidates, _sent_test(compare(relation, day)))
            case _:
                return await self.rows(candidates, key)

    async def rows(self, candidates: Candidates, key: SearchKey) -> Candidates:
        """What the list of messages answers by itself."""
        found: Candidates = []
        for start in range(0, len(candidates), _ROW_BATCH):
            if start:
                await asyncio.sleep(0)
            batch = candidates[start : start + _ROW_BATCH]
            rows = zip(batch, self.view.rows(batch), strict=True)
            found += fitting(self.view, key, rows, self.now)
        return found

    async def headers(self, candidates: Candidates, test: Callable[[Message], bool]) -> Candidates:
        found: Candidates = []
        progress = self.session.progress
        counts = progress is not None and progress.expect(len(candidates))
        for start in range(0, len(candidates), _BATCH):
            batch = candidates[start : start + _BATCH]
            fits = await asyncio.gather(*(self.header_fits(n, test) for n in batch))
            found.extend(n for n, fit in zip(batch, fits, strict=True) if fit)
            if progress is not None and counts:
                progress.advance(len(batch))
        return found

    async def header_fits(self, number: SeqNum, test: Callable[[Message], bool]) -> bool:
        row_id = self.view.row(number).row_id
        try:
            [metadata] = await self.account.metadata([row_id])
            return test(Message(await self.account.read(row_id, 0, metadata.header_size)))
        except NoSuchMessage:
            self.session.stale = True
        except ContentUnavailable:
            self.unreachable = True
        return False

    async def header(self, candidates: Candidates, field: str, text: str) -> Candidates:
        """Fields the account has only signatures of; each message for itself when some cannot be read."""
        try:
            uids = self.view.uids(candidates)
            fits = await self.account.search_header(self.view.mailbox_id, uids, field, text)
        except ContentUnavailable:
            return await self.headers(candidates, field_test(field, fold(text)))
        return self.those(candidates, uids, fits)

    def those(self, candidates: Candidates, uids: list[Uid], fit: list[Uid]) -> Candidates:
        """The candidates, which have these uids, that fit."""
        if len(candidates) == len(self.view):  # few of many: looking them up is faster
            return self.view.find_all(fit)
        wanted = set(fit)
        return [n for n, uid in zip(candidates, uids, strict=True) if uid in wanted]

    async def indexed_field(
        self,
        candidates: Candidates,
        field: Literal["from", "to", "cc", "bcc", "subject"],
        text: str,
    ) -> Candidates:
        """Fields the account has an index of; each message for itself when some cannot be read."""
        try:
            return await self.text(candidates, field, text)
        except ContentUnavailable:
            if field == "subject":
                return await self.subjects(candidates, text)
            return await self.headers(candidates, field_test(field, fold(text)))

    async def subjects(self, candidates: Candidates, text: str) -> Candidates:
        """Subjects are in the metadata, unless they are longer than what is kept there."""
        wanted = fold(text)
        found: set[SeqNum] = set()
        unsure: Candidates = []
        for start in range(0, len(candidates), _ROWS):
            batch = candidates[start : start + _ROWS]
            try:
                row_ids = [self.view.row(n).row_id for n in batch]
                for number, its in zip(batch, await self.account.metadata(row_ids), strict=True):
                    if wanted and wanted in fold(its.subject):
                        found.add(number)
                    elif not wanted or len(its.subject) >= MAX_SUBJECT:
                        unsure.append(number)
            except (NoSuchMessage, ContentUnavailable):  # one of them; then each for itself
                unsure.extend(batch)
        found.update(await self.headers(unsure, field_test("subject", wanted)))
        return [n for n in candidates if n in found]

    async def text(self, candidates: Candidates, where: SearchedText, text: str) -> Candidates:
        uids, account = self.view.uids(candidates), self.account
        fits = await account.search_text(self.view.mailbox_id, uids, where, text)
        return self.those(candidates, uids, fits)


def _cost(key: SearchKey) -> int:
    """Rows cost next to nothing, what is indexed little, headers a read each, all texts perhaps a read and a parse."""
    match key:
        case Header("from" | "to" | "cc" | "bcc" | "subject") | Text("body"):
            return 1
        case Text():
            return 3
        case Header() | Day(sent=True):
            return 2
        case And(keys):
            return max(map(_cost, keys))
        case Or(left, right):
            return max(_cost(left), _cost(right))
        case Not(inner):
            return _cost(inner)
        case _:
            return 0


def _sent_test(fits: Callable[[date], bool]) -> Callable[[Message], bool]:
    """The day in the Date field as written, its time and zone disregarded (RFC 3501 6.4.4)."""

    def test(message: Message) -> bool:
        sent = message.date
        return sent is not None and fits(day_of(sent.seconds, sent.zone))

    return test
