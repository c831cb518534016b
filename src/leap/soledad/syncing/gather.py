"""What there is to push: dirty documents and pages, as payloads with the version each will have.

New rows are put into pages by the writer first; the payloads are then read from one snapshot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from leap.soledad import documents
from leap.soledad.documents import DocumentItem
from leap.soledad.envelope import item_id_of
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import (
    LogItem,
    PageItem,
    decode_page,
    empty_page,
    encode_item,
    name_of,
)
from leap.soledad.syncing.pages import dirty_pages, fill_pages, load_page
from leap.soledad.syncing.state import KeptPush

# Of one commit; what is over it follows in the next one. A provider takes twice as much in one push: it is as much
# as may be in memory twice, as it is and sealed.
MAX_ITEMS = 10_000
MAX_BYTES = 12 * 1024 * 1024  # by the estimate below
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
    everything: bool = False,
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
) -> list[Outgoing]:
    """The items of the next commit, those kept from an earlier one first and as they were.

    `everything`: what a log founded anew lacks of the former one, too.
    """
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
    items = _dirty_items(connection, tables, max_items)
    if everything:
        items = chain(items, _former_items(connection, tables))
    for item in items:
        name = name_of(item)
        if name in taken:
            continue
        payload = encode_item(item)
        room -= max(LEAST_SEALED, len(payload) * 9 // 8)
        if outgoing and (room < 0 or len(outgoing) >= max_items):
            break
        item_id = item_id_of(id_key, name)
        version = 1 + max(
            version
            for (version,) in connection.execute(
                "SELECT 0 UNION ALL SELECT version FROM log_item WHERE item_id = ?1"
                " UNION ALL SELECT version FROM former_item WHERE item_id = ?1",
                (item_id,),
            )
        )
        before = cache.get((name, version))
        sealed = before.sealed if before is not None and before.payload == payload else None
        taken.add(name)
        outgoing.append(Outgoing(item_id, name, version, payload, sealed))
    return outgoing


def rest_of_former(connection: Connection, names: Collection[str]) -> bool:
    """Whether the former log held more than is in the new one and in a commit of these `names`."""
    found = connection.execute(
        "SELECT name FROM former_item f"
        " WHERE NOT EXISTS (SELECT 1 FROM log_item l WHERE l.item_id = f.item_id)"
    )
    return any(name not in names for (name,) in found)


def _dirty_items(
    connection: Connection, tables: Mapping[str, RowTable], limit: int
) -> Iterator[LogItem]:
    for stored in documents.load_dirty(connection, limit):
        yield stored.item
    for table in tables.values():
        for page_id in dirty_pages(connection, table):
            yield load_page(connection, table, page_id)


def _former_items(connection: Connection, tables: Mapping[str, RowTable]) -> Iterator[LogItem]:
    """What the former log held, as it is here, and the new one does not hold yet."""
    found = connection.execute(
        "SELECT name FROM former_item f"
        " WHERE NOT EXISTS (SELECT 1 FROM log_item l WHERE l.item_id = f.item_id) ORDER BY seq"
    ).fetchall()
    for (name,) in found:
        kind, _, key = name.partition("/")
        if kind == "document":
            stored = documents.load(connection, key)
            yield stored.item if stored is not None else DocumentItem(key, "1:", None)
        else:
            yield _page(connection, tables, key)


def _page(connection: Connection, tables: Mapping[str, RowTable], page_id: str) -> PageItem:
    for table in tables.values():
        page = load_page(connection, table, page_id)
        if page.columns[0]:
            return page
    unknown = connection.execute(
        "SELECT payload FROM unknown_page WHERE page_id = ?", (page_id,)
    ).fetchone()
    return empty_page(page_id) if unknown is None else decode_page(unknown[0])


def count_dirty(connection: Connection, tables: Mapping[str, RowTable]) -> int:
    """How many documents and rows have changes that were not synced."""
    count: int = connection.execute("SELECT count(*) FROM document WHERE dirty = 1").fetchone()[0]
    for name in tables:
        count += connection.execute(
            f"SELECT count(*) FROM {name} WHERE dirty = 1"  # noqa: S608
        ).fetchone()[0]
    return count
