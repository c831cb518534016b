"""Are the blobs kept here still what they were: sealed bytes against their hash, then opened to the last chunk.

A slice is what one look at the database brings, up to `SLICE_BYTES`; hashing and opening run in the reader's thread.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path

from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import BlobAltered, ProviderLies
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

SLICE_BYTES = 4 * 1024 * 1024
SLICE_BLOBS = 200
_FILE_NAME = re.compile(r"[0-9a-f]{32}")


def blob_folder(store: Soledad) -> Path:
    """Where the store keeps the blobs that are files."""
    return store.path.with_name(store.path.name + "-blobs")


async def check_blobs(store: Soledad, report: Report, progress: Progress) -> None:
    """Every blob that is kept here, then every file."""
    total = await store.read(lambda c: c.execute("SELECT count(*) FROM blob").fetchone()[0])
    last: str | None = ""
    while last is not None:
        progress("blobs", report.checked["blobs"], total)
        last = await store.read(partial(_blob_slice, store=store, report=report, after=last))
    for name in await stray_files(store):
        report.add(
            "file-unnamed",
            name,
            f"The file {name} in the folder of contents belongs to nothing;"
            " `bitmask doctor compact` removes it.",
        )


def _blob_slice(
    connection: Connection, *, store: Soledad, report: Report, after: str
) -> str | None:
    rows = connection.execute(
        "SELECT blob_id, sha256, size,"
        " EXISTS (SELECT 1 FROM blob_unsent u WHERE u.blob_id = blob.blob_id)"
        " FROM blob WHERE blob_id > ? ORDER BY blob_id LIMIT ?",
        (after, SLICE_BLOBS),
    ).fetchall()
    seen = 0
    for blob_id, sha256, size, unsent in rows:
        ref = BlobRef(blob_id, sha256, size)
        report.checked["blobs"] += 1
        sealed = store.blobs.find(connection, blob_id)
        problem = None if sealed is None else blob_problem(store, sealed, ref)
        advice = (
            "it was not sent to the provider yet, so only an export can bring it back"
            if unsent
            else "`--repair` fetches it again"
        )
        if sealed is None:
            report.add(
                "blob-file-lost", blob_id, f"The file of content {blob_id} is missing: {advice}."
            )
        elif problem is not None:
            report.add(
                "blob-damaged", blob_id, f"Content {blob_id} as kept here {problem}: {advice}."
            )
        seen += len(sealed or b"")
        if seen >= SLICE_BYTES:
            return str(blob_id)
    return str(rows[-1][0]) if len(rows) == SLICE_BLOBS else None


def blob_problem(store: Soledad, sealed: bytes, ref: BlobRef) -> str | None:
    """Why these are not the sealed bytes of a reference, or None."""
    if hashlib.sha256(sealed).hexdigest() != ref.sha256:
        return "is damaged"
    try:
        store.open_sealed(sealed, ref, 0, None)
    except BlobAltered:
        return "is not what its reference says"
    except ProviderLies as error:
        return f"does not open ({error})"
    return None


async def stray_files(store: Soledad) -> list[str]:
    """Names of files which no row names. One that is being stored right now is not among them."""
    names = await store.read(lambda _: _names(blob_folder(store)))
    if not names:
        return []
    # A file is written in the job that commits its row: behind a later job all rows of `names` are to be seen.
    await store.write(lambda _: None)
    kept = await store.read(_named_files)
    return [name for name in names if name not in kept]


def _named_files(connection: Connection) -> set[str]:
    """Files that a row names, and those which are on the list of what is to be removed anyway."""
    queries = ["SELECT blob_id FROM blob WHERE sealed IS NULL"]
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'blob_trash'").fetchone():
        queries.append("SELECT blob_id FROM blob_trash")
    return {name for query in queries for (name,) in connection.execute(query)}


def _names(folder: Path) -> list[str]:
    return sorted(
        file.name
        for place in (folder.iterdir() if folder.is_dir() else ())
        if place.is_dir()
        for file in place.iterdir()
        if _FILE_NAME.fullmatch(file.name)
    )
