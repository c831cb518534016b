"""Rows and pages: filling them, applying those of other devices, and taking note of what was committed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leap.soledad.changes import Row, RowChange
from leap.soledad.rebase import merge_row
from leap.soledad.rows import PAGE_ROWS, RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.items import PageItem, page_of, rows_of
from leap.soledad.syncing.state import OPEN_PAGE
from leap.soledad.transaction import Transaction, find_setting, save_setting


@dataclass
class _State:
    """A row as this device has it: `row` as it shows (or showed before it was deleted), `base` as synced."""

    page_id: str | None
    synced: bool
    dirty: bool
    deleted: bool
    row: Row
    base: Row


def fill_pages(
    connection: Connection,
    table: RowTable,
    limit: int,
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Puts up to `limit` new rows whose blobs the provider has into this device's open page, and further ones."""
    schema = table.schema
    name = schema.name
    connection.execute(
        f"DELETE FROM {name} WHERE dirty = 1 AND page_id IS NULL AND deleted = 1"  # noqa: S608
    )
    blob_ids = ", ".join(f"t.{blob[0]}" for blob in schema.blobs)
    sent = (
        f" AND NOT EXISTS (SELECT 1 FROM blob_unsent u WHERE u.blob_id IN ({blob_ids}))"  # noqa: S608
        if blob_ids
        else ""
    )
    rowids = [
        rowid
        for (rowid,) in connection.execute(
            f"SELECT t.rowid FROM {name} t WHERE t.dirty = 1 AND t.page_id IS NULL{sent}"  # noqa: S608
            " ORDER BY t.rowid LIMIT ?",
            (limit,),
        )
    ]
    page_id, used = _open_page(connection, table)
    while rowids:
        if page_id is None or used >= PAGE_ROWS:
            page_id, used = random(16).hex(), 0
        now, rowids = rowids[: PAGE_ROWS - used], rowids[PAGE_ROWS - used :]
        connection.execute(
            f"UPDATE {name} SET page_id = ? WHERE rowid IN (SELECT value FROM json_each(?))",  # noqa: S608
            (page_id, json.dumps(now)),
        )
        used += len(now)
        save_setting(connection, OPEN_PAGE + name, page_id)


def _open_page(connection: Connection, table: RowTable) -> tuple[str | None, int]:
    page_id = find_setting(connection, OPEN_PAGE + table.schema.name)
    if page_id is None:
        return None, 0
    used = connection.execute(
        f"SELECT count(*) FROM {table.schema.name} WHERE page_id = ?",  # noqa: S608
        (page_id,),
    ).fetchone()[0]
    return page_id, used


def dirty_pages(connection: Connection, table: RowTable) -> list[str]:
    """Pages with changes that were not synced."""
    found = connection.execute(
        f"SELECT DISTINCT page_id FROM {table.schema.name}"  # noqa: S608
        " WHERE dirty = 1 AND page_id IS NOT NULL ORDER BY page_id"
    )
    return [page_id for (page_id,) in found]


def load_page(connection: Connection, table: RowTable, page_id: str) -> PageItem:
    """The page as it is to be pushed."""
    rows = connection.execute(
        f"SELECT {table.shown} FROM {table.schema.name} t"  # noqa: S608
        " WHERE page_id = ? AND deleted = 0 ORDER BY rowid",
        (page_id,),
    ).fetchall()
    return page_of(page_id, table.schema, rows)


def acknowledge_page(connection: Connection, table: RowTable, page: PageItem) -> None:
    """The page was committed as it is here: that is the base of its rows now."""
    schema = table.schema
    committed = rows_of(page, schema)
    mutable = schema.mutable
    found = connection.execute(
        f"SELECT row_id, deleted, {', '.join(mutable)} FROM {schema.name}"  # noqa: S608
        " WHERE page_id = ? AND dirty = 1",
        (page.page_id,),
    ).fetchall()
    gone: list[str] = []
    updates: list[tuple[Any, ...]] = []
    for row_id, deleted, *values in found:
        row = committed.get(row_id)
        if row is None:
            if deleted:
                gone.append(row_id)
            continue
        base = [row[name] for name in mutable]
        updates.append((int(bool(deleted) or values != base), *base, row_id))
    marks = ", ".join(f"base_{name} = ?" for name in mutable)
    connection.executemany(
        f"UPDATE {schema.name} SET synced = 1, dirty = ?, {marks} WHERE row_id = ?",  # noqa: S608
        updates,
    )
    _remove(connection, table, gone)


