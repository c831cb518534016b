"""Refreshing: asking about known keys now and then, so that expiry, revocation and new subkeys arrive.

Keys are asked about one at a time, at random and at random moments, as parcimonie does: a round of all of them at once
would show whoever watches the list of one's correspondents. The pauses are exponential, so they have no memory: a
program that is stopped and started keeps the same rate while it runs.

Invariants:
* Each key is asked about once in about PERIOD, and not again before half of it is over, over restarts, too.
* What fails waits longer each time; nothing is taken away by a failure.
* Own keys and those the person blocked are not asked about, nor those that only came with some mail and were never
  used: whoever sends one would be asked for news of it, and learn where his mail is read. No log says whom a key is of.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from leap.keymanager.canonical import canonical
from leap.keymanager.discovery.answers import Refreshing
from leap.keymanager.discovery.contract import Found, Source
from leap.keymanager.documents import Binding
from leap.keymanager.errors import LookupFailed, NoSuchKey
from leap.keymanager.kept_times import KeptTimes, SettingStore
from leap.keymanager.keyring import Bound
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate
from leap.keymanager.trust import Level, level_named

logger = logging.getLogger(__name__)

PERIOD = (
    7 * 86_400.0
)  # seconds; whom one writes to is asked about daily besides (`finding.ASK_AGAIN`)
SHORTEST_PAUSE = 60.0  # also when there are thousands of keys
FIRST_RETRY = 3600.0  # after a failure; twice that after the next, up to PERIOD
SETTING = "keymanager.refreshed"
MAX_KEPT = 5000


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What asking about one key brought; `changes` and `failures` are in words."""

    address: str
    fingerprint: str
    changes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()  # names of the sources that answered
    failures: tuple[str, ...] = ()


class Refresh:
    """The refreshing of one account's keys of others."""

    def __init__(
        self,
        keys: KeyManager,
        store: SettingStore,
        *,
        now: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        may_ask: Callable[[], bool] = lambda: True,
        period: float = PERIOD,
    ) -> None:
        """`may_ask` is false while the device is offline, or is not to do anything yet."""
        self._keys = keys
        self._now = now
        self._random = randomness or random.SystemRandom()
        self._sleep = sleep
        self._may_ask = may_ask
        self._period = period
        self._next = KeptTimes(store, SETTING, most=MAX_KEPT)  # address -> not before
        self._failed: dict[str, int] = {}  # address -> times in a row

    async def run(self) -> None:
        """Refreshes until it is cancelled."""
        while True:
            bindings = await self._refreshable()
            await self._sleep(self._pause(len(bindings)))
            if self._may_ask():
                await self.refresh_one()

    async def refresh_one(self) -> Refreshed | None:
        """Asks about one key, at random among those whose time has come; None when there is none."""
        due = []
        for binding in await self._refreshable():
            not_before = await self._next.get(binding.address)
            if not_before is None or not self._now() < not_before <= self._now() + self._period:
                due.append(binding.address)
        if not due:
            return None
        chosen = self._random.choice(due)
        if await self._is_blocked(chosen):
            await self._note(chosen, failed=False)
            return None
        return await self.refresh(chosen)

    async def refresh(self, address: str) -> Refreshed:
        """Asks every source about the key of an address now, and says what changed. Raises NoSuchKey."""
        address = canonical(address)
        if address == self._keys.address:
            raise NoSuchKey(f"{address} is this account: nobody else has news of its own keys")
        before = await self._keys.keyring.find(address)
        if before is None:
            raise NoSuchKey(f"no key is known for {address}")
        asked: list[str] = []
        failures: list[str] = []
        for source in self._keys.finding.network_sources():
            try:
                found = await _ask(source, address, before.binding.fingerprint)
                if found is not None:
                    await self._keys.finding.take(found, address)
                asked.append(source.name)
            except LookupFailed as error:
                failures.append(str(error))
        after = await self._keys.keyring.find(address) or before
        await self._note(address, failed=bool(failures) and not asked)
        changes = await asyncio.to_thread(changes_between, before, after)
        if changes:
            logger.info("a key of a correspondent changed by a refresh")
        return Refreshed(
            address=address,
            fingerprint=after.binding.fingerprint,
            changes=changes,
            asked=tuple(asked),
            failures=tuple(failures),
        )

    async def refresh_all(
        self, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Refreshed]:
        """Asks about every key now, in random order: for a person who wants it so."""
        bindings = await self._refreshable()
        self._random.shuffle(bindings)
        found = []
        for number, binding in enumerate(bindings, 1):
            if not await self._is_blocked(binding.address):
                found.append(await self.refresh(binding.address))
            progress(number, len(bindings))
        return found

    def _pause(self, keys: int) -> float:
        """Seconds until the next one, so that each of so many keys is asked about once in a period."""
        mean = self._period / max(1, keys)
        pause = self._random.expovariate(1 / mean)
        return min(self._period, max(SHORTEST_PAUSE, pause))

    async def _refreshable(self) -> list[Binding]:
        own = {key.fingerprint for key in await self._keys.own_keys()}
        return [
            binding
            for binding in await self._keys.keyring.list_bindings()
            if binding.address != self._keys.address
            and binding.fingerprint not in own
            and (binding.encrypted_to or level_named(binding.level) > Level.WEAK_CHAIN)
        ]

    async def _is_blocked(self, address: str) -> bool:
        bound = await self._keys.keyring.find(address)
        return bound is not None and bound.blocked

    async def _note(self, address: str, *, failed: bool) -> None:
        if failed:
            times = self._failed.get(address, 0)
            self._failed[address] = times + 1
            pause = min(self._period, FIRST_RETRY * 2.0 ** min(times, 30))
        else:
            self._failed.pop(address, None)
            pause = self._period / 2
        await self._next.put(address, self._now() + pause)


