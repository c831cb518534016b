"""Compact: give free pages, the write-ahead log, room in packs and files without an owner back to the disk.

Free pages go in slices of `SLICE_PAGES`, each an ordinary transaction of the writer between those of others: nothing
waits long, and a kill loses nothing. A file made before free pages were kept track of is rewritten once as a whole,
if it is small enough for that.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from leap.soledad.maintenance.blob_check import stray_files
from leap.soledad.maintenance.findings import Progress, no_progress
from leap.soledad.sqlite import Connection, Database
from leap.soledad.store import Soledad

SLICE_FILES = 100
SLICE_PAGES = 256  # 1 MiB moves in some milliseconds
MOST_REWRITTEN = 64 * 1024 * 1024  # octets of an older file: it is held in memory meanwhile
_INCREMENTAL = 2  # PRAGMA auto_vacuum


class Freed(NamedTuple):
    """Octets of all files before and after, and how many files without an owner went."""

    before: int
    after: int
    files: int
    rewritten: bool
    too_large: bool  # an older file that could not be rewritten

    @property
    def bytes(self) -> int:
        return max(0, self.before - self.after)


async def compact(store: Soledad, *, progress: Progress = no_progress) -> Freed:
    """Compacts a store in use; answers what was freed. Raises StoreFull."""
    blobs = store.blobs
    folders = (blobs.files.folder, blobs.packs.folder)
    before = await asyncio.to_thread(_octets, store.path, *folders)
    files = await store.empty_trash(all_packs=True) + await store.remove_strays()
    strays = await stray_files(store)  # those, too, which are too young for `remove_strays`
    for first in range(0, len(strays), SLICE_FILES):
        some = strays[first : first + SLICE_FILES]
        files += await store.write(lambda c, some=some: blobs.remove_files(c, some))  # type: ignore[misc]
    rewritten, too_large = await compact_file(store.database, progress)
    after = await asyncio.to_thread(_octets, store.path, *folders)
    return Freed(before, after, files, rewritten, too_large)


async def compact_file(database: Database, progress: Progress = no_progress) -> tuple[bool, bool]:
    """Gives back the free pages of one file: (it was rewritten, it is too large for what it would need)."""
    mode, pages, size = await database.read(_shape)
    rewritten = False
    if mode != _INCREMENTAL:
        if pages * size > MOST_REWRITTEN:
            await database.apart(_checkpoint)
            return False, True
        await database.apart(_rewrite)
        rewritten = True
    total = await database.read(_free)
    left = total
    while left:
        progress("free pages", total - left, total)
        await database.write(_free_slice)
        now = await database.read(_free)
        if now >= left:
            break  # somebody frees as fast as this: the rest is for another time
        left = now
    await database.apart(_checkpoint)
    return rewritten, False


def _shape(connection: Connection) -> tuple[int, int, int]:
    # What a connection remembers of the file is renewed when it reads: so before it is asked.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    names = ("auto_vacuum", "page_count", "page_size")
    mode, pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return mode, pages, size


def _free(connection: Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _free_slice(connection: Connection) -> None:
    connection.execute(f"PRAGMA incremental_vacuum({SLICE_PAGES})").fetchall()


def _checkpoint(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _rewrite(connection: Connection) -> None:
    # Set before VACUUM it changes the file's kind (sqlite.org/pragma.html#pragma_auto_vacuum).
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("VACUUM")


def _octets(path: Path, blobs: Path, packs: Path) -> int:
    files = [path, path.with_name(path.name + "-wal"), *blobs.glob("*/*"), *packs.glob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())
