"""One SQLite or SQLCipher file behind one writer thread and a small pool of reader threads.

Invariants:
* Only the writer thread writes. Jobs that wait together share one COMMIT, each in its own SAVEPOINT;
  `write` answers only after the COMMIT, and a job that raises leaves no trace.
* A group with a durable job is committed with `synchronous=FULL`: then it, and all that was committed
  before, outlives a loss of power. The others are committed in WAL with NORMAL: atomic and ordered, but
  the last ones may be missing after a loss of power.
* The names of the file and its WAL are durable before the first job runs.
* A COMMIT which the disk fails is answered with an error and undone for this process. Its outcome is open all the
  same: the frames may have reached the WAL, and a loss of power before the next COMMIT lets SQLite find them there.
  So whoever gets such an error repeats the step, as after a crash; every step here is safe to repeat.
* With a key the file is never plaintext: `cipher_status` and the file's first bytes are both checked,
  because a mistyped key pragma is silently ignored by SQLite.
* A file is open in one process, once: an flock on `<path>.lock` says so.
* The rest of a job in two (`submit_in_two`) runs after its note was run, before any job but further notes, and before
  any reader that is asked later: nobody sees the file between the two. It runs again when it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlcipher3 import dbapi2

from leap.soledad.errors import NotOpen, SoledadError, StoreFull, StoreLocked, WrongKey
from leap.soledad.private_file import sync_folder
from leap.soledad.readers import Readers

T = TypeVar("T")
U = TypeVar("U")

PLAIN_HEADER = b"SQLite format 3\x00"
MAX_GROUP_JOBS = 512  # commits shared by more gain nothing and make the first one wait
MAX_GROUP_SECONDS = 0.02  # a job waits at most this long for others to share its commit
MAX_WAL_BYTES = 32 * 1024 * 1024  # what the WAL is cut back to after a large transaction
WRITER_CACHE_KIB = 16_384
READER_CACHE_KIB = 8_192
MAX_POSTPONED = 64  # rests of jobs; whoever comes then does not wait for more of them
POSTPONED_SECONDS = (
    0.1  # without a job after which rests are run: one mail program sends several in a row
)
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_SQLITE_BUSY, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_NOTADB = 5, 10, 13, 26
_SQLITE_CORRUPT = 11

DatabaseError = dbapi2.Error
IntegrityError = dbapi2.IntegrityError


class Cursor(Protocol):
    """What `Connection.execute` gives (PEP 249)."""

    @property
    def rowcount(self) -> int: ...
    @property
    def lastrowid(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchmany(self, size: int = ...) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """The part of a PEP 249 connection that jobs use; never BEGIN, COMMIT or ROLLBACK in a job."""

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor: ...
    def create_function(
        self, name: str, narg: int, func: Callable[..., Any] | None, *, deterministic: bool = ...
    ) -> None: ...


class _Job:
    __slots__ = ("durable", "error", "future", "loop", "rest", "result", "run")

    def __init__(
        self,
        run: Callable[[Connection], Any],
        durable: bool,
        loop: asyncio.AbstractEventLoop,
        rest: _Job | None = None,
    ) -> None:
        self.run = run
        self.durable = durable
        self.loop = loop
        self.rest = rest
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class Database:
    """An open file. Make one with `await Database.open(...)`; give it back with `await close()`."""

    def __init__(self, path: Path, key: bytes | None, readers: int) -> None:
        self.path = path
        self._key = key
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: deque[_Job | None] = deque()  # the writer thread's own
        self._postponed: deque[_Job] = deque()  # changed by the writer thread only
        self._lock = _take_lock(path)
        self._closed = False
        self._full = False  # whether the writer's COMMIT is durable now
        self.commits = 0  # how many transactions the writer committed, for tests and metrics
        self._local = threading.local()
        self._read_connections: list[Any] = []
        with contextlib.ExitStack() as on_failure, _named_errors():
            on_failure.callback(os.close, self._lock)
            _make_file(path, encrypted=key is not None)
            self._writer: Any = self._connect(WRITER_CACHE_KIB)
            self._check_cipher()
            sync_folder(path.parent)
            on_failure.pop_all()
        self._readers = Readers(readers, "sqlite-read")
        self._thread = threading.Thread(target=self._run, name="sqlite-write", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, key: bytes | None, readers: int = 2) -> Database:
        """Opens or makes the file (mode 0600); `key` is 32 random bytes, or None for a plain file.

        Raises WrongKey, StoreLocked when it is open elsewhere, StoreFull.
        """
        if key is not None and len(key) != 32:
            raise WrongKey("the key of a store has 32 bytes")
        return await asyncio.to_thread(cls, path, key, readers)

    async def write(self, job: Callable[[Connection], T], durable: bool = False) -> T:
        """Runs `job` in a transaction of the writer thread and answers its result after the COMMIT.

        Whatever the job raises undoes the job and is raised here. Raises StoreFull, NotOpen.
        """
        return await self.submit(job, durable)

    def submit(self, job: Callable[[Connection], T], durable: bool = False) -> asyncio.Future[T]:
        """The same as `write`, for callers which have to hear of the COMMIT even when they are cancelled."""
        if self._closed:
            raise NotOpen("the store is closed")
        entry = _Job(job, durable, asyncio.get_running_loop())
        self._jobs.put(entry)
        return entry.future

    def submit_in_two(
        self, note: Callable[[Connection], T], rest: Callable[[Connection], U]
    ) -> tuple[asyncio.Future[T], asyncio.Future[U]]:
        """Runs `note` now, and `rest` soon after, each in a transaction; when `note` fails, `rest` is never run.

        `note` sees the file without what others postponed; it must leave what lets `rest` be done after a crash.
        """
        if self._closed:
            raise NotOpen("the store is closed")
        loop = asyncio.get_running_loop()
        after = _Job(rest, False, loop)
        entry = _Job(note, False, loop, after)
        self._jobs.put(entry)
        return entry.future, after.future

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Runs `job` on one snapshot in a reader thread; it cannot write. Raises NotOpen."""
        await self._make_up()
        return await self._readers.run(partial(self._read, job))

    async def _make_up(self) -> None:
        """Returns when nothing is postponed that was when it was called."""
        if self._closed:
            raise NotOpen("the store is closed")
        if self._postponed:
            await self.submit(_nothing)

    async def apart(self, job: Callable[[Connection], T]) -> T:
        """Runs `job` in a thread on a connection of its own, outside any transaction.

        For upkeep: a checkpoint, or checks of the file, which spoil the connection that meets damage. Raises NotOpen.
        """
        await self._make_up()
        return await asyncio.to_thread(self._apart, job)

    async def close(self) -> None:
        """Commits what waits, then closes; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    # -- opening ------------------------------------------------------------------------------

    def _connect(self, cache_kib: int) -> Any:
        connection = dbapi2.connect(
            str(self.path), isolation_level=None, check_same_thread=False, timeout=10.0
        )
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(connection.close)
            connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to standard error
            if self._key is not None:
                connection.execute(f"PRAGMA key = \"x'{self._key.hex()}'\"")
            # In a new file only: free pages are kept track of, so that `compact` can give them back bit by bit.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}").fetchall()
            connection.execute("PRAGMA temp_store = MEMORY")  # spilled sorts would be plaintext
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{cache_kib}")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            on_failure.pop_all()
        return connection

    def _check_cipher(self) -> None:
        if self._key is None:
            return
        status = self._writer.execute("PRAGMA cipher_status").fetchall()
        if status != [("1",)]:
            self._writer.close()
            raise WrongKey("the store is not encrypted; it is not used")

    # -- reading ------------------------------------------------------------------------------

    def _read(self, job: Callable[[Connection], T]) -> T:
        connection = getattr(self._local, "connection", None)
        with _named_errors():
            if connection is None:
                connection = self._connect(READER_CACHE_KIB)
                connection.execute("PRAGMA query_only = ON")
                self._local.connection = connection
                self._read_connections.append(connection)
            connection.execute("BEGIN")
            try:
                return job(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _apart(self, job: Callable[[Connection], T]) -> T:
        with _named_errors():
            connection = self._connect(READER_CACHE_KIB)
            try:
                return job(connection)
            finally:
                connection.close()

    # -- writing ------------------------------------------------------------------------------

    def _run(self) -> None:
        """The writer thread: sleeps until a job comes, then commits it with those that wait too."""
        waiting = self._waiting
        patience: float | None = POSTPONED_SECONDS
        while True:
            if not waiting:
                try:
                    waiting.append(self._jobs.get(timeout=patience if self._postponed else None))
                    patience = POSTPONED_SECONDS
                except queue.Empty:
                    _answer(self._run_group(deque([self._pause()])))
                    patience = None  # what could not be made up for waits for the next job
                    continue
            self._gather(waiting)
            if waiting[0] is None:
                if self._postponed:
                    _answer(self._run_group(deque([self._pause()])))
                return
            _answer(self._run_group(waiting))

    def _pause(self) -> _Job:
        """A job that lets what was postponed run."""
        return _Job(_nothing, False, self._postponed[0].loop)

    def _gather(self, waiting: deque[_Job | None]) -> None:
        with contextlib.suppress(queue.Empty):
            while len(waiting) < MAX_GROUP_JOBS:
                waiting.append(self._jobs.get_nowait())

    def _run_group(self, waiting: deque[_Job | None]) -> list[_Job]:
        """Takes jobs from the left of `waiting` and runs them in one transaction."""
        connection = self._writer
        full = any(entry.durable for entry in waiting if entry is not None)
        group: list[_Job] = []
        postponed = list(self._postponed)
        started = time.monotonic()
        try:
            with _named_errors():
                # SQLite refuses to change this inside a transaction.
                if full != self._full:
                    connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
                    self._full = full
                connection.execute("BEGIN IMMEDIATE")
                while len(group) < MAX_GROUP_JOBS:
                    entry = waiting[0] if waiting else None
                    if entry is None or (entry.durable and not full):
                        break
                    group.append(entry)
                    waiting.popleft()
                    if entry.rest is None or len(self._postponed) >= MAX_POSTPONED:
                        self._run_postponed(group)
                    if entry.error is None:
                        self._run_job(entry)
                    if entry.rest is not None and entry.error is None:
                        self._postponed.append(entry.rest)
                    if not connection.in_transaction:  # SQLite gave up the whole of it
                        raise StoreFull("the disk is full; nothing was changed")
                    if time.monotonic() - started > MAX_GROUP_SECONDS:
                        break
                    if not waiting:
                        self._gather(waiting)
                connection.execute("COMMIT")
                self.commits += 1
        except BaseException as error:  # whatever it is, those who wait in the event loop learn it
            if connection.in_transaction:
                with contextlib.suppress(dbapi2.Error):
                    connection.execute("ROLLBACK")
            if not group:
                first = waiting.popleft()
                group = [first] if first is not None else []
            again = {*postponed, *(entry.rest for entry in group)}
            group = [entry for entry in group if entry not in again]
            self._postponed = deque(postponed)
            for entry in group:
                entry.error = entry.error or error
        return group

    def _run_postponed(self, group: list[_Job]) -> None:
        """Runs the rests of earlier jobs before the last job of the group, which fails when one of them does."""
        last = group[-1]
        while self._postponed:
            rest = self._postponed[0]
            self._run_job(rest)
            if rest.error is not None:
                last.error, rest.error = rest.error, None
                return
            group.insert(-1, self._postponed.popleft())

    def _run_job(self, entry: _Job) -> None:
        connection = self._writer
        connection.execute("SAVEPOINT job")
        try:
            with _named_errors():
                entry.result = entry.run(connection)
        except BaseException as error:  # raised again where the job came from
            entry.error = error
            if connection.in_transaction:
                connection.execute("ROLLBACK TO job")
        if connection.in_transaction:
            connection.execute("RELEASE job")

    # -- closing ------------------------------------------------------------------------------

    def _close(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._gather(self._waiting)
        late = [entry for entry in self._waiting if entry is not None]  # came behind the end
        for entry in late:
            entry.error = NotOpen("the store is closed")
        _answer(late)
        self._readers.close()
        for connection in self._read_connections:
            connection.close()
        with contextlib.suppress(dbapi2.Error):
            self._writer.execute("PRAGMA optimize")
        self._writer.close()
        os.close(self._lock)


def _nothing(_: Connection) -> None:
    """The job of who waits for what others postponed."""


def _answer(group: list[_Job]) -> None:
    """Hands results to the loops that wait for them, one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for entry in group:
        by_loop.setdefault(entry.loop, []).append(entry)
    for loop, entries in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
            loop.call_soon_threadsafe(_resolve, entries)


