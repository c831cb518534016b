"""Orphans: blobs at the provider which nobody names, as a crash between upload and commit leaves them.

Invariants:
* Only what was put or renewed over 7 days ago goes, and the provider is told so with the deletion: what another
  device has just sent, or sends again at this moment, stays.
* It goes only right after a pull, when this device has seen the whole log, and when neither a row nor a document
  names it, nor anything here is still to be done with it.
* In a log that was founded anew, nothing goes before every device in use has written in it: one of them may bring back
  rows which the founder had never seen, and whose contents it keeps at the provider only.
* A list without end is read so far and no further.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from functools import partial

from leap.soledad.head import FIRST_GENERATION, HeadRecord
from leap.soledad.keyset import Keyset
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.naming import find_written, named_blobs
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.tombstones import acknowledged
from leap.soledad.transaction import find_setting, save_setting

ORPHAN_SECONDS = 7 * 24 * 3600
LOOK_SECONDS = 24 * 3600
MOST_PAGES, MOST_SUSPECTS = 2_000, 100_000  # of one look; what is behind them waits for another day
LOOKED = "sync.orphans_looked"
_BUSY = ("blob_unsent", "blob_doomed", "blob_guarded")


class Orphans:
    """Looks for them once a day in the background, and removes them with the next sync."""

    def __init__(
        self, store: Soledad, remote: SyncRemote, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._remote = remote
        self._now = now
        self._suspects: set[str] = set()

    async def look(self) -> int:
        """Reads the provider's list, if it is time; answers how many seem to be orphans.

        Raises Unreachable, Refused.
        """
        looked = await self._store.read(lambda c: find_setting(c, LOOKED))
        if looked is not None and abs(self._now() - looked) < LOOK_SECONDS:
            return 0
        after, pages = "", 0
        while pages < MOST_PAGES and len(self._suspects) < MOST_SUSPECTS:
            pages += 1
            page = await self._remote.list_blobs(after)
            old = {blob.blob_id for blob in page.blobs if blob.age >= ORPHAN_SECONDS}
            self._suspects |= await self._store.read(partial(self._unnamed, blob_ids=old))
            if not page.more or not page.blobs:
                break
            after = page.blobs[-1].blob_id
        await self._store.write(lambda c: save_setting(c, LOOKED, int(self._now())))
        return len(self._suspects)

    async def remove(self, record: HeadRecord | None, keyset: Keyset) -> int:
        """Deletes those still unnamed; to be called right after a pull, with its head. Answers how many."""
        if not self._suspects or record is None:
            return 0
        if record.generation > FIRST_GENERATION and acknowledged(record, keyset) < 0:
            return 0
        suspects, self._suspects = self._suspects, set()
        orphans = sorted(await self._store.read(partial(self._unnamed, blob_ids=suspects)))
        if orphans:
            await self._remote.delete_blobs(orphans, min_age=ORPHAN_SECONDS)
        return len(orphans)

    def _unnamed(self, connection: Connection, blob_ids: Collection[str]) -> set[str]:
        ids = set(blob_ids)
        shown, waiting = named_blobs(connection, self._store.tables, sorted(ids))
        ids -= shown | waiting
        for table in _BUSY:
            busy = connection.execute(
                f"SELECT blob_id FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?))",  # noqa: S608
                (json.dumps(sorted(ids)),),
            )
            ids -= {blob_id for (blob_id,) in busy}
        return ids - find_written(connection, ids)
