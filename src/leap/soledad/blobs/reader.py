"""Reading blobs: from this machine, else from the provider, verified and kept.

Two readers who want the same blob at once cause one fetch. Large blobs are never held in memory as a whole; a small
part of a large one is read at the provider without fetching the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leap.soledad.blobs.download import LARGE, StreamSource, download
from leap.soledad.blobs.format import BlobRef, SealedBlob, check_whole
from leap.soledad.blobs.packs import Placed
from leap.soledad.blobs.streams import Indexes, OpenFile, read_span, stream_span
from leap.soledad.errors import (
    BadReply,
    BlobAltered,
    BlobMissing,
    Refused,
    UnknownSuite,
    Unreachable,
)
from leap.soledad.sqlite import Connection
from leap.soledad.wire import MAX_BATCH_BLOBS, BlobsFound

if TYPE_CHECKING:
    from leap.soledad.store import Soledad

WHOLE_FILE = (
    1024 * 1024
)  # a file up to here is read at once; of a larger one, the chunks that are asked for
FEW = 4  # so many times smaller than the blob has a range to be, so that only it is fetched
TOGETHER = 64  # blobs taken from the database by one question
MAX_USED = 10_000  # blobs of which the last use is remembered until it is written down


class RangeSource(Protocol):
    """Where blobs can be read in part."""

    async def get_blob_range(self, blob_id: str, start: int, length: int) -> bytes: ...


class BlobSource(StreamSource, RangeSource, Protocol):
    """Where blobs come from: a `ProviderClient`."""

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...


class Fetched(NamedTuple):
    """What one request brought: `left` are still to be asked for; the others are here, or lost for now."""

    left: list[BlobRef]
    missing: list[BlobRef]  # the provider says it has none
    altered: list[BlobRef]  # it gave other bytes than the reference names


class Span(NamedTuple):
    """The octets of a blob's plaintext in [start, end); `placed` where it lies, if that was looked up in this snapshot
    and the hash kept there is the reference's."""

    ref: BlobRef
    start: int
    end: int
    placed: Placed | None = None


FindSpans = Callable[[Connection], Sequence[Span]]


