"""Do the tables of the document indexes follow from the documents: each entry there is right, and none is missing.

The SQLite indexes over documents are part of what `database_check` looks at; here it is the tables of entries beside
them. Each slice of documents is one snapshot.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import msgspec

from leap.soledad.document_indexes import Index
from leap.soledad.documents import decode_content
from leap.soledad.errors import SoledadError
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

SLICE = 500
_ADVICE = "`bitmask doctor rebuild` derives it anew"


class _Named(NamedTuple):
    """An index, and what programs call it."""

    name: str
    kept: Index


async def check_indexes(store: Soledad, report: Report, progress: Progress) -> None:
    """Every index of every document, SLICE documents at a time; an index has one finding, however much is wrong."""
    indexes = await store.read(partial(_load, report=report))
    report.checked["indexes"] += len(indexes)
    total = await store.read(lambda c: c.execute("SELECT count(*) FROM document").fetchone()[0])
    last, done = "", 0
    more = bool(indexes)
    while more and indexes:
        progress("indexes", done, total)
        wrong, upper = await store.read(partial(_slice, indexes=indexes, after=last))
        for name in wrong:
            report.add(
                "index-wrong",
                name,
                f"The index {name!r} over documents does not say what they hold; {_ADVICE}.",
            )
        indexes = [one for one in indexes if one.name not in wrong]
        more, last, done = upper is not None, upper or "", done + SLICE


def _load(connection: Connection, *, report: Report) -> list[_Named]:
    """The indexes whose tables are there; findings about the others."""
    found: list[_Named] = []
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for number, name, definition in connection.execute(
        "SELECT number, name, definition FROM document_index ORDER BY number"
    ).fetchall():
        try:
            index = Index(number, definition)
        except (SoledadError, msgspec.MsgspecError):
            report.add(
                "index-wrong",
                name,
                f"What the index {name!r} over documents is made of cannot be read;"
                " `bitmask doctor rebuild` removes it, and the program that needs it makes it again.",
            )
            continue
        if names.issuperset(index.parts):
            found.append(_Named(name, index))
        else:
            report.add(
                "index-wrong",
                name,
                f"The index {name!r} over documents is not complete; {_ADVICE}.",
            )
    return found


def _slice(
    connection: Connection, *, indexes: list[_Named], after: str
) -> tuple[list[str], str | None]:
    """Which indexes are wrong about the next documents, and the last of these; None at the end."""
    rows = connection.execute(
        "SELECT doc_id, content FROM document WHERE doc_id > ? ORDER BY doc_id LIMIT ?",
        (after, SLICE),
    ).fetchall()
    upper = rows[-1][0] if len(rows) == SLICE else None
    contents = []
    for doc_id, text in rows:
        try:
            contents.append((doc_id, decode_content(text)))
        except ValueError:
            continue  # a finding of its own
    readable = {doc_id for doc_id, _ in contents}
    unreadable = {doc_id for doc_id, _ in rows} - readable
    wrong: list[str] = []
    for name, index in indexes:
        right = {
            (*key, doc_id)
            for doc_id, content in contents
            if content is None or isinstance(content, dict)
            for key in index.table_entries(content)
        }
        there = index.entries_between(connection, after, upper)
        if {entry for entry in there if entry[-1] not in unreadable} != right:
            wrong.append(name)
    return wrong, upper
