"""Import: what an export holds, into a store that may have content of its own, of the same account or another.

What it means:
* A row that is not here comes in under its own id, with new blobs sealed to this account; one that is here stays as it
  is. So importing twice doubles nothing, and an import that was cut goes on where it ended when it is repeated.
  What was deleted here since the export comes back.
* A document that is not here comes in. One that is here with another content stays, and the exported one is merged
  into it where the program says how, else kept beside it as a conflict; if it is an older revision of the same
  account's document, it is passed over.
* Conflicts come along.

Invariants:
* The whole file is verified before anything is taken; then each part again as it is taken.
* Each transaction brings rows with all their blobs, and is durable. At most a batch and one blob are in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from leap.soledad.blobs.format import BlobRef, SealedBlob
from leap.soledad.documents import decode_content, type_of
from leap.soledad.maintenance.archive import ArchiveReader, NotAnExport
from leap.soledad.maintenance.arriving import take_documents
from leap.soledad.maintenance.carrying import CarryAll, Carrying
from leap.soledad.maintenance.findings import Progress, no_progress
from leap.soledad.maintenance.grammar import STEP, Grammar, some_records, unpacked
from leap.soledad.maintenance.records import (
    BlobEntry,
    Closing,
    DocumentRecord,
    Opening,
    Piece,
    Record,
    RowRecord,
)
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

BATCH_BYTES = 4 * 1024 * 1024  # of sealed blobs in one transaction
BATCH_ROWS = 200
_FOREIGN = "of-the-other-account"


class Imported(NamedTuple):
    """`rows` and `documents` came in, `present` were here; `left_out` counts what is of no use here, by its type."""

    rows: int
    documents: int
    blobs: int
    present: int
    left_out: dict[str, int]
    opening: Opening


@dataclass
class _Due:
    """A row whose blobs are being read."""

    record: RowRecord
    skip: bool
    contents: list[tuple[BlobEntry, bytearray]] = field(default_factory=list)


@dataclass
class _Ready:
    record: RowRecord
    blobs: list[tuple[BlobEntry, SealedBlob]]
    known: list[tuple[BlobEntry, BlobRef]]


async def import_store(
    store: Soledad,
    path: Path,
    passphrase: str,
    *,
    carrying: Carrying | None = None,
    progress: Progress = no_progress,
) -> Imported:
    """Takes everything in. Raises NotAnExport and WrongKey before anything was taken, StoreFull.

    When it raises later, or the process ends, what was taken is whole: repeat the import.
    """
    reader = await asyncio.to_thread(ArchiveReader, path, passphrase)
    try:
        return await _Import(store, reader, carrying or CarryAll(), progress).run()
    finally:
        reader.close()


class _Import:
    def __init__(
        self, store: Soledad, reader: ArchiveReader, carrying: Carrying, progress: Progress
    ) -> None:
        self._store = store
        self._reader = reader
        self._carrying = carrying
        self._progress = progress
        self._left_out: Counter[str] = Counter()
        self._rows = self._documents = self._blobs = self._present = 0
        self._refs: dict[str, BlobRef] = {}  # of shared blobs: old id -> as it is here

    async def run(self) -> Imported:
        opening, closing = await self._check()
        await self._take_documents(opening, closing)
        await self._take_rows(closing)
        return Imported(
            self._rows, self._documents, self._blobs, self._present, dict(self._left_out), opening
        )

    # -- the whole file, before anything --------------------------------------------------------

    async def _check(self) -> tuple[Opening, Closing]:
        grammar = Grammar(self._store.tables)
        records = self._reader.records(Record)
        more, done = True, 0
        while more:
            more = await asyncio.to_thread(grammar.read, records)
            done += STEP
            self._progress("verified", done, 0)
        return grammar.ended()

    # -- documents ------------------------------------------------------------------------------

    async def _take_documents(self, opening: Opening, closing: Closing) -> None:
        records = self._reader.records(Record)
        material = self._store.material
        same = material is not None and material.account_id == opening.account
        done = 0
        while True:
            batch, more = await asyncio.to_thread(_documents, records)
            arriving = [made for record in batch if (made := self._arriving(record, opening))]
            if arriving:
                job = partial(take_documents, records=arriving, store=self._store, same=same)
                taken = await self._store.transact(job, durable=True)
                self._documents += taken
                self._present += len(arriving) - taken
            done += len(batch)
            self._progress("documents", done, closing.documents)
            if not more:
                return

    def _arriving(self, record: DocumentRecord, opening: Opening) -> DocumentRecord | None:
        kind = type_of(decode_content(record.content))
        made = self._carrying.arriving(record, kind, opening, self._store)
        if made is None:
            self._left_out[kind or _FOREIGN] += 1
        return made

    # -- rows -----------------------------------------------------------------------------------

    async def _take_rows(self, closing: Closing) -> None:
        records = self._reader.records(Record)
        ready: list[_Ready] = []
        size = done = 0
        due: _Due | None = None
        while True:
            some = await asyncio.to_thread(some_records, records)
            for record in some:
                if isinstance(record, Piece):
                    if due is not None and not due.skip:
                        _append(due, record)
                    continue
                if due is not None and not due.skip:
                    made = await self._sealed(due)
                    ready.append(made)
                    size += sum(len(blob.sealed) for _, blob in made.blobs)
                due = None
                if isinstance(record, RowRecord):
                    done += 1
                    if len(ready) >= BATCH_ROWS or size >= BATCH_BYTES:
                        await self._keep(ready)
                        ready, size = [], 0
                        self._progress("rows", done, closing.rows)
                    due = await self._begin(record)
            if not some:
                await self._keep(ready)
                self._progress("rows", done, closing.rows)
                return

    async def _begin(self, record: RowRecord) -> _Due:
        table = self._store.tables[record.schema]
        present = await self._store.read(lambda c: table.find(c, record.row_id))
        if present is None:
            return _Due(record, skip=False)
        self._present += 1
        for entry in record.blobs:
            if entry.shared:
                columns = table.schema.blobs[entry.place]
                blob_id, sha256, size = (present[column] for column in columns)
                if blob_id and size == entry.size:
                    self._refs.setdefault(entry.blob_id, BlobRef(blob_id, sha256, size))
        return _Due(record, skip=True)

    async def _sealed(self, due: _Due) -> _Ready:
        """Seals what the row brings; what it shares with an earlier row is named as that one has it."""
        blobs: list[tuple[BlobEntry, SealedBlob]] = []
        known: list[tuple[BlobEntry, BlobRef]] = []
        contents = {entry.place: data for entry, data in due.contents}
        for entry in due.record.blobs:
            ref = self._refs.get(entry.blob_id)
            if ref is not None:
                known.append((entry, ref))
                continue
            data = bytes(contents.get(entry.place, b""))
            if len(data) != entry.size:
                raise NotAnExport("the export names a content that it does not hold")
            blob = await self._store.seal_blob(data)
            blobs.append((entry, blob))
            if entry.shared:
                self._refs[entry.blob_id] = blob.ref
        return _Ready(due.record, blobs, known)

    async def _keep(self, ready: list[_Ready]) -> None:
        if not ready:
            return
        tables = self._store.tables

        def job(tx: Transaction) -> tuple[int, int]:
            rows = blobs = 0
            for one in ready:
                record = one.record
                if tx.row(record.schema, record.row_id) is not None:
                    continue  # it came by sync a moment ago
                values = dict(record.values)
                schema = tables[record.schema].schema
                for entry, blob in one.blobs:
                    tx.put_blob(blob)
                    blobs += 1
                    values.update(_columns(schema.blobs[entry.place], blob.ref))
                for entry, ref in one.known:
                    values.update(_columns(schema.blobs[entry.place], ref))
                tx.insert_row(record.schema, record.row_id, values)
                rows += 1
            return rows, blobs

        rows, blobs = await self._store.transact(job, durable=True)
        self._rows += rows
        self._blobs += blobs
        self._present += len(ready) - rows


def _columns(names: tuple[str, str, str], ref: BlobRef) -> dict[str, Any]:
    return dict(zip(names, (ref.blob_id, ref.sha256, ref.size), strict=True))


def _append(due: _Due, piece: Piece) -> None:
    """Adds octets to the first blob of the row that is not complete."""
    data = unpacked(piece)
    filled = {entry.place: held for entry, held in due.contents}
    for entry in due.record.blobs:
        if not entry.here:
            continue
        held = filled.get(entry.place)
        if held is None:
            held = bytearray()
            due.contents.append((entry, held))
        if len(held) < entry.size:
            held += data
            return


def _documents(records: Iterator[Record]) -> tuple[list[DocumentRecord], bool]:
    """The next documents, and whether there may be more."""
    out: list[DocumentRecord] = []
    for record in records:
        if isinstance(record, DocumentRecord):
            out.append(record)
            if len(out) >= BATCH_ROWS:
                return out, True
    return out, False
