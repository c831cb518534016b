"""Indexes messages whose content came otherwise than by `append`: by sync, or before there was an index.

Newest first, and only what is on this device: nothing is fetched for it. What cannot be opened stays as it is, and is
read when a search needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from leap.mail.message import Message
from leap.mail.search.tables import keep_terms, learn_terms
from leap.mail.search.texts import search_terms
from leap.mail.search.words import Terms
from leap.soledad.blobs import BlobRef
from leap.soledad.errors import NotOpen, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

BATCH = 100  # messages opened in one go
BATCH_OCTETS = 4 * 1024 * 1024
PAUSE_SECONDS = 1.0  # contents come in bursts: they are gathered for so long

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
_EVER = (2**62, 0)


class Filling:
    """Works in the background from `start` to `close`."""

    def __init__(self, store: Soledad) -> None:
        self._store = store
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._more.set()
        self._unsubscribe = self._store.on_fetched(lambda _: self._more.set())
        self._task = asyncio.create_task(self._work(), name="mail search index")

    def more_arrived(self) -> None:
        self._more.set()

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
                await self.fill()
            except NotOpen:
                return
            except SoledadError as error:
                _log.debug("the search index waits: %s", type(error).__name__)
            except Exception:
                _log.exception("the search index could not be filled")
            await asyncio.sleep(PAUSE_SECONDS)

    async def fill(self) -> None:
        """Indexes all that is here and was not indexed yet."""
        before = _EVER
        while True:
            found, last = await self._store.read(lambda c: _find(c, before))  # noqa: B023
            first = 0
            while first < len(found):
                batch = _octets(found, first)
                first += len(batch)
                await self._index(batch)
            if last is None:
                return
            before = last

    async def _index(self, batch: Sequence[tuple[str, BlobRef]]) -> None:
        contents: list[tuple[str, bytes]] = []
        for header_id, ref in batch:
            # one by one: what cannot be opened keeps back itself alone
            with contextlib.suppress(SoledadError):
                contents.append((header_id, await self._store.read_blob(ref)))
        made = await asyncio.to_thread(_made, contents)

        def job(connection: Connection) -> None:
            for header_id, terms in made:
                keep_terms(connection, header_id, None, terms)
            learn_terms(connection, [terms for _, terms in made])

        await self._store.write(job)


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
