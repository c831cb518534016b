"""Indexes the words of messages after they were stored: of those that `append` and delivery keep, and of those whose
content came by sync or before there was an index.

Only what is on this device: nothing is fetched for it. All is looked through once, newest first, when the account is
opened or its index built anew; after that, what was added and contents that somebody fetched. What cannot be opened
stays as it is, and is read when a search needs it. A crash loses nothing: `mail_text` says what is not indexed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial

from leap.keymanager.openpgp import offload
from leap.mail.message import Message
from leap.mail.search.catching_up import make_signatures
from leap.mail.search.tables import keep_terms, last_number
from leap.mail.search.texts import search_terms
from leap.mail.search.words import Terms
from leap.soledad.blobs import BlobRef
from leap.soledad.errors import NotOpen, SoledadError
from leap.soledad.pace import Pace
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad, work_in_background

BATCH = 100  # messages opened in one go
LOOKED_FOR = 400  # unindexed messages found in one go
BATCH_OCTETS = 4 * 1024 * 1024
SLICE, HURRIED_SLICE = (
    20,
    100,
)  # messages indexed in one transaction: 30 and 120 ms for 20 kB of text each
FEW = 50  # unindexed messages which a search may well read by itself
MANY_BEHIND = 1_500  # from here on it does not wait for those who write
MOST_BEHIND = 2_500  # who adds more waits, so that a search never waits for long
IN_A_PROCESS = (
    10  # messages whose words another process finds: a thread would hold up the event loop
)

_log = logging.getLogger(__name__)
_HERE = (
    "SELECT t.internal_date, t.number, t.header_id, r.content_id, r.content_sha256, r.content_size FROM"
    " (SELECT internal_date, number, header_id FROM mail_text WHERE state = 0 AND (internal_date, number) < (?, ?)"
    " ORDER BY internal_date DESC, number DESC LIMIT ?) t CROSS JOIN mail_index i ON i.header_id = t.header_id"
    " CROSS JOIN mail_row r ON r.row_id = i.row_id LEFT JOIN blob b ON b.blob_id = r.content_id"
    " GROUP BY t.number HAVING b.blob_id IS NOT NULL ORDER BY t.internal_date DESC, t.number DESC"
)
_LAST = (
    "SELECT internal_date, number FROM mail_text WHERE state = 0 AND (internal_date, number) < (?, ?)"
    " ORDER BY internal_date DESC, number DESC LIMIT 1 OFFSET ?"
)
_ADDED = (
    "SELECT number, header_id FROM mail_text WHERE number > ? AND state = 0 ORDER BY number LIMIT ?"
)
_CONTENTS_OF = (
    "SELECT j.value, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.header_id = j.value CROSS JOIN mail_row r ON r.row_id = i.row_id"
    " JOIN blob b ON b.blob_id = r.content_id GROUP BY j.key ORDER BY j.key"
)
_ARRIVED = (
    "SELECT t.header_id, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_row r ON r.content_id = j.value CROSS JOIN mail_text t ON t.header_id = r.header_id"
    " JOIN blob b ON b.blob_id = r.content_id WHERE t.state = 0 GROUP BY t.number"
)
_EVER = (2**62, 0)
_ALL = 2**62

Found = Sequence[tuple[str, BlobRef]]


class Filling:
    """Works in the background from `start` to `close`."""

    def __init__(self, store: Soledad, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._all = True
        self._wanting = True  # whether any message may be unindexed
        self._arrived: list[BlobRef] = []  # contents, or other blobs, that are here now
        self._last = 0  # number of the last added message that was looked at
        # how many were added since the start, and how many of them are done; looking through all counts as one
        self._added, self._done = 1, 0
        self._progress = asyncio.Condition()
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._more.set()
        self._unsubscribe = self._store.on_fetched(self.follow)
        self._task = asyncio.create_task(self._work(), name="mail search index")

    def look_through_all(self) -> None:
        self._all = self._wanting = True
        self._added += 1
        self._more.set()

    def follow(self, refs: Sequence[BlobRef]) -> None:
        """These blobs are here now."""
        if self._wanting:
            self._arrived += refs
            self._more.set()

    def rows_arrived(self) -> None:
        """Rows came by sync; their contents follow."""
        self._wanting = True

    def added(self, count: int) -> None:
        """So many messages were stored, which are here and not indexed."""
        self._added += count
        self._more.set()

    async def catch_up(self, most_left: int = 0) -> None:
        """Returns when at most so many of the messages added until now are not indexed, or it has no sense to wait."""
        wanted = self._added - most_left
        if self._done >= wanted or self._task is None or self._task.done():
            return
        with self._pace.hurry():
            async with self._progress:
                await self._progress.wait_for(lambda: self._done >= wanted)

    async def close(self) -> None:
        if self._task is not None:
            self._unsubscribe()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            await self._tell(_ALL)

    async def _work(self) -> None:
        work_in_background()
        while True:
            await self._more.wait()
            self._more.clear()
            await self._rest()
            added = self._added
            try:
                await self._fill_once()
            except NotOpen:
                added = _ALL
                return
            except SoledadError as error:
                self._all = True  # the next time
                _log.debug("the search index waits: %s", type(error).__name__)
            except Exception:
                self._all = True
                _log.exception("the search index could not be filled")
            finally:
                await self._tell(added)  # what could not be indexed is read by searches

    async def _rest(self) -> None:
        await self._pace.rest(behind=self._added - self._done >= MANY_BEHIND)

    async def _tell(self, done: int) -> None:
        async with self._progress:
            self._done = max(self._done, done)
            self._progress.notify_all()

    async def _fill_once(self) -> None:
        arrived, self._arrived = self._arrived, []
        if self._all:
            self._all = False
            self._last = await self._store.read(last_number)
            await self.fill()
            await make_signatures(self._store)
        await self._fill_added()
        for first in range(0, len(arrived), BATCH):
            await self._index_all(
                await self._store.read(partial(_among, refs=arrived[first : first + BATCH]))
            )

    async def fill(self) -> None:
        """Indexes all that is here and was not indexed yet."""
        before = _EVER
        while True:
            await self._fill_added()
            found, last = await self._store.read(lambda c: _find(c, before))  # noqa: B023
            await self._index_all(found)
            if last is None:
                break
            before = last
        left = "SELECT EXISTS (SELECT 1 FROM mail_text WHERE state = 0)"
        self._wanting = bool(await self._store.read(lambda c: c.execute(left).fetchone()[0]))

    async def _fill_added(self) -> None:
        """Indexes what was added since this was done before."""
        while self._done < self._added and (found := await self._store.read(self._find_added)):
            done = self._done
            await self._index_all(await self._store.read(partial(_contents_of, header_ids=found)))
            await self._tell(min(done + len(found), self._added))

    def _find_added(self, connection: Connection) -> list[str]:
        found = connection.execute(_ADDED, (self._last, LOOKED_FOR)).fetchall()
        if found:
            self._last = found[-1][0]
        return [header_id for _, header_id in found]

    async def _index_all(self, found: Found) -> None:
        """Finds the words of the next messages while those of the former are stored."""
        storing: asyncio.Task[None] | None = None
        first = 0
        try:
            while first < len(found):
                await self._rest()
                batch = _octets(found, first)
                first += len(batch)
                made = await self._words_of(batch)
                if storing is not None:
                    await storing
                storing = asyncio.create_task(self._keep(made))
        finally:
            if storing is not None:
                await storing

    async def _words_of(self, batch: Found) -> list[tuple[str, Terms]]:
        try:
            contents = await self._store.read_blobs([ref for _, ref in batch])
            opened = [(one[0], raw) for one, raw in zip(batch, contents, strict=True)]
        except NotOpen:
            raise
        except SoledadError:
            opened = []
            for header_id, ref in batch:
                # one by one: what cannot be opened keeps back itself alone
                with contextlib.suppress(SoledadError):
                    opened.append((header_id, await self._store.read_blob(ref)))
        if len(opened) >= IN_A_PROCESS:
            return await offload.run_batch(_made, opened)
        return await asyncio.to_thread(_made, opened)

    async def _keep(self, made: Sequence[tuple[str, Terms]]) -> None:
        first = 0
        while first < len(made):
            part = made[first : first + (HURRIED_SLICE if self._pace.hurrying else SLICE)]
            first += len(part)
            await self._store.write(partial(keep_terms, messages=part))


def _contents_of(connection: Connection, header_ids: Sequence[str]) -> list[tuple[str, BlobRef]]:
    """Those messages whose contents are here."""
    return [
        (header_id, BlobRef(*ref))
        for header_id, *ref in connection.execute(_CONTENTS_OF, (json.dumps(list(header_ids)),))
    ]


def _among(connection: Connection, refs: Sequence[BlobRef]) -> list[tuple[str, BlobRef]]:
    """Unindexed messages whose contents these blobs are."""
    listed = json.dumps([ref.blob_id for ref in refs])
    return [
        (header_id, BlobRef(*ref)) for header_id, *ref in connection.execute(_ARRIVED, (listed,))
    ]


def _find(
    connection: Connection, before: tuple[int, int]
) -> tuple[list[tuple[str, BlobRef]], tuple[int, int] | None]:
    """Unindexed messages whose content is here among the next LOOKED_FOR, and where the next begin; None at the end."""
    found = [
        (header_id, BlobRef(*ref))
        for _, _, header_id, *ref in connection.execute(_HERE, (*before, LOOKED_FOR))
    ]
    last = connection.execute(_LAST, (*before, LOOKED_FOR - 1)).fetchone()
    return found, last


def _made(contents: Sequence[tuple[str, bytes]]) -> list[tuple[str, Terms]]:
    return [(header_id, search_terms(Message(raw))) for header_id, raw in contents]


def _octets(found: Found, first: int) -> Found:
    size, last = 0, first
    while last < min(len(found), first + BATCH) and (
        last == first or size + found[last][1].size <= BATCH_OCTETS
    ):
        size += found[last][1].size
        last += 1
    return found[first:last]