def _resolve(entries: list[_Job]) -> None:
    for entry in entries:
        if entry.future.done():
            continue
        if entry.error is not None:
            entry.future.set_exception(entry.error)
        else:
            entry.future.set_result(entry.result)


def _make_file(path: Path, *, encrypted: bool) -> None:
    """Makes the file, if there is none; raises WrongKey for a plain one that should be encrypted.

    Only before the first connection: whoever closes the file gives up all locks of this process on it (fcntl(2)),
    SQLite's as well, and the next process that looks into the database takes it for closed and removes its log.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        plain = os.pread(descriptor, len(PLAIN_HEADER), 0) == PLAIN_HEADER
    finally:
        os.close(descriptor)
    if encrypted and plain:
        raise WrongKey("the store is not encrypted; it is not used")


def _take_lock(path: Path) -> int:
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _FULL_ERRNOS:
            raise StoreFull("the disk is full") from error
        raise SoledadError(f"the store cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreLocked("the store is open in another process") from error
    return descriptor


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Turns what SQLite and the disk say into this package's errors; programming errors pass."""
    try:
        yield
    except dbapi2.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == _SQLITE_FULL:
            raise StoreFull("the disk is full; nothing was changed") from error
        if code == _SQLITE_NOTADB:
            raise WrongKey("the key does not open this store") from error
        if code == _SQLITE_BUSY:
            raise StoreLocked("the store is in use by another program") from error
        if code == _SQLITE_IOERR:
            raise SoledadError("the disk failed while the store was in use") from error
        if code == _SQLITE_CORRUPT:
            raise SoledadError("the store's file is damaged; restore it from a copy") from error
        raise
    except OSError as error:
        if error.errno in _FULL_ERRNOS:
            raise StoreFull("the disk is full; nothing was changed") from error
        raise
