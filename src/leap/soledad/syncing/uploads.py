"""Large blobs on their way out, beside the log: a blob that takes an hour holds up neither small ones nor pulls.

Those of the size of a mail and those above it go in two lanes, each the smallest first; in a lane one at a time.

Invariants:
* Rows that name a large blob are pushed when it has arrived (`pages.fill_pages`); all others do not wait for it.
* A blob which the provider refuses for what it is is set aside for an hour, so that it does not stop the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from leap.soledad.blobs.format import MAX_SIZE
from leap.soledad.errors import Refused, SoledadError
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait
from leap.soledad.wire import MAX_MESSAGE_BYTES

ASIDE_SECONDS = 3600.0
_OF_THE_BLOB = {400, 404, 409, 413}  # HTTP statuses of a refusal which another blob may not meet

_log = logging.getLogger(__name__)


class LargeUploads:
    """`run()` it beside the sync of the log, or `send()`."""

    def __init__(
        self,
        transfer: Transfer,
        sent: Callable[[int], Awaitable[None]],
        arrived: Callable[[], None],
    ) -> None:
        """`sent` is told the octets of each blob; `arrived` is called after it by `run`: there may be rows to push."""
        self._arrived = arrived
        self._due = asyncio.Event()
        self._mails = _Lane(transfer, sent, 0, MAX_MESSAGE_BYTES)
        self._bulk = _Lane(transfer, sent, MAX_MESSAGE_BYTES, MAX_SIZE)

    def wake(self) -> None:
        """There may be something to send."""
        self._due.set()

    async def send(self, *, bulk: bool) -> int:
        """Sends what waits, of the size of mails, with `bulk` all; answers how many.

        Raises Unreachable, Refused. Whoever is cancelled leaves the upload running for the others.
        """
        count = await self._mails.send()
        return count + (await self._bulk.send() if bulk else 0)

    async def run(self) -> None:
        """Until it is cancelled."""
        delay = FIRST_DELAY
        while True:
            await wait(self._due, None)
            self._due.clear()
            results = await asyncio.gather(
                self._send_all(self._mails), self._send_all(self._bulk), return_exceptions=True
            )
            errors = [one for one in results if isinstance(one, BaseException)]
            for error in errors:
                if not isinstance(error, SoledadError):
                    raise error
                _log.info("a large content could not be sent: %s", error)
            if errors:
                await asyncio.sleep(delay * jitter())
                delay = min(LAST_DELAY, delay * 2)
                self._due.set()
            else:
                delay = FIRST_DELAY

    async def _send_all(self, lane: _Lane) -> None:
        while await lane.send(most=1):
            self._arrived()

    async def close(self) -> None:
        """Cuts what runs; it goes on next time."""
        await self._mails.close()
        await self._bulk.close()


class _Lane:
    """One upload at a time; those who ask while one runs wait for it, too."""

    def __init__(
        self, transfer: Transfer, sent: Callable[[int], Awaitable[None]], above: int, most: int
    ) -> None:
        self._transfer = transfer
        self._sent = sent
        self._above = above
        self._most = most
        self._running: asyncio.Task[bool] | None = None
        self._aside: dict[str, float] = {}  # until when

    async def send(self, most: int | None = None) -> int:
        count = 0
        while most is None or count < most:
            if self._running is None:
                self._running = asyncio.ensure_future(self._send_one())
                self._running.add_done_callback(self._ended)
            if not await asyncio.shield(self._running):
                break
            count += 1
        return count

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._running = None
        if not task.cancelled():
            task.exception()  # known to whoever waits

    async def _send_one(self) -> bool:
        now = time.monotonic()
        self._aside = {name: until for name, until in self._aside.items() if until > now}
        ref = await self._transfer.find_large_unsent(self._above, self._most, self._aside)
        if ref is None:
            return False
        try:
            size = await self._transfer.send_large(ref)
        except Refused as error:
            if error.status in _OF_THE_BLOB:
                self._aside[ref.blob_id] = time.monotonic() + ASIDE_SECONDS
            raise
        await self._sent(size)
        return True

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
