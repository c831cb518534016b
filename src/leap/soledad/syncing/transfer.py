"""Blobs on their way: sent before the rows that name them, fetched in the background, deleted last.

Invariants:
* A blob is struck off the list of those to send only when the provider has answered that it is stored.
* Fetching goes by priority, then newest first: all headers before any content. A damaged or missing blob stops
  nothing: it is counted, asked for again later, and other devices are asked for it (`wishes`).
* A blob goes from the provider only when no row here names it and every device in use has acknowledged the
  log position since which that is so, or after 30 days.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import Refused
from leap.soledad.head import HeadRecord
from leap.soledad.keyset import Keyset
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.wire import MAX_BATCH_BLOBS, MAX_BATCH_BYTES, Blob

DOOMED_SECONDS = 30 * 24 * 3600  # a device that was away for longer finds its rescued blobs gone
FETCH_BYTES = MAX_BATCH_BYTES // 2  # plaintext; sealed it still fits one answer
FETCH_BLOBS = (
    500  # header records are small: fewer of them leave a far line idle between two requests
)
_OF_THE_BLOBS = {
    400,
    404,
    413,
    500,
}  # HTTP statuses of a refusal which another choice of blobs may not meet


class Transfer:
    """Moves the blobs of one store."""

    def __init__(
        self, store: Soledad, remote: SyncRemote, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._remote = remote
        self._now = now
        self._most = FETCH_BLOBS

    async def send_batch(self) -> int:
        """Sends the oldest blobs that the provider lacks, one request's worth; answers how many."""
        blobs = await self._store.read(self._load_unsent)
        if not blobs:
            return 0
        await self._remote.put_blobs(blobs)
        ids = json.dumps([blob.blob_id for blob in blobs])
        await self._store.write(
            lambda c: c.execute(
                "DELETE FROM blob_unsent WHERE blob_id IN (SELECT value FROM json_each(?))", (ids,)
            )
        )
        return len(blobs)

    def _load_unsent(self, connection: Connection) -> list[Blob]:
        batch: list[Blob] = []
        size = 0
        for (blob_id,) in connection.execute(
            "SELECT blob_id FROM blob_unsent ORDER BY number LIMIT ?", (MAX_BATCH_BLOBS,)
        ).fetchall():
            sealed = self._store.blobs.find(connection, blob_id)
            if sealed is None:
                continue
            size += len(sealed)
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(Blob(blob_id=blob_id, sealed=sealed))
        return batch

    async def fetch_batch(self) -> int:
        """Fetches the most wanted blobs, one request's worth; answers how many are off the list.

        Raises Unreachable, Refused.
        """
        blobs = self._store.blobs
        if await self._store.read(blobs.next_retry) is not None:
            await self._store.write(blobs.retry_due)
        refs = await self._store.read(lambda c: _load_wanted(c, self._most))
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

    async def purge(self, record: HeadRecord, keyset: Keyset) -> int:
        """Dates newly doomed blobs, and deletes those that every device knows of; answers how many."""
        tables = self._store.tables
        acknowledged = min(
            (
                record.devices[device.device_id].acked_seq
                if device.device_id in record.devices
                else -1
                for device in keyset.devices
                if device.revoked_at is None
            ),
            default=-1,
        )
        long_ago = int(self._now()) - DOOMED_SECONDS

        def look(connection: Connection) -> _Doomed:
            doomed = connection.execute("SELECT blob_id, since, time FROM blob_doomed").fetchall()
            shown, waiting = named_blobs(connection, tables, [row[0] for row in doomed])
            found = _Doomed([], [], [])
            for blob_id, since, when in doomed:
                if blob_id in shown:
                    found.rescued.append(blob_id)
                elif blob_id in waiting:
                    continue  # the deletion of its row was not pushed yet
                elif (record.seq if since is None else since) <= acknowledged or when < long_ago:
                    found.due.append(blob_id)
                elif since is None:
                    found.fresh.append(blob_id)
            return found

        if not any(await self._store.read(look)):  # usually: nothing is doomed
            return 0

        def settle(connection: Connection) -> list[str]:
            found = look(connection)
            connection.executemany(
                "DELETE FROM blob_doomed WHERE blob_id = ?", [(name,) for name in found.rescued]
            )
            connection.executemany(
                "UPDATE blob_doomed SET since = ? WHERE blob_id = ?",
                [(record.seq, name) for name in found.fresh],
            )
            return found.due

        due = await self._store.write(settle)
        if due:
            await self._remote.delete_blobs(due)
            await self._store.write(lambda c: self._store.blobs.remove(c, due))
        return len(due)


class _Doomed(NamedTuple):
    """What is to be done with doomed blobs: `fresh` ones get their date, `due` ones go."""

    rescued: list[str]
    fresh: list[str]
    due: list[str]


def named_blobs(
    connection: Connection, tables: Mapping[str, RowTable], blob_ids: Sequence[str]
) -> tuple[set[str], set[str]]:
    """Which of these any row still names: rows that show, and rows whose deletion was not pushed."""
    named: tuple[set[str], set[str]] = (set(), set())
    if not blob_ids:
        return named
    wanted = (json.dumps(list(blob_ids)),)
    for table in tables.values():
        for column, *_ in table.schema.blobs:
            found = connection.execute(
                f"SELECT {column}, deleted FROM {table.schema.name}"  # noqa: S608
                f" WHERE {column} IN (SELECT value FROM json_each(?))",
                wanted,
            )
            for blob_id, deleted in found:
                named[deleted].add(blob_id)
    return named


def _load_wanted(connection: Connection, most: int) -> list[BlobRef]:
    refs: list[BlobRef] = []
    size = 0
    for blob_id, sha256, length in connection.execute(
        "SELECT blob_id, sha256, size FROM blob_wanted WHERE missing = 0"
        " ORDER BY priority, newest DESC LIMIT ?",
        (most,),
    ):
        size += length
        if refs and size > FETCH_BYTES:
            break
        refs.append(BlobRef(blob_id, sha256, length))
    return refs