class PageMerge:
    """Applies pages of other devices to one schema's rows, in one transaction.

    With `many`, it records new rows as arrivals only, and not one by one.
    """

    def __init__(self, tx: Transaction, table: RowTable, *, many: bool = False) -> None:
        self._many = many
        self._tx = tx
        self._table = table
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._gone: list[str] = []
        self.orphaned: set[str] = set()  # blobs that the rows it removed or replaced named
        self.adopted = False  # a row was found in another page than the one it was in here
        schema = table.schema
        marks = [f"{name} = ?" for name in schema.columns]
        marks += [f"base_{name} = ?" for name in schema.mutable]
        self._update_sql = (
            f"UPDATE {schema.name} SET page_id = ?, synced = 1, dirty = ?, deleted = ?, {', '.join(marks)}"  # noqa: S608
            " WHERE row_id = ?"
        )

    def apply(self, page: PageItem) -> list[Row]:
        """Rebases local changes on the page; answers the rows it brought that were not here."""
        table, connection = self._table, self._tx.connection
        remote = rows_of(page, table.schema)
        local = _load_states(connection, table, page.page_id, list(remote))
        new: list[Row] = []
        for row_id, row in remote.items():
            state = local.pop(row_id, None)
            if state is None:
                self._inserts.append(table.packed(row, page.page_id, synced=True))
                if self._many:
                    self._tx.note_arrivals(table.schema.name)
                else:
                    self._note(row_id, None, row)
                new.append(row)
            else:
                if self._merge(page.page_id, state, row):
                    new.append(row)
        for state in local.values():
            self._left_out(state)
        self._flush(connection)
        return new

    def _merge(self, page_id: str, state: _State, remote: Row) -> bool:
        """Rebases one row; True if it names other blobs than before."""
        schema = self._table.schema
        shown = None if state.deleted else state.row
        merged: Row | None = remote
        if state.dirty:
            merged = merge_row(schema, state.base, shown, remote)
        elif state.row == remote and state.page_id == page_id:
            return False
        if state.page_id != page_id:
            self.adopted = True
        kept = merged if merged is not None else remote
        self._updates.append(
            (
                page_id,
                int(merged != remote),
                int(merged is None),
                *(kept[name] for name in schema.columns),
                *(remote[name] for name in schema.mutable),
                remote["row_id"],
            )
        )
        if merged != shown:
            self._note(remote["row_id"], shown, merged)
        replaced = self._blobs_of(state.row) - self._blobs_of(remote)
        self.orphaned |= replaced
        return bool(replaced)

    def _blobs_of(self, row: Row) -> set[str]:
        return {row[blob[0]] for blob in self._table.schema.blobs if row[blob[0]]}

    def _left_out(self, state: _State) -> None:
        """Another device expunged the row, or never had it; a local move survives an expunge."""
        shown = None if state.deleted else state.row
        if not state.synced:
            return
        if state.dirty and merge_row(self._table.schema, state.base, shown, None) is not None:
            return
        self._gone.append(state.row["row_id"])
        self.orphaned |= self._blobs_of(state.row)
        if shown is not None:
            self._note(shown["row_id"], shown, None)

    def _note(self, row_id: str, before: Row | None, after: Row | None) -> None:
        self._tx.note_row(RowChange(self._table.schema.name, row_id, before, after))

    def _flush(self, connection: Connection) -> None:
        if self._inserts:
            connection.executemany(self._table.insert_sql, self._inserts)
        if self._updates:
            connection.executemany(self._update_sql, self._updates)
        _remove(connection, self._table, self._gone)
        self._inserts, self._updates, self._gone = [], [], []


def _remove(connection: Connection, table: RowTable, row_ids: Sequence[str]) -> None:
    if row_ids:
        connection.execute(
            f"DELETE FROM {table.schema.name} WHERE row_id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(row_ids)),),
        )


def _load_states(
    connection: Connection, table: RowTable, page_id: str, row_ids: Sequence[str]
) -> dict[str, _State]:
    """The rows of this page and those of these ids, wherever they are."""
    schema = table.schema
    bases = ", ".join(f"t.base_{name}" for name in schema.mutable)
    found = connection.execute(
        f"SELECT t.page_id, t.synced, t.dirty, t.deleted, {table.shown}, {bases} FROM {schema.name} t"  # noqa: S608
        " WHERE t.page_id = ? OR t.row_id IN (SELECT value FROM json_each(?))",
        (page_id, json.dumps(list(row_ids))),
    )
    width = 4 + 1 + len(schema.columns)
    states: dict[str, _State] = {}
    for values in found:
        row = table.as_row(values[4:width])
        base = {**row, **dict(zip(schema.mutable, values[width:], strict=True))}
        states[row["row_id"]] = _State(
            values[0], bool(values[1]), bool(values[2]), bool(values[3]), row, base
        )
    return states
