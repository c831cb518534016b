"""The work in the background for an account's keys: there is an own one, and the directory has it.

Invariant: what fails is tried again, later and later, and is kept where `bitmask keys list` shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from leap.keymanager.keys import KeyManager

INTERVAL = 3600.0  # seconds between looks at the own key and its publication
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0  # seconds


class KeyCare:
    """The care for one account's keys. `settled` says whether this device may make and publish keys."""

    def __init__(self, keys: KeyManager, settled: Callable[[], bool]) -> None:
        self._keys = keys
        self._settled = settled
        self._due = asyncio.Event()

    def wake(self) -> None:
        """Looks now: the account came online, or its key was changed."""
        self._due.set()

    async def run(self) -> None:
        """Cares until it is cancelled."""
        delay = FIRST_RETRY
        while True:
            self._due.clear()
            if self._settled():
                await self._keys.own.ensure()
                published = await self._keys.publishing.publish()
                delay = INTERVAL if published else min(LONGEST_RETRY, delay * 2)
            try:
                async with asyncio.timeout(delay):
                    await self._due.wait()
            except TimeoutError:
                continue
            delay = FIRST_RETRY
