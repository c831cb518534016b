"""Soledad: one encrypted store of documents, rows and blobs, which programs use and sync follows.

Invariants:
* All state lies in one SQLCipher file (and a folder of sealed blobs beside it), open in one process.
* Everything that changes goes through a transaction; callbacks hear of it after its COMMIT, in order,
  even when the caller was cancelled.
* A blob is given out only after it was verified against the reference in the caller's row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from leap.soledad.blobs.format import BlobIndex, BlobRef, SealedBlob, Sealer, open_blob, seal_blob
from leap.soledad.blobs.holdings import follow_policy
from leap.soledad.blobs.local import PART_SECONDS, STRAY_SECONDS, LocalBlobs
from leap.soledad.blobs.policy import CONTENTS, ContentsPolicy, count_by_index, decode_policy
from leap.soledad.blobs.reader import BlobReader, BlobSource, Fetched, FindSpans
from leap.soledad.blobs.sealing import SealedFile, seal_path, seal_stream
from leap.soledad.blobs.streams import Indexes, ReadAt
from leap.soledad.changes import Callback, ChangeSet, Projection, Rebuilt
from leap.soledad.document_store import DocumentStore
from leap.soledad.documents import Merge
from leap.soledad.envelope import Epoch, row_key_of
from leap.soledad.errors import SoledadError
from leap.soledad.material import AccountMaterial, decode_material, encode_material
from leap.soledad.promises import Keep, Promise, add_promise, promises, remove_promise
from leap.soledad.rows import RowSchema, RowTable
from leap.soledad.sqlite import Connection, Database, DatabaseError, IntegrityError
from leap.soledad.tables import create_tables
from leap.soledad.transaction import Transaction, find_setting, save_setting

T = TypeVar("T")

MATERIAL = "soledad.material"
LOCAL_KEYS = "soledad.local_keys"
OWN_MERGES: dict[str, Merge] = {"device-name": "fields"}  # see `devices`: the later name wins
REPLICA = "soledad.replica"
INLINE_BYTES = 32 * 1024  # sealed in under a millisecond; above it the work leaves the event loop

_log = logging.getLogger(__name__)


class LocalKeys(msgspec.Struct, frozen=True):
    """What seals blobs and names rows; of the account, or made up by a store that has none yet."""

    account: str
    id_key: bytes
    epochs: list[Epoch]

    def __repr__(self) -> str:
        return "LocalKeys()"

    @property
    def epoch(self) -> Epoch:
        return max(self.epochs, key=lambda epoch: epoch.number)

    @property
    def by_number(self) -> dict[int, Epoch]:
        return {epoch.number: epoch for epoch in self.epochs}


class Soledad(DocumentStore):
    """An open store. Make one with `await Soledad.open(...)`; give it back with `await close()`."""

    def __init__(
        self,
        database: Database,
        tables: Mapping[str, RowTable],
        projections: Sequence[Projection],
        merges: Mapping[str, Merge],
        promised: Mapping[str, Keep],
        now: Callable[[], float],
    ) -> None:
        self.merges = {**OWN_MERGES, **merges}
        self.tables = tables
        self.blobs = LocalBlobs(database.path.with_name(database.path.name + "-blobs"), now)
        self.replica = ""
        self.policy = ContentsPolicy()
        self._on_policy: list[Callable[[], None]] = []
        self._database = database
        self._projections = projections
        self._promised = promised
        self._callbacks: list[Callback] = []
        self._on_fetched: list[Callable[[Sequence[BlobRef]], None]] = []
        self._material: AccountMaterial | None = None
        self._material_lock = asyncio.Lock()
        self._keys = LocalKeys("", b"", [])
        self._reader = BlobReader(self)
        super().__init__()

    @classmethod
    async def open(
        cls,
        path: Path,
        key: bytes,
        *,
        rows: Sequence[RowSchema] = (),
        projections: Sequence[Projection] = (),
        merges: Mapping[str, Merge] | None = None,
        promised: Mapping[str, Keep] | None = None,
        schema: Callable[[Connection], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> Soledad:
        """Opens or makes the store at `path`; `key` is 32 random bytes, kept by `leap.soledad.vault`.

        `merges` says by type how documents edited on two devices become one ("fields", or a function);
        `promised` says by kind how a change is made that was promised; `schema` makes tables of the application's
        own. Raises WrongKey, StoreLocked, StoreFull.
        """
        database = await Database.open(path, key=key)
        tables = {row_schema.name: RowTable(row_schema) for row_schema in rows}
        store = cls(database, tables, projections, merges or {}, promised or {}, now)

        def prepare(connection: Connection) -> None:
            create_tables(connection)
            for table in tables.values():
                table.create(connection)
            for projection in projections:
                projection.create(connection)
            if schema is not None:
                schema(connection)
            store._load(connection)
            store.blobs.sweep(connection)
            for promise in promises(connection):  # left by a crash
                store._keep(connection, promise)

        async with contextlib.AsyncExitStack() as on_failure:
            on_failure.push_async_callback(database.close)
            await database.write(prepare)
            on_failure.pop_all()
        return store

    def _load(self, connection: Connection) -> None:
        self.replica = find_setting(connection, REPLICA) or os.urandom(4).hex()
        save_setting(connection, REPLICA, self.replica)
        self.policy = decode_policy(find_setting(connection, CONTENTS))
        found = find_setting(connection, MATERIAL)
        if found is not None:
            self._use(decode_material(found))
            return
        kept = find_setting(connection, LOCAL_KEYS)
        if kept is not None:
            self._keys = msgspec.msgpack.decode(kept, type=LocalKeys)
        else:
            self._keys = LocalKeys("local", os.urandom(32), [Epoch(0, os.urandom(32))])
            save_setting(connection, LOCAL_KEYS, msgspec.msgpack.encode(self._keys))

    def _use(self, material: AccountMaterial) -> None:
        self._material = material
        self._keys = LocalKeys(material.account_id, material.id_key, material.epochs)

    @property
    def path(self) -> Path:
        return self._database.path

    @property
    def database(self) -> Database:
        """The file itself, for maintenance."""
        return self._database

    @property
    def projections(self) -> Sequence[Projection]:
        """What is derived from documents and rows, for maintenance."""
        return self._projections

    # -- the account --------------------------------------------------------------------------

    @property
    def material(self) -> AccountMaterial | None:
        """The account's keys and where its provider is; None before sign-up or log-in."""
        return self._material

    async def save_material(self, material: AccountMaterial) -> None:
        """Keeps the account's keys, durably. Raises SoledadError if the store belongs to another account."""
        current = self._material
        if current is not None and current.account_id != material.account_id:
            raise SoledadError("this store belongs to another account")

        def job(connection: Connection) -> None:
            if current is None and connection.execute("SELECT 1 FROM blob LIMIT 1").fetchone():
                raise SoledadError("this store holds blobs of no account; start with a new one")
            save_setting(connection, MATERIAL, encode_material(material))
            save_setting(connection, LOCAL_KEYS, None)

        await self._database.write(job, durable=True)
        self._use(material)

    async def update_material(
        self, change: Callable[[AccountMaterial], AccountMaterial]
    ) -> AccountMaterial:
        """Changes what is kept of the account, one caller after the other, so that none undoes another's change."""
        async with self._material_lock:
            if self._material is None:
                raise SoledadError("this store belongs to no account yet")
            material = change(self._material)
            await self.save_material(material)
            return material

    def row_key(self, name: bytes) -> str:
        """An id (64 hex digits) that all devices of this account compute alike, and nobody else can."""
        return row_key_of(self._keys.id_key, name)

    # -- transactions -------------------------------------------------------------------------

    async def transact(self, job: Callable[[Transaction], T], durable: bool = False) -> T:
        """Runs `job` in one transaction; answers its result after the COMMIT.

        `durable`: it outlives a loss of power, at the price of an fsync. Whatever the job raises undoes it.
        """
        return await self.transact_as(job, durable=durable, from_sync=False)

    async def transact_as(
        self, job: Callable[[Transaction], T], *, durable: bool, from_sync: bool
    ) -> T:
        """`transact`, saying whether the changes come from another device."""

        def run(connection: Connection) -> tuple[T, ChangeSet | None]:
            tx = Transaction(connection, self.tables, self.blobs, self.replica, from_sync=from_sync)
            result = job(tx)
            return result, tx.finish(self._projections)

        future = self._database.submit(run, durable)
        future.add_done_callback(self._notify)
        result, _ = await asyncio.shield(future)
        return result

    async def promise(self, kind: str, given: bytes, check: Callable[[Connection], T]) -> T:
        """Notes a change, and answers what `check` answered once that is committed: from then on it is made.

        It is made soon, before anybody reads or changes anything (`promises`). `check` sees the store as it is without
        what was promised before; what it raises takes the promise back. Its answer is a tag of the change feed.
        """
        noted: list[Promise] = []

        def note(connection: Connection) -> T:
            answer = check(connection)
            noted.append(add_promise(connection, kind, given))
            return answer

        def rest(connection: Connection) -> tuple[None, ChangeSet | None]:
            return None, self._keep(connection, noted[0])

        future, made = self._database.submit_in_two(note, rest)
        future.add_done_callback(self._tell_promised)
        made.add_done_callback(self._notify)
        return await asyncio.shield(future)

    def _keep(self, connection: Connection, promise: Promise) -> ChangeSet | None:
        remove_promise(connection, promise)
        connection.execute("SAVEPOINT promise")
        try:
            tx = Transaction(connection, self.tables, self.blobs, self.replica)
            self._promised[promise.kind](tx, promise.given)
            changes = tx.finish(self._projections)
        except Exception as error:
            if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
                raise  # the disk: it is tried again
            # A mistake of this program's: it must not keep a person from everything else in the store
            _log.error("a change that was promised could not be made: %s", type(error).__name__)
            connection.execute("ROLLBACK TO promise")
            changes = ChangeSet(0, [], [], False, {Rebuilt()})
        connection.execute("RELEASE promise")
        return changes

    def _tell_promised(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._tell(ChangeSet(0, [], [], False, {future.result()}))

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Runs `job` on one snapshot of the database; it cannot write."""
        return await self._database.read(job)

    async def write(self, job: Callable[[Connection], T], durable: bool = False) -> T:
        """Runs `job` in the writer thread on tables that nobody follows; for sync and blobs."""
        return await self._database.write(job, durable)

    async def setting(self, name: str) -> Any:
        """A setting of this store, or None."""
        return await self.read(lambda connection: find_setting(connection, name))

    def on_change(self, callback: Callback) -> Callable[[], None]:
        """Calls `callback` on the event loop after each transaction that changed something.

        Answers the function that ends it. A callback must be quick and not raise.
        """
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def tell_rebuilt(self) -> None:
        """Calls all callbacks of the change feed with nothing but the tag `Rebuilt`."""
        self._tell(ChangeSet(0, [], [], False, {Rebuilt()}))

    def _notify(self, future: asyncio.Future[tuple[Any, ChangeSet | None]]) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        changes = future.result()[1]
        if changes is None:
            return
        self.bell.ring()
        self._tell(changes)

    def _tell(self, changes: ChangeSet) -> None:
        for callback in list(self._callbacks):
            try:
                callback(changes)
            except Exception:
                _log.exception("a callback of the change feed failed")

    # -- blobs --------------------------------------------------------------------------------

    async def seal_blob(self, data: bytes) -> SealedBlob:
        """Seals bytes for `Transaction.put_blob`, outside the event loop when there are many."""
        keys = self._keys
        if len(data) <= INLINE_BYTES:
            return seal_blob(data, account=keys.account, epoch=keys.epoch)
        return await asyncio.to_thread(seal_blob, data, account=keys.account, epoch=keys.epoch)

    @property
    def sealing_keys(self) -> tuple[str, Epoch]:
        """The account and the epoch under which blobs are sealed now, for `seal_blob` in another process."""
        return self._keys.account, self._keys.epoch

    async def seal_many(self, contents: Sequence[bytes]) -> list[SealedBlob]:
        """Seals many contents in one turn of a thread."""
        keys = self._keys

        def seal() -> list[SealedBlob]:
            return [seal_blob(data, account=keys.account, epoch=keys.epoch) for data in contents]

        return await asyncio.to_thread(seal)

    async def seal_file(self, path: Path) -> SealedFile:
        """Seals a file of any size for `Transaction.put_blob`, in constant memory.

        What no transaction takes is given back by its `discard`, or goes when the store is opened next.
        Raises ValueError, StoreFull, OSError.
        """
        sealer = self._sealer((await asyncio.to_thread(path.stat)).st_size)
        return await asyncio.to_thread(seal_path, self.blobs.files, sealer, path)

    async def seal_stream(self, pieces: AsyncIterable[bytes], size: int) -> SealedFile:
        """As `seal_file`, of octets that come piece by piece: `size` of them, else it raises ValueError."""
        return await seal_stream(self.blobs.files, self._sealer(size), pieces)

    def _sealer(self, size: int) -> Sealer:
        return Sealer(size, account=self._keys.account, epoch=self._keys.epoch)

    async def read_blob(self, ref: BlobRef, start: int = 0, length: int | None = None) -> bytes:
        """The plaintext, or `length` octets from `start`; fetched and kept if it is not here.

        Raises BlobAltered when the provider gives another blob, or none; Unreachable.
        """
        return await self._reader.read(ref, start, length)

    def stream_blob(
        self, ref: BlobRef, start: int = 0, length: int | None = None, *, keep: bool = True
    ) -> AsyncIterator[bytes]:
        """The plaintext piece by piece, in constant memory; with `keep` fetched and verified first if it is not here.

        Without `keep` a large blob is read at the provider, chunk by verified chunk. Raises as `read_blob`, StoreFull.
        """
        return self._reader.stream(ref, start, length, keep)

    async def read_blobs(self, refs: Sequence[BlobRef]) -> list[bytes]:
        """The plaintexts in the order asked; those not here are fetched together."""
        return await self._reader.read_many(refs)

    async def read_spans(self, find: FindSpans) -> list[bytes]:
        """Ranges of blobs, named by a job on the snapshot they are read in; what is not here is fetched.

        Raises what `find` raises, and as `read_blob`.
        """
        return await self._reader.read_spans(find)

    async def keep_blobs(self, refs: Sequence[BlobRef]) -> None:
        """Fetches those that are not here yet, verified."""
        await self._reader.fetch(refs)

    async def fetch_batch(self, refs: Sequence[BlobRef]) -> Fetched:
        """One request for blobs; answers those still to ask for, and those the provider lost. Raises Unreachable."""
        fetched = await self._reader.fetch_batch(refs)
        absent = {ref.blob_id for kind in fetched for ref in kind}
        here = [ref for ref in refs if ref.blob_id not in absent]
        for callback in list(self._on_fetched):
            callback(here)
        return fetched

    def on_fetched(self, callback: Callable[[Sequence[BlobRef]], None]) -> Callable[[], None]:
        """Calls `callback` on the loop with the blobs that `fetch_batch` brought; answers what ends it."""
        self._on_fetched.append(callback)
        return lambda: self._on_fetched.remove(callback)

    async def fetch_large(self, ref: BlobRef) -> Fetched:
        """Fetches a large blob into its file, from where an earlier attempt was cut. Raises Unreachable, Refused."""
        return await self._reader.fetch_large(ref)

    async def check_there(self, ref: BlobRef, start: int, length: int) -> None:
        """Reads a range of a blob at the provider. Raises BlobAltered unless it is what was sent, Unreachable."""
        await self._reader.check_there(ref, start, length)

    async def load_index(self, indexes: Indexes, ref: BlobRef, read_at: ReadAt) -> BlobIndex:
        """The index of a blob that is read by range; raises BlobAltered."""
        keys = self._keys
        return await indexes.load(ref, read_at, account=keys.account, epochs=keys.by_number)

    def open_sealed(self, sealed: bytes, ref: BlobRef, start: int, length: int | None) -> bytes:
        """Opens sealed bytes under this account's keys; raises BlobAltered."""
        keys = self._keys
        return open_blob(
            sealed, ref, account=keys.account, epochs=keys.by_number, start=start, length=length
        )

    async def set_policy(self, policy: ContentsPolicy) -> None:
        """Decides which contents are kept here; running sync follows at once."""

        def job(connection: Connection) -> None:
            save_setting(connection, CONTENTS, msgspec.msgpack.encode(policy))
            count_by_index(connection, policy)
            follow_policy(connection, policy, self.tables.values())

        await self.write(job, durable=True)
        self.policy = policy
        for callback in list(self._on_policy):
            callback()

    def on_policy(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` on the loop when the policy changes; answers the function that ends it."""
        self._on_policy.append(callback)
        return lambda: self._on_policy.remove(callback)

    def take_used(self) -> dict[str, int]:
        """When blobs were read, since the last call; kept only where there is a budget."""
        used, self._reader.used = self._reader.used, {}
        return used

    async def empty_trash(self) -> int:
        """Removes the files of blobs that were forgotten; how many."""
        trash = await self.read(self.blobs.load_trash)
        return await self.write(lambda c: self.blobs.remove_files(c, trash)) if trash else 0

    async def remove_strays(self) -> int:
        """Removes files which no row names, left by an undone transaction or a crash; how many."""
        files, now = self.blobs.files, self.blobs.now()
        await asyncio.to_thread(files.sweep_incoming, now - PART_SECONDS)
        names = await asyncio.to_thread(files.names, now - STRAY_SECONDS)
        strays = await self.read(lambda c: self.blobs.find_strays(c, names))
        return await self.write(lambda c: self.blobs.remove_files(c, strays)) if strays else 0

    def attach(self, source: BlobSource | None) -> None:
        """From where blobs come that are not here."""
        self._reader.source = source

    # -- the end ------------------------------------------------------------------------------

    async def close(self) -> None:
        """Commits what waits, then closes; callbacks are called no more, and change feeds end."""
        try:
            await self._database.close()
        finally:
            self._callbacks.clear()
            self.bell.close()

    async def __aenter__(self) -> Soledad:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
