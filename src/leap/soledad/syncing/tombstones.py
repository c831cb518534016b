"""Purging tombstones: what every device knows to be deleted leaves the log.

A tombstone is a deleted document without conflicts, or a page without rows, *as the log holds it*: what was changed
here and not pushed does not count. Purging up to seq P takes all of them at or below P out of the log. The head says P
(`purge_seq`), its digest does not count them any more, and the commit lists their ids for the provider.

Invariants:
* P is at or below what every listed device that is not revoked has acknowledged, or lies 30 days back.
* A device that had applied the log up to P finds the same tombstones by itself. Whether it did, the digest tells:
  if not, it takes the whole log again (`rejoin`). The provider's list of what it deleted is never believed.
* A device behind P takes the whole log again: what is not in it was deleted.
* What is made anew under a purged name begins at version 1 again: to a device that still counts the tombstone, that is
  no older version of it, if the head which says P signs for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from leap.soledad import documents
from leap.soledad.digest import SetDigest
from leap.soledad.head import HeadRecord
from leap.soledad.keyset import Keyset
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import decode_page
from leap.soledad.syncing.rejoin import document_ids, forget_documents
from leap.soledad.wire import MAX_COMMIT_ITEMS

PATIENCE = 30 * 24 * 3600  # seconds; a device that was away for longer takes the whole log again


class Tombstone(NamedTuple):
    """A log item that says of something that it is gone."""

    item_id: bytes
    name: str
    version: int
    ct_hash: bytes
    seq: int


def acknowledged(record: HeadRecord, keyset: Keyset) -> int:
    """The seq up to which every listed device that is not revoked has applied the log; -1 if one never said."""
    return min(
        (
            record.devices[device.device_id].acked_seq if device.device_id in record.devices else -1
            for device in keyset.devices
            if device.revoked_at is None
        ),
        default=-1,
    )


def due(
    connection: Connection,
    tables: Mapping[str, RowTable],
    record: HeadRecord,
    keyset: Keyset,
    now: float,
) -> tuple[int, list[Tombstone]]:
    """Up to which seq tombstones can be purged now, in one commit, and which."""
    old = connection.execute(
        "SELECT max(seq) FROM accepted_head WHERE time < ?", (int(now) - PATIENCE,)
    ).fetchone()[0]
    limit = min(record.seq, max(acknowledged(record, keyset), old or -1))
    found = list_tombstones(connection, tables, limit)
    if len(found) > MAX_COMMIT_ITEMS:
        limit = found[MAX_COMMIT_ITEMS].seq - 1
        found = [tombstone for tombstone in found if tombstone.seq <= limit]
    return limit, found


def list_tombstones(
    connection: Connection, tables: Mapping[str, RowTable], limit: int
) -> list[Tombstone]:
    """All at or below `limit`, in order of seq."""
    items = [
        Tombstone(*values)
        for values in connection.execute(
            "SELECT item_id, name, version, ct_hash, seq FROM log_item"
            " WHERE seq BETWEEN 1 AND ? AND (substr(name, 1, 5) = 'page/' OR EXISTS"
            " (SELECT 1 FROM document WHERE doc_id = substr(name, 10)"
            "  AND (content IS NULL OR dirty = 1))) ORDER BY seq, item_id",
            (limit,),
        )
    ]
    return [item for item in items if _is_gone(connection, tables, item.name)]


def _is_gone(connection: Connection, tables: Mapping[str, RowTable], name: str) -> bool:
    kind, _, key = name.partition("/")
    if kind == "document":
        stored = documents.load(connection, key)
        item = None if stored is None else stored.base if stored.dirty else stored.item
        return item is not None and item.content is None and not item.conflicts
    for table in tables.values():
        row = connection.execute(
            f"SELECT 1 FROM {table.schema.name} WHERE page_id = ? AND synced = 1 LIMIT 1",  # noqa: S608
            (key,),
        ).fetchone()
        if row is not None:
            return False
    unknown = connection.execute(
        "SELECT payload FROM unknown_page WHERE page_id = ?", (key,)
    ).fetchone()
    return unknown is None or not decode_page(unknown[0]).columns[0]


def count_out(digest: SetDigest, tombstones: Sequence[Tombstone]) -> None:
    """Takes them out of a digest."""
    for item in tombstones:
        digest.remove(item.item_id, item.version, item.ct_hash)


def forget(connection: Connection, item_ids: Sequence[bytes]) -> None:
    """They left the log. What was made anew here in their place stays, as something new."""
    names = [
        name
        for item_id in item_ids
        for (name,) in connection.execute(
            "DELETE FROM log_item WHERE item_id = ? RETURNING name", (item_id,)
        ).fetchall()
    ]
    forget_documents(connection, document_ids(names))
    pages = json.dumps([name[5:] for name in names if name.startswith("page/")])
    connection.execute(
        "DELETE FROM unknown_page WHERE page_id IN (SELECT value FROM json_each(?))", (pages,)
    )
