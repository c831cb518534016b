"""What `verify --repair` does about findings. It never removes the only copy of anything.

* A damaged, lost or mismatched blob here is forgotten and put on the list of those to fetch, if it was sent before.
* A blob the provider lacks, and which is here bit for bit, is marked as not sent; one that is not here is asked for,
  of other devices too (`syncing.wishes`).
* Bytes at the provider that differ from what rows name are deleted there, but only when the right ones are here.
* A change that nothing marks is marked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from leap.soledad.blobs.files import hash_file
from leap.soledad.blobs.format import BlobRef
from leap.soledad.maintenance.findings import Finding, Mend, Report
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad


class MendingRemote(Protocol):
    """What mending asks of the provider."""

    async def delete_blobs(self, blob_ids: Sequence[str]) -> None: ...


async def mend(store: Soledad, report: Report, remote: MendingRemote | None = None) -> None:
    """Does what can be done about each finding, and notes it there. Safe to repeat. Raises Unreachable, Refused."""
    for number, finding in enumerate(report.findings):
        done: Mend = "no"
        if finding.kind in ("blob-damaged", "blob-file-lost", "blob-mismatched", "blob-unlisted"):
            done = await store.write(lambda c, f=finding: _ask_again(c, store, f))  # type: ignore[misc]
        elif finding.kind in ("blob-missing", "blob-differs"):
            done = await _send_again(store, finding, remote)
        elif finding.kind == "change-unmarked":
            done = await store.write(lambda c, f=finding: _mark(c, store, f.what))  # type: ignore[misc]
        report.findings[number] = replace(finding, mended=done)
    await store.empty_trash()


def _ask_again(connection: Connection, store: Soledad, finding: Finding) -> Mend:
    blob_id = finding.what
    unsent = connection.execute(
        "SELECT 1 FROM blob_unsent WHERE blob_id = ?", (blob_id,)
    ).fetchone()
    if unsent:
        return "no"  # the provider never had it
    return "asked-for" if _want(connection, store, blob_id) else "no"


def _want(connection: Connection, store: Soledad, blob_id: str) -> bool:
    """Forgets the bytes here, and asks for the blob as a row names it; False if none does."""
    for table in store.tables.values():
        for priority, columns in enumerate(table.schema.blobs):
            found = connection.execute(
                f"SELECT {columns[1]}, {columns[2]}, {table.schema.newest or 0}"  # noqa: S608
                f" FROM {table.schema.name} WHERE {columns[0]} = ? AND deleted = 0 LIMIT 1",
                (blob_id,),
            ).fetchone()
            if found is not None:
                ref = BlobRef(blob_id, found[0], found[1])
                store.blobs.ask_again(connection, ref, priority, int(found[2] or 0))
                return True
    return False


async def _send_again(store: Soledad, finding: Finding, remote: MendingRemote | None) -> Mend:
    blob_id = finding.what
    if not await _is_whole(store, blob_id):
        here = await store.read(lambda c: store.blobs.find_ref(c, blob_id) is not None)
        if here:
            return "no"  # what is here is damaged too: that is a finding of its own

        def ask(connection: Connection) -> Mend:
            if not _want(connection, store, blob_id):
                return "no"
            store.blobs.give_up(connection, [blob_id])
            return "asked-for"

        return await store.write(ask)
    if finding.kind == "blob-differs":
        if remote is None:
            return "no"
        await remote.delete_blobs([blob_id])
    await store.write(lambda c: store.blobs.send_again(c, blob_id))
    return "sent-again"


async def _is_whole(store: Soledad, blob_id: str) -> bool:
    """Whether a blob is here bit for bit; of a file, some of it is in memory at a time."""
    ref = await store.read(lambda c: store.blobs.find_ref(c, blob_id))
    place = await store.read(lambda c: store.blobs.find_place(c, blob_id))
    if ref is None or place is None:
        return False
    if isinstance(place, Path):
        try:
            return await asyncio.to_thread(hash_file, place) == ref.sha256
        except FileNotFoundError:
            return False
    return hashlib.sha256(place).hexdigest() == ref.sha256


def _mark(connection: Connection, store: Soledad, what: str) -> Mend:
    kind, _, name = what.partition("/")
    if kind == "document":
        changed = connection.execute("UPDATE document SET dirty = 1 WHERE doc_id = ?", (name,))
    elif kind in store.tables:
        changed = connection.execute(
            f"UPDATE {kind} SET dirty = 1 WHERE row_id = ?",  # noqa: S608 - a declared schema
            (name,),
        )
    else:
        return "no"
    return "mended" if changed.rowcount else "no"
