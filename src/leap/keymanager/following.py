"""The documents of one type, read once and followed from then on, for what is kept in memory of them.

Invariants:
* Nobody goes on before all were read: "not there" would be untrue.
* What changes while they are read is told after it, so that the newer state stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from leap.keymanager.documents import Content, DocumentStore

Told = Callable[[Content | None, Content | None], None]


class Followed:
    """Tells `told` the content before and after of each document of `type`; of those read, before is None."""

    def __init__(self, store: DocumentStore, type: str, told: Told) -> None:
        self._store = store
        self._type = type
        self._told = told
        self._reading = asyncio.Lock()
        self._meanwhile: list[Any] | None = None  # changes that came while the documents were read
        self._stop: Callable[[], None] | None = None

    @property
    def is_read(self) -> bool:
        """Whether all is known, and followed."""
        return self._stop is not None

    async def read(self) -> None:
        """Reads them, the first time it is called. Raises what the store raises; the next call tries again."""
        if self.is_read:
            return
        async with self._reading:
            if self.is_read:
                return
            self._meanwhile = []
            with ExitStack() as until_read:
                until_read.callback(self._store.on_change(self._follow))
                for document in await self._store.find_docs(self._type):
                    self._told(None, document.content)
                self._stop = until_read.pop_all().close
            meanwhile, self._meanwhile = self._meanwhile, None
            for changes in meanwhile:
                self._follow(changes)

    def close(self) -> None:
        """Stops listening to the store."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _follow(self, changes: Any) -> None:
        if self._meanwhile is not None:
            self._meanwhile.append(changes)
            return
        for _, before, after in changes.docs:
            if any(one is not None and one.get("type") == self._type for one in (before, after)):
                self._told(before, after)