async def _ask(source: Source, address: str, fingerprint: str) -> Found | None:
    if isinstance(source, Refreshing):
        return await source.refresh(address, fingerprint)
    return await source.find(address)


def changes_between(before: Bound, after: Bound) -> tuple[str, ...]:
    """What is new of the key of an address, in words for a person."""
    if before.certificate.fingerprint != after.certificate.fingerprint:
        newest = after.binding.history[-1] if after.binding.history else None
        why = f": {newest.reason}" if newest is not None else ""
        return (f"another key took the place of {before.certificate.fingerprint}{why}",)
    old, new = before.certificate, after.certificate
    found = []
    if new.revoked and not old.revoked:
        found.append("it is revoked")
    if new.expires != old.expires:
        found.append(f"its end is now {_day(new.expires)} (it was {_day(old.expires)})")
    found += _subkey_changes(old, new)
    if len(new.user_ids) < len(old.user_ids):
        found.append("a name on it was revoked")
    if after.level > before.level:
        found.append(f"it is believed more: {after.level.words}")
    known = {change.fingerprint for change in before.binding.refused}
    found += [
        f"another key was offered, {change.fingerprint}, and not taken: {change.reason}"
        for change in after.binding.refused
        if change.fingerprint not in known
    ]
    if after.binding.alert is not None and after.binding.alert != before.binding.alert:
        found.append("you have to decide about it, see `bitmask status`")
    return tuple(found)


def _subkey_changes(old: Certificate, new: Certificate) -> Sequence[str]:
    known = {state.key.fingerprint: state for state in old.keys[1:]}
    found = []
    for state in new.keys[1:]:
        name = state.key.key_id.hex().upper()
        was = known.get(state.key.fingerprint)
        if was is None:
            found.append(f"it has a new part, {name}")
        elif state.revoked is not None and was.revoked is None:
            found.append(f"its part {name} is revoked")
        elif state.expires != was.expires:
            found.append(f"the end of its part {name} is now {_day(state.expires)}")
    return found


def _day(moment: int | None) -> str:
    return "never" if moment is None else time.strftime("%Y-%m-%d", time.gmtime(moment))
