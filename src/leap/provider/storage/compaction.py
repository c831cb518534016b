"""Giving unused space back to the disk: free pages of the database bit by bit, then its write-ahead log.

Invariants:
* Each slice is an ordinary transaction of the writer: requests go on between two, and a kill loses nothing.
* Nothing but free pages and files without a row goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from leap.provider.storage.files import FileStore
from leap.provider.storage.orphans import sweep
from leap.soledad.sqlite import Connection, Database

SLICE_PAGES = 256  # 1 MiB moves in some milliseconds
WORTH = 0.25  # part of the file that is free before a running provider gives it back


class Freed(NamedTuple):
    """Octets of the database and its log before and after; files without a row that went."""

    before: int
    after: int
    files: int


async def compact(db: Database, files: FileStore, now: float) -> Freed:
    """Gives back all that is free. A file made before free pages were kept track of only loses its log."""
    before = _octets(db.path)
    removed = await sweep(db, files, now)
    left = (await db.read(_free))[0]
    while left:
        await db.write(_free_slice)
        (now_left, _) = await db.read(_free)
        if now_left >= left:
            break
        left = now_left
    await db.apart(_checkpoint)
    return Freed(before, _octets(db.path), removed)


async def is_worth_it(db: Database) -> bool:
    """Whether so much is free that giving it back is worth the writing."""
    free, pages = await db.read(_free)
    return free > WORTH * pages and free > SLICE_PAGES


def _free(connection: Connection) -> tuple[int, int]:
    counts = ("freelist_count", "page_count")
    free, pages = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in counts)
    return free, pages


def _free_slice(connection: Connection) -> None:
    connection.execute(f"PRAGMA incremental_vacuum({SLICE_PAGES})").fetchall()


def _checkpoint(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _octets(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