class BlobReader:
    """The reading side of one store's blobs."""

    def __init__(self, store: Soledad) -> None:
        self.source: BlobSource | None = None
        self.used: dict[str, int] = {}  # when blobs were read, not written down yet
        self._store = store
        self._running: dict[str, asyncio.Future[None]] = {}
        self._indexes = Indexes()

    async def read(self, ref: BlobRef, start: int, length: int | None) -> bytes:
        end = ref.size if length is None else min(ref.size, start + max(0, length))
        if start < 0:
            raise ValueError("a range begins at 0 or later")
        for _ in range(3):  # evicted, or its file lost, just between two steps
            found = await self._local(ref, start, end)
            if found is not None:
                return found
            if ref.size > LARGE and (end - start) * FEW < ref.size:
                return await self._read_there(ref, start, max(0, end - start))
            await self.fetch([ref])
        raise BlobAltered(f"blob {ref.blob_id} vanished while it was read")

    async def read_spans(self, find: FindSpans) -> list[bytes]:
        """Ranges of blobs which `find` names, in the snapshot in which it names them: one hop for all that are here."""

        def job(connection: Connection) -> tuple[Sequence[Span], list[bytes | None]]:
            spans = find(connection)
            return spans, self._open_here(connection, spans)

        spans, opened = await self._store.read(job)
        return await self._with_others(spans, opened)

    async def read_many(self, refs: Sequence[BlobRef]) -> list[bytes]:
        spans = [Span(ref, 0, ref.size) for ref in refs]
        opened = await self._store.read(lambda c: self._open_here(c, spans))
        absent = [
            ref
            for ref, data in zip(refs, opened, strict=True)
            if data is None and ref.size <= LARGE
        ]
        if absent:
            await self.fetch(absent)
        return await self._with_others(spans, opened)

    async def _with_others(
        self, spans: Sequence[Span], opened: Sequence[bytes | None]
    ) -> list[bytes]:
        """What could be opened, and the rest, each read by itself."""
        result: list[bytes] = []
        for (ref, start, end, _), data in zip(spans, opened, strict=True):
            self._note_use(ref)
            result.append(await self.read(ref, start, end - start) if data is None else data)
        return result

    def _open_here(self, connection: Connection, spans: Sequence[Span]) -> list[bytes | None]:
        """What lies in packs, in the database, or in a file small enough; None for the others."""
        opened: list[bytes | None] = [None] * len(spans)
        blobs = self._store.blobs
        for first in range(0, len(spans), TOGETHER):
            some = spans[first : first + TOGETHER]
            places: dict[BlobRef, bytes | memoryview | Path] = {}
            places.update(
                blobs.packs.read_many({one.ref: one.placed for one in some if one.placed})
            )
            absent = [one.ref for one in some if one.ref not in places]
            if absent:
                places.update(blobs.find_places(connection, absent))
            whole: list[tuple[bytes | memoryview, BlobRef]] = []
            numbers: list[int] = []
            for number, (ref, start, end, _) in enumerate(some, first):
                place = self._octets(places.get(ref), ref)
                if place is None:
                    continue
                if start == 0 and end == ref.size:
                    whole.append((place, ref))
                    numbers.append(number)
                else:
                    opened[number] = self._store.open_sealed(
                        bytes(place), ref, start, max(0, end - start)
                    )
            for number, data in zip(numbers, self._store.open_many(whole), strict=True):
                opened[number] = data
        return opened

    async def stream(
        self, ref: BlobRef, start: int, length: int | None, keep: bool
    ) -> AsyncIterator[bytes]:
        end = ref.size if length is None else min(ref.size, start + max(0, length))
        if start < 0:
            raise ValueError("a range begins at 0 or later")
        if ref.size <= LARGE:
            yield await self.read(ref, start, end - start)
            return
        for _ in range(3):
            place = await self._place(ref)
            if isinstance(place, bytes):
                yield await self._open_whole(place, ref, start, end)
                return
            if place is not None:
                try:
                    file = await asyncio.to_thread(OpenFile, place)
                except FileNotFoundError:
                    await self._lost_here(ref)
                    continue
                with file:
                    index = await self._store.load_index(self._indexes, ref, file.read_at)
                    async for piece in stream_span(index, file.read_at, start, end):
                        yield piece
                return
            if not keep:
                at = self._there(ref)
                index = await self._store.load_index(self._indexes, ref, at)
                async for piece in stream_span(index, at, start, end):
                    yield piece
                return
            await self.fetch([ref])
        raise BlobAltered(f"blob {ref.blob_id} vanished while it was read")

    async def fetch(self, refs: Sequence[BlobRef]) -> None:
        """Brings those that are not here; raises BlobAltered, Unreachable, StoreFull."""
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
        small = [ref for ref in refs if ref.size <= LARGE]
        for first in range(0, len(small), MAX_BATCH_BLOBS):
            left = small[first : first + MAX_BATCH_BLOBS]
            while left:
                left, missing, altered = await self.fetch_batch(left)
                _raise_for(missing, altered)
        for ref in refs:
            if ref.size > LARGE:
                _, missing, altered = await self._fetch_large(ref)
                _raise_for(missing, altered)

    async def fetch_large(self, ref: BlobRef) -> Fetched:
        """Brings one large blob, from where an earlier attempt was cut. Raises Unreachable, Refused, StoreFull."""
        try:
            await self.fetch([ref])
        except BlobAltered:
            return Fetched([], [], [ref])  # it is on the list of those lost already
        return Fetched([], [], [])

    async def _fetch_large(self, ref: BlobRef) -> Fetched:
        blobs = self._store.blobs
        try:
            file = await download(blobs.files, self._connected(), ref)
        except Refused as error:
            if error.status != 404:
                raise
            await self._store.write(lambda c: blobs.give_up(c, [ref.blob_id]))
            return Fetched([], [ref], [])
        if file is None:
            await self._store.write(lambda c: blobs.give_up(c, [ref.blob_id]))
            return Fetched([], [], [ref])
        await self._store.write(lambda c: blobs.put(c, file, unsent=False))
        return Fetched([], [], [])

    async def fetch_batch(self, refs: Sequence[BlobRef]) -> Fetched:
        """One request for up to 500 small blobs. One that is damaged or missing takes nothing from the others.

        Raises Unreachable.
        """
        found = await self._connected().get_blobs([ref.blob_id for ref in refs])
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

    # -- at the provider ----------------------------------------------------------------------

    def _connected(self) -> BlobSource:
        if self.source is None:
            raise Unreachable("this content is still at the provider, which is not connected")
        return self.source

    def _there(self, ref: BlobRef) -> AtProvider:
        return AtProvider(self._connected(), ref)

    async def _read_there(self, ref: BlobRef, start: int, length: int) -> bytes:
        at = self._there(ref)
        try:
            index = await self._store.load_index(self._indexes, ref, at)
            return await read_span(index, at, start, length)
        except (
            BlobAltered,
            UnknownSuite,
        ) as error:  # nothing vouches for the format's number, either
            await self._store.write(lambda c: self._store.blobs.give_up(c, [ref.blob_id]))
            raise BlobAltered(f"blob {ref.blob_id} is not the one that was stored") from error

    async def check_there(self, ref: BlobRef, start: int, length: int) -> None:
        """Reads a range at the provider, whatever is here. Raises BlobAltered unless it opens."""
        at = self._there(ref)
        index = await self._store.load_index(Indexes(), ref, at)
        await read_span(index, at, start, length)

    # -- here ---------------------------------------------------------------------------------

    def _note_use(self, ref: BlobRef) -> None:
        if self._store.policy.keep_bytes is not None and len(self.used) < MAX_USED:
            self.used[ref.blob_id] = int(self._store.blobs.now())

    async def _place(self, ref: BlobRef) -> bytes | Path | None:
        self._note_use(ref)
        return await self._store.read(lambda c: self._store.blobs.find_place(c, ref.blob_id))

    async def _local(self, ref: BlobRef, start: int, end: int) -> bytes | None:
        self._note_use(ref)
        found = await self._store.read(lambda c: self._find(c, ref, start, end))
        if not isinstance(found, Path):
            return found
        try:
            if start == 0 and end == ref.size:
                sealed = await asyncio.to_thread(found.read_bytes)
                return await self._open_whole(sealed, ref, 0, end)
            with await asyncio.to_thread(OpenFile, found) as file:
                index = await self._store.load_index(self._indexes, ref, file.read_at)
                return await read_span(index, file.read_at, start, max(0, end - start))
        except FileNotFoundError:
            await self._lost_here(ref)
            return None

    async def _lost_here(self, ref: BlobRef) -> None:
        blobs = self._store.blobs
        if not await self._store.read(
            lambda c: blobs.find_ref(c, ref.blob_id) is not None
        ) or await self._store.write(lambda c: blobs.lost_here(c, ref.blob_id)):
            return
        raise BlobAltered(f"the file of blob {ref.blob_id} is gone from this machine")

    async def _open_whole(self, sealed: bytes, ref: BlobRef, start: int, end: int) -> bytes:
        return await asyncio.to_thread(
            self._store.open_sealed, sealed, ref, start, max(0, end - start)
        )

    def _find(
        self, connection: Connection, ref: BlobRef, start: int, end: int
    ) -> bytes | Path | None:
        """Opens what lies in packs, in the database, or in a file small enough; names the file of the others."""
        place = self._store.blobs.find_place(connection, ref.blob_id)
        octets = self._octets(place, ref)
        if octets is None:
            return place if isinstance(place, Path) else None
        return self._store.open_sealed(bytes(octets), ref, start, max(0, end - start))

    def _octets(
        self, place: bytes | memoryview | Path | None, ref: BlobRef
    ) -> bytes | memoryview | None:
        """Sealed bytes that are at hand, or in a file small enough."""
        if not isinstance(place, Path):
            return place
        if ref.size > WHOLE_FILE:
            return None
        try:
            return place.read_bytes()
        except FileNotFoundError:
            return None


class AtProvider:
    """Reads a blob where it lies at the provider; raises BlobMissing, BlobAltered (cut short), Unreachable, Refused."""

    def __init__(self, source: RangeSource, ref: BlobRef) -> None:
        self._source = source
        self._ref = ref

    async def __call__(self, start: int, length: int) -> bytes:
        try:
            data = await self._source.get_blob_range(self._ref.blob_id, start, length)
        except Refused as error:
            if error.status == 404:
                raise BlobMissing(f"the provider does not have blob {self._ref.blob_id}") from error
            raise
        if len(data) != length:
            raise BlobAltered(f"blob {self._ref.blob_id} is cut short")
        return data


def _raise_for(missing: Sequence[BlobRef], altered: Sequence[BlobRef]) -> None:
    if altered:
        raise BlobAltered(f"blob {altered[0].blob_id} is not the one that was stored")
    if missing:
        raise BlobMissing(f"the provider does not have blob {missing[0].blob_id}")


def _altered(pairs: Sequence[tuple[BlobRef, bytes]]) -> list[BlobRef]:
    altered: list[BlobRef] = []
    for ref, sealed in pairs:
        try:
            check_whole(sealed, ref)
        except BlobAltered:
            altered.append(ref)
    return altered
