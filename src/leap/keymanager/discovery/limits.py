"""How often others are asked: so many requests a minute in total and to one host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from leap.keymanager.errors import LookupFailed

WINDOW = 60.0  # seconds
PER_HOST = 40  # a mail to 20 people at one domain, each with two requests
IN_TOTAL = 160  # a flood of mail by invented senders must not become one of requests


class Limits:
    """Counts requests of the last minute. `clock` is monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        per_host: int = PER_HOST,
        in_total: int = IN_TOTAL,
    ) -> None:
        self._clock = clock
        self._per_host = per_host
        self._in_total = in_total
        self._taken: deque[tuple[float, str]] = deque()

    def take(self, host: str) -> None:
        """Counts one request; raises LookupFailed when it would be one too many."""
        now = self._clock()
        while self._taken and self._taken[0][0] <= now - WINDOW:
            self._taken.popleft()
        if len(self._taken) >= self._in_total:
            raise LookupFailed("too many keys were looked up in the last minute; wait a little")
        if sum(asked == host for _, asked in self._taken) >= self._per_host:
            raise LookupFailed(f"{host} was asked too often in the last minute; wait a little")
        self._taken.append((now, host))
