"""Export: everything of a store in one file, sealed under a passphrase, while the store is in use.

Rows and documents are read in slices, each a snapshot: what changes meanwhile is in the file as it was before or after.
Documents come last. At most a slice and its small contents are in memory; large contents are streamed.

Contents that are not kept here are fetched, verified, and not kept.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from leap.soledad import documents
from leap.soledad.blobs.format import BlobRef
from leap.soledad.documents import Stored, decode_content, type_of
from leap.soledad.envelope import RandomBytes, zstd_compress
from leap.soledad.errors import SoledadError
from leap.soledad.maintenance.archive import ArchiveWriter
from leap.soledad.maintenance.carrying import CarryAll, Carrying
from leap.soledad.maintenance.finding_contents import (
    ContentLost,
    Contents,
    ContentSource,
    is_large,
)
from leap.soledad.maintenance.findings import Progress, no_progress
from leap.soledad.maintenance.records import (
    PIECE,
    BlobEntry,
    Closing,
    DocumentRecord,
    Opening,
    Piece,
    RowRecord,
    Withdrawn,
)
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.vault import LANES, MEMORY_KIB, TIME_COST

SLICE = 500
SLICE_BYTES = 4 * 1024 * 1024  # of small contents
WITHOUT_CONTENTS = "rows-without-contents"


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
    source: ContentSource | None = None,
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


class _Row(NamedTuple):
    """A row as it is here, and by place what it refers to."""

    rowid: int
    row_id: str
    values: dict[str, Any]
    refs: list[tuple[int, BlobRef]]


class _Export:
    def __init__(
        self,
        store: Soledad,
        writer: ArchiveWriter,
        source: ContentSource | None,
        carrying: Carrying,
        allow_missing: bool,
        progress: Progress,
    ) -> None:
        self._store = store
        self._writer = writer
        self._contents = Contents(store, source)
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
            self._progress("rows", done, total)
            rows, contents = await self._store.read(partial(self._slice, table=table, last=last))
            if not rows:
                return
            await self._export_slice(table, rows, contents, shared)
            last, done = rows[-1].rowid, done + len(rows)

    def _slice(
        self, connection: Connection, *, table: RowTable, last: int
    ) -> tuple[list[_Row], dict[str, bytes]]:
        """The next rows, and those of their small contents that are here; some megabytes at most."""
        named = {column for columns in table.schema.blobs for column in columns}
        rows: list[_Row] = []
        contents: dict[str, bytes] = {}
        size = 0
        for values in connection.execute(
            f"SELECT t.rowid, {table.shown} FROM {table.schema.name} t"  # noqa: S608
            " WHERE t.rowid > ? AND t.deleted = 0 ORDER BY t.rowid LIMIT ?",
            (last, SLICE),
        ):
            row = table.as_row(values[1:])
            refs = [
                (place, BlobRef(*(row[column] for column in columns)))
                for place, columns in enumerate(table.schema.blobs)
                if row[columns[0]]
            ]
            plain = {k: v for k, v in row.items() if k not in named and k != "row_id"}
            rows.append(_Row(values[0], row["row_id"], plain, refs))
            for _, ref in refs:
                if is_large(ref) or ref.blob_id in self._written or ref.blob_id in contents:
                    continue
                size += ref.size
                data = self._contents.open_here(connection, ref)
                if data is not None:
                    contents[ref.blob_id] = data
            if size >= SLICE_BYTES:
                break
        return rows, contents

    async def _export_slice(
        self, table: RowTable, rows: Sequence[_Row], contents: dict[str, bytes], shared: set[str]
    ) -> None:
        absent = {
            ref.blob_id: ref
            for row in rows
            for _, ref in row.refs
            if not is_large(ref) and not (ref.blob_id in contents or ref.blob_id in self._written)
        }
        contents |= await self._contents.fetch(list(absent.values()))
        together: list[tuple[RowRecord, list[bytes]]] = []
        for row in rows:
            record, due = self._record_of(table, row, shared)
            if any(not is_large(ref) and ref.blob_id not in contents for ref in due):
                await self._leave_out(table, row, due)
            elif any(is_large(ref) for ref in due):
                await asyncio.to_thread(self._add_rows, together)
                together = []
                await self._export_large(table, row, record, due, contents)
            else:
                together.append((record, [contents[ref.blob_id] for ref in due]))
                self._note(record, len(due))
        await asyncio.to_thread(self._add_rows, together)

    def _record_of(
        self, table: RowTable, row: _Row, shared: set[str]
    ) -> tuple[RowRecord, list[BlobRef]]:
        """The row as it is written, and the contents that come with it."""
        entries = [
            BlobEntry(
                place,
                ref.blob_id,
                ref.size,
                ref.blob_id not in self._written,
                ref.blob_id in shared,
            )
            for place, ref in row.refs
        ]
        due = [ref for (_, ref), entry in zip(row.refs, entries, strict=True) if entry.here]
        return RowRecord(table.schema.name, row.row_id, row.values, entries), due

    def _note(self, record: RowRecord, contents: int) -> None:
        self._written.update(entry.blob_id for entry in record.blobs if entry.shared)
        self._rows += 1
        self._blobs += contents

    async def _leave_out(self, table: RowTable, row: _Row, due: Sequence[BlobRef]) -> None:
        """Counts a row whose contents cannot be had; raises ContentMissing unless that is permitted."""
        if await self._store.read(lambda c: table.find(c, row.row_id)) is None:
            return  # deleted meanwhile, and its contents with it
        if not self._allow_missing:
            raise ContentMissing(
                f"content {' or '.join(ref.blob_id for ref in due)} is neither here nor at the provider;"
                " `bitmask doctor verify --repair` asks your other devices for it"
            )
        self._left_out[WITHOUT_CONTENTS] += 1

    async def _export_large(
        self,
        table: RowTable,
        row: _Row,
        record: RowRecord,
        due: Sequence[BlobRef],
        contents: dict[str, bytes],
    ) -> None:
        """A row with contents that do not fit into memory; withdrawn if they cannot be had to their end."""
        await self._add([record])
        for ref in due:
            if not is_large(ref):
                await asyncio.to_thread(self._add_content, contents[ref.blob_id])
                continue
            try:
                async for data in self._contents.stream(ref):
                    await asyncio.to_thread(self._add_content, data)
            except ContentLost:
                await self._leave_out(table, row, [ref])
                await self._add([Withdrawn()])
                return
        self._note(record, len(due))

    def _add_rows(self, rows: Sequence[tuple[RowRecord, list[bytes]]]) -> None:
        for record, contents in rows:
            self._writer.add(record)
            for data in contents:
                self._add_content(data)

    def _add_content(self, data: bytes) -> None:
        for first in range(0, len(data), PIECE):
            piece = data[first : first + PIECE]
            packed = zstd_compress(piece)
            smaller = len(packed) < len(piece)
            self._writer.add(Piece(smaller, packed if smaller else piece))

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
