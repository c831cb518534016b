"""The work in the background for an account's keys: there is an own one, it does not end, and the directory has it.

Invariants:
* What fails is tried again, later and later, and is kept where `bitmask keys list` and `bitmask status` show it.
* Nothing is made or published while this device is provisional, nor before what was made is on the provider.
* Two devices may do it at once: what both did is merged, and published once more if that is needed.
* A key is extended only after a sync. What a clock that is years ahead signs, other programs pass over until then, and
  nothing signed later is newer; by such a clock the provider's TLS certificate has expired, and no sync succeeds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from leap.bitmask.sentences import sentence
from leap.keymanager.errors import KeyManagerError
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import OpenPGPError
from leap.soledad.errors import SoledadError

logger = logging.getLogger(__name__)

INTERVAL = 3600.0  # seconds between looks at the own key and its publication
LOOK_INTERVAL = 24 * 3600.0  # seconds between looks at what the directory has
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0  # seconds


class KeyCare:
    """The care for one account's keys.

    `settled` says whether this device may make and publish keys; `synced` syncs, or raises SoledadError or OSError.
    """

    def __init__(
        self,
        keys: KeyManager,
        settled: Callable[[], bool],
        synced: Callable[[], Awaitable[object]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""  # what stands in the way of having a good key, as a sentence
        self._keys = keys
        self._settled = settled
        self._synced = synced
        self._monotonic = monotonic
        self._due = asyncio.Event()
        self._look_again = 0.0  # when the directory is asked what it has

    def wake(self) -> None:
        """Looks now: the account came online, or its key was changed, here or elsewhere."""
        self._due.set()

    async def run(self) -> None:
        """Cares until it is cancelled."""
        unsubscribe = self._keys.own.on_change(self.wake)
        try:
            delay = FIRST_RETRY
            while True:
                self._due.clear()
                if self._settled():
                    delay = INTERVAL if await self.care() else min(LONGEST_RETRY, delay * 2)
                try:
                    async with asyncio.timeout(delay):
                        await self._due.wait()
                except TimeoutError:
                    continue
                delay = FIRST_RETRY
        finally:
            unsubscribe()

    async def care(self) -> bool:
        """One round; False when something is to be tried again soon."""
        try:
            await self._keys.own.ensure()
            if await self._keys.own_changes.is_due() and await self._has_synced():
                await self._keys.own_changes.extend_if_due()
            aliases = self._keys.publishing.aliases
            if aliases and await self._lacks(aliases) and await self._has_synced():
                await self._keys.own_changes.name_aliases(aliases)
        except (
            KeyManagerError
        ) as error:  # for a person: the key that is there is published all the same
            self.problem = sentence(error)
        except (OpenPGPError, SoledadError, OSError) as error:
            self.problem = sentence(f"the key could not be made or extended: {error}")
            logger.warning("an own key could not be cared for: %s", type(error).__name__)
            return False
        else:
            self.problem = ""
        return await self.publish()

    async def _lacks(self, aliases: Sequence[str]) -> bool:
        """Whether the key in use has no user id of one of these."""
        known = (await self._keys.own.certificate()).addresses
        return any(one not in known for one in aliases)

    async def _has_synced(self) -> bool:
        try:
            await self._synced()
        except (SoledadError, OSError) as error:
            logger.info("an own key is not extended before a sync: %s", type(error).__name__)
            return False
        return True

    async def publish(self) -> bool:
        """Gives the directory what it has not; False when that must be tried again."""
        if not await self._keys.own_keys():
            return False
        look = self._monotonic() >= self._look_again
        done = await self._keys.publishing.publish(synced=self._synced, look=look)
        if done and look:
            self._look_again = self._monotonic() + LOOK_INTERVAL
        return done
