"""How often the inbox is looked into: at once for a notice, and ever later when notices have nothing behind them.

A provider decides what it tells, and how often. Invariant: in `WINDOW` seconds there are `FREE` looks in vain at most
without a pause, and after each further one the pause is twice as long, up to `LONGEST`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW, FREE = 60.0, 6  # seconds; looks in vain
LONGEST = 60.0  # seconds


class Looks:
    """Remembers when a look brought nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_vain: deque[float] = deque(maxlen=16)

    def in_vain(self) -> None:
        """Nothing new was there, or it could not be had."""
        self._in_vain.append(self._clock())

    def pause(self) -> float:
        """How long to wait before the next look, whatever is told meanwhile; in seconds."""
        since = self._clock() - WINDOW
        excess = sum(when > since for when in self._in_vain) - FREE
        return min(LONGEST, 2.0**excess) if excess >= 0 else 0.0
