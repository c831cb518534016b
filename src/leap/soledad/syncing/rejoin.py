"""Taking the whole log again: after it was founded anew, or when this device was away for longer than tombstones last.

Both times all items come from the beginning, and what the signed digest counts is all there is. What is left of the
former log here is compared with it:

    the item was here         and the new log     then
    ------------------------  ------------------  -------------------------------------------------------------
    as the founder knew it    holds it            it is taken; what was edited and not pushed is rebased on it
    as the founder knew it    does not hold it    it was deleted long ago: it goes, but for what was edited here
    newer than the founder    holds it            it is kept as a local edit on top (a deletion is not)
    newer than the founder    does not hold it    it is kept as a local edit

"Newer than the founder" is what lies behind the last head of the former log which the founder had seen. The founding
head says so by counters (`HeadRecord.founded_on`), which are never used twice; which head lies at which seq is
remembered in `accepted_head`. A device that was away is never newer: nobody founded anything.

Runs inside one transaction of the writer, on items that were verified.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from leap.soledad import documents
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import page_of
from leap.soledad.syncing.pages import PageMerge
from leap.soledad.transaction import Transaction

_AMONG = "IN (SELECT value FROM json_each(?))"


def retire_log(connection: Connection) -> None:
    """What was applied of the log becomes what was applied of the former one."""
    connection.execute(
        "INSERT OR REPLACE INTO former_item (item_id, name, version, ct_hash, seq)"
        " SELECT item_id, name, version, ct_hash, seq FROM log_item"
    )
    connection.execute("DELETE FROM log_item")


def keep_unshared(
    connection: Connection, tables: Mapping[str, RowTable], founded_on: Mapping[str, int]
) -> set[str]:
    """Makes what the founder had not seen local edits again; answers the names of these items."""
    shared = max(
        (
            seq
            for seq, author, counter in connection.execute(
                "SELECT seq, author, counter FROM accepted_head"
            )
            if counter <= founded_on.get(author, 0)
        ),
        default=0,
    )
    connection.execute("DELETE FROM accepted_head")
    names = {
        name
        for (name,) in connection.execute("SELECT name FROM former_item WHERE seq > ?", (shared,))
    }
    doc_ids, page_ids = _keys(names)
    connection.execute(
        f"UPDATE document SET dirty = 1, base = NULL WHERE content IS NOT NULL AND doc_id {_AMONG}",  # noqa: S608
        (doc_ids,),
    )
    for table in tables.values():
        schema = table.schema
        blank = [f"base_{name} = NULL" for name in schema.scalars]
        blank += [f"base_{name} = ''" for name in schema.sets]
        connection.execute(
            f"UPDATE {schema.name} SET dirty = 1, synced = 0, {', '.join(blank)}"  # noqa: S608
            f" WHERE deleted = 0 AND page_id {_AMONG}",
            (page_ids,),
        )
    return names


def drop_missing(
    tx: Transaction, tables: Mapping[str, RowTable], unshared: Collection[str]
) -> None:
    """Deletes what the log held and does not hold any more, but for what was edited here."""
    connection = tx.connection
    missing = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM former_item f"
            " WHERE NOT EXISTS (SELECT 1 FROM log_item l WHERE l.item_id = f.item_id)"
        )
    }
    doc_ids, page_ids = _keys(missing.difference(unshared))
    for doc_id in json.loads(doc_ids):
        stored = documents.load(connection, doc_id)
        if stored is not None and not stored.dirty:
            tx.note_document(stored.item, documents.DocumentItem(doc_id, "", None))
    forget_documents(connection, doc_ids)
    connection.execute(  # a deletion which the founder never saw, of what its log does not hold
        f"DELETE FROM document WHERE dirty = 0 AND content IS NULL AND doc_id {_AMONG}",  # noqa: S608
        (_keys(missing)[0],),
    )
    for table in tables.values():
        merge = PageMerge(tx, table)
        for page_id in json.loads(page_ids):
            merge.apply(page_of(page_id, table.schema, []))
        tx.doom_blobs(merge.orphaned)
    connection.execute(f"DELETE FROM unknown_page WHERE page_id {_AMONG}", (page_ids,))  # noqa: S608
    settle_former(connection)


def settle_former(connection: Connection) -> None:
    """The new log is whole here: what is left of the former one says only from which version on items may go."""
    connection.execute(
        "DELETE FROM former_item AS f"
        " WHERE EXISTS (SELECT 1 FROM log_item l WHERE l.item_id = f.item_id)"
    )
    connection.execute("UPDATE former_item SET seq = 0")


def forget_documents(connection: Connection, doc_ids: str) -> None:
    """Documents (ids as JSON) that the log does not hold any more: edits are on top of nothing, the others go."""
    connection.execute(f"DELETE FROM document WHERE dirty = 0 AND doc_id {_AMONG}", (doc_ids,))  # noqa: S608
    connection.execute(f"UPDATE document SET base = NULL WHERE doc_id {_AMONG}", (doc_ids,))  # noqa: S608


def _keys(names: Collection[str]) -> tuple[str, str]:
    """Document ids and page ids of log items, as JSON."""
    found: dict[str, list[str]] = {"document": [], "page": []}
    for name in names:
        kind, _, key = name.partition("/")
        found[kind].append(key)
    return json.dumps(found["document"]), json.dumps(found["page"])


def document_ids(names: Sequence[str]) -> str:
    """The document ids among the names of log items, as JSON."""
    return _keys(names)[0]
