"""How often a log-in may be tried: slow for who guesses, unnoticed by who mistypes.

Invariants:
* Addresses without an account are treated like all others, so waiting tells nothing.
* Memory is bounded: past `MAX_ENTRIES` the oldest entry is forgotten.
* A device with a token is never affected; only new log-ins wait.
Wrong proofs are counted for (address, peer) and, with more patience, for the address alone, so that
one guesser hardly keeps the owner out; starts are counted for the peer, because each costs CPU.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from leap.provider.errors import SlowDown

MAX_ENTRIES = 50_000
PAIR_FREE, PAIR_MAX_WAIT = 5, 900.0  # wrong proofs without waiting, longest wait in seconds
ADDRESS_FREE, ADDRESS_MAX_WAIT = 30, 60.0
FORGET_AFTER = 3600.0  # seconds without a wrong proof
PEER_BURST, PEER_RATE = 200.0, 2.0  # starts of one peer at once, and per second for ever


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0


class LoginThrottle:
    """Counts in memory; a restart forgets."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: dict[Hashable, _Failures] = {}
        self._budgets: dict[str, tuple[float, float]] = {}

    def start(self, peer: str) -> None:
        """Counts a start of a log-in. Raises SlowDown."""
        peer = _network(peer)
        now = self._now()
        budget, since = self._budgets.pop(peer, (PEER_BURST, now))
        budget = min(PEER_BURST, budget + (now - since) * PEER_RATE)
        if len(self._budgets) >= MAX_ENTRIES:
            self._budgets.pop(next(iter(self._budgets)))
        self._budgets[peer] = (max(budget - 1, 0.0), now)
        if budget < 1:
            raise SlowDown("too many log-ins from this network; try again later", retry_after=1)

    def attempt(self, address: str, peer: str) -> None:
        """Counts a proof as wrong before it is checked; `succeeded` takes it back. Raises SlowDown.

        Counting first keeps a guesser from having many proofs checked at once.
        """
        pair, alone = (address, _network(peer)), address
        self._check(pair, PAIR_FREE, PAIR_MAX_WAIT)
        self._check(alone, ADDRESS_FREE, ADDRESS_MAX_WAIT)
        self._count(pair)
        self._count(alone)

    def succeeded(self, address: str, peer: str) -> None:
        """Forgets the failures of who has just proved to know the passphrase."""
        self._failures.pop((address, _network(peer)), None)
        failures = self._failures.get(address)
        if failures is not None:
            failures.count -= 1

    def _check(self, key: Hashable, free: int, max_wait: float) -> None:
        failures = self._failures.get(key)
        if failures is None or failures.count < free:
            return
        now = self._now()
        if now - failures.last > max(FORGET_AFTER, max_wait):
            del self._failures[key]
            return
        wait = min(max_wait, 2.0 ** min(failures.count - free, 20))
        left = failures.last + wait - now
        if left > 0:
            raise SlowDown(
                f"too many wrong log-ins; try again in {int(left) + 1} seconds",
                retry_after=int(left) + 1,
            )

    def _count(self, key: Hashable) -> None:
        failures = self._failures.pop(key, None) or _Failures()
        failures.count += 1
        failures.last = self._now()
        if len(self._failures) >= MAX_ENTRIES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[key] = failures


def _network(peer: str) -> str:
    """The peer, for IPv6 its /64: one household has 2^64 addresses there."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False))
