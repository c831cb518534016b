"""Fetching a blob too large for memory: into a `.part` file, which goes on at any octet, also after a restart.

Invariants:
* Nothing of it is given out before all of it has the SHA-256 of its reference.
* A download that is wrong from its first octet on is the provider's; one that was gone on with may have been
  garbled here, and is begun anew once.
* It is not begun where the disk has no room for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol

from leap.soledad.blobs.files import PIECE, BlobFiles, disk_errors, hash_file
from leap.soledad.blobs.format import BlobRef, most_sealed
from leap.soledad.blobs.sealing import SealedFile
from leap.soledad.errors import Refused, StoreFull, Unreachable

LARGE = (
    4 * 1024 * 1024
)  # plaintext; from here on a blob travels by itself, and never lies in memory as a whole
RESERVE = 32 * 1024 * 1024  # of the disk, for what else the store has to write


class StreamSource(Protocol):
    """Where large blobs come from: a `ProviderClient`."""

    def receive_blob(self, blob_id: str, start: int, limit: int) -> AsyncIterator[bytes]: ...


async def download(files: BlobFiles, source: StreamSource, ref: BlobRef) -> SealedFile | None:
    """The blob in a file, verified and durable; None if what the provider gives is another one.

    Raises Unreachable when it is cut (call again to go on), Refused (not-found), StoreFull.
    """
    for _ in range(2):
        resumed = await _complete(files, source, ref)
        path = files.part(ref.blob_id)
        if await asyncio.to_thread(hash_file, path) == ref.sha256:
            return SealedFile(ref, path)
        await asyncio.to_thread(path.unlink, missing_ok=True)
        if not resumed:
            return None
    return None


async def _complete(files: BlobFiles, source: StreamSource, ref: BlobRef) -> bool:
    """Gathers the rest of the blob; True if a part of it had been here."""
    most = most_sealed(ref.size)
    file = await asyncio.to_thread(files.open_part, ref.blob_id)
    try:
        have = began = os.fstat(file.fileno()).st_size
        if most - have + RESERVE > await asyncio.to_thread(files.free):
            raise StoreFull("there is no room on the disk for a large content; make some")
        while have < most:
            before = have
            try:
                async for piece in _gathered(source.receive_blob(ref.blob_id, have, most - have)):
                    await asyncio.to_thread(_write, file, piece)
                    have += len(piece)
                break
            except Unreachable:
                have = os.fstat(file.fileno()).st_size
                if have == before:
                    raise
        await asyncio.to_thread(_sync, file)
    except (StoreFull, Refused):
        with contextlib.suppress(OSError):  # neither is there room for a part, nor is more to come
            files.part(ref.blob_id).unlink()
        raise
    finally:
        file.close()
    return began > 0


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same octets in larger pieces, one thread hop each; what came before a cut is given out first."""
    waiting: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
    except Unreachable:
        if waiting:
            yield b"".join(waiting)
        raise
    if waiting:
        yield b"".join(waiting)


def _write(file: BinaryIO, data: bytes) -> None:
    with disk_errors():
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def _sync(file: BinaryIO) -> None:
    with disk_errors():
        os.fsync(file.fileno())
