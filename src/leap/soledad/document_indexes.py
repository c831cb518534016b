"""Indexes over documents: made, dropped, kept in step with every change, and asked.

Index number n is an SQLite index `document_by_n` over expressions on the document's JSON. What these cannot say
(several values in one document, text beyond ASCII in `lower`, names of fields that JSON escapes) stands in a table of
entries, `document_entry_n`.

Invariants:
* A document is in one of the two: in the SQLite index if each expression has its one value there, otherwise it has a
  row for each combination of values in the table. A document which lacks a value in one column is in neither.
* The table changes in the transaction that changes the document, whether it came from here or from sync.
* Nothing is kept outside the database: a transaction that is undone undoes its indexes.
* Names of indexes are never part of a statement, only their numbers.
* Indexes are of this device; they are not synced.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from leap.soledad import documents
from leap.soledad.changes import Content
from leap.soledad.documents import Document
from leap.soledad.errors import IndexDefinitionParseError, IndexDoesNotExist, IndexNameTaken
from leap.soledad.index_expressions import parse_expression
from leap.soledad.index_queries import Condition, between, match
from leap.soledad.sqlite import Connection

MAX_COLUMNS = 16
MAX_NAME = 1000  # characters

TABLE = """CREATE TABLE IF NOT EXISTS document_index (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL
) STRICT"""

Bound = str | Sequence[str] | None
_Found = tuple[tuple[str, ...], str]  # key and doc_id


class Index:
    """One index, ready to be kept and asked. Immutable."""

    def __init__(self, number: int, definition: str) -> None:
        self.number = number
        self.texts: list[str] = msgspec.json.decode(definition, type=list[str])
        self.expressions = [parse_expression(text) for text in self.texts]
        sqls = [expression.sql for expression in self.expressions]
        self.columns = [sql for sql in sqls if sql is not None]
        self.in_sql = len(self.columns) == len(sqls)
        self.entry_columns = [f"c{position}" for position in range(len(sqls))]

    def entries(self, content: Content) -> set[tuple[str, ...]]:
        """The keys under which a document stands in the index: the definition of everything here."""
        columns: list[list[str]] = []
        for expression in self.expressions:
            texts = [value for value in expression.values(content) if isinstance(value, str)]
            if not texts:
                return set()
            columns.append(texts)
        return set(itertools.product(*columns))

    def table_entries(self, content: Content | None) -> set[tuple[str, ...]]:
        """Those of `entries` which stand in the table."""
        if content is None or (
            self.in_sql and all(e.sql_value(content) is not None for e in self.expressions)
        ):
            return set()
        return self.entries(content)

    # -- keeping ------------------------------------------------------------------------------

    def create(self, connection: Connection) -> None:
        """Makes the SQLite index and the table, and fills them."""
        names = self.entry_columns
        connection.execute(
            f"CREATE TABLE document_entry_{self.number} ("
            f"{', '.join(f'{name} TEXT NOT NULL' for name in names)}, doc_id TEXT NOT NULL,"
            f" PRIMARY KEY ({', '.join(names)}, doc_id)) STRICT, WITHOUT ROWID"
        )
        connection.execute(
            f"CREATE INDEX document_entry_{self.number}_doc ON document_entry_{self.number} (doc_id)"
        )
        absent = "1"
        if self.in_sql:
            absent = " OR ".join(f"{column} IS NULL" for column in self.columns)
            present = " AND ".join(f"{column} IS NOT NULL" for column in self.columns)
            connection.execute(
                f"CREATE INDEX document_by_{self.number}"
                f" ON document ({', '.join(self.columns)}, doc_id) WHERE {present}"
            )
        found = connection.execute(
            f"SELECT doc_id, content FROM document WHERE content IS NOT NULL AND ({absent})"  # noqa: S608
        )
        while rows := found.fetchmany(256):
            for doc_id, text in rows:
                self._insert(connection, doc_id, documents.decode_content(text))

    @property
    def parts(self) -> list[str]:
        """What the index consists of, by its names in the database's schema."""
        parts = [f"document_entry_{self.number}", f"document_entry_{self.number}_doc"]
        return [*parts, f"document_by_{self.number}"] if self.in_sql else parts

    def drop(self, connection: Connection) -> None:
        _drop(connection, self.number)

    def follow(self, connection: Connection, doc_id: str, old: bool, new: Content | None) -> None:
        """Keeps the table in step; `old`: the document had content before."""
        if old:
            connection.execute(
                f"DELETE FROM document_entry_{self.number} WHERE doc_id = ?",  # noqa: S608
                (doc_id,),
            )
        self._insert(connection, doc_id, new)

    def _insert(self, connection: Connection, doc_id: str, content: Content | None) -> None:
        keys = self.table_entries(content)
        if keys:
            marks = ", ".join("?" * (len(self.entry_columns) + 1))
            connection.executemany(
                f"INSERT INTO document_entry_{self.number} VALUES ({marks})",  # noqa: S608
                [(*key, doc_id) for key in sorted(keys)],
            )

    def entries_between(
        self, connection: Connection, after: str, upper: str | None
    ) -> set[tuple[str, ...]]:
        """The table's entries of documents behind one id and up to another, each with its id last; for maintenance."""
        bound, ids = ("", (after,)) if upper is None else (" AND doc_id <= ?", (after, upper))
        return set(
            connection.execute(
                f"SELECT {', '.join(self.entry_columns)}, doc_id FROM document_entry_{self.number}"  # noqa: S608
                f" WHERE doc_id > ?{bound}",
                ids,
            ).fetchall()
        )

    # -- asking -------------------------------------------------------------------------------

    def select(self, condition: Condition, what: str = "") -> str:
        """The statement for documents in the SQLite index."""
        columns = self.columns
        order = ", ".join((*columns[condition.fixed :], "doc_id"))
        return (
            f"SELECT {what or ', '.join((*columns, documents.SHOWN))} FROM document"  # noqa: S608
            f" INDEXED BY document_by_{self.number} WHERE {condition.sql}"
            + ("" if what else f" ORDER BY {order}")
        )

    def select_entries(self, condition: Condition, what: str = "") -> str:
        """The statement for documents in the table."""
        columns = self.entry_columns
        order = ", ".join((*columns[condition.fixed :], "doc_id"))
        return (
            f"SELECT {what or ', '.join((*columns, 'doc_id'))} FROM document_entry_{self.number}"  # noqa: S608
            f" WHERE {condition.sql}" + ("" if what else f" ORDER BY {order}")
        )

    def find(
        self, connection: Connection, inside: Condition | None, listed: Condition
    ) -> list[Document]:
        """Each document once, by its first key that fits, then by id."""
        direct: list[tuple[_Found, Document]] = []
        if inside is not None:
            width = len(self.columns)
            for values in connection.execute(self.select(inside), inside.parameters):
                document = documents.shown(values[width:])
                direct.append(((tuple(values[:width]), document.doc_id), document))
        several = self._first_entries(connection, listed)
        if not several:
            return [document for _, document in direct]
        loaded = documents.load_many(connection, [doc_id for _, doc_id in several])
        others = [
            (found, documents.as_document(stored.item))
            for found, stored in zip(several, loaded, strict=True)
        ]
        return [document for _, document in heapq.merge(direct, others, key=lambda pair: pair[0])]

    def _first_entries(self, connection: Connection, condition: Condition) -> list[_Found]:
        first: dict[str, tuple[str, ...]] = {}
        for *key, doc_id in connection.execute(
            self.select_entries(condition), condition.parameters
        ):
            first.setdefault(doc_id, tuple(key))
        return [(key, doc_id) for doc_id, key in first.items()]

    def match(self, values: Sequence[str]) -> tuple[Condition | None, Condition]:
        """The conditions for the two places; raises InvalidValueForIndex, InvalidGlobbing."""
        inside = match(values, self.columns) if self.in_sql else None
        return inside, match(values, self.entry_columns)

    def between(self, start: Bound, end: Bound) -> tuple[Condition | None, Condition]:
        """The same for a range."""
        inside = between(start, end, self.columns) if self.in_sql else None
        return inside, between(start, end, self.entry_columns)


