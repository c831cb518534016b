"""The blobs of all accounts: small ones as rows, large ones as files named by a row.

Invariants:
* A blob that was acknowledged is durable: its file first, then the row, in one synced commit.
* A blob never changes: the same id with other bytes is refused, with the same bytes it is done already.
* What belongs to one account is never found, nor its existence told, through another.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leap.provider.errors import BlobDiffers, NotFound, TooLarge
from leap.provider.storage.files import FileStore, Upload
from leap.provider.storage.orphans import remove_unnamed
from leap.provider.storage.room import Room
from leap.soledad.errors import StoreFull
from leap.soledad.sqlite import Connection, Database
from leap.soledad.wire import (
    MAX_BATCH_BLOBS,
    MAX_BATCH_BYTES,
    MAX_LISTED_BLOBS,
    Blob,
    BlobsFound,
    BlobsList,
    BlobsListed,
    ListedBlob,
)

INLINE_BYTES = 64 * 1024  # from here on a file is cheaper than pages of the database
_HASH_INLINE = 512 * 1024  # hashing this much takes less than half a millisecond
_ANY_TIME = 2**62
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where a blob's bytes are: in `sealed`, or in the file `path`."""

    size: int
    sealed: bytes | None = field(repr=False)
    path: Path | None


@dataclass(frozen=True, slots=True)
class _Row:
    blob_id: bytes
    size: int
    sha256: bytes
    file: str | None
    sealed: bytes | None = field(repr=False)


