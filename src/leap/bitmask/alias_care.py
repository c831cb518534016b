"""Asks the provider in the background which addresses the account has beside its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from leap.soledad.errors import SoledadError

logger = logging.getLogger(__name__)

INTERVAL = 3600.0  # seconds; an operator gives one rarely, and `bitmask sync now` asks at once


class AliasCare:
    """`ask` raises SoledadError when the provider does not answer; `keep` says whether what it answered is new."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Sequence[str]]],
        keep: Callable[[Iterable[str]], Awaitable[bool]],
    ) -> None:
        self._ask = ask
        self._keep = keep
        self._due = asyncio.Event()

    def wake(self) -> None:
        """Asks now: the account came online, or a person wants to know."""
        self._due.set()

    async def look(self) -> bool:
        """Asks once; whether something new was answered."""
        try:
            return await self._keep(await self._ask())
        except (SoledadError, OSError) as error:
            logger.info("the provider did not say which addresses there are: %s", error)
            return False

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            self._due.clear()
            await self.look()
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._due.wait()
            except TimeoutError:
                continue
