"""The change feed: every document that changed since a sequence number, and then as it happens.

A feed keeps no changes: it keeps the number of the last one it gave, and reads on in the document table when the
store says that there is more. So it goes on where a program left off, over restarts, with neither a gap nor a
doubled change, and a slow reader costs one page of memory. The price is u1db's: of a document that changed several
times before the reader came to it, only the newest state is given.

Rows are not in it: they have no numbers of their own. Follow them with `on_change`, or with a projection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from leap.soledad import document_api, documents
from leap.soledad.documents import Document
from leap.soledad.errors import NotOpen
from leap.soledad.sqlite import Connection

T = TypeVar("T")

PAGE_DOCUMENTS = 256
PAGE_CHARACTERS = 1024 * 1024  # of JSON; one document may be as large


class Change(NamedTuple):
    """A document as it is since `seq`; its content is None when it was deleted. Keep `seq` to go on later."""

    seq: int
    document: Document


class Bell:
    """Wakes those who wait for changes. All of it on one event loop."""

    def __init__(self) -> None:
        self.rung = 0
        self.closed = False
        self._event = asyncio.Event()

    def ring(self) -> None:
        """There is something new."""
        self.rung += 1
        self._event.set()
        self._event.clear()  # those who wait now are woken all the same

    def close(self) -> None:
        """There will be nothing new any more."""
        self.closed = True
        self.ring()

    async def wait(self, rung: int) -> None:
        """Until it has rung more often than that."""
        if self.rung == rung and not self.closed:
            await self._event.wait()


class Readable(Protocol):
    """What a feed needs of a store."""

    async def read(self, job: Callable[[Connection], T]) -> T: ...


class ChangeFeed:
    """An async iterator of changes; it ends when the store is closed. One reader each."""

    def __init__(self, store: Readable, bell: Bell, since: int) -> None:
        self._store = store
        self._bell = bell
        self._since = since
        self._last = (since + 1, "")  # before every document of the next number
        self._page: list[Change] = []
        self._checked = False

    def __aiter__(self) -> ChangeFeed:
        return self

    async def __anext__(self) -> Change:
        """The next one. Raises InvalidGeneration if the store never was at `since`."""
        while not self._page:
            rung = self._bell.rung
            try:
                self._page = await self._store.read(self._load)
            except NotOpen:
                raise StopAsyncIteration from None
            if not self._page:
                if self._bell.closed:
                    raise StopAsyncIteration
                await self._bell.wait(rung)
        return self._page.pop()

    def _load(self, connection: Connection) -> list[Change]:
        """The next page, the earliest change last."""
        if not self._checked:
            document_api.check_generation(connection, self._since)
            self._checked = True
        found = connection.execute(
            f"SELECT generation, {documents.SHOWN} FROM document"  # noqa: S608
            " WHERE (generation, doc_id) > (?, ?) ORDER BY generation, doc_id LIMIT ?",
            (*self._last, PAGE_DOCUMENTS),
        )
        page: list[Change] = []
        size = 0
        for seq, *values in found:
            page.append(Change(seq, documents.shown(values)))
            size += len(values[2] or "")
            if size > PAGE_CHARACTERS:
                break
        if page:
            self._last = (page[-1].seq, page[-1].document.doc_id)
        page.reverse()
        return page
