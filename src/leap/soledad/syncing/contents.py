"""Contents in the background: fetched when a sync may have brought new ones, asked for again when they were lost.

Small and large ones are fetched side by side, each newest first; after a pass what is no longer wanted here goes.

Invariants:
* No blob, whatever the provider gives for it, stops the others or the log.
* What the store's policy does not want fetched in the background is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from leap.soledad.errors import SoledadError
from leap.soledad.store import Soledad
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait
from leap.soledad.syncing.wishes import Wishes

STRAYS_EVERY = 3600.0  # seconds

_log = logging.getLogger(__name__)


class Contents:
    """`run()` it beside the sync of the log."""

    def __init__(
        self,
        store: Soledad,
        transfer: Transfer,
        wishes: Wishes,
        counted: Callable[[], Awaitable[object]],
        upkeep: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        """`counted` is called after each pass, whose outcome the status should show; `upkeep` at its end."""
        self._store = store
        self._transfer = transfer
        self._wishes = wishes
        self._counted = counted
        self._upkeep = upkeep
        self._due = asyncio.Event()
        self._large_due = asyncio.Event()
        self._swept = time.monotonic()

    def wake(self) -> None:
        """There may be something to fetch."""
        self._due.set()
        self._large_due.set()

    async def retry_now(self) -> None:
        """Asks for everything that was lost again, soon."""
        await self._store.write(self._store.blobs.retry_now)
        self.wake()

    async def run(self) -> None:
        """Until it is cancelled."""
        unsubscribe = self._store.on_policy(self.wake)
        try:
            async with asyncio.TaskGroup() as lanes:
                lanes.create_task(self._run_lane(self._due, self._pass))
                lanes.create_task(self._run_lane(self._large_due, self._pass_large))
        finally:
            unsubscribe()

    async def _run_lane(self, due: asyncio.Event, work: Callable[[], Awaitable[bool]]) -> None:
        delay = FIRST_DELAY
        pause: float | None = None
        while True:
            await wait(due, pause)
            due.clear()
            try:
                while await work():
                    delay = FIRST_DELAY
                delay = FIRST_DELAY
                pause = await self._store.read(self._store.blobs.next_retry)
            except SoledadError as error:
                _log.info("content could not be fetched: %s", error)
                with contextlib.suppress(
                    SoledadError
                ):  # what came before it failed may have been counted
                    await self._counted()
                await asyncio.sleep(delay * jitter())
                delay = min(LAST_DELAY, delay * 2)
                due.set()

    async def _pass(self) -> bool:
        if await self._transfer.fetch_batch():
            return True
        await self._wishes.grant()
        await self._wishes.tell()
        for work in self._upkeep:
            await work()
        await self._store.empty_trash()
        if time.monotonic() - self._swept > STRAYS_EVERY:
            self._swept = time.monotonic()
            await self._store.remove_strays()
        await self._counted()
        return False

    async def _pass_large(self) -> bool:
        if await self._transfer.fetch_large():
            return True
        await self._counted()
        return False
