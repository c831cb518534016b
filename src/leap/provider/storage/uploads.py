"""Large blobs on their way in: what has come of one is kept for a day, so that an upload which was cut goes on.

Invariants:
* What has come of a blob is no blob. It becomes one when all is there and has the SHA-256 the client named;
  otherwise it is forgotten, and the client begins anew.
* The newest request has an upload for itself: an older one that is still open writes nothing any more.
* An upload that fills the disk is forgotten: it must not keep small things from being stored.
* A provider that was stopped goes on too; bytes which its crash garbled are found by that SHA-256.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from leap.provider.errors import BadDigest, BadRange, BadRequest
from leap.provider.storage.blobs import Blobs
from leap.provider.storage.files import FileStore, Upload
from leap.soledad.errors import StoreFull
from leap.soledad.wire import UploadState

KEPT_SECONDS = 24 * 3600.0
MOST_AT_ONCE = 16  # uploads begun by one account; the one left alone for longest makes room


class _Slot:
    """One upload while requests for it are open."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.owner: Receiving | None = None
        self.users = 0


class Uploads:
    """The uploads of all accounts."""

    def __init__(
        self, files: FileStore, blobs: Blobs, *, now: Callable[[], float] = time.time
    ) -> None:
        self._files = files
        self._blobs = blobs
        self._now = now
        self._slots: dict[str, _Slot] = {}

    async def state(self, account: int, blob_id: str) -> UploadState:
        """How far a blob has come."""
        found = await self._blobs.find_hash(account, blob_id)
        if found is not None:
            return UploadState(stored=found[0], sha256=found[1])
        size = await asyncio.to_thread(self._files.partial_size, _key(account, blob_id))
        return UploadState(stored=size)

    @asynccontextmanager
    async def receive(self, account: int, blob_id: str, start: int) -> AsyncIterator[Receiving]:
        """Goes on with an upload at `start`, which has to be where it stands. Raises BadRange."""
        key = _key(account, blob_id)
        slot = self._slots.setdefault(key, _Slot())
        slot.users += 1
        receiving: Receiving | None = None
        try:
            async with slot.lock:
                size = await asyncio.to_thread(self._files.partial_size, key)
                if size != start:
                    raise BadRange(f"{size} bytes of this blob have come; go on from there")
                if not start:
                    await asyncio.to_thread(self._make_room, account, key)
                upload = await asyncio.to_thread(self._files.resume, key)
                receiving = Receiving(self._files, self._blobs, slot, account, blob_id, upload)
                slot.owner = receiving
            yield receiving
        finally:
            slot.users -= 1
            if not slot.users:
                self._slots.pop(key, None)
            if receiving is not None:
                await asyncio.shield(asyncio.to_thread(receiving.upload.discard))

    async def expire(self) -> int:
        """Forgets uploads nobody went on with for a day; how many."""
        return await asyncio.to_thread(self._expire)

    # -- in threads -----------------------------------------------------------------------------

    def _expire(self) -> int:
        old = self._now() - KEPT_SECONDS
        keys = [key for key, at in self._files.partials() if at < old and key not in self._slots]
        for key in keys:
            self._files.remove_partial(key)
        return len(keys)

    def _make_room(self, account: int, wanted: str) -> None:
        mine = sorted(
            (at, key)
            for key, at in self._files.partials()
            if key.startswith(f"{account}-") and key != wanted and key not in self._slots
        )
        for _, key in mine[: max(0, len(mine) - MOST_AT_ONCE + 1)]:
            self._files.remove_partial(key)


class Receiving:
    """One request's turn at an upload."""

    def __init__(
        self,
        files: FileStore,
        blobs: Blobs,
        slot: _Slot,
        account: int,
        blob_id: str,
        upload: Upload,
    ) -> None:
        self.upload = upload
        self._files = files
        self._blobs = blobs
        self._slot = slot
        self._account = account
        self._blob_id = blob_id

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self.upload.size

    async def write(self, data: bytes) -> None:
        """Appends `data`. Raises StoreFull, BadRequest when another request took over."""
        async with self._slot.lock:
            self._check_turn()
            try:
                self._blobs.need(len(data))
                await asyncio.to_thread(self.upload.write, data)
            except (StoreFull, OSError):  # what there is room for is not held by half a blob
                key = _key(self._account, self._blob_id)
                await asyncio.to_thread(self._files.remove_partial, key)
                self._slot.owner = None
                raise

    async def finish(self, sha256: bytes) -> None:
        """Makes it a blob. Raises BadDigest, BlobDiffers, StoreFull, BadRequest."""
        async with self._slot.lock:
            self._check_turn()
            if self.upload.sha256 != sha256:
                key = _key(self._account, self._blob_id)
                await asyncio.to_thread(self._files.remove_partial, key)
                raise BadDigest("what came is not what was announced; send it again")
            await self._blobs.finish_upload(self._account, self._blob_id, self.upload)

    def _check_turn(self) -> None:
        if self._slot.owner is not self:
            raise BadRequest("another request goes on with this upload")


def _key(account: int, blob_id: str) -> str:
    return f"{account}-{blob_id}"
