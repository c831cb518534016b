"""Is the database file whole: every page's tag, every tree and index, every projection.

The file is read by a connection of its own: one that has met a damaged page is of no use any more, and one that has
pages in its cache would not see what became of them on the disk.
"""

from __future__ import annotations

from leap.soledad.changes import Rebuildable
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.sqlite import Connection, DatabaseError
from leap.soledad.store import Soledad

MOST_LINES = 20  # of one pragma; a file with more damage than this is not mended line by line
_ADVICE = (
    "make a copy of the folder, then restore this store from an export,"
    " or set the account up anew on this device: what was synced comes back from the provider"
)


async def check_database(store: Soledad, report: Report, progress: Progress) -> bool:
    """Adds what is wrong; False if the file is so damaged that nothing else in it can be relied on."""
    progress("database", 0, 2)
    altered = await store.database.apart(_altered_pages)
    if altered:
        # A checkpoint may have written a page while it was read: damage is there the second time too.
        again = await store.database.apart(_altered_pages)
        altered = [line for line in altered if line in again]
    progress("database", 1, 2)
    broken = await store.database.apart(_broken_structure)
    progress("database", 2, 2)
    report.checked["database"] += 1
    for line in altered[:MOST_LINES]:
        report.add(
            "file-damaged", store.path.name, f"The store's file is damaged ({line}): {_ADVICE}."
        )
    if not altered:
        for line in broken[:MOST_LINES]:
            report.add(
                "file-damaged",
                store.path.name,
                f"The store's file is inconsistent ({line}): {_ADVICE}.",
            )
    return not (altered or broken)


async def check_projections(store: Soledad, report: Report, progress: Progress) -> None:
    """Compares what is derived with what it is derived from."""
    checked = [one for one in store.projections if isinstance(one, Rebuildable)]
    for number, projection in enumerate(checked):
        progress("derived", number, len(checked))
        for sentence in await store.read(projection.faults):
            report.add(
                "derived-wrong",
                type(projection).__name__,
                f"{sentence}; `bitmask doctor rebuild` derives it anew.",
            )
        report.checked["derived"] += 1


def _altered_pages(connection: Connection) -> list[str]:
    """Pages whose HMAC is wrong, in SQLCipher's words; of a plain file none are known."""
    try:
        return [str(line) for (line,) in connection.execute("PRAGMA cipher_integrity_check")]
    except DatabaseError as error:
        return [str(error)]


def _broken_structure(connection: Connection) -> list[str]:
    try:
        found = connection.execute(f"PRAGMA integrity_check({MOST_LINES})").fetchall()
    except DatabaseError as error:
        return [str(error)]
    lines = [line for (text,) in found for line in str(text).splitlines()]
    return [] if lines == ["ok"] else lines
