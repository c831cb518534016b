"""Are the blobs kept here still what they were: sealed bytes against their hash, then opened to the last chunk.

A slice is what one look at the database brings, up to `SLICE_BYTES`; hashing and opening run in the reader's thread.
Files are read afterwards, some chunks at a time, however large they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from leap.soledad.blobs.files import hash_file
from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.streams import Indexes, OpenFile, stream_span
from leap.soledad.errors import BlobAltered, ProviderLies
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

SLICE_BYTES = 4 * 1024 * 1024
SLICE_BLOBS = 200
_FILE_NAME = re.compile(r"[0-9a-f]{32}")


class _KeptFile(NamedTuple):
    """A blob that is a file, and what to do if it is damaged."""

    ref: BlobRef
    path: Path
    advice: str


async def check_blobs(store: Soledad, report: Report, progress: Progress) -> None:
    """Every blob that is kept here, then every file that is not one of them."""
    total = await store.read(lambda c: c.execute("SELECT count(*) FROM blob").fetchone()[0])
    last: str | None = ""
    while last is not None:
        progress("blobs", report.checked["blobs"], total)
        files, last = await store.read(partial(_blob_slice, store=store, report=report, after=last))
        for file in files:
            progress("blobs", report.checked["blobs"], total)
            await _check_file(store, file, report)
    for name in await stray_files(store):
        report.add(
            "file-unnamed",
            name,
            f"The file {name} in the folder of contents belongs to nothing;"
            " `bitmask doctor compact` removes it.",
        )


def _blob_slice(
    connection: Connection, *, store: Soledad, report: Report, after: str
) -> tuple[list[_KeptFile], str | None]:
    """Checks what lies in the database; answers the files among them, and where to go on."""
    rows = connection.execute(
        "SELECT blob_id, sha256, size,"
        " EXISTS (SELECT 1 FROM blob_unsent u WHERE u.blob_id = blob.blob_id)"
        " FROM blob WHERE blob_id > ? ORDER BY blob_id LIMIT ?",
        (after, SLICE_BLOBS),
    ).fetchall()
    files: list[_KeptFile] = []
    seen = 0
    for blob_id, sha256, size, unsent in rows:
        ref = BlobRef(blob_id, sha256, size)
        advice = (
            "it was not sent to the provider yet, so only an export can bring it back"
            if unsent
            else "`--repair` fetches it again"
        )
        place = store.blobs.find_place(connection, blob_id)
        if isinstance(place, Path):
            files.append(_KeptFile(ref, place, advice))
            continue
        report.checked["blobs"] += 1
        problem = _problem(store, place or b"", ref)
        if problem is not None:
            _damaged(report, blob_id, problem, advice)
        seen += len(place or b"")
        if seen >= SLICE_BYTES:
            return files, str(blob_id)
    return files, str(rows[-1][0]) if len(rows) == SLICE_BLOBS else None


def _damaged(report: Report, blob_id: str, problem: str, advice: str) -> None:
    report.add("blob-damaged", blob_id, f"Content {blob_id} as kept here {problem}: {advice}.")


def _problem(store: Soledad, sealed: bytes, ref: BlobRef) -> str | None:
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


async def _check_file(store: Soledad, file: _KeptFile, report: Report) -> None:
    blob_id = file.ref.blob_id
    try:
        problem = await _file_problem(store, file.path, file.ref)
    except FileNotFoundError:
        if await store.read(lambda c: store.blobs.find_ref(c, blob_id)) is None:
            return  # evicted or dropped meanwhile
        report.add(
            "blob-file-lost", blob_id, f"The file of content {blob_id} is missing: {file.advice}."
        )
    else:
        if problem is not None:
            _damaged(report, blob_id, problem, file.advice)
    report.checked["blobs"] += 1


async def _file_problem(store: Soledad, path: Path, ref: BlobRef) -> str | None:
    """As `_problem`, of a file, in constant memory; raises FileNotFoundError."""
    with await asyncio.to_thread(OpenFile, path) as file:
        if await asyncio.to_thread(hash_file, path) != ref.sha256:
            return "is damaged"
        try:
            index = await store.load_index(Indexes(), ref, file.read_at)
            async for _ in stream_span(index, file.read_at, 0, ref.size):
                pass
        except BlobAltered:
            return "is not what its reference says"
        except ProviderLies as error:
            return f"does not open ({error})"
    return None


async def stray_files(store: Soledad) -> list[str]:
    """Names of files which no row names. One that is being stored right now is not among them."""
    names = await asyncio.to_thread(_names, store.blobs.files.folder)
    if not names:
        return []
    # A file is written in the job that commits its row: behind a later job all rows of `names` are to be seen.
    await store.write(lambda _: None)
    strays = await store.read(lambda c: store.blobs.find_strays(c, names))
    trash = set(await store.read(store.blobs.load_trash))  # these are to be removed anyway
    return sorted(set(strays) - trash)


def _names(folder: Path) -> list[str]:
    return sorted(
        file.name
        for place in (folder.iterdir() if folder.is_dir() else ())
        if place.is_dir()
        for file in place.iterdir()
        if _FILE_NAME.fullmatch(file.name)
    )
