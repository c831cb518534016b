"""Many small mutable records of one shape in a SQL table of their own, which travel 256 to a page.

Each column of a row is *fixed* (never changes), a *scalar*, or a *set* (sorted words in one text).
Scalars and sets have a `base_` twin: the value last synced. A local change is one UPDATE which sets
`dirty`; what changed is found by comparing with the twins when the page is pushed.

Invariants:
* `page_id` is NULL until a push has put the row into a page; then it stays in it. `synced` = 1 from when a
  commit that holds it is known: a page of another device without the row expunges it only then.
* A deleted row stays, with `deleted` = 1, until a push that leaves it out is committed.
* `dirty` = 1 wherever a value differs from its twin, the row is deleted, or was never pushed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from leap.soledad.changes import Row, RowChange
from leap.soledad.errors import SoledadError
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

PAGE_ROWS = 256  # about 26 kB sealed: small enough to send for one flag, few enough to list
MAX_SET_TEXT = 4096  # characters; 256 rows have to fit one request of sync
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,50}")
_RESERVED = {"row_id", "page_id", "synced", "dirty", "deleted", "rowid"}


class RowExists(SoledadError):
    """There is a row of this id already."""


@dataclass(frozen=True)
class SetEdit:
    """A change of a set: members to add and to remove, the same for every row of an `update_rows`."""

    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()

    def applied(self, members: str) -> str:
        """The set after the change, as sorted text."""
        return set_text((set(members.split()) | self.add) - self.remove)


@dataclass(frozen=True)
class RowSchema:
    """The shape of one kind of rows; its SQL table is called `name`.

    `place` is the scalar that says where a row is (a mailbox). `blobs` names, for each blob a row refers to,
    in order of priority, the fixed columns of its id, SHA-256 and size. `newest` is the fixed column
    by which blobs are fetched, the highest first.
    """

    name: str
    fixed: tuple[str, ...]
    scalars: tuple[str, ...]
    sets: tuple[str, ...]
    place: str
    blobs: tuple[tuple[str, str, str], ...] = ()
    newest: str = ""
    columns: tuple[str, ...] = field(init=False, default=())
    mutable: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "mutable", (*self.scalars, *self.sets))
        object.__setattr__(self, "columns", (*self.fixed, *self.mutable))
        for name in (self.name, *self.columns):
            if not _IDENTIFIER.fullmatch(name) or name in _RESERVED or name.startswith("base_"):
                raise ValueError(f"{name!r} cannot name a table or column")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"the columns of {self.name!r} are not distinct")
        if self.place not in self.scalars:
            raise ValueError("the place of a row is one of its scalars")
        named = {name for blob in self.blobs for name in blob} | ({self.newest} - {""})
        if not named <= set(self.fixed):
            raise ValueError("blob references and `newest` are fixed columns")


def set_text(value: str | Iterable[str]) -> str:
    """A set as it is stored: sorted, single spaces. Raises SoledadError if it is too large to sync."""
    text = " ".join(sorted(set(value.split() if isinstance(value, str) else value)))
    if len(text) > MAX_SET_TEXT:
        raise SoledadError(f"a set of words is over {MAX_SET_TEXT} characters")
    return text


class RowTable:
    """The SQL of one schema."""

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        self.shown = ", ".join(("t.row_id", *(f"t.{name}" for name in schema.columns)))
        self._keys = ("row_id", *schema.columns)
        self._empty = dict.fromkeys(schema.columns) | dict.fromkeys(schema.sets, "")
        self._values = itemgetter(*schema.columns, *schema.mutable)
        names = ["row_id", "page_id", "synced", "dirty", "deleted", *schema.columns]
        names += [f"base_{name}" for name in schema.mutable]
        marks = ", ".join("?" * len(names))
        self._insert_into = f"INSERT INTO {schema.name} ({', '.join(names)})"
        self.insert_sql = f"{self._insert_into} VALUES ({marks})"

    def create(self, connection: Connection) -> None:
        """Makes the table, or adds columns that a newer version of the program declares."""
        schema = self.schema
        wanted = ["synced INTEGER NOT NULL DEFAULT 0"]
        wanted += [f"{name} ANY" for name in (*schema.fixed, *schema.scalars)]
        wanted += [f"{name} TEXT NOT NULL DEFAULT ''" for name in schema.sets]
        wanted += [f"base_{name} ANY" for name in schema.scalars]
        wanted += [f"base_{name} TEXT NOT NULL DEFAULT ''" for name in schema.sets]
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema.name} (row_id TEXT PRIMARY KEY, page_id TEXT,"
            f" dirty INTEGER NOT NULL, deleted INTEGER NOT NULL, {', '.join(wanted)}) STRICT"
        )
        present = {
            name for (_, name, *_rest) in connection.execute(f"PRAGMA table_info({schema.name})")
        }
        for column in wanted:
            if column.split()[0] not in present:
                connection.execute(f"ALTER TABLE {schema.name} ADD COLUMN {column}")
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {schema.name}_page ON {schema.name} (page_id)"
        )
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {schema.name}_dirty ON {schema.name} (page_id)"
            " WHERE dirty = 1"
        )
        for column, _, _ in schema.blobs:  # whether any row names a blob is asked before each push
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS {schema.name}_by_{column} ON {schema.name} ({column})"
                f" WHERE {column} IS NOT NULL"
            )

    def as_row(self, values: Sequence[Any]) -> Row:
        """A dict of what `shown` selects."""
        return dict(zip(self._keys, values))  # noqa: B905 - `shown` names as many

    def find(self, connection: Connection, row_id: str) -> Row | None:
        """The row, unless it is deleted."""
        found = connection.execute(
            f"SELECT {self.shown} FROM {self.schema.name} t WHERE row_id = ? AND deleted = 0",  # noqa: S608
            (row_id,),
        ).fetchone()
        return None if found is None else self.as_row(found)

    def find_many(self, connection: Connection, row_ids: Sequence[str]) -> list[Row]:
        """Those that exist and are not deleted, in the order asked."""
        found = connection.execute(
            f"SELECT {self.shown} FROM json_each(?) j CROSS JOIN {self.schema.name} t"  # noqa: S608
            " ON t.row_id = j.value WHERE t.deleted = 0 ORDER BY j.key",
            (json.dumps(list(row_ids)),),
        )
        return [self.as_row(values) for values in found]

    def insert(self, connection: Connection, row_id: str, values: Mapping[str, Any]) -> RowChange:
        """A new row; columns not given are NULL, sets empty. Raises RowExists."""
        schema = self.schema
        row = self._new_row(row_id, values)
        gone = connection.execute(
            f"SELECT deleted FROM {schema.name} WHERE row_id = ?",  # noqa: S608
            (row_id,),
        ).fetchone()
        if gone is None:
            connection.execute(self.insert_sql, self.packed(row))
        elif not gone[0]:
            raise RowExists("there is a row of this id already")
        else:
            marks = [f"{name} = ?" for name in schema.columns]
            marks += [f"base_{name} = ?" for name in schema.mutable]
            values_now = [row[name] for name in (*schema.columns, *schema.mutable)]
            connection.execute(  # as good as new: an expunge elsewhere was of the one before
                f"UPDATE {schema.name} SET deleted = 0, dirty = 1, synced = 0, {', '.join(marks)}"  # noqa: S608
                " WHERE row_id = ?",
                (*values_now, row_id),
            )
        return RowChange(schema.name, row_id, None, row)

    def insert_many(
        self, connection: Connection, rows: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[RowChange]:
        """Many new rows, as `insert` makes one. Raises RowExists."""
        if len(rows) == 1:
            return [self.insert(connection, *rows[0])]
        known = {
            row_id
            for (row_id,) in connection.execute(
                f"SELECT t.row_id FROM json_each(?) j CROSS JOIN {self.schema.name} t"  # noqa: S608
                " ON t.row_id = j.value",
                (json.dumps([row_id for row_id, _ in rows]),),
            )
        }
        if known or len({row_id for row_id, _ in rows}) < len(rows):
            return [self.insert(connection, row_id, values) for row_id, values in rows]
        made = [self._new_row(row_id, values) for row_id, values in rows]
        insert_rows(connection, self._insert_into, [self.packed(row) for row in made])
        return [RowChange(self.schema.name, row["row_id"], None, row) for row in made]

    def _new_row(self, row_id: str, values: Mapping[str, Any]) -> Row:
        schema = self.schema
        unknown = values.keys() - set(schema.columns)
        if unknown:
            raise ValueError(f"{schema.name} has no column {sorted(unknown)}")
        row: Row = {"row_id": row_id, **self._empty, **values}
        for name in schema.sets:
            if row[name]:
                row[name] = set_text(row[name])
        return row

    def packed(
        self, row: Row, page_id: str | None = None, *, synced: bool = False
    ) -> tuple[Any, ...]:
        """Parameters of `insert_sql`: a row as it was made here, or as it came in a page."""
        return (row["row_id"], page_id, int(synced), int(not synced), 0, *self._values(row))

    def update(
        self,
        connection: Connection,
        row_ids: Sequence[str],
        values: Mapping[str, Any],
    ) -> list[RowChange]:
        """Sets scalars and sets of many rows with one UPDATE; answers those that really changed.

        A value of a set is its members (text or iterable) or a SetEdit. Rows that do not exist are passed over.
        """
        schema = self.schema
        unknown = values.keys() - set(schema.mutable)
        if unknown:
            raise ValueError(f"{schema.name} has no changeable column {sorted(unknown)}")
        wanted = {
            name: set_text(value)
            if name in schema.sets and not isinstance(value, SetEdit)
            else value
            for name, value in values.items()
        }
        memo: dict[tuple[str, str], str] = {}  # few distinct sets among many rows
        changes: list[RowChange] = []
        for before in self.find_many(connection, row_ids):
            new: dict[str, Any] = {}
            for name, value in wanted.items():
                old = before[name]
                if isinstance(value, SetEdit):
                    made = memo.get((name, old))
                    if made is None:
                        made = memo[name, old] = value.applied(old)
                    value = made
                if value != old:
                    new[name] = value
            if new:
                changes.append(RowChange(schema.name, before["row_id"], before, {**before, **new}))
        if changes:
            self._update_all(connection, changes, wanted, memo)
        return changes

    def _update_all(
        self,
        connection: Connection,
        changes: list[RowChange],
        wanted: Mapping[str, Any],
        memo: Mapping[tuple[str, str], str],
    ) -> None:
        parts: list[str] = []
        parameters: list[Any] = []
        for name, value in wanted.items():
            if isinstance(value, SetEdit):
                cases = [(old, new) for (column, old), new in memo.items() if column == name]
                whens = "".join(" WHEN ? THEN ?" for _ in cases)
                parts.append(f"{name} = CASE {name}{whens} ELSE {name} END")
                parameters.extend(text for case in cases for text in case)
            else:
                parts.append(f"{name} = ?")
                parameters.append(value)
        parameters.append(json.dumps([change.row_id for change in changes]))
        connection.execute(
            f"UPDATE {self.schema.name} SET dirty = 1, {', '.join(parts)}"  # noqa: S608
            " WHERE row_id IN (SELECT value FROM json_each(?))",
            parameters,
        )

    def delete(self, connection: Connection, row_ids: Sequence[str]) -> list[RowChange]:
        """Marks rows as deleted; those that do not exist are passed over."""
        changes = [
            RowChange(self.schema.name, before["row_id"], before, None)
            for before in self.find_many(connection, row_ids)
        ]
        if changes:
            connection.execute(
                f"UPDATE {self.schema.name} SET dirty = 1, deleted = 1"  # noqa: S608
                " WHERE row_id IN (SELECT value FROM json_each(?))",
                (json.dumps([change.row_id for change in changes]),),
            )
        return changes
