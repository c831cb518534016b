"""Reading blobs: from this machine, else from the provider, verified and kept.

Two readers who want the same blob at once cause one fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leap.soledad.blobs.format import BlobRef, SealedBlob, check_whole
from leap.soledad.errors import BadReply, BlobAltered, BlobMissing, Unreachable
from leap.soledad.sqlite import Connection
from leap.soledad.wire import MAX_BATCH_BLOBS, BlobsFound

if TYPE_CHECKING:
    from leap.soledad.store import Soledad


class BlobSource(Protocol):
    """Where blobs come from: a `ProviderClient`."""

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...


class Fetched(NamedTuple):
    """What one request brought: `left` are still to be asked for; the others are here, or lost for now."""

    left: list[BlobRef]
    missing: list[BlobRef]  # the provider says it has none
    altered: list[BlobRef]  # it gave other bytes than the reference names


class BlobReader:
    """The reading side of one store's blobs."""

    def __init__(self, store: Soledad) -> None:
        self.source: BlobSource | None = None
        self._store = store
        self._running: dict[str, asyncio.Future[None]] = {}

    async def read(self, ref: BlobRef, start: int, length: int | None) -> bytes:
        found = await self._local(ref, start, length)
        if found is None:
            await self.fetch([ref])
            found = await self._local(ref, start, length)
        if found is None:
            raise BlobAltered(f"blob {ref.blob_id} vanished while it was read")
        return found

    async def read_many(self, refs: Sequence[BlobRef]) -> list[bytes]:
        store = self._store

        def job(connection: Connection) -> list[bytes | None]:
            return [self._open(connection, ref, 0, None) for ref in refs]

        found = await store.read(job)
        absent = [ref for ref, data in zip(refs, found, strict=True) if data is None]
        if absent:
            await self.fetch(absent)
        return [
            await self.read(ref, 0, None) if data is None else data
            for ref, data in zip(refs, found, strict=True)
        ]

    async def fetch(self, refs: Sequence[BlobRef]) -> None:
        """Brings those that are not here; raises BlobAltered, Unreachable."""
        wanted = {ref.blob_id: ref for ref in refs}
        blobs = self._store.blobs
        present = await self._store.read(
            lambda c: {name for name in wanted if blobs.find_ref(c, name) is not None}
        )
        waiting = [self._running[name] for name in wanted if name in self._running]
        mine = [
            ref for name, ref in wanted.items() if name not in present and name not in self._running
        ]
        if mine:
            task = asyncio.ensure_future(self._fetch_all(mine))
            for ref in mine:
                self._running[ref.blob_id] = task
            task.add_done_callback(lambda done: self._ended(done, mine))
            waiting.append(task)
        for future in waiting:
            await asyncio.shield(future)

    def _ended(self, done: asyncio.Future[None], refs: Sequence[BlobRef]) -> None:
        for ref in refs:
            self._running.pop(ref.blob_id, None)
        if not done.cancelled():
            done.exception()  # known to whoever waits; with nobody left, of no interest

    async def _fetch_all(self, refs: Sequence[BlobRef]) -> None:
        for first in range(0, len(refs), MAX_BATCH_BLOBS):
            left = list(refs[first : first + MAX_BATCH_BLOBS])
            while left:
                left, missing, altered = await self.fetch_batch(left)
                if altered:
                    raise BlobAltered(f"blob {altered[0].blob_id} is not the one that was stored")
                if missing:
                    raise BlobMissing(f"the provider does not have blob {missing[0].blob_id}")

    async def fetch_batch(self, refs: Sequence[BlobRef]) -> Fetched:
        """One request for up to 500 blobs. One that is damaged or missing takes nothing from the others.

        Raises Unreachable.
        """
        if self.source is None:
            raise Unreachable("this content is still at the provider, which is not connected")
        found = await self.source.get_blobs([ref.blob_id for ref in refs])
        wanted = {ref.blob_id: ref for ref in refs}
        missing = [wanted.pop(name) for name in found.missing if name in wanted]
        pairs: list[tuple[BlobRef, bytes]] = []
        for blob in found.blobs:
            ref = wanted.pop(blob.blob_id, None)
            if ref is None:
                raise BadReply("the provider sends a blob that was not asked for")
            pairs.append((ref, blob.sealed))
        if not (pairs or missing):
            raise BadReply("the provider answers with nothing when asked for blobs")
        altered = await asyncio.to_thread(_altered, pairs)
        lost = [ref.blob_id for ref in (*altered, *missing)]
        blobs = self._store.blobs

        def job(connection: Connection) -> None:
            for ref, sealed in pairs:
                if ref not in altered:
                    blobs.put(connection, SealedBlob(ref, sealed), unsent=False)
            blobs.give_up(connection, lost)

        await self._store.write(job)
        return Fetched(list(wanted.values()), missing, altered)

    async def _local(self, ref: BlobRef, start: int, length: int | None) -> bytes | None:
        return await self._store.read(lambda c: self._open(c, ref, start, length))

    def _open(
        self, connection: Connection, ref: BlobRef, start: int, length: int | None
    ) -> bytes | None:
        sealed = self._store.blobs.find(connection, ref.blob_id)
        return None if sealed is None else self._store.open_sealed(sealed, ref, start, length)


def _altered(pairs: Sequence[tuple[BlobRef, bytes]]) -> list[BlobRef]:
    altered: list[BlobRef] = []
    for ref, sealed in pairs:
        try:
            check_whole(sealed, ref)
        except BlobAltered:
            altered.append(ref)
    return altered
