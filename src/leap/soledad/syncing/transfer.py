"""Blobs on their way: sent before the rows that name them, and fetched in the background.

Invariants:
* A blob is struck off the list of those to send only when the provider has answered that it is stored.
* Fetching goes by priority, then newest first: all headers before any content. A damaged or missing blob stops
  nothing: it is counted, asked for again later, and other devices are asked for it (`wishes`).
* Large blobs travel by themselves, from and into files, beside the small ones and never before them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.files import hash_file
from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.holdings import size_here, wanted_unasked
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.errors import Refused, SoledadError, Unreachable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.tables import WANTED
from leap.soledad.wire import MAX_BATCH_BLOBS, MAX_BATCH_BYTES, Blob

FETCH_BYTES = MAX_BATCH_BYTES // 2  # plaintext; sealed it still fits one answer
FETCH_BLOBS = (
    500  # header records are small: fewer of them leave a far line idle between two requests
)
# HTTP statuses of a refusal which another choice of blobs may not meet
_OF_THE_BLOBS = {400, 404, 413, 500}


class Transfer:
    """Moves the blobs of one store."""

    def __init__(self, store: Soledad, remote: SyncRemote) -> None:
        self._store = store
        self._remote = remote
        self._most = FETCH_BLOBS
        self._cut: set[str] = set()  # large blobs whose last download was cut

    # -- sending ------------------------------------------------------------------------------

    async def count_unsent(self) -> int:
        """How many blobs are here which the provider lacks."""
        count: int = await self._store.read(
            lambda c: c.execute("SELECT count(*) FROM blob_unsent").fetchone()[0]
        )
        return count

    async def send_batch(self) -> tuple[int, int]:
        """Sends the oldest small blobs that the provider lacks, one request's worth; answers how many, and octets."""
        blobs = await self._store.read(self._load_unsent)
        if not blobs:
            return 0, 0
        try:
            await self._remote.put_blobs(blobs)
        except Refused as error:
            if error.error != "blob-differs":
                raise
            await self._replace(blobs)
        ids = [blob.blob_id for blob in blobs]
        await self._store.write(lambda c: self._store.blobs.note_sent(c, ids))
        return len(blobs), sum(len(blob.sealed) for blob in blobs)

    async def _replace(self, blobs: Sequence[Blob]) -> None:
        """The provider has other bytes under these ids: what is verified here takes their place."""
        store = self._store

        def altered(connection: Connection) -> list[str]:
            refs = {blob.blob_id: store.blobs.find_ref(connection, blob.blob_id) for blob in blobs}
            return [
                blob.blob_id
                for blob in blobs
                if (ref := refs[blob.blob_id]) is None
                or hashlib.sha256(blob.sealed).hexdigest() != ref.sha256
            ]

        wrong = await store.read(altered)
        if wrong:
            raise SoledadError(f"blob {wrong[0]} was damaged on this machine; it is not sent")
        there = await self._remote.find_listed([blob.blob_id for blob in blobs])
        differ = [
            blob.blob_id
            for blob in blobs
            if blob.blob_id in there
            and there[blob.blob_id].sha256 != hashlib.sha256(blob.sealed).digest()
        ]
        await self._remote.delete_blobs(differ)
        await self._remote.put_blobs(blobs)

    def _load_unsent(self, connection: Connection) -> list[Blob]:
        batch: list[Blob] = []
        size = 0
        for (blob_id,) in connection.execute(
            "SELECT u.blob_id FROM blob_unsent u JOIN blob b ON b.blob_id = u.blob_id"
            " WHERE NOT (b.size > ? AND b.sealed IS NULL) ORDER BY u.number LIMIT ?",
            (LARGE, MAX_BATCH_BLOBS),
        ).fetchall():
            sealed = self._store.blobs.find(connection, blob_id)
            if sealed is None:
                continue
            size += len(sealed)
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(Blob(blob_id=blob_id, sealed=sealed))
        return batch

    async def find_large_unsent(
        self, above: int, most: int, aside: Collection[str] = ()
    ) -> BlobRef | None:
        """The smallest of the large blobs that wait, of a size (of plaintext) above one and up to another."""

        def job(connection: Connection) -> BlobRef | None:
            for row in connection.execute(
                "SELECT b.blob_id, b.sha256, b.size FROM blob_unsent u"
                " JOIN blob b ON b.blob_id = u.blob_id"
                " WHERE b.size > ? AND b.size <= ? AND b.sealed IS NULL ORDER BY b.size, u.number",
                (max(above, LARGE), most),
            ):
                if row[0] not in aside:
                    return BlobRef(*row)
            return None

        return await self._store.read(job)

    async def send_large(self, ref: BlobRef) -> int:
        """Sends one large blob from its file, on from where it was cut; answers its octets.

        Raises Unreachable, Refused.
        """
        store = self._store
        place = await store.read(lambda c: store.blobs.find_place(c, ref.blob_id))
        if not isinstance(place, Path):
            return 0  # dropped meanwhile
        digest = bytes.fromhex(ref.sha256)
        try:
            await self._remote.put_blob_file(ref.blob_id, place, digest)
        except FileNotFoundError:
            return 0
        except Refused as error:
            if error.error != "blob-differs" or not await self.is_intact(ref):
                raise
            await self._remote.delete_blobs([ref.blob_id])
            await self._remote.put_blob_file(ref.blob_id, place, digest)
        await store.write(lambda c: store.blobs.note_sent(c, [ref.blob_id]))
        try:
            return (await asyncio.to_thread(place.stat)).st_size
        except FileNotFoundError:
            return 0

    async def is_intact(self, ref: BlobRef) -> bool:
        """Whether a blob is here bit for bit."""
        place = await self._store.read(lambda c: self._store.blobs.find_place(c, ref.blob_id))
        if isinstance(place, Path):
            try:
                return await asyncio.to_thread(hash_file, place) == ref.sha256
            except FileNotFoundError:
                return False
        return place is not None and hashlib.sha256(place).hexdigest() == ref.sha256

    # -- fetching -----------------------------------------------------------------------------

    async def fetch_batch(self) -> int:
        """Fetches the most wanted small blobs, one request's worth; answers how many are off the list.

        Raises Unreachable, Refused.
        """
        blobs = self._store.blobs
        refs = await self._load_due(large=False, most=self._most)
        if not refs:
            return 0
        try:
            fetched = await self._store.fetch_batch(refs)
        except Refused as error:
            if error.status not in _OF_THE_BLOBS:
                raise
            if len(refs) > 1:  # the one which the provider cannot give is found by halving
                self._most = len(refs) // 2
                return await self.fetch_batch()
            await self._store.write(lambda c: blobs.give_up(c, [refs[0].blob_id]))
            return 1
        self._most = min(FETCH_BLOBS, self._most * 2)
        return len(refs) - len(fetched.left)

    async def fetch_large(self) -> int:
        """Fetches the most wanted large blob; answers how many are off the list.

        Raises Unreachable, Refused, StoreFull.
        """
        refs = await self._load_due(large=True, most=1 + len(self._cut))
        if not refs:
            return 0
        left = [ref for ref in refs if ref.blob_id not in self._cut]
        if not left:
            self._cut.clear()
        ref = (left or refs)[0]
        try:
            await self._store.fetch_large(ref)
        except Unreachable:
            self._cut.add(
                ref.blob_id
            )  # should it be this one that is always cut, the others get their turn
            raise
        except Refused as error:
            if error.status not in _OF_THE_BLOBS:
                raise
            blobs = self._store.blobs
            await self._store.write(lambda c: blobs.give_up(c, [ref.blob_id]))
        self._cut.discard(ref.blob_id)
        return 1

    async def _load_due(self, *, large: bool, most: int) -> list[BlobRef]:
        blobs, policy = self._store.blobs, self._store.policy
        if await self._store.read(blobs.next_retry) is not None:
            await self._store.write(blobs.retry_due)
        return await self._store.read(lambda c: load_wanted(c, most, policy, large=large))


