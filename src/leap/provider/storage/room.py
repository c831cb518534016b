"""Room on the disk: what adds bytes is refused while some is left, so that what frees them still works.

On a disk that is full to the last page not even a deletion can be written down, nor a logout.

Invariants:
* Only what stores something new asks for room; acknowledging, deleting and logging out never do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from leap.soledad.errors import StoreFull

RESERVE_BYTES = 64 * 1024 * 1024  # the database's log while some thousand deletions are written
RESERVE_SHARE = 8  # but no more than this part of a small disk
LOOK_EVERY = 0.5  # seconds; writes between two looks fit into the reserve


class Room:
    """The room on the file system of one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        reserve: int = RESERVE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._reserve = reserve
        self._clock = clock
        self._looked = float("-inf")
        self._free = 0

    def need(self, size: int) -> None:
        """Raise StoreFull unless `size` bytes more leave the reserve untouched."""
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            found = os.statvfs(self._folder)
            reserve = min(self._reserve, found.f_blocks * found.f_frsize // RESERVE_SHARE)
            self._free = found.f_bavail * found.f_frsize - reserve
        if size > self._free:
            raise StoreFull("the disk is full; nothing was stored")
        self._free -= size

    def give_back(self, size: int) -> None:
        """What was asked for is not needed after all."""
        self._free += size
