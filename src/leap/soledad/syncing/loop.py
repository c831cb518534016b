"""The sync engine: one store kept in step with one provider, at once when asked and by itself while it runs.

Invariants:
* One pull or push at a time. Those who ask while one runs share the next.
* What the provider cannot have meant of the log (ProviderLies) becomes an alarm, kept over restarts: sync waits,
  nothing is lost, a person decides (`clear_alarm`). A damaged blob is no alarm (`contents`).
* Nothing happens without a reason: a notice of the provider, a local change, a time-out. Idle costs no CPU.
* A notice is heeded once, and notices behind which there was nothing are heeded later and later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable

from leap.soledad.changes import ChangeSet
from leap.soledad.errors import NotOpen, ProviderLies, Refused, SoledadError, Unreachable
from leap.soledad.store import Soledad
from leap.soledad.syncing.apply import apply_set_aside
from leap.soledad.syncing.contents import Contents
from leap.soledad.syncing.pull import Puller
from leap.soledad.syncing.push import Pusher
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import ALARM, SyncState
from leap.soledad.syncing.status import EngineStatus, StatusBoard, SyncResult, count_waiting
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait
from leap.soledad.syncing.wishes import Wishes
from leap.soledad.transaction import save_setting

GATHER_SECONDS = 1.0  # local changes that come together travel together: one commit in this time
GATHER_LEAST = (
    0.1  # part of it; so long the first change after a quiet time waits for those that come with it
)
POLL_SECONDS = 60.0  # only while no notices come
QUIET_POLL_SECONDS = 15 * 60.0  # in case a notice was lost although the stream stands
SILENT_SECONDS = 24 * 3600.0  # after which a device signs a head to say how far it is
SENDING_SECONDS = 5.0  # rows are committed while more blobs are still being sent
NOTICE_WINDOW, FREE_NOTICES = (
    60.0,
    4,
)  # in so many seconds so many notices may have nothing behind them

_log = logging.getLogger(__name__)


class SyncStopped(SoledadError):
    """Sync stopped at an alarm, and a person has not decided yet; the text is the alarm's."""


Notice = Callable[[str, int], None]


