"""Sealing what is too large for memory: chunk by chunk into a file, its index filled in last.

Invariants:
* Memory does not grow with the blob, but for its index (4 octets for each 64 kB).
* The sealed file is synced before anybody hears of it; one that was not completed is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leap.soledad.blobs.files import PIECE, BlobFiles, disk_errors
from leap.soledad.blobs.format import CHUNK, BlobRef, Sealer


@dataclass(frozen=True)
class SealedFile:
    """A blob sealed into a file, for `Transaction.put_blob`, and the reference that verifies it."""

    ref: BlobRef
    path: Path

    def discard(self) -> None:
        """Removes the file, unless a transaction took it."""
        self.path.unlink(missing_ok=True)


class FileSealer:
    """Writes one blob; its methods block. Ends with `finish` or `discard`."""

    def __init__(self, files: BlobFiles, sealer: Sealer) -> None:
        self._sealer = sealer
        self._path = files.create()
        self._file = self._path.open("r+b", buffering=PIECE)
        self._file.seek(sealer.offset)
        self._rest = b""  # of what was written: less than a chunk

    def write(self, data: bytes) -> None:
        """The next octets of the content. Raises ValueError when there are more than announced, StoreFull."""
        view = memoryview(self._rest + data if self._rest else data)
        end = len(view) - len(view) % CHUNK
        with disk_errors():
            for start in range(0, end, CHUNK):
                self._file.write(self._sealer.seal_chunk(view[start : start + CHUNK]))
        self._rest = bytes(view[end:])

    def finish(self) -> SealedFile:
        """Completes the file and makes it durable. Raises ValueError when octets are missing, StoreFull."""
        sealer = self._sealer
        with disk_errors():
            if self._rest:
                self._file.write(sealer.seal_chunk(self._rest))
            for piece in sealer.filler():
                self._file.write(piece)
            self._file.seek(0)
            self._file.write(sealer.beginning())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.seek(0)
            digest = hashlib.sha256()
            while piece := self._file.read(PIECE):
                digest.update(piece)
            self._file.close()
        ref = BlobRef(sealer.blob_id, digest.hexdigest(), sealer.size)
        return SealedFile(ref, self._path)

    def discard(self) -> None:
        """Removes the file."""
        try:
            self._file.close()  # on a full disk this fails, too
        except OSError:
            pass
        finally:
            self._path.unlink(missing_ok=True)


def seal_pieces(files: BlobFiles, sealer: Sealer, pieces: Iterator[bytes]) -> SealedFile:
    """Seals what `pieces` give; blocks. Raises ValueError when that is not of the announced size, StoreFull."""
    writer = FileSealer(files, sealer)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(writer.discard)
        for piece in pieces:
            writer.write(piece)
        sealed = writer.finish()
        on_failure.pop_all()
    return sealed


def seal_path(files: BlobFiles, sealer: Sealer, source: Path) -> SealedFile:
    """Seals a file; blocks."""
    with source.open("rb", buffering=0) as file:
        return seal_pieces(files, sealer, iter(lambda: file.read(PIECE), b""))


async def seal_stream(files: BlobFiles, sealer: Sealer, pieces: AsyncIterable[bytes]) -> SealedFile:
    """Seals what an asynchronous stream gives, in threads, about a megabyte at a time."""
    writer = await asyncio.to_thread(FileSealer, files, sealer)
    async with contextlib.AsyncExitStack() as on_failure:
        on_failure.push_async_callback(
            lambda: asyncio.shield(asyncio.to_thread(writer.discard)),
        )
        waiting: list[bytes] = []
        size = 0
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= PIECE:
                await asyncio.to_thread(writer.write, b"".join(waiting))
                waiting, size = [], 0
        await asyncio.to_thread(writer.write, b"".join(waiting))
        sealed = await asyncio.to_thread(writer.finish)
        on_failure.pop_all()
    return sealed
