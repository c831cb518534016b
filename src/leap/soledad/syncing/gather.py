"""What there is to push: dirty documents and pages, as payloads with the version each will have.

New rows are put into pages by the writer first; the payloads are then read from one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from leap.soledad import documents
from leap.soledad.envelope import item_id_of
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import LogItem, encode_item, name_of
from leap.soledad.syncing.pages import dirty_pages, fill_pages, load_page
from leap.soledad.syncing.state import KeptPush

# Of one commit; what is over it follows in the next one. A provider takes twice as much in one push: it is as much
# as may be in memory twice, as it is and sealed.
MAX_ITEMS = 10_000
MAX_BYTES = 16 * 1024 * 1024  # by the estimate below
MAX_NEW_ROWS = 200_000
LEAST_SEALED = 1_100  # what the smallest item has when it is sealed and padded


class Outgoing(NamedTuple):
    """One item of the next commit; `sealed` if an earlier attempt sealed just this already."""

    item_id: bytes
    name: str
    version: int
    payload: bytes
    sealed: bytes | None

    def __repr__(self) -> str:
        return f"Outgoing({self.version})"


def assign_pages(connection: Connection, tables: Mapping[str, RowTable]) -> None:
    """Puts new rows into pages."""
    for table in tables.values():
        fill_pages(connection, table, MAX_NEW_ROWS)


def gather(
    connection: Connection,
    tables: Mapping[str, RowTable],
    id_key: bytes,
    kept: KeptPush | None,
    *,
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
) -> list[Outgoing]:
    """The items of the next commit, those kept from an earlier one first and as they were."""
    earlier = [
        Outgoing(item_id, name, version, payload, sealed)
        for item_id, name, version, payload, sealed in connection.execute(
            "SELECT item_id, name, version, payload, sealed FROM pending_item ORDER BY position"
        )
    ]
    outgoing = earlier[: kept.staged] if kept is not None else []
    taken = {item.name for item in outgoing}
    cache = {(item.name, item.version): item for item in earlier[len(outgoing) :]}
    room = max_bytes
    for item in _dirty_items(connection, tables, max_items):
        name = name_of(item)
        if name in taken:
            continue
        payload = encode_item(item)
        room -= max(LEAST_SEALED, len(payload) * 9 // 8)
        if outgoing and (room < 0 or len(outgoing) >= max_items):
            break
        item_id = item_id_of(id_key, name)
        found = connection.execute(
            "SELECT version FROM log_item WHERE item_id = ?", (item_id,)
        ).fetchone()
        version = (found[0] if found is not None else 0) + 1
        before = cache.get((name, version))
        sealed = before.sealed if before is not None and before.payload == payload else None
        outgoing.append(Outgoing(item_id, name, version, payload, sealed))
    return outgoing


def _dirty_items(
    connection: Connection, tables: Mapping[str, RowTable], limit: int
) -> Iterator[LogItem]:
    for stored in documents.load_dirty(connection, limit):
        yield stored.item
    for table in tables.values():
        for page_id in dirty_pages(connection, table):
            yield load_page(connection, table, page_id)


def count_dirty(connection: Connection, tables: Mapping[str, RowTable]) -> int:
    """How many documents and rows have changes that were not synced."""
    count: int = connection.execute("SELECT count(*) FROM document WHERE dirty = 1").fetchone()[0]
    for name in tables:
        count += connection.execute(
            f"SELECT count(*) FROM {name} WHERE dirty = 1"  # noqa: S608
        ).fetchone()[0]
    return count
