"""Where an export finds contents: on this machine, else at the provider; small ones together, large ones as streams.

Invariants:
* What is given out is bit for bit what the reference names: by its SHA-256, or, of a large one at the provider, by the
  tag of each chunk in its place.
* Nothing that is fetched is kept, and a large content is never in memory as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.files import hash_file
from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.reader import AtProvider, RangeSource
from leap.soledad.blobs.streams import Indexes, OpenFile, ReadAt, stream_span
from leap.soledad.errors import ProviderLies, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.wire import MAX_BATCH_BLOBS, MAX_BATCH_BYTES, BlobsFound

BATCH_BYTES = MAX_BATCH_BYTES // 2  # plaintext; sealed it still fits one answer


class ContentLost(SoledadError):
    """A content is neither here nor at the provider as it was."""


class ContentSource(RangeSource, Protocol):
    """Where contents come from that are not here; may raise Unreachable and Refused."""

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...


def is_large(ref: BlobRef) -> bool:
    """Whether this content is given out as a stream only."""
    return ref.size > LARGE


class Contents:
    """The contents of one store, as an export reads them."""

    def __init__(self, store: Soledad, source: ContentSource | None) -> None:
        self._store = store
        self._source = source

    def open_here(self, connection: Connection, ref: BlobRef) -> bytes | None:
        """A small content from this machine; None if it is not here as it was. Blocks."""
        sealed = self._store.blobs.find(connection, ref.blob_id)
        return None if sealed is None else self._opened(sealed, ref)

    async def fetch(self, refs: Sequence[BlobRef]) -> dict[str, bytes]:
        """Small contents from the provider, by id; those it does not have as they were are left out."""
        found: dict[str, bytes] = {}
        waiting = list(refs) if self._source is not None else []
        while waiting:
            batch = _batch(waiting)
            waiting = waiting[len(batch) :] + await self._fetch(batch, found)
        return found

    async def _fetch(self, batch: Sequence[BlobRef], found: dict[str, bytes]) -> list[BlobRef]:
        """One request; answers those of the batch that are still to be asked for."""
        assert self._source is not None
        reply = await self._source.get_blobs([ref.blob_id for ref in batch])
        wanted = {ref.blob_id: ref for ref in batch}
        for blob_id in reply.missing:
            wanted.pop(blob_id, None)
        pairs = [(wanted.pop(b.blob_id), b.sealed) for b in reply.blobs if b.blob_id in wanted]

        def open_all() -> dict[str, bytes | None]:
            return {ref.blob_id: self._opened(sealed, ref) for ref, sealed in pairs}

        opened = await asyncio.to_thread(open_all)
        found.update((blob_id, data) for blob_id, data in opened.items() if data is not None)
        return list(wanted.values()) if len(wanted) < len(batch) else []

    async def stream(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """A large content piece by piece; raises ContentLost, perhaps after some pieces, Unreachable, Refused."""
        store = self._store
        place = await store.read(lambda c: store.blobs.find_place(c, ref.blob_id))
        if isinstance(place, bytes) and hashlib.sha256(place).hexdigest() == ref.sha256:
            async for piece in self._pieces(ref, _InMemory(place)):
                yield piece
            return
        file = (
            await asyncio.to_thread(_open_intact, place, ref) if isinstance(place, Path) else None
        )
        if file is not None:
            with file:
                async for piece in self._pieces(ref, file.read_at):
                    yield piece
            return
        if self._source is None:
            raise ContentLost(f"content {ref.blob_id} is not here")
        async for piece in self._pieces(ref, AtProvider(self._source, ref)):
            yield piece

    async def _pieces(self, ref: BlobRef, read_at: ReadAt) -> AsyncIterator[bytes]:
        try:
            index = await self._store.load_index(Indexes(), ref, read_at)
            async for piece in stream_span(index, read_at, 0, ref.size):
                yield piece
        except ProviderLies as error:
            raise ContentLost(str(error)) from error

    def _opened(self, sealed: bytes, ref: BlobRef) -> bytes | None:
        try:
            return self._store.open_sealed(sealed, ref, 0, None)
        except ProviderLies:
            return None


class _InMemory:
    """Reads sealed bytes that are small although their content is large."""

    def __init__(self, sealed: bytes) -> None:
        self._sealed = sealed

    async def __call__(self, start: int, length: int) -> bytes:
        return self._sealed[start : start + length]


def _open_intact(path: Path, ref: BlobRef) -> OpenFile | None:
    """The file of a content, if all of it is what the reference names; it may be removed meanwhile."""
    try:
        return OpenFile(path) if hash_file(path) == ref.sha256 else None
    except FileNotFoundError:
        return None


def _batch(refs: Sequence[BlobRef]) -> list[BlobRef]:
    """The first ones, one request's worth."""
    batch: list[BlobRef] = []
    size = 0
    for ref in refs[:MAX_BATCH_BLOBS]:
        size += ref.size
        if batch and size > BATCH_BYTES:
            break
        batch.append(ref)
    return batch
