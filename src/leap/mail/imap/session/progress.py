"""INPROGRESS (RFC 9585): a client that waits long for a command hears that it is being worked on.

Invariant: a notice is a whole line between whole lines; so FETCH, whose literals are written in pieces, has none (it
is heard of anyway).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL = 12.0  # seconds; RFC 9585 4 recommends 10 to 15


class Progress:
    """How far one command is. It counts what it is told of; without that only the tag is told."""

    def __init__(self, tag: bytes, untagged: Callable[[bytes], None], interval: float) -> None:
        self._tag = b'"' + tag + b'"' if b"]" not in tag else b"NIL"  # RFC 9585 4
        self._untagged = untagged
        self._interval = interval
        self._done = 0
        self._goal = 0
        self._timer: asyncio.TimerHandle | None = None
        self._again()

    def expect(self, goal: int) -> bool:
        """Says how many messages there are to be worked on. Who says so first counts: False for all others."""
        if self._goal or goal < 1:
            return False
        self._goal = goal
        return True

    def advance(self, messages: int) -> None:
        self._done += messages

    def stop(self) -> None:
        """The tagged answer comes now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tell)

    def _tell(self) -> None:
        counts = b"NIL NIL"
        if self._done < self._goal:
            counts = b"%d %d" % (self._done, self._goal)
        self._untagged(b"OK [INPROGRESS (%s %s)] Still at work" % (self._tag, counts))
        self._again()
