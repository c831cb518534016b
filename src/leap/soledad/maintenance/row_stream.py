"""Rows of an export as they come, with their contents: small ones in batches, large ones piece by piece.

Everything here blocks: callers run it in threads, one call at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from leap.soledad.blobs.download import LARGE
from leap.soledad.maintenance.archive import NotAnExport
from leap.soledad.maintenance.grammar import unpacked
from leap.soledad.maintenance.records import Piece, Record, RowRecord, Withdrawn

BATCH_ROWS = 500
BATCH_BYTES = 4 * 1024 * 1024  # of contents in one batch
TURN_BYTES = 1024 * 1024  # of a large content, read in one turn of a thread


class RowWithdrawn(Exception):
    """The export takes back the row whose contents were coming."""


class ArrivedRow(NamedTuple):
    """A row and its contents by place; those of a `large` one are still to be read, or to be skipped."""

    record: RowRecord
    contents: dict[int, bytes]
    large: bool = False


class RowStream:
    """Reads the rows of one export once."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records

    def take(self) -> list[ArrivedRow]:
        """The next rows, none at the end. Only the last one can be large. Raises NotAnExport."""
        rows: list[ArrivedRow] = []
        size = 0
        for record in self._records:
            if not isinstance(record, RowRecord):
                continue
            if any(entry.here and entry.size > LARGE for entry in record.blobs):
                rows.append(ArrivedRow(record, {}, large=True))
                return rows
            try:
                contents = {
                    entry.place: b"".join(self.content(entry.size))
                    for entry in record.blobs
                    if entry.here
                }
            except RowWithdrawn:
                continue
            rows.append(ArrivedRow(record, contents))
            size += sum(map(len, contents.values()))
            if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
                break
        return rows

    def content(self, size: int) -> Iterator[bytes]:
        """The content which comes next, of so many octets. Raises RowWithdrawn, NotAnExport."""
        while size:
            record = next(self._records, None)
            if isinstance(record, Withdrawn):
                raise RowWithdrawn
            data = unpacked(record) if isinstance(record, Piece) else b""
            if not 0 < len(data) <= size:
                raise NotAnExport("the export lacks a part of a content")
            size -= len(data)
            yield data

    def skip(self, row: ArrivedRow) -> None:
        """Passes over the contents of a large row."""
        try:
            for entry in row.record.blobs:
                if entry.here:
                    for _ in self.content(entry.size):
                        pass
        except RowWithdrawn:
            pass


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The same octets, about a megabyte in each turn of a thread."""

    def turn() -> bytes:
        some: list[bytes] = []
        size = 0
        for piece in pieces:
            some.append(piece)
            size += len(piece)
            if size >= TURN_BYTES:
                break
        return b"".join(some)

    while data := await asyncio.to_thread(turn):
        yield data
