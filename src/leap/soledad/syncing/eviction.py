"""Eviction: where a budget is set, the bytes of contents go from this machine when they are safely at the provider.

*Safely* means: its row was committed; the provider acknowledged the blob as durable; it lists it, now, with the
SHA-256 of the reference; and of each lot some, drawn at random, were read there at a random place and opened.

Invariants:
* Nothing goes that was not sent, is doomed or guarded, or that only a document names.
* What the provider does not list as it was is sent again from here. If one that is drawn does not open, it
  takes the place of what is there, and nothing more goes in this pass.
* What went is still known: reading fetches it again, and sync in the background does not.
A provider that keeps lists but not bytes is found by the samples only with a probability; see docs/formats/blob.md.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice

from leap.soledad.blobs.format import CHUNK, BlobRef
from leap.soledad.blobs.holdings import note_evicted, size_here
from leap.soledad.blobs.policy import CONTENTS, ContentsPolicy, decode_policy
from leap.soledad.errors import ProviderLies
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.transaction import find_setting

LOT = 200  # blobs that go together
SAMPLES = (
    4  # of a lot: a provider that lost a tenth is noticed by a lot with 34 %, by ten with 98 %
)
LEEWAY = 10  # once over the budget, a tenth of it is freed, so that not each new mail is a case

_log = logging.getLogger(__name__)
_AT_HOME = "".join(
    f" AND NOT EXISTS (SELECT 1 FROM {table} x WHERE x.blob_id = {{id}})"  # noqa: S608
    for table in ("blob_unsent", "blob_doomed", "blob_guarded")
)


class Eviction:
    """Keeps one store within its budget."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        transfer: Transfer,
        *,
        now: Callable[[], float] = time.time,
        draw: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._store = store
        self._remote = remote
        self._transfer = transfer
        self._now = now
        self._draw = draw

    async def run_once(self) -> int:
        """Brings the contents here below the budget; answers how many blobs went. Raises Unreachable, Refused."""
        policy = self._store.policy
        budget = policy.keep_bytes
        if budget is None:
            return 0
        await self._note_used()
        size = await self._store.read(size_here)
        if size <= budget:
            return 0
        goal, count = budget - budget // LEEWAY, 0
        passed_over: set[str] = set()
        while size > goal and self._store.policy == policy:
            ranks = await self._store.read(lambda c: self._choose(c, passed_over))
            lot = _enough(list(ranks), size - goal)
            if not lot:
                break
            safe = await self._safe(lot)
            if safe is None:
                break
            passed_over.update(ref.blob_id for ref in lot if ref not in safe)
            freed = await self._store.write(
                partial(self._evict, safe=safe, ranks=ranks, policy=policy)
            )
            if safe and not freed:  # sent again or dropped at this moment
                passed_over.update(ref.blob_id for ref in safe)
            size -= freed
            count += len(safe) if freed else 0
        await self._store.empty_trash()
        return count

    async def _note_used(self) -> None:
        used = self._store.take_used()
        if used:
            await self._store.write(
                lambda c: c.executemany(
                    "INSERT OR REPLACE INTO blob_used (blob_id, time) VALUES (?, ?)", used.items()
                )
            )

    def _choose(self, connection: Connection, passed_over: Collection[str]) -> dict[BlobRef, int]:
        """Contents before headers; of these the least recently read ones, then the oldest. With the rank of each."""
        always = self._store.policy.always
        parts: list[str] = []
        for table in self._store.tables.values():
            schema = table.schema
            newest = f"t.{schema.newest}" if schema.newest else "0"
            for priority, (blob_id, sha256, size) in enumerate(schema.blobs):
                if priority < always:
                    continue
                parts.append(
                    f"SELECT t.{blob_id} AS blob_id, t.{sha256} AS sha256, t.{size} AS size,"  # noqa: S608
                    f" coalesce(u.time, 0) AS used, {priority} AS priority, {newest} AS newest"
                    f" FROM {schema.name} t LEFT JOIN blob_used u ON u.blob_id = t.{blob_id}"
                    f" WHERE t.synced = 1 AND t.{blob_id} IS NOT NULL"
                    f" AND EXISTS (SELECT 1 FROM blob b WHERE b.blob_id = t.{blob_id})"
                    + _AT_HOME.format(id=f"t.{blob_id}")
                )
        if not parts:
            return {}
        union = " UNION ALL ".join(parts)
        rows = connection.execute(
            f"SELECT blob_id, sha256, size, coalesce(CAST(newest AS INTEGER), 0) FROM ({union})"  # noqa: S608
            " ORDER BY priority DESC, used, newest LIMIT ?",
            (LOT + len(passed_over),),
        )
        found = ((BlobRef(*ref), rank) for *ref, rank in rows if ref[0] not in passed_over)
        return dict(islice(found, LOT))

    async def _safe(self, lot: Sequence[BlobRef]) -> list[BlobRef] | None:
        """Those of the lot that are safe; None when the provider is not to be believed."""
        listed = await self._remote.find_listed([ref.blob_id for ref in lot])
        blobs = self._store.blobs
        safe: list[BlobRef] = []
        lost: list[str] = []
        for ref in lot:
            there = listed.get(ref.blob_id)
            if there is not None and there.sha256.hex() == ref.sha256:
                safe.append(ref)
            else:
                lost.append(ref.blob_id)
        if lost:
            _log.warning("%d contents were lost at the provider; they are sent again", len(lost))

            def send_again(connection: Connection) -> None:
                for blob_id in lost:
                    blobs.send_again(connection, blob_id)

            await self._store.write(send_again)
        drawn = list(safe)
        for _ in range(min(SAMPLES, len(safe))):
            ref = drawn.pop(self._draw(len(drawn)))
            chunks = max(1, (ref.size + CHUNK - 1) // CHUNK)
            try:
                await self._store.check_there(ref, self._draw(chunks) * CHUNK, CHUNK)
            except ProviderLies as error:
                _log.warning("nothing is removed here to save room: %s", error)
                await self._replace(ref)
                return None
        return safe

    async def _replace(self, ref: BlobRef) -> None:
        """What the provider cannot give as it lists it is sent anew, if it is intact here."""
        if await self._transfer.is_intact(ref):
            await self._remote.delete_blobs([ref.blob_id])
            await self._store.write(lambda c: self._store.blobs.send_again(c, ref.blob_id))

    def _evict(
        self,
        connection: Connection,
        safe: Sequence[BlobRef],
        ranks: Mapping[BlobRef, int],
        policy: ContentsPolicy,
    ) -> int:
        # Whoever decided meanwhile that more stays has what went fetched again: nothing may go after that
        if decode_policy(find_setting(connection, CONTENTS)) != policy:
            return 0
        query = "SELECT 1 FROM blob WHERE blob_id = ?1" + _AT_HOME.format(id="?1")  # noqa: S608
        still = [
            ref.blob_id
            for ref in safe
            if connection.execute(query, (ref.blob_id,)).fetchone() is not None
        ]
        if still:
            note_evicted(connection, max(ranks[ref] for ref in safe))
        return self._store.blobs.evict(connection, still)


def _enough(lot: Sequence[BlobRef], size: int) -> list[BlobRef]:
    """As many from the beginning as have this size together."""
    taken: list[BlobRef] = []
    for ref in lot:
        if size <= 0:
            break
        taken.append(ref)
        size -= ref.size
    return taken
