"""Indexes messages whose content came otherwise than by `append`: by sync, or before there was an index.

Newest first, and only what is on this device: nothing is fetched for it. All is looked through once, when the account
is opened or its index built anew; after that, only contents that somebody fetched. What cannot be opened stays as it
is, and is read when a search needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial

from leap.mail.message import Message
from leap.mail.search.catching_up import make_signatures
from leap.mail.search.tables import keep_terms
from leap.mail.search.texts import search_terms
from leap.mail.search.words import Terms
from leap.soledad.blobs import BlobRef
from leap.soledad.errors import NotOpen, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

BATCH = 100  # messages opened in one go
BATCH_OCTETS = 4 * 1024 * 1024
PAUSE_SECONDS = 0.2  # contents come in bursts: they are gathered for so long

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
_ARRIVED = (
    "SELECT t.header_id, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_row r ON r.content_id = j.value CROSS JOIN mail_text t ON t.header_id = r.header_id"
    " JOIN blob b ON b.blob_id = r.content_id WHERE t.state = 0 GROUP BY t.number"
)
_EVER = (2**62, 0)


class Filling:
    """Works in the background from `start` to `close`."""

    def __init__(self, store: Soledad) -> None:
        self._store = store
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._all = True
        self._wanting = True  # whether any message may be unindexed
        self._arrived: list[BlobRef] = []  # contents, or other blobs, that are here now
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._more.set()
        self._unsubscribe = self._store.on_fetched(self.follow)
        self._task = asyncio.create_task(self._work(), name="mail search index")

    def look_through_all(self) -> None:
        self._all = self._wanting = True
        self._more.set()

    def follow(self, refs: Sequence[BlobRef]) -> None:
        """These blobs are here now."""
        if self._wanting:
            self._arrived += refs
            self._more.set()

    def rows_arrived(self) -> None:
        """Rows came by sync; their contents follow."""
        self._wanting = True

    async def close(self) -> None:
        if self._task is not None:
            self._unsubscribe()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._fill_once()
            except NotOpen:
                return
            except SoledadError as error:
                _log.debug("the search index waits: %s", type(error).__name__)
            except Exception:
                _log.exception("the search index could not be filled")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _fill_once(self) -> None:
        arrived, self._arrived = self._arrived, []
        if self._all:
            await self.fill()
            await make_signatures(self._store)
            self._all = False
        for first in range(0, len(arrived), BATCH):
            await self._index_all(
                await self._store.read(partial(_among, refs=arrived[first : first + BATCH]))
            )

    async def fill(self) -> None:
        """Indexes all that is here and was not indexed yet."""
        before = _EVER
        while True:
            found, last = await self._store.read(lambda c: _find(c, before))  # noqa: B023
            await self._index_all(found)
            if last is None:
                break
            before = last
        left = "SELECT EXISTS (SELECT 1 FROM mail_text WHERE state = 0)"
        self._wanting = bool(await self._store.read(lambda c: c.execute(left).fetchone()[0]))

    async def _index_all(self, found: Sequence[tuple[str, BlobRef]]) -> None:
        first = 0
        while first < len(found):
            batch = _octets(found, first)
            first += len(batch)
            await self._index(batch)

    async def _index(self, batch: Sequence[tuple[str, BlobRef]]) -> None:
        contents: list[tuple[str, bytes]] = []
        for header_id, ref in batch:
            # one by one: what cannot be opened keeps back itself alone
            with contextlib.suppress(SoledadError):
                contents.append((header_id, await self._store.read_blob(ref)))
        made = await asyncio.to_thread(_made, contents)

        def job(connection: Connection) -> None:
            keep_terms(connection, [(header_id, None, terms) for header_id, terms in made])

        await self._store.write(job)


def _among(connection: Connection, refs: Sequence[BlobRef]) -> list[tuple[str, BlobRef]]:
    """Unindexed messages whose contents these blobs are."""
    listed = json.dumps([ref.blob_id for ref in refs])
    return [
        (header_id, BlobRef(*ref)) for header_id, *ref in connection.execute(_ARRIVED, (listed,))
    ]


def _find(
    connection: Connection, before: tuple[int, int]
) -> tuple[list[tuple[str, BlobRef]], tuple[int, int] | None]:
    """Unindexed messages whose content is here among the next BATCH, and where the next begin; None at the end."""
    found = [
        (header_id, BlobRef(*ref))
        for _, _, header_id, *ref in connection.execute(_HERE, (*before, BATCH))
    ]
    last = connection.execute(_LAST, (*before, BATCH - 1)).fetchone()
    return found, last


def _made(contents: Sequence[tuple[str, bytes]]) -> list[tuple[str, Terms]]:
    return [(header_id, search_terms(Message(raw))) for header_id, raw in contents]


def _octets(found: Sequence[tuple[str, BlobRef]], first: int) -> Sequence[tuple[str, BlobRef]]:
    size, last = 0, first
    while last < len(found) and (last == first or size + found[last][1].size <= BATCH_OCTETS):
        size += found[last][1].size
        last += 1
    return found[first:last]
