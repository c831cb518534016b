"""Blobs whose last row is gone: doomed, deleted when every device knows of it, kept when one of them wants them back.

Invariants:
* A blob goes from the provider only when no row here names it and every device in use has acknowledged the log
  position since which that is so, or after 30 days.
* A device that names a doomed blob in a row which was not committed yet *guards* it: the row is pushed only when the
  provider has the blob, and until all devices have acknowledged that row it is looked after there, and sent again
  should a device that did not know better have deleted it.
* So is a blob which was sent days ago and whose row still is not committed: nobody shall take it for an orphan.
* The copy here goes after the one at the provider, and only if no row came to name it meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from leap.soledad.errors import BlobAltered
from leap.soledad.head import HeadRecord
from leap.soledad.keyset import Keyset
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.naming import find_named
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.tombstones import acknowledged
from leap.soledad.wire import MAX_BATCH_BLOBS

DOOMED_SECONDS = 30 * 24 * 3600  # a device that was away for longer may find its rescued blobs gone
STALE_LOT_SECONDS = 6 * 3600  # those of so long a time are looked at together
STALE_SECONDS = 3 * 24 * 3600  # since a blob was sent: well before it could be taken for an orphan
LOOK_SECONDS = 3600.0  # so often, and when the log has moved, a guarded blob is looked after; before its row each time


class Deletion:
    """The end of one store's blobs."""

    def __init__(
        self, store: Soledad, remote: SyncRemote, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._remote = remote
        self._now = now
        self._looked: tuple[int, float] = (-1, 0.0)  # at which head, and when

    # -- before a push ------------------------------------------------------------------------

    async def before_push(self, seq: int) -> None:
        """Guards what rows that are not committed yet name. Raises Unreachable, Refused."""
        if await self._store.read(self._may_need_guard):
            await self._store.write(self._guard)
        looked, when = self._looked
        moved = looked != seq or abs(self._now() - when) > LOOK_SECONDS
        if moved or await self._store.read(_has_uncommitted):
            await self._look_after(seq)

    def _may_need_guard(self, connection: Connection) -> bool:
        stale = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM blob_sent WHERE time < ?)",
            (int(self._now()) - STALE_SECONDS - STALE_LOT_SECONDS,),
        ).fetchone()[0]
        doomed = _ids(connection.execute("SELECT blob_id FROM blob_doomed"))
        return bool(stale or find_named(connection, self._store.tables, doomed).refs)

    def _guard(self, connection: Connection) -> None:
        stale = _ids(
            connection.execute(
                "SELECT blob_id FROM blob_sent WHERE time < ?", (int(self._now()) - STALE_SECONDS,)
            )
        )
        doomed = _ids(connection.execute("SELECT blob_id FROM blob_doomed"))
        named = find_named(connection, self._store.tables, {*stale, *doomed})
        # Of a row that was committed before, everybody knew who deleted another one.
        guarded = named.refs.keys() - named.committed
        connection.executemany(
            "INSERT OR IGNORE INTO blob_guarded (blob_id, since) VALUES (?, NULL)",
            [(blob_id,) for blob_id in guarded],
        )
        _delete(connection, "blob_doomed", named.refs)
        _delete(connection, "blob_sent", stale)

    async def _look_after(self, seq: int) -> None:
        guarded = await self._store.read(
            lambda c: _ids(c.execute("SELECT blob_id FROM blob_guarded ORDER BY blob_id"))
        )
        for first in range(0, len(guarded), MAX_BATCH_BLOBS):
            ids = guarded[first : first + MAX_BATCH_BLOBS]
            listed = await self._remote.find_listed(ids, renew=True)
            hashes = {blob_id: there.sha256.hex() for blob_id, there in listed.items()}
            await self._store.write(partial(self._compare, blob_ids=ids, hashes=hashes))
        self._looked = seq, self._now()

    def _compare(
        self, connection: Connection, blob_ids: Sequence[str], hashes: Mapping[str, str]
    ) -> None:
        blobs = self._store.blobs
        for blob_id in blob_ids:
            ref = blobs.find_ref(connection, blob_id)
            if ref is not None and hashes.get(blob_id) != ref.sha256:
                blobs.send_again(connection, blob_id)

    async def hold(self) -> None:
        """Fetches guarded blobs that are not here: whoever guards must have them. Raises Unreachable, Refused."""

        def absent(connection: Connection) -> list[str]:
            return _ids(
                connection.execute(
                    "SELECT blob_id FROM blob_guarded"
                    " WHERE blob_id NOT IN (SELECT blob_id FROM blob)"
                )
            )

        missing = await self._store.read(absent)
        if not missing:
            return
        tables = self._store.tables
        named = await self._store.read(lambda c: find_named(c, tables, missing))
        for ref in named.refs.values():
            with contextlib.suppress(
                BlobAltered
            ):  # it counts as lost, and is asked for again later
                await self._store.keep_blobs([ref])

    # -- after a push -------------------------------------------------------------------------

    async def purge(self, record: HeadRecord, keyset: Keyset) -> int:
        """Dates newly doomed blobs, and deletes those that every device knows of; answers how many."""
        known = acknowledged(record, keyset)
        if not any(await self._store.read(lambda c: self._judge(c, record.seq, known))):
            return 0  # usually: nothing is doomed

        def settle(connection: Connection) -> list[str]:
            found = self._judge(connection, record.seq, known)
            for table, fresh in (("blob_doomed", found.fresh), ("blob_guarded", found.committed)):
                connection.executemany(
                    f"UPDATE {table} SET since = ? WHERE blob_id = ?",  # noqa: S608
                    [(record.seq, name) for name in fresh],
                )
            _delete(connection, "blob_guarded", found.relieved)
            return found.due

        due = await self._store.write(settle)
        if due:
            await self._remote.delete_blobs(due)
            await self._store.write(lambda c: self._remove(c, due))
        return len(due)

    def _judge(self, connection: Connection, seq: int, known: int) -> _Judged:
        doomed = connection.execute("SELECT blob_id, since, time FROM blob_doomed").fetchall()
        guarded = connection.execute("SELECT blob_id, since FROM blob_guarded").fetchall()
        judged = _Judged([], [], [], [])
        ids = [row[0] for row in (*doomed, *guarded)]
        named = find_named(connection, self._store.tables, ids)
        long_ago = int(self._now()) - DOOMED_SECONDS
        for blob_id, since, when in doomed:
            if blob_id in named.refs or blob_id in named.waiting:
                continue  # wanted back, or the deletion of its row was not pushed yet
            if (seq if since is None else since) <= known or when < long_ago:
                judged.due.append(blob_id)
            elif since is None:
                judged.fresh.append(blob_id)
        for blob_id, since in guarded:
            if blob_id not in named.refs:
                judged.relieved.append(blob_id)
            elif since is None and blob_id in named.committed:
                judged.committed.append(blob_id)
            elif since is not None and since <= known and self._looked[0] == seq:
                judged.relieved.append(blob_id)
        return judged

    def _remove(self, connection: Connection, due: Sequence[str]) -> None:
        named = find_named(connection, self._store.tables, due)
        self._store.blobs.remove(connection, [name for name in due if name not in named.refs])
        _delete(connection, "blob_doomed", named.refs)
        for blob_id in named.refs:  # a row came to name it while it was being deleted there
            self._store.blobs.send_again(connection, blob_id)


class _Judged(NamedTuple):
    """What is to be done: `fresh` ones get their date, `due` ones go; of the guarded ones, `committed` get theirs."""

    fresh: list[str]
    due: list[str]
    committed: list[str]
    relieved: list[str]


def _has_uncommitted(connection: Connection) -> bool:
    query = "SELECT 1 FROM blob_guarded WHERE since IS NULL LIMIT 1"
    return connection.execute(query).fetchone() is not None


def _ids(rows: Iterable[tuple[str]]) -> list[str]:
    return [blob_id for (blob_id,) in rows]


def _delete(connection: Connection, table: str, blob_ids: Collection[str]) -> None:
    connection.execute(
        f"DELETE FROM {table} WHERE blob_id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(blob_ids)),),
    )
