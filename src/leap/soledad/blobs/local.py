"""Sealed blobs on this machine: small ones in the database, large ones as files beside it.

Files hold the sealed bytes only: their keys lie in the encrypted database. A file is written and synced
before the transaction that refers to it commits; one without a row is removed when the store opens.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from leap.soledad.blobs.format import BlobRef, SealedBlob
from leap.soledad.sqlite import Connection

FILE_SIZE = 256 * 1024  # from here on a file costs less than writing the pages to WAL and database
FIRST_RETRY, LAST_RETRY = 60, 24 * 3600  # seconds until a lost blob is asked for again
_FILE_NAME = re.compile(r"[0-9a-f]{32}")


class LocalBlobs:
    """The blobs of one store; all methods run in the store's threads."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._folder = folder

    def put(self, connection: Connection, blob: SealedBlob, *, unsent: bool = True) -> None:
        """Keeps a blob; `unsent` says that the provider does not have it yet."""
        ref = blob.ref
        if connection.execute("SELECT 1 FROM blob WHERE blob_id = ?", (ref.blob_id,)).fetchone():
            return
        in_file = len(blob.sealed) >= FILE_SIZE
        if in_file:
            self._write_file(ref.blob_id, blob.sealed)
        connection.execute(
            "INSERT INTO blob (blob_id, sha256, size, sealed) VALUES (?, ?, ?, ?)",
            (ref.blob_id, ref.sha256, ref.size, None if in_file else blob.sealed),
        )
        for table in ("blob_wanted", "blob_lost"):
            connection.execute(f"DELETE FROM {table} WHERE blob_id = ?", (ref.blob_id,))  # noqa: S608
        if unsent:
            connection.execute("INSERT INTO blob_unsent (blob_id) VALUES (?)", (ref.blob_id,))

    def find(self, connection: Connection, blob_id: str) -> bytes | None:
        """The sealed bytes, if they are here."""
        found = connection.execute(
            "SELECT sealed FROM blob WHERE blob_id = ?", (blob_id,)
        ).fetchone()
        if found is None:
            return None
        if found[0] is not None:
            return bytes(found[0])
        try:
            return self._path(blob_id).read_bytes()
        except FileNotFoundError:
            return None

    def find_ref(self, connection: Connection, blob_id: str) -> BlobRef | None:
        """The reference of a blob that is here."""
        found = connection.execute(
            "SELECT sha256, size FROM blob WHERE blob_id = ?", (blob_id,)
        ).fetchone()
        return None if found is None else BlobRef(blob_id, found[0], found[1])

    def drop(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """Dooms blobs: those never sent go at once, the others when all devices know."""
        unsent = [
            blob_id
            for (blob_id,) in connection.execute(
                "SELECT blob_id FROM blob_unsent WHERE blob_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(blob_ids)),),
            )
        ]
        self.remove(connection, unsent)
        self.doom(connection, set(blob_ids).difference(unsent))

    def remove(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """Forgets blobs here and now; their files go with the next `sweep`."""
        ids = (json.dumps(list(blob_ids)),)
        for table in ("blob", "blob_unsent", "blob_doomed", "blob_wanted", "blob_lost"):
            connection.execute(
                f"DELETE FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?))",  # noqa: S608
                ids,
            )

    def give_up(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """The provider does not have these as they were: they are asked for again later, and later, and daily."""
        if not blob_ids:
            return
        ids, now = json.dumps(list(blob_ids)), int(self.now())
        connection.execute(
            "UPDATE blob_wanted SET missing = 1 WHERE blob_id IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        connection.execute(
            "INSERT INTO blob_lost (blob_id, attempts, retry_at)"
            " SELECT blob_id, 1, ?1 + ?2 FROM blob_wanted"
            " WHERE blob_id IN (SELECT value FROM json_each(?4))"
            " ON CONFLICT (blob_id) DO UPDATE SET attempts = attempts + 1,"
            " retry_at = ?1 + min(?3, ?2 << min(attempts, 20))",
            (now, FIRST_RETRY, LAST_RETRY, ids),
        )

    def retry_due(self, connection: Connection) -> None:
        """Puts lost blobs whose time has come back among those to fetch."""
        now = int(self.now())
        # A time further away than any delay was written by a clock that has been set back since.
        connection.execute(
            "UPDATE blob_wanted SET missing = 0 WHERE missing = 1 AND blob_id IN"
            " (SELECT blob_id FROM blob_lost WHERE retry_at <= ?1 OR retry_at > ?1 + ?2)",
            (now, LAST_RETRY),
        )

    def retry_now(self, connection: Connection) -> None:
        """Lets all lost blobs be asked for with the next `retry_due`."""
        connection.execute("UPDATE blob_lost SET retry_at = 0")

    def next_retry(self, connection: Connection) -> float | None:
        """In how many seconds the next lost blob is due; None if none is lost."""
        found = connection.execute("SELECT min(retry_at) FROM blob_lost").fetchone()[0]
        return None if found is None else min(LAST_RETRY, max(1.0, found - self.now()))

    def doom(self, connection: Connection, blob_ids: Iterable[str]) -> None:
        """Says that the last row which names these may be gone; whether it is, is found out before they go."""
        connection.executemany(
            "INSERT INTO blob_doomed (blob_id, since, time) VALUES (?, NULL, ?)"
            " ON CONFLICT (blob_id) DO NOTHING",
            [(blob_id, int(self.now())) for blob_id in blob_ids],
        )

    def sweep(self, connection: Connection) -> None:
        """Removes files that no row names; only where nothing is being written."""
        if not self._folder.is_dir():
            return
        kept = {
            name for (name,) in connection.execute("SELECT blob_id FROM blob WHERE sealed IS NULL")
        }
        for folder in self._folder.iterdir():
            if not folder.is_dir():
                continue
            for file in folder.iterdir():
                if file.name not in kept and _FILE_NAME.match(file.name):
                    file.unlink(missing_ok=True)

    def _path(self, blob_id: str) -> Path:
        return self._folder / blob_id[:2] / blob_id

    def _write_file(self, blob_id: str, sealed: bytes) -> None:
        path = self._path(blob_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(blob_id + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the new name is durable too
        finally:
            os.close(folder)
