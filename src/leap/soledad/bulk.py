"""Changes of thousands of rows at once: one statement for all of them, and one record of what changed.

A projection and the change feed get such a record instead of a `RowChange` for each row (`Transaction.bulk`,
`ChangeSet.bulk`): what the rows were and are, they can read in one statement too.

Invariants:
* What a record says was true of every row in it, and is true of it until a later record or `RowChange` says otherwise.
* Rows come to be `dirty` as by single changes: sync cannot tell the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from leap.soledad.changes import Row, RowChange, SetChanged
from leap.soledad.rows import RowTable, SetEdit, set_text
from leap.soledad.sqlite import Connection


class Here(NamedTuple):
    """Rows that have one text in a column: their numbers in SQLite, and their ids."""

    numbers: list[int]
    row_ids: list[str]


def change_set(
    connection: Connection,
    table: RowTable,
    row_ids: Sequence[str],
    column: str,
    value: str | Iterable[str] | SetEdit,
) -> list[SetChanged]:
    """Changes one set of many rows; rows that do not exist or have it already are passed over."""
    schema = table.schema
    if column not in schema.sets:
        raise ValueError(f"{schema.name} has no set {column!r}")
    made = None if isinstance(value, SetEdit) else set_text(value)
    kinds: dict[str, Here] = {}
    for number, row_id, old in connection.execute(
        f"SELECT t.rowid, t.row_id, t.{column} FROM json_each(?) j CROSS JOIN {schema.name} t"  # noqa: S608
        " ON t.row_id = j.value WHERE t.deleted = 0",
        (json.dumps(row_ids),),
    ):
        kind = kinds.get(old)
        if kind is None:
            kind = kinds[old] = Here([], [])
        kind.numbers.append(number)
        kind.row_ids.append(row_id)
    changed: list[SetChanged] = []
    for old, kind in kinds.items():  # few, among many rows
        new = value.applied(old) if isinstance(value, SetEdit) else made
        if new is None or new == old:
            continue
        connection.execute(
            f"UPDATE {schema.name} SET dirty = 1, {column} = ?"  # noqa: S608
            " WHERE rowid IN (SELECT value FROM json_each(?))",
            (new, json.dumps(kind.numbers)),
        )
        changed.append(SetChanged(schema.name, column, old, new, kind.row_ids))
    return changed


def as_bulk(changes: Iterable[RowChange], column: str) -> list[SetChanged]:
    """The same record of changes that were made one by one."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for schema, row_id, before, after in changes:
        old, new = _text(before, column), _text(after, column)
        kinds.setdefault((schema, old, new), []).append(row_id)
    return [SetChanged(schema, column, old, new, ids) for (schema, old, new), ids in kinds.items()]


def _text(row: Row | None, column: str) -> str:
    return "" if row is None else row[column]
