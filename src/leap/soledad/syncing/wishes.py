"""Wishes: a device names the contents which the provider has lost, and a device that holds them sends them again.

A wish is a synced document of type `blobs-wanted`, one a device, whose `blobs` are ids and whose `time` is when they
were written down. Nobody else writes into it, so it has no conflicts.

Invariants:
* Nothing is sent again that is not here bit for bit, or that no row names any more.
* Nothing is deleted at the provider but to replace bytes which differ from those verified here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from leap.soledad import documents
from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import Refused
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.naming import named_blobs
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.transfer import Transfer
from leap.soledad.transaction import Transaction
from leap.soledad.wire import MAX_BATCH_BLOBS, MAX_BATCH_BYTES, Blob

TYPE = "blobs-wanted"
MAX_IDS = 500  # of one wish, about 10 kB sealed; the others follow when these have come
PATIENT_ATTEMPTS = (
    2  # a first failure may be a blob that went with its row, of which we hear in a moment
)
RENEW_SECONDS = 3 * 24 * 3600  # a wish that still holds is written again
LAPSE_SECONDS = 7 * 24 * 3600  # so one this old is of a device that is gone


class Wishes:
    """The wishes of one device, and what it does for those of others."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        transfer: Transfer,
        device_id: str,
        *,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._transfer = transfer
        self._remote = remote
        self._doc_id = f"{TYPE}/{device_id}"
        self._now = now
        self._granted: dict[str, str | None] = {}  # wish -> its revision

    async def tell(self) -> None:
        """Writes down what is lost, if that is not what stands there."""
        if not await self._store.read(lambda c: self._news(c, _current(c, self._doc_id))):
            return

        def job(tx: Transaction) -> None:
            news = self._news(tx.connection, tx.get(self._doc_id))
            if news is not None:
                tx.put(self._doc_id, news)

        await self._store.transact(job)

    def _news(self, connection: Connection, before: dict[str, Any] | None) -> dict[str, Any] | None:
        lost = [
            blob_id
            for (blob_id,) in connection.execute(
                "SELECT blob_id FROM blob_lost WHERE attempts >= ? ORDER BY blob_id LIMIT ?",
                (PATIENT_ATTEMPTS, MAX_IDS),
            )
        ]
        told = before or {"blobs": [], "time": 0}
        old = bool(lost) and self._now() - told["time"] > RENEW_SECONDS
        if lost == told["blobs"] and not old:
            return None
        return {"type": TYPE, "blobs": lost, "time": int(self._now())}

    async def grant(self) -> int:
        """Sends what other devices miss and this one holds; answers how many. Raises Unreachable, Refused."""
        count = 0
        for wish in await self._store.find_docs(TYPE):
            content = wish.content or {}
            if wish.doc_id == self._doc_id or self._granted.get(wish.doc_id) == wish.revision:
                continue
            if self._now() - content.get("time", 0) < LAPSE_SECONDS:
                count += await self._send(list(content.get("blobs", []))[:MAX_IDS])
            self._granted[wish.doc_id] = wish.revision
        return count

    async def _send(self, blob_ids: Sequence[str]) -> int:
        held, large = await self._store.read(lambda c: self._held(c, blob_ids))
        count = 0
        for ref in large:
            if await self._transfer.is_intact(ref):
                await self._transfer.send_large(ref)
                count += 1
        while held:
            blobs = await self._store.read(partial(self._load, blob_ids=held))
            if not blobs:
                break
            try:
                await self._remote.put_blobs(blobs)
            except Refused as error:
                if error.error != "blob-differs":
                    raise
                await self._remote.delete_blobs([blob.blob_id for blob in blobs])
                await self._remote.put_blobs(blobs)
            count += len(blobs)
            done = held.index(blobs[-1].blob_id) + 1
            held = held[done:]
        return count

    def _held(
        self, connection: Connection, blob_ids: Sequence[str]
    ) -> tuple[list[str], list[BlobRef]]:
        """Those which are here, and the large ones among them apart."""
        shown, _ = named_blobs(connection, self._store.tables, blob_ids)
        found = connection.execute(
            "SELECT blob_id, sha256, size, size > ? AND sealed IS NULL FROM blob"
            " WHERE blob_id IN (SELECT value FROM json_each(?))",
            (LARGE, json.dumps(sorted(shown))),
        )
        held: list[str] = []
        large: list[BlobRef] = []
        for blob_id, sha256, size, alone in found:
            if alone:
                large.append(BlobRef(blob_id, sha256, size))
            else:
                held.append(blob_id)
        return held, large

    def _load(self, connection: Connection, blob_ids: Sequence[str]) -> list[Blob]:
        """The first ones whose bytes are still those of their reference, one request's worth."""
        batch: list[Blob] = []
        size = 0
        for blob_id in blob_ids[:MAX_BATCH_BLOBS]:
            sealed = self._store.blobs.find(connection, blob_id)
            ref = self._store.blobs.find_ref(connection, blob_id)
            if sealed is None or ref is None or hashlib.sha256(sealed).hexdigest() != ref.sha256:
                continue
            size += len(sealed)
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(Blob(blob_id=blob_id, sealed=sealed))
        return batch


def _current(connection: Connection, doc_id: str) -> dict[str, Any] | None:
    stored = documents.load(connection, doc_id)
    return None if stored is None else documents.decode_content(stored.item.content)
