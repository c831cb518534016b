"""Applying verified log items to the store, and taking note of what this device committed itself.

Runs inside one transaction of the writer; nothing here has to be verified any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from leap.soledad import documents
from leap.soledad.changes import Row
from leap.soledad.documents import DocumentItem, Merge
from leap.soledad.rows import RowSchema, RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import LogItem, PageItem, encode_item, name_of, page_of
from leap.soledad.syncing.pages import PageMerge, acknowledge_page
from leap.soledad.syncing.state import Pending
from leap.soledad.transaction import Transaction

MANY_PAGES = 16  # that bring new rows; of more of them, the rows are not kept in memory one by one

_payloads = msgspec.msgpack.Decoder(LogItem)


class VerifiedItem(NamedTuple):
    """An item whose envelope opened and which the signed digest counts in."""

    item_id: bytes
    version: int
    ct_hash: bytes
    item: LogItem
    seq: int


def apply_items(
    tx: Transaction,
    items: Iterable[VerifiedItem],
    tables: Mapping[str, RowTable],
    merges: Mapping[str, Merge],
    *,
    many: bool = False,
) -> bool:
    """Rebases local changes on the items, in order; True if a row moved to another page by that.

    With `many`, new rows are recorded as arrivals of their schema, and not one by one.
    """
    pages: dict[str, PageMerge] = {}
    for verified in items:
        item = verified.item
        if isinstance(item, DocumentItem):
            _apply_document(tx, item, merges)
        elif not item.schema:
            for name, table in tables.items():
                merge = pages.setdefault(name, PageMerge(tx, table, many=many))
                merge.apply(page_of(item.page_id, table.schema, []))
            tx.connection.execute("DELETE FROM unknown_page WHERE page_id = ?", (item.page_id,))
        elif item.schema in tables:
            table = tables[item.schema]
            merge = pages.setdefault(item.schema, PageMerge(tx, table, many=many))
            want_blobs(tx.connection, table.schema, merge.apply(item))
        else:
            _set_aside(tx.connection, item)
        save_log_item(tx.connection, verified, name_of(item))
    for merge in pages.values():
        tx.doom_blobs(merge.orphaned)
    return any(merge.adopted for merge in pages.values())


def _apply_document(tx: Transaction, remote: DocumentItem, merges: Mapping[str, Merge]) -> None:
    stored = tx.load(remote.doc_id)
    result, base = remote, None
    if stored is not None and stored.dirty:
        result = documents.merge_items(stored.base, stored.item, remote, merges, tx.replica)
        base = remote if result != remote else None
    elif stored is not None and stored.item == remote:
        return
    documents.save(
        tx.connection, result, dirty=result != remote, base=base, generation=tx.generation()
    )
    before = stored.item if stored is not None else None
    if before is None or before.content != result.content:
        tx.note_document(before, result)


def _set_aside(connection: Connection, page: PageItem) -> None:
    """Rows of a newer program: kept as they came, until a version that knows them opens the store."""
    connection.execute(
        "INSERT OR REPLACE INTO unknown_page (page_id, schema, payload) VALUES (?, ?, ?)",
        (page.page_id, page.schema, encode_item(page)),
    )


def apply_set_aside(tx: Transaction, tables: Mapping[str, RowTable]) -> None:
    """Applies pages that came before their schema was known here."""
    found = tx.connection.execute("SELECT page_id, schema, payload FROM unknown_page").fetchall()
    for page_id, schema, payload in found:
        if schema not in tables:
            continue
        page = _payloads.decode(payload)
        assert isinstance(page, PageItem)
        new = PageMerge(tx, tables[schema]).apply(page)
        want_blobs(tx.connection, tables[schema].schema, new)
        tx.connection.execute("DELETE FROM unknown_page WHERE page_id = ?", (page_id,))


def want_blobs(connection: Connection, schema: RowSchema, rows: Iterable[Row]) -> None:
    """Puts the blobs of new rows on the list of those to fetch."""
    values = [
        (row[id_column], row[sha256], row[size], priority, _rank(row, schema))
        for row in rows
        for priority, (id_column, sha256, size) in enumerate(schema.blobs)
        if row[id_column]
    ]
    connection.executemany(
        "INSERT OR IGNORE INTO blob_wanted (blob_id, sha256, size, priority, newest)"
        " SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM blob WHERE blob_id = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM blob_evicted WHERE blob_id = ?1)",
        values,
    )


def _rank(row: Row, schema: RowSchema) -> int:
    value = row[schema.newest] if schema.newest else 0
    return int(value) if isinstance(value, int | float) else 0


def save_log_item(connection: Connection, verified: VerifiedItem, name: str) -> None:
    connection.execute(
        "INSERT INTO log_item (item_id, name, version, ct_hash, seq) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (item_id) DO UPDATE SET version = excluded.version,"
        " ct_hash = excluded.ct_hash, seq = excluded.seq",
        (verified.item_id, name, verified.version, verified.ct_hash, verified.seq),
    )


def acknowledge(
    connection: Connection,
    tables: Mapping[str, RowTable],
    pending: Pending,
    hashes: Mapping[bytes, bytes],
) -> None:
    """The pending commit took place: its payloads are the base of what is here now.

    `hashes` are the SHA-256 of its sealed items by item id.
    """
    found = connection.execute(
        "SELECT position, item_id, version, payload FROM pending_item ORDER BY position"
    )
    first = pending.record.seq - pending.count + 1
    for position, item_id, version, payload in found:
        item = _payloads.decode(payload)
        if isinstance(item, DocumentItem):
            _acknowledge_document(connection, item)
        elif item.schema in tables:
            acknowledge_page(connection, tables[item.schema], item)
        verified = VerifiedItem(item_id, version, hashes[item_id], item, first + position)
        save_log_item(connection, verified, name_of(item))
    connection.execute("DELETE FROM pending_item")


def _acknowledge_document(connection: Connection, item: DocumentItem) -> None:
    stored = documents.load(connection, item.doc_id)
    if stored is None:
        return
    done = stored.item == item
    connection.execute(
        "UPDATE document SET dirty = ?, base = ? WHERE doc_id = ?",
        (int(not done), None if done else msgspec.msgpack.encode(item), item.doc_id),
    )
