"""Files which no row names: left by a crash, or by a write whose transaction was refused.

Invariants:
* Only a file whose name was seen *before* the rows were read is removed, so none just stored is hit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from leap.provider.storage.files import FileStore
from leap.soledad.sqlite import Connection, Database

MIN_AGE = 3600.0  # seconds; between a file and its row lies far less


async def remove_unnamed(db: Database, files: FileStore, names: Collection[str]) -> int:
    """Removes those of `names` which no row of the database names; how many."""

    def in_use(connection: Connection) -> set[str]:
        found: set[str] = set()
        for name in names:
            row = connection.execute(
                "SELECT 1 FROM blob WHERE file = ?"
                " UNION ALL SELECT 1 FROM inbox WHERE file = ? LIMIT 1",
                (name, name),
            ).fetchone()
            if row is not None:
                found.add(name)
        return found

    used = await db.read(in_use)
    return await asyncio.to_thread(files.remove_orphans, names, used)


async def sweep(db: Database, files: FileStore, now: float) -> int:
    """Removes all orphans older than `MIN_AGE`; how many."""
    names = await asyncio.to_thread(files.names, now - MIN_AGE)
    return await remove_unnamed(db, files, names) if names else 0
