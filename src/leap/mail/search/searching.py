"""Answers of one account: the index first, then what it cannot tell is read, a few messages at a time.

Invariants:
* What is answered is what reading every message would answer, except for those counted as unsearched.
* Contents are opened at most VERIFY_OCTETS at a time, outside the event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

from leap.mail.answers import QueryCount
from leap.mail.contract import (
    FoundMessage,
    MailboxId,
    SearchedText,
    SearchResult,
    Uid,
)
from leap.mail.message import Message
from leap.mail.projection import DirectoryReader
from leap.mail.search.counting import count_by_flags, is_countable
from leap.mail.search.folding import fold
from leap.mail.search.headers import UIDS, field_test, passed, read_headers, sieve_of_field
from leap.mail.search.judging import judge, reading
from leap.mail.search.lookup import Lookup
from leap.mail.search.plan import Candidate, Plan
from leap.mail.search.query import Query, parse_query, threads_of, with_rows
from leap.mail.search.signature import Sieve
from leap.mail.search.texts import HEADER_FIELDS, header_holds, holds
from leap.mail.storing import account_errors
from leap.mail.threads.asking import read_thread
from leap.soledad.blobs import BlobRef
from leap.soledad.errors import BlobAltered, Unreachable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

VERIFY_OCTETS = 4 * 1024 * 1024  # of contents opened at a time
VERIFY_MANY = 200  # messages opened at a time
MAX_LIMIT = 10_000
_CONTENTS = (
    "SELECT i.uid, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j CROSS JOIN mail_index i"
    " ON i.mailbox_id = ? AND i.uid = j.value CROSS JOIN mail_row r ON r.row_id = i.row_id ORDER BY i.uid"
)
_HEADS = (
    "SELECT i.uid, m.subject, m.header_size, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.mailbox_id = ? AND i.uid = j.value CROSS JOIN mail_row r ON r.row_id = i.row_id"
    " CROSS JOIN mail_metadata m ON m.header_id = i.header_id"
    " LEFT JOIN blob b ON b.blob_id = r.content_id WHERE b.blob_id IS NULL"
)


class Searching:
    """Searches one account's store."""

    def __init__(
        self,
        store: Soledad,
        on_read: Callable[[Sequence[BlobRef]], None],
        before: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_read` hears of contents that were read, and so are here; `before` is awaited before each search."""
        self._store = store
        self._before = before
        self._on_read = on_read
        self._directory = DirectoryReader()

    async def search(self, text: str, limit: int, offset: int = 0) -> SearchResult:
        """Messages that fit, newest first, without the first `offset`. Raises QueryError."""
        query = parse_query(text)
        offset = max(0, offset)
        limit = offset + max(1, min(limit, MAX_LIMIT))
        await self._before()
        with account_errors():
            plan, page = await self._store.read(lambda c: self._begin(c, query))
            found: list[FoundMessage] = []
            unsearched = await self._decide(plan.query, page, found, limit)
            while len(found) <= limit and not plan.done:
                page = await self._store.read(plan.next_page)
                unsearched += await self._decide(plan.query, page, found, limit)
        return SearchResult(
            found=tuple(found[offset:limit]), more=len(found) > limit, unsearched=unsearched
        )

    async def count(self, text: str) -> QueryCount:
        """How many fit. Raises QueryError."""
        query = parse_query(text)
        with account_errors():
            if is_countable(query):
                return await self._store.read(
                    lambda c: count_by_flags(c, query, self._directory.read(c).shown)
                )
            await self._before()
            messages = unseen = unsearched = 0
            plan, page = await self._store.read(lambda c: self._begin(c, query))
            while True:
                found: list[FoundMessage] = []
                unsearched += await self._decide(plan.query, page, found, len(page))
                messages += len(found)
                unseen += sum("\\Seen" not in one.row.flags for one in found)
                if plan.done:
                    break
                page = await self._store.read(plan.next_page)
        return QueryCount(messages=messages, unseen=unseen, unsearched=unsearched)

    def _begin(self, connection: Connection, query: Query) -> tuple[Plan, list[Candidate]]:
        rows = {
            thread_id: frozenset(one.row.row_id for one in read_thread(connection, thread_id))
            for thread_id in threads_of(query)
        }
        plan = Plan(connection, with_rows(query, rows), self._directory.read(connection).shown)
        return plan, plan.next_page(connection)

    async def _decide(
        self, query: Query, page: list[Candidate], found: list[FoundMessage], limit: int
    ) -> int:
        """Adds those that fit to `found`, to one more than `limit`; answers how many could not be read."""
        at, unsearched = 0, 0
        while at < len(page) and len(found) <= limit:
            batch = _batch(page, at, limit + 1 - len(found))
            at += len(batch)
            fits, absent = await self._verified(query, batch)
            unsearched += absent
            found += (
                FoundMessage(mailbox_id=one.mailbox.mailbox_id, row=one.row)
                for one, yes in zip(batch, fits, strict=True)
                if yes
            )
        return unsearched

    async def _verified(self, query: Query, batch: list[Candidate]) -> tuple[list[bool], int]:
        unsure = [one for one in batch if one.fits is None and one.content is not None]
        refs = list(dict.fromkeys(one.content for one in unsure if one.content is not None))
        contents = await self._open(refs)

        def read() -> list[bool]:
            out = []
            for one in batch:
                raw = contents.get(one.content) if one.content else None
                if one.fits is None and raw is not None:
                    fits = judge(query, one.row, one.mailbox, reading(Message(raw)))
                    out.append(fits is True)
                else:
                    out.append(one.fits is True)
            return out

        absent = sum(one.fits is None and one.content not in contents for one in batch)
        return (await asyncio.to_thread(read) if contents else read()), absent

    async def _open(self, refs: Sequence[BlobRef]) -> dict[BlobRef, bytes]:
        """Those contents that can be read."""
        if not refs:
            return {}
        try:
            return dict(zip(refs, await self._store.read_blobs(refs), strict=True))
        except (BlobAltered, Unreachable):
            pass
        out = {}
        for ref in refs:  # one of them: the others are still good
            try:
                out[ref] = await self._store.read_blob(ref)
            except (BlobAltered, Unreachable):
                continue
        return out

    async def search_text(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], where: SearchedText, needle: str
    ) -> list[Uid]:
        """Those which hold the needle, ascending. Raises ContentUnavailable, NoSuchMailbox."""
        folded = fold(needle)
        asked = set(uids)
        await self._before()
        with account_errors():
            if not folded and where in ("text", "body"):
                await self._store.read(lambda c: self._directory.read(c).require(mailbox_id))
                return sorted(asked)
            sure, unsure, headers = await self._store.read(
                lambda c: self._split(c, mailbox_id, asked, where, folded)
            )
            if not unsure and not headers:
                return sorted(sure)
            if where in HEADER_FIELDS:
                fit, looked = await self._by_header(mailbox_id, unsure, where, folded)
                sure, unsure = sure | fit, unsure - looked
            sure |= await read_headers(
                self._store, mailbox_id, headers, lambda message: header_holds(message, folded)
            )
            listed = json.dumps(sorted(unsure))
            refs = await self._store.read(
                lambda c: [
                    (Uid(uid), BlobRef(*ref))
                    for uid, *ref in c.execute(_CONTENTS, (listed, mailbox_id))
                ]
            )
            first = 0
            while first < len(refs):
                batch = _octets(refs, first)
                first += len(batch)
                contents = await self._store.read_blobs([ref for _, ref in batch])
                self._on_read([ref for _, ref in batch])
                sure |= await asyncio.to_thread(_holding, batch, contents, where, folded)
        return sorted(sure)

    def _split(
        self,
        connection: Connection,
        mailbox_id: MailboxId,
        asked: set[Uid],
        where: SearchedText,
        folded: str,
    ) -> tuple[set[Uid], set[Uid], set[Uid]]:
        self._directory.read(connection).require(mailbox_id)
        return _split(connection, mailbox_id, asked, where, folded)

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        """Those with a field of that name which holds the needle, ascending.

        Raises ContentUnavailable, NoSuchMailbox.
        """
        folded = fold(needle)
        sieve = sieve_of_field(field, folded)
        with account_errors():

            def find(connection: Connection) -> set[Uid]:
                self._directory.read(connection).require(mailbox_id)
                return passed(connection, mailbox_id, uids, sieve)

            may = await self._store.read(find)
            if not may:
                return []
            return sorted(
                await read_headers(self._store, mailbox_id, may, field_test(field, folded))
            )

    async def _by_header(
        self, mailbox_id: MailboxId, unsure: set[Uid], where: SearchedText, folded: str
    ) -> tuple[set[Uid], set[Uid]]:
        """Those among messages whose content is not here that match, and all that were looked at.

        A content is not fetched for the sake of its header: the subject lies here, of the rest only a range is read.
        """
        listed = json.dumps(sorted(unsure))
        heads = await self._store.read(lambda c: list(c.execute(_HEADS, (listed, mailbox_id))))
        fit: set[Uid] = set()
        for uid, subject, size, *ref in heads:
            if where == "subject":
                matches = folded in fold(subject)
            else:
                raw = await self._store.read_blob(BlobRef(*ref), 0, size)
                matches = holds(Message(raw), where, folded)
            if matches:
                fit.add(Uid(uid))
        return fit, {Uid(uid) for uid, *_ in heads}


def _split(
    connection: Connection, mailbox_id: MailboxId, asked: set[Uid], where: SearchedText, folded: str
) -> tuple[set[Uid], set[Uid], set[Uid]]:
    """Those that certainly match, those that have to be read, and those of which only the header can match."""
    lookup = Lookup(connection, where, folded)

    def uids(numbers: set[int]) -> set[Uid]:
        found = connection.execute(UIDS, (json.dumps(list(numbers)), mailbox_id))
        return {uid for (uid,) in found if uid in asked}

    numbers = lookup.everywhere(connection)
    there = uids(numbers.sure)
    if lookup.blind:
        return there, asked - there, set()
    unindexed = connection.execute("SELECT number FROM mail_text WHERE state <> 1")
    unsure = uids(numbers.unsure | {number for (number,) in unindexed}) - there
    if not lookup.rest:
        return there, unsure, set()
    return there, unsure, passed(connection, mailbox_id, asked - there - unsure, Sieve([folded]))


def _holding(
    batch: Sequence[tuple[Uid, BlobRef]],
    contents: Sequence[bytes],
    where: SearchedText,
    folded: str,
) -> set[Uid]:
    return {
        uid
        for (uid, _), raw in zip(batch, contents, strict=True)
        if holds(Message(raw), where, folded)
    }


def _octets(refs: Sequence[tuple[Uid, BlobRef]], first: int) -> Sequence[tuple[Uid, BlobRef]]:
    size, last = 0, first
    while last < len(refs) and (last == first or size + refs[last][1].size <= VERIFY_OCTETS):
        size += refs[last][1].size
        last += 1
    return refs[first:last]


def _batch(page: list[Candidate], at: int, wanted: int) -> list[Candidate]:
    """The next candidates: so many as are wanted, or as may be opened at a time."""
    size, unsure, last = 0, 0, at
    while last < len(page):
        one = page[last]
        if one.fits is None and one.content is not None:
            if unsure and (size + one.content.size > VERIFY_OCTETS or unsure >= VERIFY_MANY):
                break
            size, unsure = size + one.content.size, unsure + 1
        last += 1
        if last - at >= max(wanted, 50):
            break
    return page[at:last]