@lru_cache(maxsize=256)
def _index(number: int, definition: str) -> Index:
    return Index(number, definition)


def load(connection: Connection, name: str) -> Index:
    """The index of this name; raises IndexDoesNotExist."""
    found = None
    with contextlib.suppress(UnicodeEncodeError):
        found = connection.execute(
            "SELECT number, definition FROM document_index WHERE name = ?", (name,)
        ).fetchone()
    if found is None:
        raise IndexDoesNotExist(f"there is no index called {name!r}")
    return _index(*found)


def load_all(connection: Connection) -> list[Index]:
    found = connection.execute("SELECT number, definition FROM document_index ORDER BY number")
    return [_index(number, definition) for number, definition in found.fetchall()]


def create_index(connection: Connection, name: str, expressions: Sequence[str]) -> None:
    """Makes it and fills it; the same index again is nothing. Raises IndexNameTaken, IndexDefinitionParseError."""
    _check_name(name)
    if not 0 < len(expressions) <= MAX_COLUMNS:
        raise IndexDefinitionParseError(f"an index has 1 to {MAX_COLUMNS} expressions")
    for text in expressions:
        parse_expression(text)
    definition = json.dumps(list(expressions))
    found = connection.execute(
        "SELECT definition FROM document_index WHERE name = ?", (name,)
    ).fetchone()
    if found is not None:
        if found[0] != definition:
            raise IndexNameTaken(f"there is another index called {name!r}; delete it first")
        return
    number = connection.execute(
        "INSERT INTO document_index (name, definition) VALUES (?, ?)", (name, definition)
    ).lastrowid
    _index(number, definition).create(connection)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or "\0" in name:
        raise IndexDefinitionParseError("the name of an index is a text of 1 to 1,000 characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise IndexDefinitionParseError("the name of an index holds half a character") from None


def delete_index(connection: Connection, name: str) -> None:
    """Raises IndexDoesNotExist."""
    index = load(connection, name)
    index.drop(connection)
    connection.execute("DELETE FROM document_index WHERE number = ?", (index.number,))


def rebuild(connection: Connection) -> None:
    """Derives all indexes from the documents again; one whose definition cannot be read is gone."""
    for number, definition in connection.execute(
        "SELECT number, definition FROM document_index ORDER BY number"
    ).fetchall():
        _drop(connection, number)
        try:
            index = _index(number, definition)
        except (IndexDefinitionParseError, msgspec.MsgspecError):
            connection.execute("DELETE FROM document_index WHERE number = ?", (number,))
        else:
            index.create(connection)


def _drop(connection: Connection, number: int) -> None:
    """Removes what there is of an index but its definition."""
    connection.execute(f"DROP TABLE IF EXISTS document_entry_{number}")
    connection.execute(f"DROP INDEX IF EXISTS document_by_{number}")


def list_indexes(connection: Connection) -> list[tuple[str, list[str]]]:
    """Names and their expressions, by name."""
    found = connection.execute("SELECT name, definition FROM document_index ORDER BY name")
    return [(name, json.loads(definition)) for name, definition in found]


def get_from_index(connection: Connection, name: str, values: Sequence[str]) -> list[Document]:
    index = load(connection, name)
    return index.find(connection, *index.match(values))


def get_range_from_index(
    connection: Connection, name: str, start: Bound, end: Bound
) -> list[Document]:
    index = load(connection, name)
    return index.find(connection, *index.between(start, end))


def get_count_from_index(connection: Connection, name: str, values: Sequence[str]) -> int:
    """How many documents `get_from_index` would give."""
    index = load(connection, name)
    inside, listed = index.match(values)
    statement = index.select_entries(listed, "count(DISTINCT doc_id)")
    count = int(connection.execute(statement, listed.parameters).fetchone()[0])
    if inside is not None:
        statement = index.select(inside, "count(*)")
        count += int(connection.execute(statement, inside.parameters).fetchone()[0])
    return count


def get_index_keys(connection: Connection, name: str) -> list[tuple[str, ...]]:
    """The distinct keys, sorted."""
    index = load(connection, name)
    inside, listed = index.between(None, None)
    parts = [index.select_entries(listed, f"DISTINCT {', '.join(index.entry_columns)}")]
    if inside is not None:
        parts.append(index.select(inside, f"DISTINCT {', '.join(index.columns)}"))
    keys: Iterator[Iterable[Any]] = itertools.chain.from_iterable(
        connection.execute(statement) for statement in parts
    )
    return sorted({tuple(key) for key in keys})