def load_wanted(
    connection: Connection, most: int, policy: ContentsPolicy, *, large: bool
) -> list[BlobRef]:
    """What is wanted next: fetched unasked, then what was read before and lost."""
    unasked, values = wanted_unasked(connection, policy)
    lot = "large" if large else "small"
    limit = FETCH_BYTES
    if policy.keep_bytes is not None and (room := policy.keep_bytes - size_here(connection)) > 0:
        limit = min(limit, room)
    refs: list[BlobRef] = []
    size = 0
    for query in (_NEXT_WANTED[lot], _NEXT_LOST[lot]):
        for blob_id, sha256, length in connection.execute(
            query.format(unasked=unasked), (*values, most - len(refs))
        ):
            size += length
            if refs and size > limit and not large:
                return refs
            refs.append(BlobRef(blob_id, sha256, length))
    return refs


_NEXT_WANTED = {
    lot: f"SELECT blob_id, sha256, size FROM blob_wanted INDEXED BY blob_wanted_{lot}"  # noqa: S608
    f" WHERE missing = 0 AND {sizes} AND {{unasked}} ORDER BY priority, newest DESC LIMIT ?"
    for lot, sizes in WANTED.items()
}
_NEXT_LOST = {  # few, so looked up one by one
    lot: "SELECT blob_id, sha256, size FROM blob_lost CROSS JOIN blob_wanted USING (blob_id)"  # noqa: S608
    f" WHERE missing = 0 AND {sizes} AND NOT {{unasked}} ORDER BY priority, newest DESC LIMIT ?"
    for lot, sizes in WANTED.items()
}
