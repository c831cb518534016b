"""The provider's notices: listened to all the time, each heeded once, and those with nothing behind them ever later."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from leap.soledad.errors import SoledadError
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait

# In so many seconds so many notices may have nothing behind them.
NOTICE_WINDOW, FREE_NOTICES = 60.0, 4

_log = logging.getLogger(__name__)

Notice = Callable[[str, int], None]


class Notices:
    """What the provider told, and whether there is a reason to sync."""

    def __init__(self, remote: SyncRemote, lock: asyncio.Lock) -> None:
        """`lock` is held by a sync that runs: it may bring just what was told."""
        self._remote = remote
        self._lock = lock
        self._wake = asyncio.Event()
        self.changed = asyncio.Event()  # something was changed here, or somebody asked
        self.hello = asyncio.Event()
        self.listening = False
        self.seq = 0  # of the head known here
        self._heard = 0  # of the head the provider told of last
        self._noticed = self._greeted = False  # it told of a head, or said hello, since `begin`
        self._fruitless: deque[float] = deque(maxlen=16)  # when notices had nothing behind them
        self._callbacks: list[Notice] = []

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def wake(self) -> None:
        """Something changed here: sync soon."""
        self.changed.set()
        self._wake.set()

    def begin(self) -> None:
        """A sync begins: what comes from now on is another reason."""
        self._wake.clear()
        self.changed.clear()
        self._greeted = self._noticed = False

    def in_vain(self) -> None:
        """There was nothing behind the last notice."""
        self._fruitless.append(time.monotonic())

    async def wait(self, pause: float) -> bool:
        """Until there is a reason to sync, but not longer than `pause` seconds; True if it is a notice."""
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            await wait(self._wake, left)
            self._wake.clear()
            if self.changed.is_set():
                return False
            if self._noticed and not self._greeted:
                async with self._lock:
                    self._noticed = self._heard > self.seq
            if self._noticed or self._greeted:
                since = time.monotonic() - NOTICE_WINDOW
                excess = sum(when > since for when in self._fruitless) - FREE_NOTICES
                if excess >= 0:
                    await wait(self.changed, min(LAST_DELAY, 2.0**excess))
                return not self.changed.is_set()
        return False

    async def listen(self) -> None:
        """Until it is cancelled."""
        delay = FIRST_DELAY
        while True:
            try:
                async for event in self._remote.events():
                    self.listening = True
                    delay = FIRST_DELAY
                    if event.kind == "head" and event.data > self.seq:
                        self._heard = event.data
                        self._noticed = True
                        self._wake.set()
                    elif event.kind == "hello":
                        self._greeted = True
                        self.hello.set()
                        self._wake.set()
                    for callback in list(self._callbacks):
                        callback(event.kind, event.data)
            except SoledadError as error:
                _log.info("no notices from the provider: %s", error)
            self.listening = False
            await asyncio.sleep(delay * jitter())
            delay = min(LAST_DELAY, delay * 2)