class Blobs:
    """The blobs of all accounts; `account` is always the number of one."""

    def __init__(
        self,
        db: Database,
        files: FileStore,
        room: Room,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._room = room
        self._files = files
        self._now = now

    async def put(self, account: int, blobs: Sequence[Blob]) -> None:
        """Stores all of them durably or none. Raises BlobDiffers, TooLarge, StoreFull."""
        if len(blobs) > MAX_BATCH_BLOBS:
            raise TooLarge(f"a request holds at most {MAX_BATCH_BLOBS} blobs")
        size = sum(len(blob.sealed) for blob in blobs)
        if size > MAX_BATCH_BYTES and len(blobs) > 1:
            raise TooLarge(f"a request holds at most {MAX_BATCH_BYTES} bytes of blobs")
        self._room.need(size)
        large = any(len(blob.sealed) >= INLINE_BYTES for blob in blobs)
        if large or size > _HASH_INLINE:
            rows = await asyncio.to_thread(self._rows, blobs)
        else:
            rows = self._rows(blobs)
        await self._insert(account, rows)

    def begin_upload(self) -> Upload:
        """Begins one large blob; its methods block. Finish with `finish_upload`."""
        return self._files.begin()

    def need(self, size: int) -> None:
        """Raise StoreFull unless an upload may grow by `size` bytes."""
        self._room.need(size)

    def check_room(self, size: int) -> None:
        """Raise StoreFull if there is no room for `size` bytes now; it is not held for them."""
        self._room.need(size)
        self._room.give_back(size)

    async def finish_upload(self, account: int, blob_id: str, upload: Upload) -> None:
        """Makes an upload the blob `blob_id`. Raises BlobDiffers, StoreFull."""
        file = await asyncio.to_thread(_named, upload.keep)
        row = _Row(bytes.fromhex(blob_id), upload.size, upload.sha256, file, None)
        await self._insert(account, [row])

    async def find(self, account: int, blob_id: str) -> StoredBlob:
        """One blob, to be sent whole or by range. Raises NotFound."""
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT size, file, sealed FROM blob WHERE account = ? AND blob_id = ?",
                (account, bytes.fromhex(blob_id)),
            ).fetchone()
        )
        if row is None:
            raise NotFound("there is no such blob")
        size, file, sealed = row
        return StoredBlob(size, sealed, None if file is None else self._files.path_of(file))

    async def get(self, account: int, blob_ids: Sequence[str]) -> BlobsFound:
        """Those which exist, in the order asked, as many as fit a reply. Raises TooLarge."""
        if len(blob_ids) > MAX_BATCH_BLOBS:
            raise TooLarge(f"a request asks for at most {MAX_BATCH_BLOBS} blobs")
        return await self._db.read(lambda connection: self._get(connection, account, blob_ids))

    async def delete(self, account: int, blob_ids: Sequence[str], min_age: int = 0) -> None:
        """Forgets blobs (of `min_age` seconds at least); those which are not there are forgotten already."""
        if len(blob_ids) > MAX_BATCH_BLOBS:
            raise TooLarge(f"a request names at most {MAX_BATCH_BLOBS} blobs")
        # A clock that was set back since makes a blob look new: it is only kept longer.
        newest = int(self._now()) - min_age if min_age else _ANY_TIME

        def job(connection: Connection) -> list[str]:
            files: list[str] = []
            for blob_id in blob_ids:
                for (file,) in connection.execute(
                    "DELETE FROM blob WHERE account = ? AND blob_id = ? AND created <= ?"
                    " RETURNING file",
                    (account, bytes.fromhex(blob_id), newest),
                ).fetchall():
                    if file is not None:
                        files.append(file)
            return files

        await self._remove(await self._db.write(job, durable=True))

    async def listed(self, account: int, request: BlobsList) -> BlobsListed:
        """What is stored, by id. Raises TooLarge."""
        limit = max(1, min(request.limit, MAX_LISTED_BLOBS))
        after, now = bytes.fromhex(request.after), int(self._now())
        if request.only is not None:
            return await self._listed_only(account, request.only, request.renew)

        def job(connection: Connection) -> BlobsListed:
            found = connection.execute(
                f"{_LISTED} AND blob_id > ? ORDER BY blob_id LIMIT ?",
                (account, after, limit + 1),
            ).fetchall()
            return BlobsListed(
                blobs=[_listed(row, now) for row in found[:limit]], more=len(found) > limit
            )

        return await self._db.read(job)

    async def _listed_only(self, account: int, blob_ids: list[str], renew: bool) -> BlobsListed:
        if len(blob_ids) > MAX_BATCH_BLOBS:
            raise TooLarge(f"a request names at most {MAX_BATCH_BLOBS} blobs")
        ids = [bytes.fromhex(blob_id) for blob_id in sorted(set(blob_ids))]
        now = int(self._now())

        def job(connection: Connection) -> BlobsListed:
            if renew:
                connection.executemany(
                    "UPDATE blob SET created = ? WHERE account = ? AND blob_id = ?",
                    [(now, account, blob_id) for blob_id in ids],
                )
            rows = [
                connection.execute(f"{_LISTED} AND blob_id = ?", (account, blob_id)).fetchone()
                for blob_id in ids
            ]
            found = [_listed(row, now) for row in rows if row is not None]
            return BlobsListed(blobs=found, more=False)

        if renew:
            return await self._db.write(job, durable=True)
        return await self._db.read(job)

    async def find_hash(self, account: int, blob_id: str) -> tuple[int, bytes] | None:
        """Size and SHA-256 of one blob, None if there is none."""
        found: tuple[int, bytes] | None = await self._db.read(
            lambda connection: connection.execute(
                "SELECT size, sha256 FROM blob WHERE account = ? AND blob_id = ?",
                (account, bytes.fromhex(blob_id)),
            ).fetchone()
        )
        return found

    # -- in threads -----------------------------------------------------------------------------

    def _rows(self, blobs: Sequence[Blob]) -> list[_Row]:
        rows: list[_Row] = []
        with contextlib.ExitStack() as on_failure:
            for blob in blobs:
                large = len(blob.sealed) >= INLINE_BYTES
                file = write_sealed(self._files, blob.sealed) if large else None
                if file is not None:
                    on_failure.callback(self._files.remove, file)
                rows.append(
                    _Row(
                        blob_id=bytes.fromhex(blob.blob_id),
                        size=len(blob.sealed),
                        sha256=hashlib.sha256(blob.sealed).digest(),
                        file=file,
                        sealed=None if large else blob.sealed,
                    )
                )
            on_failure.pop_all()
        return rows

    def _get(self, connection: Connection, account: int, blob_ids: Sequence[str]) -> BlobsFound:
        found: list[Blob] = []
        missing: list[str] = []
        size = 0
        for blob_id in blob_ids:
            row = connection.execute(
                "SELECT size, file, sealed FROM blob WHERE account = ? AND blob_id = ?",
                (account, bytes.fromhex(blob_id)),
            ).fetchone()
            if row is None:
                missing.append(blob_id)
                continue
            size += row[0]
            if found and size > MAX_BATCH_BYTES:
                return BlobsFound(blobs=found, missing=missing, more=True)
            if row[0] > MAX_BATCH_BYTES:
                raise TooLarge(f"blob {blob_id} has {row[0]} bytes: read it by itself")
            sealed = row[2] if row[1] is None else self._files.read(row[1])
            found.append(Blob(blob_id=blob_id, sealed=sealed))
        return BlobsFound(blobs=found, missing=missing, more=False)

    async def _insert(self, account: int, rows: Sequence[_Row]) -> None:
        """Writes the rows; files which turn out not to be needed are removed again."""

        now = int(self._now())

        def job(connection: Connection) -> list[str]:
            unneeded: list[str] = []
            for row in rows:
                added = connection.execute(
                    "INSERT INTO blob (account, blob_id, size, sha256, created, file, sealed)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (account, row.blob_id, row.size, row.sha256, now, row.file, row.sealed),
                ).rowcount
                if added:
                    continue
                (there,) = connection.execute(
                    "SELECT sha256 FROM blob WHERE account = ? AND blob_id = ?",
                    (account, row.blob_id),
                ).fetchone()
                if there != row.sha256:
                    raise BlobDiffers(f"blob {row.blob_id.hex()} is there with other bytes")
                connection.execute(  # who puts it again counts on it: it is no old orphan
                    "UPDATE blob SET created = ? WHERE account = ? AND blob_id = ?",
                    (now, account, row.blob_id),
                )
                if row.file is not None:
                    unneeded.append(row.file)
            return unneeded

        try:
            unneeded = await self._db.write(job, durable=True)
        except Exception:  # not on cancellation: then the job may still be committed
            await self._remove_unnamed([row.file for row in rows if row.file is not None])
            raise
        await self._remove(unneeded)

    async def _remove_unnamed(self, files: Sequence[str]) -> None:
        if files:
            await remove_unnamed(self._db, self._files, files)

    async def _remove(self, files: Sequence[str]) -> None:
        def remove() -> None:
            for file in files:
                self._files.remove(file)

        if files:
            await asyncio.to_thread(remove)


_LISTED = "SELECT blob_id, size, sha256, created FROM blob WHERE account = ?"


def _listed(row: tuple[bytes, int, bytes, int], now: int) -> ListedBlob:
    blob_id, size, sha256, created = row
    return ListedBlob(blob_id=blob_id.hex(), size=size, sha256=sha256, age=max(0, now - created))


def write_sealed(files: FileStore, sealed: bytes) -> str:
    """Writes a file; a full disk raises StoreFull."""
    return _named(lambda: files.write(sealed))


def _named(write: Callable[[], str]) -> str:
    try:
        return write()
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull("the disk is full; nothing was stored") from error
        raise
