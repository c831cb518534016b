"""Reading parts of a sealed blob where it lies, in a file or at the provider: the index, and the chunks touched.

Invariants:
* Each chunk is authenticated before it is given out, in its place: none can be altered, moved, repeated or left out.
* What is read of a blob at the provider this way is not kept.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from leap.soledad.blobs.format import CHUNK, BlobIndex, BlobRef, index_size, open_index
from leap.soledad.envelope import Epoch
from leap.soledad.errors import BlobAltered

STEP = 8 * CHUNK  # plaintext read and given out at a time
MAX_INDEXES = 8  # kept of blobs that are read by range; each has up to 2 MB

ReadAt = Callable[[int, int], Awaitable[bytes]]


class Indexes:
    """Opens the indexes of blobs, and keeps the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[BlobRef, BlobIndex] = OrderedDict()

    async def load(
        self, ref: BlobRef, read_at: ReadAt, *, account: str, epochs: Mapping[int, Epoch]
    ) -> BlobIndex:
        """Raises BlobAltered, and what reading raises."""
        index = self._kept.get(ref)
        if index is None:
            beginning = await read_at(0, index_size(ref))
            index = open_index(beginning, ref, account=account, epochs=epochs)
            self._kept[ref] = index
            if len(self._kept) > MAX_INDEXES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(ref)
        return index


async def read_span(index: BlobIndex, read_at: ReadAt, start: int, length: int) -> bytes:
    """The plaintext range; raises BlobAltered, and what reading raises."""
    first, end = index.span(start, length)
    sealed = await read_at(first, end - first) if end > first else b""
    return await asyncio.to_thread(index.open_span, sealed, start, length)


async def stream_span(
    index: BlobIndex, read_at: ReadAt, start: int, end: int
) -> AsyncIterator[bytes]:
    """The plaintext from `start` up to `end`, some chunks at a time."""
    while start < end:
        step = min(end, (start // STEP + 1) * STEP) - start
        yield await read_span(index, read_at, start, step)
        start += step


class OpenFile:
    """A sealed file, read at any place; it may be removed meanwhile. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    async def read_at(self, start: int, length: int) -> bytes:
        """So many octets; raises BlobAltered when the file ends before."""
        data = await asyncio.to_thread(os.pread, self._file, length, start)
        if len(data) != length:
            raise BlobAltered("a blob's file is cut short")
        return data
