"""When work in the background may go on: it lets those who write go first, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

QUIET_SECONDS = 0.3  # since the last write: whoever adds message after message pauses for less
MOST_SECONDS = 5.0  # that work waits for such a pause


class Pace:
    """On one event loop."""

    def __init__(
        self,
        quiet: float = QUIET_SECONDS,
        most: float = MOST_SECONDS,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`busy` says whether somebody is still writing."""
        self._quiet = quiet
        self._most = most
        self._busy = busy
        self._wrote_at = self._read_at = float("-inf")
        self._hurrying = 0
        self._hurried = asyncio.Event()

    def wrote(self) -> None:
        """Somebody has just written."""
        self._wrote_at = asyncio.get_running_loop().time()

    def read(self) -> None:
        """Somebody has just read much."""
        self._read_at = asyncio.get_running_loop().time()

    @contextlib.contextmanager
    def hurry(self) -> Iterator[None]:
        """Somebody waits for the work meanwhile."""
        self._hurrying += 1
        self._hurried.set()
        try:
            yield
        finally:
            self._hurrying -= 1
            if not self._hurrying:
                self._hurried.clear()

    @property
    def hurrying(self) -> bool:
        return self._hurrying > 0

    async def rest(self, *, behind: bool = False) -> None:
        """Returns when nobody read or wrote for a moment, has done so for long, or somebody waits.

        `behind`: so much is to be done that those who write, who make it more, are not let go first.
        """
        now = asyncio.get_running_loop().time
        latest = now() + self._most
        while not self._hurrying:
            if self._busy():
                self._wrote_at = now()
            disturbed = self._read_at if behind else max(self._read_at, self._wrote_at)
            left = min(disturbed + self._quiet, latest) - now()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurried.wait()
