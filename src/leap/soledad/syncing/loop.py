"""The sync engine: one store kept in step with one provider, at once when asked and by itself while it runs.

Invariants:
* One pull or push at a time. Those who ask while one runs share the next.
* What the provider cannot have meant of the log (ProviderLies) becomes an alarm, kept over restarts: sync waits,
  nothing is lost, a person decides (`clear_alarm`). A damaged blob is no alarm (`contents`).
* Nothing happens without a reason: a notice of the provider, a local change, a time-out. Idle costs no CPU.
* A later generation of the log, signed by the root key, ends an alarm: what raised it is history.
* Every device signs a head at least daily while it runs: silence is a sign (`status.list_devices`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable

from leap.soledad.changes import Accepted, ChangeSet
from leap.soledad.errors import (
    AuthFailed,
    NotOpen,
    ProviderLies,
    Refused,
    SoledadError,
    Unreachable,
)
from leap.soledad.head import HeadRecord
from leap.soledad.pace import Pace
from leap.soledad.store import Soledad, work_in_background
from leap.soledad.syncing.apply import apply_set_aside
from leap.soledad.syncing.contents import Contents
from leap.soledad.syncing.deletion import Deletion
from leap.soledad.syncing.eviction import Eviction
from leap.soledad.syncing.fingerprint import Fingerprint, words_of
from leap.soledad.syncing.founding import begin, resend_blobs
from leap.soledad.syncing.gather import count_dirty
from leap.soledad.syncing.notices import Notice, Notices
from leap.soledad.syncing.orphans import Orphans
from leap.soledad.syncing.progress import Progress, ProgressBoard
from leap.soledad.syncing.pull import Puller
from leap.soledad.syncing.push import Pusher
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import ALARM, PURGED_AT, SyncState
from leap.soledad.syncing.status import (
    EngineStatus,
    StatusBoard,
    SyncResult,
    count_waiting,
    list_devices,
)
from leap.soledad.syncing.tombstones import due
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.syncing.uploads import LargeUploads
from leap.soledad.syncing.waiting import FIRST_DELAY, LAST_DELAY, jitter, wait
from leap.soledad.syncing.wishes import Wishes
from leap.soledad.transaction import save_setting

GATHER_SECONDS = 1.0  # local changes that come together travel together: one commit in this time
GATHER_LEAST = (
    0.1  # part of it; so long the first change after a quiet time waits for those that come with it
)
POLL_SECONDS = 60.0  # only while no notices come
QUIET_POLL_SECONDS = 15 * 60.0  # in case a notice was lost although the stream stands
SILENT_SECONDS = (
    24 * 3600.0
)  # after which a device signs a head, to say how far it is and that it is there
SENDING_SECONDS = 5.0  # rows are committed while more blobs are still being sent
DAY = 24 * 3600.0  # seconds between two looks at tombstones

_log = logging.getLogger(__name__)


class SyncStopped(SoledadError):
    """Sync stopped at an alarm, and a person has not decided yet; the text is the alarm's."""


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
        """`gather` and `poll` are seconds; without `fetch_blobs` nothing is done for contents in the background."""
        if store.material is None:
            raise SoledadError("this store belongs to no account yet")
        self._store = store
        self._remote = remote
        self._now = now
        self._gather = gather
        self._poll = poll
        self._fetching = fetch_blobs
        self._progress = ProgressBoard()
        self._puller = Puller(store, remote, progress=self._progress.pull)
        self._pusher = Pusher(
            store, remote, self._puller, now=now, random=random, progress=self._progress.push
        )
        self._transfer = Transfer(store, remote)
        self._deletion = Deletion(store, remote, now=now)
        self._orphans = Orphans(store, remote, now=now)
        self._uploads = LargeUploads(self._transfer, self._note_sent, self.wake)
        wishes = Wishes(store, remote, self._transfer, store.material.device.device_id, now=now)
        eviction = Eviction(store, remote, self._transfer, now=now)
        self._contents = Contents(
            store,
            self._transfer,
            wishes,
            self.refresh_status,
            (self._deletion.hold, eviction.run_once, self._look_for_orphans),
        )
        self._pace = Pace(gather * GATHER_LEAST, busy=lambda: store.owes_changes)
        self._lock = asyncio.Lock()
        self._queued: asyncio.Task[SyncResult] | None = None
        self._tasks: set[asyncio.Task[SyncResult]] = set()
        self._cleared = asyncio.Event()  # there was an alarm, and there is none any more
        self._closed = False
        self._running = False
        self._board = StatusBoard()
        self._notices = Notices(remote, self._lock)
        self.pulled = asyncio.Event()  # set once the first pull is complete
        store.attach(remote)

    # -- status -------------------------------------------------------------------------------

    @property
    def status(self) -> EngineStatus:
        """As of the last sync, or the last change of it."""
        return self._board.current

    async def refresh_status(self) -> EngineStatus:
        """Counts again what waits."""
        tables, policy = self._store.tables, self._store.policy
        waiting = await self._store.read(lambda c: count_waiting(c, tables, policy))
        state = await self._puller.state()
        alarm = await self._store.setting(ALARM) or ""
        self._notices.seq = state.seq
        material = self._store.material
        assert material is not None
        devices = list_devices(state.record, material.open_keyset(), state.device_id, self._now())
        self._board.update(provisional=not state.complete, alarm=alarm, devices=devices, **waiting)
        if state.complete:
            self.pulled.set()
        return self._board.current

    def on_status(self, callback: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Calls `callback` on the loop whenever the status changes; answers the function that ends it."""
        return self._board.subscribe(callback)

    def on_notice(self, callback: Notice) -> Callable[[], None]:
        """Calls `callback(kind, data)` for the provider's notices ("hello", "head", "inbox")."""
        return self._notices.subscribe(callback)

    def on_progress(self, callback: Callable[[Progress], None]) -> Callable[[], None]:
        """Calls `callback` on the loop as items and blobs come and go; answers the function that ends it."""
        return self._progress.subscribe(callback)

    async def fingerprint(self) -> Fingerprint:
        """Words for comparing this device with another one: equal if and only if both are in step."""
        state, material = await self._puller.state(), self._store.material
        assert material is not None
        tables = self._store.tables
        unsynced = await self._store.read(lambda c: count_dirty(c, tables))
        if state.head is None:
            return Fingerprint((), 0, 0, unsynced)
        words = await asyncio.to_thread(words_of, state.head, material.account_id)
        return Fingerprint(words, state.head.record.generation, state.seq, unsynced)

    # -- syncing once -------------------------------------------------------------------------

    async def sync(self) -> SyncResult:
        """Pulls, then pushes everything that was changed before the call.

        While the engine runs, blobs larger than a mail, and the rows that name them, follow later.
        Raises ProviderLies (then an alarm is set), SyncStopped, Unreachable, Refused, StoreFull.
        """
        first = await self.sync_log()
        try:
            sent = await self._uploads.send(bulk=not self._running)
        except SoledadError as error:
            self._board.update(error=str(error))
            raise
        if not sent:
            return first
        then = await self.sync_log()
        return SyncResult(
            first.pulled + then.pulled,
            first.pushed + then.pushed,
            first.blobs_sent + sent + then.blobs_sent,
        )

    async def sync_log(self) -> SyncResult:
        """`sync`, without waiting for large blobs (over 4 MiB) and the rows that name them."""
        with self._pace.hurry():
            return await self._sync_log()

    async def _sync_log(self) -> SyncResult:
        """The same, giving way to those who write here."""
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
            if alarm and await self._is_founded_anew():
                await self._forget_alarm(alarm)
            elif alarm:
                self._board.update(alarm=alarm)
                raise SyncStopped(alarm)
            self._board.update(running=True)
            try:
                result = await self._sync()
            except ProviderLies as error:
                await self._alarm(error)
                raise
            except (Unreachable, Refused) as error:
                self._board.update(
                    online=isinstance(error, Refused),
                    error=str(error),
                    logged_out=isinstance(error, AuthFailed),
                )
                raise
            except SoledadError as error:
                self._board.update(error=str(error))
                raise
            finally:
                self._board.update(running=False)
            await self.refresh_status()
            self._board.update(online=True, error="", logged_out=False, last_sync=int(self._now()))
            return result

    async def _sync(self) -> SyncResult:
        tables = self._store.tables
        if await self._store.read(
            lambda c: c.execute("SELECT 1 FROM unknown_page LIMIT 1").fetchone()
        ):
            await self._store.transact_as(
                lambda tx: apply_set_aside(tx, tables), durable=False, from_sync=True
            )
        self._progress.begin()
        founding = (await self._puller.state()).founding is not None
        pulled = 0 if founding else await self._puller.pull()
        await resend_blobs(self._store, self._remote)
        self.pulled.set()
        await self._deletion.before_push((await self._puller.state()).seq)
        material = self._store.material
        assert material is not None
        if not founding:
            record = (await self._puller.state()).record
            await self._orphans.remove(record, material.open_keyset())
        pushed, sent = await self._push_all()
        state = await self._puller.state()
        if await self._speak(state):
            state = await self._puller.state()
        if state.record is not None:
            material = self._store.material
            assert material is not None
            if await self._deletion.purge(state.record, material.open_keyset()):
                await self._store.empty_trash()
        self._contents.wake()
        self._uploads.wake()
        return SyncResult(pulled, pushed, sent)

    async def send_contents(self) -> None:
        """Sends blobs that the provider lacks, ahead of the rows that name them. Raises as `sync` does."""
        async with self._lock:
            if not await self._store.setting(ALARM):
                while (await self._transfer.send_batch())[0]:
                    pass

    async def _push_all(self) -> tuple[int, int]:
        """Commits what needs no blobs, then sends blobs and commits the rows that wait for them."""
        pushed = sent = 0
        while True:
            while count := await self._pusher.push():
                pushed += count
            started = time.monotonic()
            batch = 0
            while time.monotonic() - started < SENDING_SECONDS:
                await self._pace.rest()
                count, size = await self._transfer.send_batch()
                batch += count
                if not count:
                    break
                self._progress.blobs(count, size, await self._transfer.count_unsent())
            if not batch:
                return pushed, sent
            sent += batch

    async def _speak(self, state: SyncState) -> bool:
        """A head without items, if it is time for one; also to purge what everybody knows to be deleted."""
        if state.record is None or state.bringing_all:
            return False
        record, now, tables = state.record, self._now(), self._store.tables
        purge = abs(now - (await self._store.setting(PURGED_AT) or 0)) >= DAY
        if purge:
            material = self._store.material
            assert material is not None
            keyset = material.open_keyset()
            _, found = await self._store.read(lambda c: due(c, tables, record, keyset, now))
            await self._store.write(lambda c: save_setting(c, PURGED_AT, int(now)))
            purge = bool(found)
        quiet = not self._is_silent(record, state.device_id) and not self._has_news_of_keys(state)
        if not purge and quiet:
            return False
        await self._pusher.push(even_empty=True, purge=purge)
        return True

    def _is_silent(self, record: HeadRecord, device_id: str) -> bool:
        """Whether this device has not written for a day: others cannot tell that from a provider that hides it."""
        entry = record.devices.get(device_id)
        # A time far ahead was written by a clock that has been set back since.
        return entry is None or abs(self._now() - entry.time) >= SILENT_SECONDS

    async def _is_founded_anew(self) -> bool:
        """Whether the root key signed another generation since: then what raised the alarm is history."""
        state, material = await self._puller.state(), self._store.material
        assert material is not None
        known = state.record.generation if state.record else material.open_keyset().generation
        try:
            keyset = await self._puller.fetch_keyset()
        except SoledadError:
            return False
        return keyset.generation > known

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
            await self._forget_alarm(alarm)
        return alarm

    async def _forget_alarm(self, alarm: str) -> None:
        if alarm:
            await self._store.write(lambda c: save_setting(c, ALARM, None), durable=True)
            _log.warning("sync goes on after the alarm: %s", alarm)
        self._board.update(alarm="")
        self._cleared.set()

    async def refound(self, begin_generation: Callable[[], Awaitable[int]]) -> SyncResult:
        """A person decided that this device's state is to be the account's log, whatever the provider shows.

        `begin_generation` has the root key sign the next generation (`leap.soledad.generation`). May be repeated
        after whatever it raises; once the generation is kept here, every sync goes on with it. Raises SoledadError
        on a device that never had all of the account, what `begin_generation` raises, and what `sync` does.
        """
        async with self._lock:
            state = await self._puller.state()
            if not state.complete:
                raise SoledadError(
                    "this device has never had all of the account; found the log anew from another one"
                )
            await begin(self._store, await begin_generation())
            await self._forget_alarm(await self._store.setting(ALARM) or "")
        return await self.sync()

    async def retry_contents(self) -> None:
        """Asks for missing and damaged contents again, without waiting for their time."""
        await self._contents.retry_now()

    async def _note_sent(self, size: int) -> None:
        self._progress.blobs(1, size, await self._transfer.count_unsent())

    async def _look_for_orphans(self) -> int:
        return await self._orphans.look() if self.pulled.is_set() else 0

    # -- running ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Sync soon."""
        self._notices.wake()

    async def run(self) -> None:
        """Keeps the store in step until it is cancelled or closed; at an alarm it waits for `clear_alarm`."""
        work_in_background()
        unsubscribe = self._store.on_change(self._on_change)
        others = [
            asyncio.ensure_future(self._notices.listen()),
            asyncio.ensure_future(self._uploads.run()),
        ]
        self._running = True
        if self._fetching:
            others.append(asyncio.ensure_future(self._contents.run()))
        for task in others:
            task.add_done_callback(_log_crash)
        try:
            await self.refresh_status()
            await self._keep_in_step()
        finally:
            self._running = False
            unsubscribe()
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def _on_change(self, changes: ChangeSet) -> None:
        if Accepted() in changes.tags:
            self._pace.wrote()
        if not changes.from_sync and (changes.docs or changes.rows or changes.bulk):
            self._pace.wrote()
            self._notices.wake()

    async def _keep_in_step(self) -> None:
        delay = FIRST_DELAY
        last_push = time.monotonic() - self._gather
        noticed = False
        while True:
            self._notices.begin()
            try:
                result = await self._sync_log()
                delay = FIRST_DELAY
                pause = QUIET_POLL_SECONDS if self._notices.listening else self._poll
            except (ProviderLies, SyncStopped):
                await wait(self._cleared, self._poll)  # it may be founded anew meanwhile
                continue
            except NotOpen:
                return
            except SoledadError as error:
                _log.info("sync failed: %s", error)
                self._notices.hello.clear()  # that the provider is back cuts the delay short
                await wait(self._notices.hello, delay * jitter())
                delay = min(LAST_DELAY, delay * 2)
                continue
            if result.pushed:
                last_push = time.monotonic()
            if noticed and not result.pulled:
                self._notices.in_vain()
            noticed = await self._notices.wait(pause)
            if self._notices.changed.is_set():
                quiet = time.monotonic() - last_push
                await asyncio.sleep(max(self._gather * GATHER_LEAST, self._gather - quiet))
                await self._pace.rest()

    async def close(self) -> None:
        """Ends what runs; what was cut goes on next time."""
        self._closed = True
        self._store.attach(None)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._uploads.close()


def _log_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a part of sync ended by a fault", exc_info=task.exception())
