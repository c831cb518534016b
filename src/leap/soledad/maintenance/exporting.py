"""Export: everything of a store in one file, sealed under a passphrase, while the store is in use.

Rows and documents are read in slices, each a snapshot: what changes meanwhile is in the file as it was before or after.
Documents come last, so what rows refer to (a mailbox) is there. At most a slice and one blob are in memory.

Blobs that are not kept here are fetched, verified, and not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from leap.soledad import documents
from leap.soledad.blobs.format import BlobRef
from leap.soledad.documents import Stored, decode_content, type_of
from leap.soledad.envelope import RandomBytes, zstd_compress
from leap.soledad.errors import BlobAltered, SoledadError
from leap.soledad.maintenance.archive import ArchiveWriter
from leap.soledad.maintenance.carrying import CarryAll, Carrying
from leap.soledad.maintenance.findings import Progress, no_progress
from leap.soledad.maintenance.records import (
    PIECE,
    BlobEntry,
    Closing,
    DocumentRecord,
    Opening,
    Piece,
    RowRecord,
)
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.vault import LANES, MEMORY_KIB, TIME_COST
from leap.soledad.wire import BlobsFound

SLICE = 200
WITHOUT_CONTENTS = "rows-without-contents"


class BlobSource(Protocol):
    """Where blobs come from that are not here; may raise Unreachable and Refused."""

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...


class Exported(NamedTuple):
    """What went into the file; `left_out` counts what did not, by what it is."""

    rows: int
    documents: int
    blobs: int
    octets: int
    left_out: dict[str, int]


class ContentMissing(SoledadError):
    """A content is neither here nor at the provider as it was."""


async def export_store(
    store: Soledad,
    path: Path,
    passphrase: str,
    *,
    source: BlobSource | None = None,
    carrying: Carrying | None = None,
    allow_missing: bool = False,
    progress: Progress = no_progress,
    now: Callable[[], float] = time.time,
    random_bytes: RandomBytes = secrets.token_bytes,
    costs: tuple[int, int, int] = (TIME_COST, MEMORY_KIB, LANES),
) -> Exported:
    """Writes the file. With `allow_missing`, rows whose contents cannot be had are left out and counted.

    Raises ContentMissing (without it), Unreachable, and SoledadError when the file is there or cannot be written.
    """
    writer = await asyncio.to_thread(
        partial(ArchiveWriter, path, passphrase, random_bytes=random_bytes, costs=costs)
    )
    export = _Export(store, writer, source, carrying or CarryAll(), allow_missing, progress)
    try:
        return await export.run(int(now()))
    finally:
        await asyncio.to_thread(writer.discard)


class _Export:
    def __init__(
        self,
        store: Soledad,
        writer: ArchiveWriter,
        source: BlobSource | None,
        carrying: Carrying,
        allow_missing: bool,
        progress: Progress,
    ) -> None:
        self._store = store
        self._writer = writer
        self._source = source
        self._carrying = carrying
        self._allow_missing = allow_missing
        self._progress = progress
        self._written: set[str] = set()  # shared blobs that are in the file
        self._left_out: Counter[str] = Counter()
        self._rows = self._documents = self._blobs = 0

    async def run(self, now: int) -> Exported:
        store, material = self._store, self._store.material
        schemas = {name: list(table.schema.columns) for name, table in store.tables.items()}
        account, address = (material.account_id, material.address) if material else ("", "")
        await self._add([Opening(account, address, now, schemas)])
        for table in store.tables.values():
            await self._export_rows(table)
        await self._export_documents()
        left_out = dict(self._left_out)
        await self._add([Closing(self._rows, self._documents, self._blobs, left_out)])
        octets = await asyncio.to_thread(self._writer.finish)
        return Exported(self._rows, self._documents, self._blobs, octets, left_out)

    async def _add(self, records: Sequence[Any]) -> None:
        def add() -> None:
            for record in records:
                self._writer.add(record)

        await asyncio.to_thread(add)

    # -- rows and their blobs -----------------------------------------------------------------

    async def _export_rows(self, table: RowTable) -> None:
        name = table.schema.name
        total = await self._store.read(
            lambda c: c.execute(f"SELECT count(*) FROM {name} WHERE deleted = 0").fetchone()[0]  # noqa: S608
        )
        shared = await self._store.read(partial(_shared, table=table))
        last, done = -(2**63), 0
        while True:
            found = await self._store.read(partial(_rows_after, table=table, last=last))
            for rowid, row in found:
                self._progress("rows", done, total)
                await self._export_row(table, row, shared)
                last, done = rowid, done + 1
            if len(found) < SLICE:
                return

    async def _export_row(self, table: RowTable, row: dict[str, Any], shared: set[str]) -> None:
        schema = table.schema
        named = {column for columns in schema.blobs for column in columns}
        entries: list[BlobEntry] = []
        contents: list[bytes] = []
        for place, columns in enumerate(schema.blobs):
            blob_id, sha256, size = (row[column] for column in columns)
            if not blob_id:
                continue
            here = blob_id not in self._written
            entries.append(BlobEntry(place, blob_id, size, here, blob_id in shared))
            if here:
                data = await self._content(BlobRef(blob_id, sha256, size))
                if data is None:
                    if not await self._still_there(table, row["row_id"]):
                        return
                    if not self._allow_missing:
                        raise ContentMissing(
                            f"content {blob_id} is neither here nor at the provider;"
                            " `bitmask doctor verify --repair` asks your other devices for it"
                        )
                    self._left_out[WITHOUT_CONTENTS] += 1
                    return
                contents.append(data)
        values = {k: v for k, v in row.items() if k not in named and k != "row_id"}
        record = RowRecord(schema.name, row["row_id"], values, entries)
        await asyncio.to_thread(self._add_row, record, contents)
        self._written.update(entry.blob_id for entry in entries if entry.shared)
        self._rows += 1
        self._blobs += len(contents)

    def _add_row(self, record: RowRecord, contents: Sequence[bytes]) -> None:
        self._writer.add(record)
        for data in contents:
            for first in range(0, len(data), PIECE):
                piece = data[first : first + PIECE]
                packed = zstd_compress(piece)
                smaller = len(packed) < len(piece)
                self._writer.add(Piece(smaller, packed if smaller else piece))

    async def _content(self, ref: BlobRef) -> bytes | None:
        """The plaintext from here, else from the provider; None if neither has it as it was."""

        def here(connection: Connection) -> bytes | None:
            sealed = self._store.blobs.find(connection, ref.blob_id)
            if sealed is None:
                return None
            try:
                return self._store.open_sealed(sealed, ref, 0, None)
            except BlobAltered:
                return None

        found = await self._store.read(here)
        if found is not None or self._source is None:
            return found
        reply = await self._source.get_blobs([ref.blob_id])
        if not reply.blobs or reply.blobs[0].blob_id != ref.blob_id:
            return None
        sealed = reply.blobs[0].sealed
        return await asyncio.to_thread(self._opened, sealed, ref)

    def _opened(self, sealed: bytes, ref: BlobRef) -> bytes | None:
        if hashlib.sha256(sealed).hexdigest() != ref.sha256:
            return None
        return self._store.open_sealed(sealed, ref, 0, None)

    async def _still_there(self, table: RowTable, row_id: str) -> bool:
        return await self._store.read(lambda c: table.find(c, row_id)) is not None

    # -- documents ----------------------------------------------------------------------------

    async def _export_documents(self) -> None:
        total = await self._store.read(
            lambda c: c.execute("SELECT count(*) FROM document").fetchone()[0]
        )
        last, done = "", 0
        while True:
            found = await self._store.read(partial(_documents_after, last=last))
            self._progress("documents", done, total)
            records = [record for stored in found if (record := self._record(stored))]
            await self._add(records)
            self._documents += len(records)
            done += len(found)
            if len(found) < SLICE:
                return
            last = found[-1].item.doc_id

    def _record(self, stored: Stored) -> DocumentRecord | None:
        item = stored.item
        kind = type_of(decode_content(item.content))
        if item.content is None and not item.conflicts:
            return None  # a deletion is of use only where there is something to delete
        if not self._carrying.exported(kind):
            self._left_out[kind] += 1
            return None
        return DocumentRecord(item.doc_id, item.revision, item.content, item.conflicts)


def _rows_after(
    connection: Connection, *, table: RowTable, last: int
) -> list[tuple[int, dict[str, Any]]]:
    found = connection.execute(
        f"SELECT t.rowid, {table.shown} FROM {table.schema.name} t"  # noqa: S608
        " WHERE t.rowid > ? AND t.deleted = 0 ORDER BY t.rowid LIMIT ?",
        (last, SLICE),
    )
    return [(values[0], table.as_row(values[1:])) for values in found]


def _shared(connection: Connection, *, table: RowTable) -> set[str]:
    """Blobs that more than one row names."""
    parts = [
        f"SELECT {columns[0]} AS blob_id FROM {table.schema.name}"  # noqa: S608
        f" WHERE deleted = 0 AND {columns[0]} IS NOT NULL"
        for columns in table.schema.blobs
    ]
    if not parts:
        return set()
    found = connection.execute(
        f"SELECT blob_id FROM ({' UNION ALL '.join(parts)}) GROUP BY blob_id HAVING count(*) > 1"  # noqa: S608
    )
    return {blob_id for (blob_id,) in found}


def _documents_after(connection: Connection, *, last: str) -> list[Stored]:
    found = connection.execute(
        f"SELECT {documents.COLUMNS} FROM document WHERE doc_id > ? ORDER BY doc_id LIMIT ?",  # noqa: S608
        (last, SLICE),
    )
    return [documents.as_stored(values) for values in found]


def absolute(path: str) -> Path:
    """A path as a person typed it, made absolute; raises SoledadError for one in a folder that is not there."""
    whole = Path(os.path.abspath(os.path.expanduser(path)))
    if not whole.parent.is_dir():
        raise SoledadError(f"there is no folder {whole.parent}")
    return whole
