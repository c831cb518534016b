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
* Each transaction brings rows with all their blobs, and is durable. At most a batch with its small
  contents is in memory; large ones are sealed as they come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from leap.soledad.blobs import BlobRef, SealedBlob, SealedFile
from leap.soledad.blobs.download import LARGE
from leap.soledad.changes import Row
from leap.soledad.documents import decode_content, type_of
from leap.soledad.maintenance.archive import ArchiveReader, NotAnExport
from leap.soledad.maintenance.arriving import take_documents
from leap.soledad.maintenance.carrying import CarryAll, Carrying
from leap.soledad.maintenance.findings import Progress, no_progress
from leap.soledad.maintenance.grammar import STEP, Grammar
from leap.soledad.maintenance.records import (
    BlobEntry,
    Closing,
    DocumentRecord,
    Opening,
    Record,
    RowRecord,
)
from leap.soledad.maintenance.row_stream import (
    BATCH_ROWS,
    ArrivedRow,
    RowStream,
    RowWithdrawn,
    in_threads,
)
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

_FOREIGN = "of-the-other-account"


class Imported(NamedTuple):
    """`rows` and `documents` came in, `present` were here; `left_out` counts what is of no use here, by its type."""

    rows: int
    documents: int
    blobs: int
    present: int
    left_out: dict[str, int]
    opening: Opening


class _Taken(NamedTuple):
    """How many rows a transaction brought, and which blobs, by their new ids."""

    rows: int
    blobs: set[str]


_Content = BlobRef | SealedBlob | SealedFile  # here already, or to be put


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
        stream = RowStream(self._reader.records(Record))
        done = 0
        while rows := await asyncio.to_thread(stream.take):
            present = await self._store.read(partial(self._present_of, rows=rows))
            for row, found in present:
                self._pass_over(row.record, found)
            here = {row.record.row_id for row, _ in present}
            arriving = [row for row in rows if row.record.row_id not in here]
            await self._keep([row for row in arriving if not row.large], {})
            if rows[-1].large and rows[-1] in arriving:
                await self._take_large(stream, rows[-1])
            elif rows[-1].large:
                await asyncio.to_thread(stream.skip, rows[-1])
            done += len(rows)
            self._progress("rows", done, closing.rows)

    def _present_of(
        self, connection: Connection, rows: Sequence[ArrivedRow]
    ) -> list[tuple[ArrivedRow, Row]]:
        """Those which are here already, and as what."""
        found: list[tuple[ArrivedRow, Row]] = []
        for name, table in self._store.tables.items():
            mine = {row.record.row_id: row for row in rows if row.record.schema == name}
            found += [(mine[row["row_id"]], row) for row in table.find_many(connection, list(mine))]
        return found

    def _pass_over(self, record: RowRecord, present: Row) -> None:
        self._present += 1
        schema = self._store.tables[record.schema].schema
        for entry in record.blobs:
            if entry.shared:
                blob_id, sha256, size = (present[column] for column in schema.blobs[entry.place])
                if blob_id and size == entry.size:
                    self._refs.setdefault(entry.blob_id, BlobRef(blob_id, sha256, size))

    async def _take_large(self, stream: RowStream, row: ArrivedRow) -> None:
        """A row whose contents are sealed as they come, into files."""
        sealed: dict[int, SealedFile] = {}
        try:
            for entry in row.record.blobs:
                if not entry.here:
                    continue
                pieces = stream.content(entry.size)
                if entry.size > LARGE:
                    file = await self._store.seal_stream(in_threads(pieces), entry.size)
                    sealed[entry.place] = file
                else:
                    row.contents[entry.place] = await asyncio.to_thread(b"".join, pieces)
            await self._keep([row], sealed)
        except RowWithdrawn:
            pass
        finally:
            for file in sealed.values():
                await asyncio.to_thread(file.discard)  # unless the transaction took it

    async def _keep(self, rows: Sequence[ArrivedRow], files: Mapping[int, SealedFile]) -> None:
        """Brings rows in, each with all its blobs; what one shares with an earlier row is named as that one has it."""
        if not rows:
            return
        known = dict(self._refs)
        fresh: dict[tuple[int, int], SealedFile | SealedBlob] = {
            (0, p): f for p, f in files.items()
        }
        due = [
            (number, entry)
            for number, row in enumerate(rows)
            for entry in row.record.blobs
            if entry.here and (number, entry.place) not in fresh and entry.blob_id not in known
        ]
        contents = [rows[number].contents[entry.place] for number, entry in due]
        for (number, entry), blob in zip(due, await self._store.seal_many(contents), strict=True):
            fresh[number, entry.place] = blob
        shared: dict[str, SealedFile | SealedBlob] = {}
        ready: list[tuple[RowRecord, list[tuple[BlobEntry, _Content]]]] = []
        for number, row in enumerate(rows):
            named: list[tuple[BlobEntry, _Content]] = []
            for entry in row.record.blobs:
                content = (
                    known.get(entry.blob_id)
                    or fresh.get((number, entry.place))
                    or shared.get(entry.blob_id)
                )
                if content is None:
                    raise NotAnExport("the export names a content that it does not hold")
                if entry.shared and not isinstance(content, BlobRef):
                    shared[entry.blob_id] = content
                named.append((entry, content))
            ready.append((row.record, named))
        taken = await self._store.transact(partial(self._insert, ready=ready), durable=True)
        self._rows += taken.rows
        self._blobs += len(taken.blobs)
        self._present += len(rows) - taken.rows
        for blob_id, content in shared.items():
            if content.ref.blob_id in taken.blobs:
                self._refs[blob_id] = content.ref

    def _insert(
        self, tx: Transaction, ready: Sequence[tuple[RowRecord, list[tuple[BlobEntry, _Content]]]]
    ) -> _Taken:
        taken = _Taken(0, set())
        for record, named in ready:
            if tx.row(record.schema, record.row_id) is not None:
                continue  # it came by sync a moment ago
            values = dict(record.values)
            schema = self._store.tables[record.schema].schema
            for entry, content in named:
                ref = content if isinstance(content, BlobRef) else content.ref
                if not isinstance(content, BlobRef) and ref.blob_id not in taken.blobs:
                    tx.put_blob(content)
                    taken.blobs.add(ref.blob_id)
                values.update(_columns(schema.blobs[entry.place], ref))
            tx.insert_row(record.schema, record.row_id, values)
            taken = taken._replace(rows=taken.rows + 1)
        return taken


def _columns(names: tuple[str, str, str], ref: BlobRef) -> dict[str, Any]:
    return dict(zip(names, (ref.blob_id, ref.sha256, ref.size), strict=True))


def _documents(records: Iterator[Record]) -> tuple[list[DocumentRecord], bool]:
    """The next documents, and whether there may be more."""
    out: list[DocumentRecord] = []
    for record in records:
        if isinstance(record, DocumentRecord):
            out.append(record)
            if len(out) >= BATCH_ROWS:
                return out, True
    return out, False
