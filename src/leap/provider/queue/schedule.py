"""When to try again: exponential back-off with jitter, and an end. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds. RFC 5321 4.5.4.1 asks to try for 4-5 days before giving up."""

    first: float = 15.0  # a server that restarts is back by then
    longest: float = 3_600.0
    lifetime: float = 5 * 86_400.0
    warning: float = 4 * 3_600.0  # after this the sender is told that it takes long

    def delay(self, attempts: int, uniform: Callable[[], float] = random.random) -> float:
        """How long to wait after the attempt number `attempts` (from 1): doubled each time, and up
        to half of it more by chance, so that mails which failed together do not come back together."""
        delay = min(self.first * 2.0 ** min(attempts - 1, 30), self.longest)
        return delay * (1 + uniform() / 2)

    def expired(self, created: float, now: float) -> bool:
        """Whether a mail has been tried for long enough."""
        return now - created >= self.lifetime
