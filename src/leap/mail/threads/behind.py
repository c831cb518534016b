"""Messages that threads and contacts have to look at again: written down with the change, followed soon after.

Invariants:
* A change of the mailbox index and the note of it are in one transaction: a crash forgets neither.
* Whoever asks about threads or contacts follows what is noted first, so that no answer is behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from leap.mail.projection import DirectoryReader
from leap.mail.storing import account_errors
from leap.mail.threads.listed import follow_behind
from leap.soledad.errors import NotOpen, SoledadError, StoreFull
from leap.soledad.pace import Pace
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad, work_in_background

SLICE = 50  # messages followed in one transaction: about 10 ms
HURRIED_SLICE = 500

_log = logging.getLogger(__name__)


class FollowingBehind:
    """Works in the background from `start` to `close`."""

    def __init__(self, store: Soledad, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._directory = DirectoryReader()
        self._more = asyncio.Event()
        self._noted, self._followed = (
            1,
            0,
        )  # transactions; after the start nobody knows what is noted
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._more.set()
        self._task = asyncio.create_task(self._work(), name="mail threads and contacts")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def noted(self) -> None:
        """A transaction was committed which may have noted messages."""
        self._noted += 1
        self._more.set()

    async def catch_up(self) -> None:
        """Returns when all that was noted until now is followed; on a full disk at once."""
        await self._store.settle()  # what was accepted is not even noted yet
        if self._followed == self._noted:
            return
        with self._pace.hurry(), account_errors():
            try:
                while await self._follow(HURRIED_SLICE):
                    pass
            except StoreFull:
                _log.debug("threads and contacts wait: the disk is full")

    async def _work(self) -> None:
        work_in_background()
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._pace.rest()
                while await self._follow(SLICE):
                    await self._pace.rest()
            except NotOpen:
                return
            except SoledadError as error:
                _log.debug("threads and contacts wait: %s", type(error).__name__)
            except Exception:
                _log.exception("threads and contacts could not be followed")

    async def _follow(self, most: int) -> bool:
        """Follows some messages; whether there may be more."""
        noted = self._noted

        def job(connection: Connection) -> bool:
            return follow_behind(connection, self._directory.read(connection), most)

        more = await self._store.write(job)
        if not more:
            self._followed = max(self._followed, noted)
        return more
