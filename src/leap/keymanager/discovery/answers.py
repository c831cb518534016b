"""Remembering what a source answered, so that nobody is asked twice for the same; and one look-up for all who ask.

Invariants:
* "None" holds for some hours, also over a restart; a failure for a minute; what was found for an hour, in memory: the
  keyring has it.
* Of all who ask for one address at once, the first one's look-up serves all; it goes on when they stop waiting.
* Only what a source says counts: a failure is never remembered as "none".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from leap.keymanager.discovery.contract import Found, Source
from leap.keymanager.errors import LookupFailed
from leap.keymanager.kept_times import KeptTimes, SettingStore

NONE_SECONDS = 6 * 3600.0  # whoever makes a key is found the same day
FOUND_SECONDS = 3600.0
FAILED_SECONDS = 60.0  # a mail that waits is tried again sooner; the server need not be
MAX_NONE = 2000  # of some 80 octets each
MAX_HELD = 500

SETTING = "keymanager.answered-none"


@runtime_checkable
class Refreshing(Protocol):
    """A source that can be asked for news of a key without being told the address."""

    async def refresh(self, address: str, fingerprint: str) -> Found | None: ...


def kept_answers(store: SettingStore) -> KeptTimes:
    """Until when which source's "none" holds."""
    return KeptTimes(store, SETTING, most=MAX_NONE)


class Remembering:
    """A source with a memory."""

    def __init__(
        self, source: Source, kept: KeptTimes, *, now: Callable[[], float] = time.time
    ) -> None:
        self.name = source.name
        self._source = source
        self._kept = kept
        self._now = now
        self._found: dict[str, tuple[float, Found]] = {}  # address -> until, what
        self._failed: dict[str, tuple[float, str]] = {}  # address -> until, why
        self._under_way: dict[str, asyncio.Task[Found | None]] = {}

    async def find(self, address: str) -> Found | None:
        """What the source said lately, or says now."""
        now = self._now()
        if (held := self._found.get(address)) is not None and held[0] > now:
            return held[1]
        if (failed := self._failed.get(address)) is not None and failed[0] > now:
            raise LookupFailed(failed[1])
        until = await self._kept.get(f"{self.name}:{address}")
        if until is not None and now < until <= now + NONE_SECONDS:  # else the clock was wrong
            return None
        return await self._shared(address)

    async def ask(self, address: str) -> Found | None:
        """What the source says now, whatever it said before."""
        return await self._shared(address)

    async def refresh(self, address: str, fingerprint: str) -> Found | None:
        """News of a key one has, asked for now."""
        if isinstance(self._source, Refreshing):
            return await self._source.refresh(address, fingerprint)
        return await self._shared(address)

    async def close(self) -> None:
        """Ends the look-ups under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _shared(self, address: str) -> Found | None:
        task = self._under_way.get(address)
        if task is None:
            task = asyncio.create_task(self._ask(address), name=f"look-up by {self.name}")
            self._under_way[address] = task
            task.add_done_callback(lambda done: self._ended(address, done))
        try:
            return await asyncio.shield(task)
        except LookupFailed as error:
            raise LookupFailed(str(error)) from error  # one each: several may be told
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if task.cancelled() and asker is not None and not asker.cancelling():
                raise LookupFailed("the look-up was broken off; it is done anew") from None
            raise

    def _ended(self, address: str, task: asyncio.Task[Found | None]) -> None:
        del self._under_way[address]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    async def _ask(self, address: str) -> Found | None:
        self._found.pop(address, None)
        self._failed.pop(address, None)
        try:
            found = await self._source.find(address)
        except LookupFailed as error:
            self._failed[address] = self._now() + FAILED_SECONDS, str(error)
            _trim(self._failed)
            raise
        name = f"{self.name}:{address}"
        if found is None:
            await self._kept.put(name, self._now() + NONE_SECONDS)
        else:
            await self._kept.put(name, None)
            self._found[address] = self._now() + FOUND_SECONDS, found
            _trim(self._found)
        return found


def _trim(held: dict[str, tuple[float, str]] | dict[str, tuple[float, Found]]) -> None:
    if len(held) > MAX_HELD:
        del held[next(iter(held))]
