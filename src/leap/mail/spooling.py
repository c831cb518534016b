"""Mail that was accepted into a spool: it has its uid and is safe, and is parsed, sealed and listed soon after.

Invariants:
* Whoever reads or writes the account finds it as if the mail had been stored when it was accepted: `leap.soledad.store`
  settles what waits before each reading, and takes it in ahead of each transaction, in the order of acceptance.
* So the uid that was answered is the one it gets: no other message can come into its mailbox in between. While changes
  of many messages are promised (`leap.soledad.promises`) nothing is accepted.
* The number of the last record taken in is written with the rows: a kill at any moment loses and doubles nothing.
* What waits is bounded (`MOST`, `MOST_OCTETS`): whoever adds faster waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from leap.mail.contract import Appended, MailboxId, ModSeq, RowId, Uid
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import new_row_ids, row_values
from leap.mail.projection import DirectoryReader, MailboxChanged
from leap.mail.storing import LOCAL, Prepared, Preparing, keep_all, prepare_now
from leap.soledad.errors import NotOpen, SoledadError, StoreFull
from leap.soledad.pace import Pace
from leap.soledad.spool import Record, Spool, files, load
from leap.soledad.sqlite import Connection, Look
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction, find_setting, save_setting

MOST = 2_000  # messages that wait: they are stored in one or two seconds
MOST_OCTETS = 64 * 1024 * 1024  # they wait in memory, too
MOST_EACH = (
    512 * 1024
)  # octets of a message; a larger one becomes a file anyway, and is stored as it comes
MOST_TOGETHER = 8 * 1024 * 1024  # octets of one call; likewise
TOGETHER = 100  # stored in one transaction: about 50 ms
QUIET_SECONDS = 0.3  # without a new one, after which they are stored
MOST_SECONDS = 5.0  # that the first one waits for such a pause
KEY = "mail.spool_key"
TAKEN = "mail.spool_taken"  # the number of the last record that is in the database

_BOX = "SELECT uid_validity, uid_next, modseq FROM mail_box WHERE mailbox_id = ?"
_log = logging.getLogger(__name__)


class Spooled(msgspec.Struct, frozen=True, array_like=True):
    """A message as it lies in the spool; `date` is its internal date."""

    mailbox_id: MailboxId
    uid: Uid
    uid_validity: int
    row_id: RowId
    flags: str
    date: int
    zone: int
    raw: bytes
    left: int  # how many follow which were accepted with it: all of them or none (RFC 3502)

    def __repr__(self) -> str:
        return f"Spooled({self.row_id!r})"


class NewSpooled(NamedTuple):
    """A message to be accepted: its flags are checked."""

    raw: bytes
    flags: str
    date: int
    zone: int


class _Box(NamedTuple):
    """A mailbox as of a number of commits; `taken`: the last record that is in the database."""

    mailbox_id: MailboxId
    commits: int
    uid_validity: int
    uid_next: int
    modseq: int
    taken: int


class _Waiting:
    """A message that is not in the database yet."""

    __slots__ = ("number", "prepared", "spooled")

    def __init__(self, number: int, spooled: Spooled) -> None:
        self.number = number
        self.spooled = spooled
        self.prepared: Prepared | None = None


class Spooling:
    """The spool of one store (`leap.soledad.changes.Accepting`). Make it with `begin`."""

    def __init__(
        self, store: Soledad, spool: Spool, left: Sequence[tuple[int, Spooled]], taken: int
    ) -> None:
        self._store = store
        # Of the thread which accepts (`Soledad.between`):
        self._spool = spool
        self._directory = DirectoryReader()
        self._box: _Box | None = None
        self._answered: dict[MailboxId, tuple[int, int]] = {}  # validity and next uid
        # Of the event loop, but for what the lock guards:
        self._preparing = Preparing(store)
        self._pace = Pace(QUIET_SECONDS, MOST_SECONDS)
        self._lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}  # by number, ascending
        self._octets = 0
        self._last = self._done = taken
        self._chosen: list[
            int
        ] = []  # the last number of each batch that is on its way into the database
        self._attempts = 0  # that failed
        self._progress = asyncio.Condition()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        for number, spooled in left:
            self._wait_for(number, spooled)

    @classmethod
    async def begin(cls, store: Soledad) -> Spooling:
        """Opens the spool beside the store, and takes over what an earlier process left in it."""

        def job(connection: Connection) -> tuple[bytes, int]:
            key = find_setting(connection, KEY)
            if key is None:
                key = secrets.token_bytes(32)
                save_setting(connection, KEY, key)
            return key, int(find_setting(connection, TAKEN) or 0)

        folder = folder_of(store.path)
        key, taken = await store.write(job, durable=True)
        earlier = await asyncio.to_thread(files, folder)
        records = await asyncio.to_thread(load, folder, key, taken)
        used = [*(record.number for record in records), *(int(path.name, 16) for path in earlier)]
        spool = Spool(folder, key, max([taken, *used]) + 1)
        left = _whole(records)
        spool.release_with(earlier, left[-1][0] if left else taken)
        spool.release(taken)
        spooling = cls(store, spool, left, taken)
        store.accept_by(spooling)
        return spooling

    @property
    def waiting(self) -> bool:
        return self._done < self._last

    # -- accepting

    async def accept(self, mailbox_id: MailboxId, messages: Sequence[NewSpooled]) -> list[Appended]:
        """Accepts messages, all or none. Raises NoSuchMailbox, StoreFull."""
        row_ids = new_row_ids(len(messages))
        database = self._store.database

        def job(look: Look) -> tuple[list[Appended], int] | None:
            if database.postponed:
                return None
            box = self._box_now(look, mailbox_id)
            answered = self._answered.get(mailbox_id)
            uid = box.uid_next
            if answered is not None and answered[0] == box.uid_validity:
                uid = max(uid, answered[1])
            made = [
                Spooled(
                    mailbox_id,
                    Uid(uid + at),
                    box.uid_validity,
                    row_id,
                    one.flags,
                    one.date,
                    one.zone,
                    one.raw,
                    len(messages) - 1 - at,
                )
                for at, (row_id, one) in enumerate(zip(row_ids, messages, strict=True))
            ]
            first = self._spool.append([msgspec.msgpack.encode(one) for one in made])
            self._answered[mailbox_id] = box.uid_validity, uid + len(made)
            with self._lock:
                # behind what was chosen to be written together, of which each has one of its own
                modseq = box.modseq + 1 + sum(last > box.taken for last in self._chosen)
                for number, one in enumerate(made, first):
                    self._wait_for(number, one)
            return [
                Appended(row_id=one.row_id, uid=one.uid, uid_validity=one.uid_validity)
                for one in made
            ], modseq

        while True:
            await self._make_room()
            await database.make_up()
            future = self._store.between(job)
            future.add_done_callback(lambda done: self._tell(done, mailbox_id))
            if (accepted := await asyncio.shield(future)) is not None:
                return accepted[0]

    def _box_now(self, look: Look, mailbox_id: MailboxId) -> _Box:
        """The mailbox as it is committed, looked at again only when something was. Raises NoSuchMailbox."""
        commits = self._store.database.commits

        def job(connection: Connection) -> _Box:
            self._directory.read(connection).require(mailbox_id)
            validity, uid_next, modseq = connection.execute(_BOX, (mailbox_id,)).fetchone()
            taken = int(find_setting(connection, TAKEN) or 0)
            return _Box(mailbox_id, commits, validity, uid_next, modseq, taken)

        if self._box is None or self._box[:2] != (mailbox_id, commits):
            self._box = None
            self._box = look(job)
        return self._box

    def _tell(
        self, done: asyncio.Future[tuple[list[Appended], int] | None], mailbox_id: MailboxId
    ) -> None:
        if done.cancelled() or done.exception() is not None or (accepted := done.result()) is None:
            return
        self._pace.wrote()
        self._wake()
        self._store.tell_accepted([MailboxChanged(mailbox_id, ModSeq(accepted[1]))])

    def _wait_for(self, number: int, spooled: Spooled) -> None:
        self._waiting[number] = _Waiting(number, spooled)
        self._octets += len(spooled.raw)
        self._last = number

    async def _make_room(self) -> None:
        def has_room() -> bool:
            return self._octets < MOST_OCTETS and len(self._waiting) < MOST

        await self._wait_until(has_room)
        if not has_room():
            raise StoreFull("the disk is full, or fails; nothing was changed")

    # -- taking in

    async def settle(self) -> None:
        wanted = self._last
        await self._wait_until(lambda: self._done >= wanted)

    async def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Until then, or until an attempt failed."""
        if reached():
            return
        attempts = self._attempts
        with self._pace.hurry():
            self._wake()
            async with self._progress:
                await self._progress.wait_for(
                    lambda: reached() or self._attempts != attempts or self._closed
                )

    def _wake(self) -> None:
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="mail spool")

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._pace.rest()
                await self._store_all()
            except SoledadError as error:
                _log.debug("accepted mail waits: %s", type(error).__name__)
                await self._fail()
                if isinstance(error, NotOpen):
                    return
            except Exception:
                _log.exception("accepted mail could not be stored")
                await self._fail()

    async def _fail(self) -> None:
        self._attempts += 1
        async with self._progress:
            self._progress.notify_all()

    async def _store_all(self) -> None:
        """Stores all that waits; a batch is prepared while the one before is written."""
        ahead: asyncio.Task[None] | None = None
        batch = self._behind(self._done)
        try:
            while batch:
                await (ahead if ahead is not None else self._prepare(batch))
                last = batch[-1].number
                batch = self._behind(last)
                ahead = asyncio.create_task(self._prepare(batch)) if batch else None
                await self._forget(await self._store.take_in(partial(self._take_in, up_to=last)))
                batch = batch or self._behind(last)
        finally:
            with self._lock:
                self._chosen.clear()  # none, or it failed
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    def _behind(self, number: int) -> list[_Waiting]:
        """The next to be stored together, behind this one."""
        with self._lock:
            following = (one for one in self._waiting.values() if one.number > number)
            batch = list(islice(following, TOGETHER))
            if batch:
                self._chosen.append(batch[-1].number)
            return batch

    async def _prepare(self, batch: Sequence[_Waiting]) -> None:
        made = await self._preparing.all([one.spooled.raw for one in batch], LOCAL)
        for one, prepared in zip(batch, made, strict=True):
            one.prepared = prepared

    async def _forget(self, number: int) -> None:
        """All up to this one are in the database."""
        with self._lock:
            self._chosen = [last for last in self._chosen if last > number]
            for gone in [one for one in self._waiting if one <= number]:
                self._octets -= len(self._waiting.pop(gone).spooled.raw)
        self._done = max(self._done, number)
        async with self._progress:
            self._progress.notify_all()
        self._store.between(lambda _: self._spool.release(number)).add_done_callback(_log_failure)

    def take_in(self, tx: Transaction) -> None:
        self._take_in(tx, self._last)

    def _take_in(self, tx: Transaction, up_to: int) -> int:
        """Stores what waits up to a number; answers the number of the last one that is in the database then."""
        taken = int(tx.setting(TAKEN) or 0)
        with self._lock:
            found = [one for one in self._waiting.values() if taken < one.number <= up_to]
        if not found:
            return taken
        account, epoch = self._store.sealing_keys
        kept = keep_all(
            tx,
            [
                one.prepared
                or prepare_now(one.spooled.raw, LOCAL, None, account=account, epoch=epoch)
                for one in found
            ],
        )
        tx.insert_rows(
            MAIL_ROWS.name,
            [
                (
                    one.row_id,
                    row_values(one.row_id, fixed, one.mailbox_id, one.flags, one.date, one.zone),
                )
                for one, fixed in zip((one.spooled for one in found), kept, strict=True)
            ],
        )
        tx.set_setting(TAKEN, found[-1].number)
        return found[-1].number

    async def close(self) -> None:
        if self._closed:
            return
        await self.settle()
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._fail()  # nobody waits any more
        with contextlib.suppress(SoledadError, OSError):
            await self._store.between(lambda _: self._spool.close(self._done))


def _whole(records: Sequence[Record]) -> list[tuple[int, Spooled]]:
    """The messages of records, without those of which the last ones were not written any more."""
    whole: list[tuple[int, Spooled]] = []
    together: list[tuple[int, Spooled]] = []
    for number, body in records:
        spooled = msgspec.msgpack.decode(body, type=Spooled)
        if together and together[-1][1].left != spooled.left + 1:
            together = []
        together.append((number, spooled))
        if not spooled.left:
            whole += together
            together = []
    return whole


def takes(contents: Sequence[bytes]) -> bool:
    """Whether messages are accepted together; what is larger is stored as it comes."""
    sizes = [len(raw) for raw in contents]
    return max(sizes) <= MOST_EACH and sum(sizes) <= MOST_TOGETHER


def folder_of(store: Path) -> Path:
    """Where the spool of a store lies."""
    return store.with_name(f"{store.name}-spool")


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception() is not None:
        _log.warning("a file of the spool stays: %s", type(done.exception()).__name__)