class SyncEngine:
    """Syncs one store whose material is saved. `run()` it, or call `sync()` at will; `close()` it."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        *,
        now: Callable[[], float] = time.time,
        gather: float = GATHER_SECONDS,
        poll: float = POLL_SECONDS,
        random: Callable[[int], bytes] = os.urandom,
        fetch_blobs: bool = True,
    ) -> None:
        """`gather` and `poll` are seconds; without `fetch_blobs` content comes only when it is read."""
        if store.material is None:
            raise SoledadError("this store belongs to no account yet")
        self._store = store
        self._remote = remote
        self._now = now
        self._gather = gather
        self._poll = poll
        self._fetching = fetch_blobs
        self._puller = Puller(store, remote)
        self._pusher = Pusher(store, remote, self._puller, now=now, random=random)
        self._transfer = Transfer(store, remote, now=now)
        wishes = Wishes(store, remote, store.material.device.device_id, now=now)
        self._contents = Contents(store, self._transfer, wishes, self.refresh_status)
        self._lock = asyncio.Lock()
        self._queued: asyncio.Task[SyncResult] | None = None
        self._tasks: set[asyncio.Task[SyncResult]] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._cleared = asyncio.Event()  # there was an alarm, and there is none any more
        self._listening = False
        self._closed = False
        self._seq = 0  # of the head known here
        self._heard = 0  # of the head the provider told of last
        self._noticed = self._greeted = (
            False  # it told of a head, or said hello, since the last sync began
        )
        self._fruitless: deque[float] = deque(maxlen=16)  # when notices had nothing behind them
        self._hello = asyncio.Event()
        self._board = StatusBoard()
        self._notices: list[Notice] = []
        self.pulled = asyncio.Event()  # set once the first pull is complete
        store.attach(remote)

    # -- status -------------------------------------------------------------------------------

    @property
    def status(self) -> EngineStatus:
        """As of the last sync, or the last change of it."""
        return self._board.current

    async def refresh_status(self) -> EngineStatus:
        """Counts again what waits."""
        tables = self._store.tables
        waiting = await self._store.read(lambda c: count_waiting(c, tables))
        state = await self._puller.state()
        alarm = await self._store.setting(ALARM) or ""
        self._seq = state.seq
        self._board.update(provisional=not state.complete, alarm=alarm, **waiting)
        if state.complete:
            self.pulled.set()
        return self._board.current

    def on_status(self, callback: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Calls `callback` on the loop whenever the status changes; answers the function that ends it."""
        return self._board.subscribe(callback)

    def on_notice(self, callback: Notice) -> Callable[[], None]:
        """Calls `callback(kind, data)` for the provider's notices ("hello", "head", "inbox")."""
        self._notices.append(callback)

        def unsubscribe() -> None:
            if callback in self._notices:
                self._notices.remove(callback)

        return unsubscribe

    # -- syncing once -------------------------------------------------------------------------

    async def sync(self) -> SyncResult:
        """Pulls, then pushes everything that was changed before the call.

        Raises ProviderLies (then an alarm is set), SyncStopped, Unreachable, Refused, StoreFull.
        """
        if self._closed:
            raise NotOpen("sync was ended")
        if self._queued is None:
            self._queued = asyncio.ensure_future(self._sync_next())
            self._tasks.add(self._queued)
            self._queued.add_done_callback(self._ended)
        return await asyncio.shield(self._queued)

    def _ended(self, task: asyncio.Task[SyncResult]) -> None:
        self._tasks.discard(task)
        if self._queued is task:
            self._queued = None
        if not task.cancelled():
            task.exception()  # told to whoever waits; with nobody left it stands in the status

    async def _sync_next(self) -> SyncResult:
        async with self._lock:
            self._queued = None  # who asks from now on wants another one
            alarm = await self._store.setting(ALARM)
            if alarm:
                self._board.update(alarm=alarm)
                raise SyncStopped(alarm)
            try:
                result = await self._sync()
            except ProviderLies as error:
                await self._alarm(error)
                raise
            except (Unreachable, Refused) as error:
                self._board.update(online=isinstance(error, Refused), error=str(error))
                raise
            except SoledadError as error:
                self._board.update(error=str(error))
                raise
            await self.refresh_status()
            self._board.update(online=True, error="", last_sync=int(self._now()))
            return result

    async def _sync(self) -> SyncResult:
        tables = self._store.tables
        if await self._store.read(
            lambda c: c.execute("SELECT 1 FROM unknown_page LIMIT 1").fetchone()
        ):
            await self._store.transact_as(
                lambda tx: apply_set_aside(tx, tables), durable=False, from_sync=True
            )
        pulled = await self._puller.pull()
        self.pulled.set()
        pushed, sent = await self._push_all()
        state = await self._puller.state()
        if self._is_silent(state) or self._has_news_of_keys(state):
            await self._pusher.push(even_empty=True)
            state = await self._puller.state()
        if state.record is not None:
            material = self._store.material
            assert material is not None
            await self._transfer.purge(state.record, material.open_keyset())
        self._contents.wake()
        return SyncResult(pulled, pushed, sent)

    async def _push_all(self) -> tuple[int, int]:
        """Commits what needs no blobs, then sends blobs and commits the rows that wait for them."""
        pushed = sent = 0
        while True:
            while count := await self._pusher.push():
                pushed += count
            started = time.monotonic()
            batch = 0
            while time.monotonic() - started < SENDING_SECONDS:
                count = await self._transfer.send_batch()
                batch += count
                if not count:
                    break
            if not batch:
                return pushed, sent
            sent += batch

    def _is_silent(self, state: SyncState) -> bool:
        """Whether other devices should hear that this one has read what they wrote."""
        if state.record is None or state.record.author == state.device_id:
            return False
        entry = state.record.devices.get(state.device_id)
        if entry is not None and entry.acked_seq == state.record.seq:
            return False
        return entry is None or self._now() - state.record.time > SILENT_SECONDS

    def _has_news_of_keys(self, state: SyncState) -> bool:
        """Whether there is a newer epoch than the log's: until a head is under it, other devices do not hear of it."""
        material = self._store.material
        return (
            state.record is not None
            and material is not None
            and material.epoch.number > state.epoch
        )

    async def adopt_keyset(self, signed: bytes) -> None:
        """Goes over to a newer keyset between two syncs; raises BadKeyset, DeviceRevoked."""
        async with self._lock:
            await self._puller.adopt_keyset(signed)
        self.wake()

    async def refresh_keyset(self) -> None:
        """Fetches the newest keyset, which says who belongs to the account, without waiting for a head that names it.

        Raises Unreachable, Refused, DeviceRevoked, and ProviderLies (then an alarm is set).
        """
        async with self._lock:
            try:
                await self._puller.adopt_keyset((await self._remote.secrets()).keyset)
            except ProviderLies as error:
                await self._alarm(error)
                raise

    async def _alarm(self, error: ProviderLies) -> None:
        text = error.sentence
        self._cleared.clear()
        await self._store.write(lambda c: save_setting(c, ALARM, text), durable=True)
        self._board.update(alarm=text)
        _log.error("sync stopped: %s: %s", type(error).__name__, error)

    async def clear_alarm(self) -> str:
        """A person says: try again. Answers what the alarm was, "" if there was none."""
        async with self._lock:  # under which alarms are set
            alarm: str = await self._store.setting(ALARM) or ""
            if alarm:
                await self._store.write(lambda c: save_setting(c, ALARM, None), durable=True)
                _log.warning("sync goes on after the alarm: %s", alarm)
            self._board.update(alarm="")
            self._cleared.set()
        return alarm

    async def retry_contents(self) -> None:
        """Asks for missing and damaged contents again, without waiting for their time."""
        await self._contents.retry_now()

    # -- running ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Sync soon."""
        self._changed.set()
        self._wake.set()

    async def run(self) -> None:
        """Keeps the store in step until it is cancelled or closed; at an alarm it waits for `clear_alarm`."""
        unsubscribe = self._store.on_change(self._on_change)
        others = [asyncio.ensure_future(self._listen())]
        if self._fetching:
            others.append(asyncio.ensure_future(self._contents.run()))
        for task in others:
            task.add_done_callback(_log_crash)
        try:
            await self.refresh_status()
            await self._keep_in_step()
        finally:
            unsubscribe()
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def _on_change(self, changes: ChangeSet) -> None:
        if not changes.from_sync and (changes.docs or changes.rows):
            self._changed.set()
            self._wake.set()

    async def _keep_in_step(self) -> None:
        delay = FIRST_DELAY
        last_push = time.monotonic() - self._gather
        noticed = False
        while True:
            self._wake.clear()
            self._changed.clear()
            self._greeted = self._noticed = False
            try:
                result = await self.sync()
                delay = FIRST_DELAY
                pause = QUIET_POLL_SECONDS if self._listening else self._poll
            except (ProviderLies, SyncStopped):
                await self._cleared.wait()
                continue
            except NotOpen:
                return
            except SoledadError as error:
                _log.info("sync failed: %s", error)
                self._hello.clear()  # a notice that the provider is back cuts the delay short
                await wait(self._hello, delay * jitter())
                delay = min(LAST_DELAY, delay * 2)
                continue
            if result.pushed:
                last_push = time.monotonic()
            if noticed and not result.pulled:
                self._fruitless.append(time.monotonic())
            noticed = await self._wait_for_notice(pause)
            if self._changed.is_set():
                quiet = time.monotonic() - last_push
                await asyncio.sleep(max(self._gather * GATHER_LEAST, self._gather - quiet))

    async def _wait_for_notice(self, pause: float) -> bool:
        """Until there is a reason to sync, but not longer than `pause` seconds; True if it is a notice."""
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            await wait(self._wake, left)
            self._wake.clear()
            if self._changed.is_set():
                return False
            if self._noticed and not self._greeted:
                async with self._lock:  # a sync that runs may bring just this
                    self._noticed = self._heard > self._seq
            if self._noticed or self._greeted:
                since = time.monotonic() - NOTICE_WINDOW
                excess = sum(when > since for when in self._fruitless) - FREE_NOTICES
                if excess >= 0:
                    await wait(self._changed, min(LAST_DELAY, 2.0**excess))
                return not self._changed.is_set()
        return False

    async def _listen(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async for event in self._remote.events():
                    self._listening = True
                    delay = FIRST_DELAY
                    if event.kind == "head" and event.data > self._seq:
                        self._heard = event.data
                        self._noticed = True
                        self._wake.set()
                    elif event.kind == "hello":
                        self._greeted = True
                        self._hello.set()
                        self._wake.set()
                    for callback in list(self._notices):
                        callback(event.kind, event.data)
            except SoledadError as error:
                _log.info("no notices from the provider: %s", error)
            self._listening = False
            await asyncio.sleep(delay * jitter())
            delay = min(LAST_DELAY, delay * 2)

    async def close(self) -> None:
        """Ends what runs; what was cut goes on next time."""
        self._closed = True
        self._store.attach(None)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a part of sync ended by a fault", exc_info=task.exception())
