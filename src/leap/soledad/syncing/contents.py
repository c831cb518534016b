"""Contents in the background: fetched when a sync may have brought new ones, asked for again when they were lost.

Invariant: no blob, whatever the provider gives for it, stops the others or the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from leap.soledad.errors import SoledadError
from leap.soledad.store import Soledad
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait
from leap.soledad.syncing.wishes import Wishes

_log = logging.getLogger(__name__)


class Contents:
    """`run()` it beside the sync of the log."""

    def __init__(
        self,
        store: Soledad,
        transfer: Transfer,
        wishes: Wishes,
        counted: Callable[[], Awaitable[object]],
    ) -> None:
        """`counted` is called after each pass, whose outcome the status should show."""
        self._store = store
        self._transfer = transfer
        self._wishes = wishes
        self._counted = counted
        self._due = asyncio.Event()

    def wake(self) -> None:
        """There may be something to fetch."""
        self._due.set()

    async def retry_now(self) -> None:
        """Asks for everything that was lost again, soon."""
        await self._store.write(self._store.blobs.retry_now)
        self._due.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        delay = FIRST_DELAY
        pause: float | None = None
        while True:
            await wait(self._due, pause)
            self._due.clear()
            try:
                while await self._transfer.fetch_batch():
                    delay = FIRST_DELAY
                await self._wishes.grant()
                await self._wishes.tell()
                await self._counted()
                pause = await self._store.read(self._store.blobs.next_retry)
            except SoledadError as error:
                _log.info("content could not be fetched: %s", error)
                with contextlib.suppress(
                    SoledadError
                ):  # what came before it failed may have been counted
                    await self._counted()
                await asyncio.sleep(delay * jitter())
                delay = min(LAST_DELAY, delay * 2)
                self._due.set()
