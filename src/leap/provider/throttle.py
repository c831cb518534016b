"""How often strangers may ask for log-ins and accounts: slow for who guesses, unnoticed by who mistypes.

Invariants:
* Addresses without an account are treated like all others, so waiting tells nothing.
* Memory is bounded: past `MAX_ENTRIES` the oldest entry is forgotten.
* A device with a token is never affected; only new log-ins wait.
Wrong proofs are counted for (address, peer) and, with more patience, for the address alone, so that
one guesser hardly keeps the owner out; starts and sign-ups are counted for the peer, because each costs
CPU or disk. A peer on this machine is not limited so: it is the operator's, or a proxy before us.
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
START_BURST, START_RATE = 200.0, 2.0  # starts of one peer at once, and per second for ever
SIGNUP_BURST, SIGNUP_RATE = 50.0, 1 / 60  # a class room at once, a newcomer every minute


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0


class Budget:
    """So many at once from one peer, and so many per second for ever."""

    def __init__(
        self, burst: float, rate: float, what: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._rate, self._what = burst, rate, what
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}

    def start(self, peer: str) -> None:
        """Counts one. Raises SlowDown."""
        if _is_here(peer):
            return
        peer = _network(peer)
        now = self._now()
        left, since = self._left.pop(peer, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if len(self._left) >= MAX_ENTRIES:
            self._left.pop(next(iter(self._left)))
        self._left[peer] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise SlowDown(
                f"too many {self._what} from this network; try again later",
                retry_after=int((1 - left) / self._rate) + 1,
            )


class LoginThrottle:
    """Counts in memory; a restart forgets."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: dict[Hashable, _Failures] = {}
        self._starts = Budget(START_BURST, START_RATE, "log-ins", now=now)

    def start(self, peer: str) -> None:
        """Counts a start of a log-in. Raises SlowDown."""
        self._starts.start(peer)

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


def _is_here(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _network(peer: str) -> str:
    """The peer, for IPv6 its /64: one household has 2^64 addresses there."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False))
