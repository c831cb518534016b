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

from leap.soledad.changes import Row, RowChange, RowsCopied, RowsDeleted, RowsMoved, SetChanged
from leap.soledad.errors import SoledadError
from leap.soledad.rows import RowExists, RowTable, SetEdit, set_text
from leap.soledad.sqlite import Connection, IntegrityError


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
    made = "" if isinstance(value, SetEdit) else set_text(value)
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
        if new == old:
            continue
        connection.execute(
            f"UPDATE {schema.name} SET dirty = 1, {column} = ?"  # noqa: S608
            " WHERE rowid IN (SELECT value FROM json_each(?))",
            (new, json.dumps(kind.numbers)),
        )
        changed.append(SetChanged(schema.name, column, old, new, kind.row_ids))
    return changed


def move(
    connection: Connection, table: RowTable, row_ids: Sequence[str], place: str
) -> RowsMoved | None:
    """Puts many rows to another place; those that do not exist or are there are passed over. None when all were."""
    schema = table.schema
    found = connection.execute(
        f"SELECT t.rowid, t.row_id FROM json_each(?) j CROSS JOIN {schema.name} t"  # noqa: S608
        f" ON t.row_id = j.value WHERE t.deleted = 0 AND t.{schema.place} IS NOT ?",
        (json.dumps(row_ids), place),
    ).fetchall()
    if not found:
        return None
    connection.execute(
        f"UPDATE {schema.name} SET dirty = 1, {schema.place} = ?"  # noqa: S608
        " WHERE rowid IN (SELECT value FROM json_each(?))",
        (place, json.dumps([number for number, _ in found])),
    )
    return RowsMoved(schema.name, place, [row_id for _, row_id in found])


def copy(
    connection: Connection,
    table: RowTable,
    sources: Sequence[str],
    copies: Sequence[str],
    place: str,
) -> RowsCopied | None:
    """Makes a row like each of `sources`, at `place`, under the ids `copies`; None when there was nothing to copy.

    Raises RowExists for an id that is taken, SoledadError for a source that does not exist.
    """
    schema = table.schema
    shown = [f"t.{name}" if name != schema.place else "?2" for name in schema.columns]
    shown += [f"t.{name}" if name != schema.place else "?2" for name in schema.mutable]
    names = [*schema.columns, *(f"base_{name}" for name in schema.mutable)]
    if not sources:
        return None
    before = connection.execute(f"SELECT max(rowid) FROM {schema.name}").fetchone()[0]  # noqa: S608
    try:
        made = connection.execute(
            f"INSERT INTO {schema.name} (row_id, synced, dirty, deleted, {', '.join(names)})"  # noqa: S608
            f" SELECT j.value ->> 1, 0, 1, 0, {', '.join(shown)} FROM json_each(?1) j"
            f" CROSS JOIN {schema.name} t ON t.row_id = j.value ->> 0 WHERE t.deleted = 0",
            (json.dumps(list(zip(sources, copies, strict=True))), place),
        ).rowcount
    except IntegrityError as error:
        raise RowExists("there is a row of one of these ids already") from error
    if made != len(sources):
        raise SoledadError("some of the rows to copy do not exist")
    return RowsCopied(schema.name, place, before + 1, list(copies))


def delete(connection: Connection, table: RowTable, row_ids: Sequence[str]) -> RowsDeleted | None:
    """Marks rows as deleted; those that do not exist are passed over. None when there was none."""
    schema = table.schema
    found = connection.execute(
        f"SELECT t.rowid, t.row_id FROM json_each(?) j CROSS JOIN {schema.name} t"  # noqa: S608
        " ON t.row_id = j.value WHERE t.deleted = 0",
        (json.dumps(row_ids),),
    ).fetchall()
    if not found:
        return None
    connection.execute(
        f"UPDATE {schema.name} SET dirty = 1, deleted = 1"  # noqa: S608
        " WHERE rowid IN (SELECT value FROM json_each(?))",
        (json.dumps([number for number, _ in found]),),
    )
    return RowsDeleted(schema.name, [row_id for _, row_id in found])


def as_bulk(changes: Iterable[RowChange], column: str) -> list[SetChanged]:
    """The same record of changes that were made one by one."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for schema, row_id, before, after in changes:
        old, new = _text(before, column), _text(after, column)
        kinds.setdefault((schema, old, new), []).append(row_id)
    return [SetChanged(schema, column, old, new, ids) for (schema, old, new), ids in kinds.items()]


def _text(row: Row | None, column: str) -> str:
    return "" if row is None else row[column]
