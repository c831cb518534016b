"""Sealed blobs on this machine: small ones in packs, large ones as files of their own, both beside the database.

Invariants:
* Files and packs hold the sealed bytes only: their keys lie in the encrypted database.
* What is put here was verified against its reference, whose SHA-256 is kept with it.
* A file is written and synced before the transaction that refers to it commits.
* A file goes after the transaction that removed its row was committed, never before. One without a row (after a
  crash, or a transaction that was undone) goes too: when the store opens, or an hour later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from leap.soledad.blobs.files import BlobFiles
from leap.soledad.blobs.format import BlobRef, SealedBlob
from leap.soledad.blobs.packs import Packs, Placed
from leap.soledad.blobs.sealing import SealedFile
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

FILE_SIZE = 256 * 1024  # from here on a file of its own: it goes at once when its blob does
IN_A_PACK = b""  # stands in the row instead of the sealed bytes
FIRST_RETRY, LAST_RETRY = 60, 24 * 3600  # seconds until a lost blob is asked for again
STRAY_SECONDS = 3600  # between a file and its row lies far less
PART_SECONDS = 7 * 24 * 3600  # a download nobody went on with for this time


class LocalBlobs:
    """The blobs of one store; all methods run in the store's threads."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.files = BlobFiles(folder)
        self.packs = Packs(folder.with_name(folder.name.removesuffix("-blobs") + "-packs"))

    def put(
        self, connection: Connection, blob: SealedBlob | SealedFile, *, unsent: bool = True
    ) -> None:
        """Keeps a blob; `unsent` says that the provider does not have it yet."""
        ref = blob.ref
        if connection.execute("SELECT 1 FROM blob WHERE blob_id = ?", (ref.blob_id,)).fetchone():
            return
        if isinstance(blob, SealedFile):
            self.files.adopt(blob.path, ref.blob_id)
            self._insert(connection, [(ref, None)])
        else:
            self._keep(connection, [blob])
        if unsent:
            connection.execute("INSERT INTO blob_unsent (blob_id) VALUES (?)", (ref.blob_id,))
            return
        for table in ("blob_wanted", "blob_lost", "blob_evicted", "blob_trash"):
            connection.execute(f"DELETE FROM {table} WHERE blob_id = ?", (ref.blob_id,))  # noqa: S608

    def put_all(self, connection: Connection, blobs: Iterable[SealedBlob]) -> None:
        """Keeps new blobs, none of which the provider has."""
        new = {blob.ref.blob_id: blob for blob in blobs}
        for (blob_id,) in connection.execute(
            "SELECT b.blob_id FROM json_each(?) j CROSS JOIN blob b ON b.blob_id = j.value",
            (json.dumps(list(new)),),
        ).fetchall():
            del new[blob_id]
        self._keep(connection, list(new.values()))
        insert_rows(
            connection, "INSERT INTO blob_unsent (blob_id)", [(blob_id,) for blob_id in new]
        )

    def _keep(self, connection: Connection, blobs: Sequence[SealedBlob]) -> None:
        """Writes sealed bytes to where they belong, and their rows."""
        small = [blob for blob in blobs if len(blob.sealed) < FILE_SIZE]
        places: list[tuple[BlobRef, Placed | None]] = []
        if len(small) < len(blobs):
            for blob in blobs:
                if len(blob.sealed) >= FILE_SIZE:
                    self.files.write(blob.ref.blob_id, blob.sealed)
                    places.append((blob.ref, None))
        if small:
            placed = self.packs.add(connection, [blob.sealed for blob in small])
            places += zip((blob.ref for blob in small), placed, strict=True)
        self._insert(connection, places)

    def _insert(
        self, connection: Connection, places: Sequence[tuple[BlobRef, Placed | None]]
    ) -> None:
        """Rows of blobs in packs, or (None) in files."""
        insert_rows(
            connection,
            "INSERT INTO blob (blob_id, sha256, size, sealed, pack, place, length)",
            [
                (ref.blob_id, ref.sha256, ref.size)
                + ((None, None, None, None) if placed is None else (IN_A_PACK, *placed))
                for ref, placed in places
            ],
        )

    def find(self, connection: Connection, blob_id: str) -> bytes | None:
        """The sealed bytes, if they are here; all of them, so not for large ones."""
        place = self.find_place(connection, blob_id)
        try:
            return place.read_bytes() if isinstance(place, Path) else place
        except FileNotFoundError:
            return None

    def find_place(self, connection: Connection, blob_id: str) -> bytes | Path | None:
        """The sealed bytes, or the file which has them, if they are here."""
        found = connection.execute(
            "SELECT sealed, pack, place, length FROM blob WHERE blob_id = ?", (blob_id,)
        ).fetchone()
        if found is None:
            return None
        sealed, *placed = found
        if sealed is None:
            return self.files.path(blob_id)
        return bytes(sealed) if placed[0] is None else self.packs.read(Placed(*placed))

    def find_places(
        self, connection: Connection, refs: Sequence[BlobRef]
    ) -> dict[BlobRef, bytes | memoryview | Path]:
        """The same of those that are here, and were verified against these very references, by one question."""
        places: dict[BlobRef, bytes | memoryview | Path] = {}
        packed: dict[BlobRef, Placed] = {}
        wanted = {ref.blob_id: ref for ref in refs}
        for blob_id, sha256, sealed, pack, place, length in connection.execute(
            "SELECT b.blob_id, b.sha256, b.sealed, b.pack, b.place, b.length FROM json_each(?) j"
            " CROSS JOIN blob b ON b.blob_id = j.value",
            (json.dumps(list(wanted)),),
        ).fetchall():
            ref = wanted[blob_id]
            if sha256 != ref.sha256:
                continue
            if pack is not None:
                packed[ref] = Placed(pack, place, length)
            else:
                places[ref] = self.files.path(blob_id) if sealed is None else bytes(sealed)
        places.update(self.packs.read_many(packed))
        return places

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
                "SELECT blob_id FROM blob_unsent"
                " WHERE again = 0 AND blob_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(blob_ids)),),
            )
        ]
        self.remove(connection, unsent)
        self.doom(connection, set(blob_ids).difference(unsent))

    def remove(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """Forgets blobs here and now; their files go with the next `empty_trash`."""
        ids = (json.dumps(list(blob_ids)),)
        self._trash_files(connection, *ids)
        for table in _OF_ONE_BLOB:
            connection.execute(
                f"DELETE FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?))",  # noqa: S608
                ids,
            )

    def send_again(self, connection: Connection, blob_id: str) -> None:
        """The provider does not have this any more, or not as it is here: it is sent again, if it is here."""
        connection.execute(
            "INSERT OR IGNORE INTO blob_unsent (blob_id, again)"
            " SELECT blob_id, 1 FROM blob WHERE blob_id = ?",
            (blob_id,),
        )

    def note_sent(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """The provider has answered that it stores these."""
        ids = json.dumps(list(blob_ids))
        connection.execute(
            "DELETE FROM blob_unsent WHERE blob_id IN (SELECT value FROM json_each(?))", (ids,)
        )
        connection.execute(
            "INSERT OR REPLACE INTO blob_sent (blob_id, time)"
            " SELECT value, ? FROM json_each(?) WHERE value IN (SELECT blob_id FROM blob)",
            (int(self.now()), ids),
        )

    def evict(self, connection: Connection, blob_ids: Sequence[str]) -> int:
        """Forgets the bytes but not the blobs; how many octets of content that were."""
        ids, now = json.dumps(list(blob_ids)), int(self.now())
        freed: int = connection.execute(
            "SELECT coalesce(sum(size), 0) FROM blob"
            " WHERE blob_id IN (SELECT value FROM json_each(?))",
            (ids,),
        ).fetchone()[0]
        self._trash_files(connection, ids)
        connection.execute(
            "INSERT OR REPLACE INTO blob_evicted (blob_id, sha256, size, time)"
            " SELECT blob_id, sha256, size, ? FROM blob"
            " WHERE blob_id IN (SELECT value FROM json_each(?))",
            (now, ids),
        )
        for table in ("blob", "blob_used"):
            connection.execute(
                f"DELETE FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?))",  # noqa: S608
                (ids,),
            )
        return freed

    def ask_again(self, connection: Connection, ref: BlobRef, priority: int, newest: int) -> None:
        """What a row names is wanted, whatever is here under its id: it has other bytes, or nothing says so yet."""
        self.evict(connection, [ref.blob_id])
        connection.execute("DELETE FROM blob_evicted WHERE blob_id = ?", (ref.blob_id,))
        connection.execute(
            "INSERT INTO blob_wanted (blob_id, sha256, size, priority, newest)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (blob_id) DO UPDATE SET"
            " sha256 = excluded.sha256, size = excluded.size, missing = 0",
            (ref.blob_id, ref.sha256, ref.size, priority, newest),
        )

    def _trash_files(self, connection: Connection, ids: str) -> None:
        self.packs.thinned = True
        connection.execute(
            "INSERT OR IGNORE INTO blob_trash (blob_id) SELECT blob_id FROM blob"
            " WHERE sealed IS NULL AND blob_id IN (SELECT value FROM json_each(?))",
            (ids,),
        )

    def lost_here(self, connection: Connection, blob_id: str) -> bool:
        """The file of a blob is gone: it counts as evicted, unless only this device had it; whether it does."""
        if connection.execute(
            "SELECT 1 FROM blob_unsent WHERE blob_id = ?", (blob_id,)
        ).fetchone() or not isinstance(self.find_place(connection, blob_id), Path):
            return False
        if not self.files.path(blob_id).exists():
            self.evict(connection, [blob_id])
        return True

    def give_up(self, connection: Connection, blob_ids: Sequence[str]) -> None:
        """The provider does not have these as they were: they are asked for again later, and later, and daily."""
        if not blob_ids:
            return
        ids, now = json.dumps(list(blob_ids)), int(self.now())
        connection.execute(  # what was thought safe is wanted again
            "INSERT OR IGNORE INTO blob_wanted (blob_id, sha256, size, priority, newest)"
            " SELECT blob_id, sha256, size, 0, 0 FROM blob_evicted"
            " WHERE blob_id IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        connection.execute(
            "DELETE FROM blob_evicted WHERE blob_id IN (SELECT value FROM json_each(?))", (ids,)
        )
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
        """Removes all files that no row names, and downloads nobody waits for; only where nothing is being written."""
        kept = {
            name for (name,) in connection.execute("SELECT blob_id FROM blob WHERE sealed IS NULL")
        }
        wanted = "SELECT 1 FROM blob_wanted WHERE blob_id = ?1 UNION ALL SELECT 1 FROM blob_evicted WHERE blob_id = ?1"
        self.files.sweep(
            kept, lambda name: connection.execute(wanted, (name,)).fetchone() is not None
        )
        connection.execute("DELETE FROM blob_trash")

    def load_trash(self, connection: Connection) -> list[str]:
        """The blobs whose files are to go."""
        return [name for (name,) in connection.execute("SELECT blob_id FROM blob_trash")]

    def find_strays(self, connection: Connection, names: Sequence[str]) -> list[str]:
        """Those of these files which no row names."""
        found = connection.execute(
            "SELECT value FROM json_each(?) WHERE NOT EXISTS"
            " (SELECT 1 FROM blob WHERE blob_id = value AND sealed IS NULL)",
            (json.dumps(list(names)),),
        )
        return [name for (name,) in found]

    def remove_files(self, connection: Connection, names: Sequence[str]) -> int:
        """Removes those of these files which have no row now; runs as a job of the writer.

        `names` come from a snapshot that was committed, so no transaction that is undone brings a row back.
        """
        strays = self.find_strays(connection, names)
        for name in strays:
            self.files.remove(name)
        connection.execute(
            "DELETE FROM blob_trash WHERE blob_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(names)),),
        )
        return len(strays)


_OF_ONE_BLOB = (
    "blob",
    "blob_unsent",
    "blob_sent",
    "blob_doomed",
    "blob_guarded",
    "blob_wanted",
    "blob_lost",
    "blob_evicted",
    "blob_used",
)
