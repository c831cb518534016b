"""The grammar of an export: reads all of it before anything is taken, and says what a store could not take.

Invariant: what passes here goes into the store's tables without an error but a full disk's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leap.soledad.blobs.format import MAX_SIZE
from leap.soledad.documents import check_doc_id, decode_content
from leap.soledad.envelope import zstd_decompress
from leap.soledad.errors import ForgedEnvelope, SoledadError
from leap.soledad.maintenance.archive import NotAnExport
from leap.soledad.maintenance.records import (
    PIECE,
    Closing,
    DocumentRecord,
    Opening,
    Piece,
    Record,
    RowRecord,
    Withdrawn,
)
from leap.soledad.rows import RowTable

STEP = 500  # records looked at in one go
STEP_BYTES = 4 * 1024 * 1024


def some_records(records: Iterator[Record]) -> list[Record]:
    """The next records, some megabytes at most; none at the end."""
    out: list[Record] = []
    size = 0
    for record in records:
        out.append(record)
        size += len(record.data) if isinstance(record, Piece) else 0
        if len(out) >= STEP or size >= STEP_BYTES:
            break
    return out


def unpacked(piece: Piece) -> bytes:
    """The octets of a piece; raises NotAnExport."""
    if not piece.packed:
        return piece.data
    try:
        return zstd_decompress(piece.data, PIECE)
    except ForgedEnvelope:
        raise NotAnExport("the export holds a content that does not unpack") from None


class Grammar:
    """Reads a whole export, and raises NotAnExport or SoledadError where it is not what this store could take."""

    def __init__(self, tables: Mapping[str, RowTable]) -> None:
        self._tables = tables
        self._opening: Opening | None = None
        self._closing: Closing | None = None
        self._rows = self._documents = self._blobs = 0
        self._row_blobs = 0  # of the row whose pieces are due
        self._row_shared: set[str] = set()
        self._due: list[int] = []  # octets that are still to come, of each blob of the row
        self._shared: set[str] = set()

    def read(self, records: Iterator[Record]) -> bool:
        """Reads a step; False at the end."""
        some = some_records(records)
        for record in some:
            if self._opening is None:
                if not isinstance(record, Opening):
                    raise NotAnExport("the export does not begin as one does")
                self._begin(record)
            elif self._closing is not None:
                raise NotAnExport("the export goes on behind its end")
            else:
                self._next(record)
        return bool(some)

    def ended(self) -> tuple[Opening, Closing]:
        closing = self._closing
        if self._opening is None or closing is None:
            raise NotAnExport("the export has no end; it was cut short")
        if (closing.rows, closing.documents, closing.blobs) != (
            self._rows,
            self._documents,
            self._blobs,
        ):
            raise NotAnExport("the export holds another number of records than it says")
        return self._opening, closing

    def _begin(self, opening: Opening) -> None:
        self._opening = opening
        unknown = sorted(set(opening.schemas) - set(self._tables))
        if unknown:
            raise SoledadError(
                f"this export holds rows called {unknown[0]!r}, which this program does not know"
            )
        for name, columns in opening.schemas.items():
            more = sorted(set(columns) - set(self._tables[name].schema.columns))
            if more:
                raise SoledadError(
                    f"this export was written by a newer version of the program (it has {more[0]!r})"
                )

    def _next(self, record: Record) -> None:
        if isinstance(record, Piece):
            self._piece(record)
            return
        if isinstance(record, Withdrawn):
            self._withdraw()
            return
        if self._due:
            raise NotAnExport("the export lacks a part of a content")
        if isinstance(record, RowRecord):
            self._row(record)
        elif isinstance(record, DocumentRecord):
            _check_document(record)
            self._documents += 1
        elif isinstance(record, Closing):
            self._closing = record
        else:
            raise NotAnExport("the export begins twice")

    def _piece(self, piece: Piece) -> None:
        size = len(unpacked(piece))
        if not self._due or not 0 < size <= self._due[0]:
            raise NotAnExport("the export holds a content where none belongs")
        self._due[0] -= size
        if not self._due[0]:
            del self._due[0]
            self._complete()

    def _complete(self) -> None:
        """Counts the row, once all of its contents are there."""
        if not self._due:
            self._rows += 1
            self._blobs += self._row_blobs
            self._shared |= self._row_shared

    def _withdraw(self) -> None:
        if not self._due:
            raise NotAnExport("the export withdraws a row that is complete")
        self._due.clear()

    def _row(self, record: RowRecord) -> None:
        table = self._tables.get(record.schema)
        if table is None or self._opening is None or record.schema not in self._opening.schemas:
            raise NotAnExport("the export holds a row of a kind it does not name")
        schema = table.schema
        references = {column for columns in schema.blobs for column in columns}
        plain = set(schema.columns) - references
        if not record.values.keys() <= plain or not record.row_id:
            raise NotAnExport("the export holds a row with columns it cannot have")
        scalars = (str, int, float, type(None))
        for name, value in record.values.items():
            if not isinstance(value, str if name in schema.sets else scalars) or (
                isinstance(value, int) and not -(2**63) <= value < 2**63
            ):
                raise NotAnExport("the export holds a row with a value of the wrong type")
        places = [entry.place for entry in record.blobs]
        if len(set(places)) != len(places) or not set(places) <= set(range(len(schema.blobs))):
            raise NotAnExport("the export holds a row with contents it cannot have")
        self._row_blobs = sum(entry.here for entry in record.blobs)
        self._row_shared = {entry.blob_id for entry in record.blobs if entry.shared}
        for entry in record.blobs:
            if not 0 <= entry.size <= MAX_SIZE:
                raise NotAnExport("the export holds a content that is too large")
            if entry.here and entry.size:
                self._due.append(entry.size)
            elif not entry.here and entry.blob_id not in self._shared:
                raise NotAnExport("the export names a content that it does not hold")
        self._complete()


def _check_document(record: DocumentRecord) -> None:
    try:
        check_doc_id(record.doc_id)
        texts = [record.content, *(version.content for version in record.conflicts)]
        contents = [decode_content(text) for text in texts]
    except (SoledadError, ValueError, RecursionError):
        raise NotAnExport("the export holds a document that cannot be read") from None
    if not all(content is None or isinstance(content, dict) for content in contents):
        raise NotAnExport("the export holds a document that cannot be read")
