"""Which blobs are named by whom: by rows that show, by rows whose deletion was not pushed, by documents."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from leap.soledad.blobs.format import BlobRef
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection

_BLOB_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_TEXTS = (  # where an application may have written down a blob's id, besides its rows
    "SELECT content FROM document WHERE content IS NOT NULL",
    "SELECT conflicts FROM document WHERE conflicts IS NOT NULL",
    "SELECT base FROM document WHERE base IS NOT NULL",
    "SELECT payload FROM unknown_page",
    "SELECT payload FROM pending_item",
)


class Named(NamedTuple):
    """`refs` are of blobs that a showing row names, `committed` those of them of which such a row was synced.

    `waiting` are those named by rows whose deletion was not pushed.
    """

    refs: dict[str, BlobRef]
    committed: set[str]
    waiting: set[str]


def find_named(
    connection: Connection, tables: Mapping[str, RowTable], blob_ids: Collection[str]
) -> Named:
    """What rows say of these blobs."""
    named = Named({}, set(), set())
    if not blob_ids:
        return named
    wanted = (json.dumps(list(blob_ids)),)
    for table in tables.values():
        for column, sha256, size in table.schema.blobs:
            found = connection.execute(
                f"SELECT {column}, {sha256}, {size}, deleted, synced FROM {table.schema.name}"  # noqa: S608
                f" WHERE {column} IN (SELECT value FROM json_each(?))",
                wanted,
            )
            for blob_id, digest, length, deleted, synced in found:
                if deleted:
                    named.waiting.add(blob_id)
                    continue
                named.refs[blob_id] = BlobRef(blob_id, digest, length)
                if synced:
                    named.committed.add(blob_id)
    return named


def named_blobs(
    connection: Connection, tables: Mapping[str, RowTable], blob_ids: Sequence[str]
) -> tuple[set[str], set[str]]:
    """Which of these any row still names: rows that show, and rows whose deletion was not pushed."""
    named = find_named(connection, tables, blob_ids)
    return set(named.refs), named.waiting


def find_written(connection: Connection, blob_ids: Collection[str]) -> set[str]:
    """Which of these ids stand anywhere in a document, or in rows which this program does not know."""
    wanted = {blob_id.encode() for blob_id in blob_ids}
    found: set[bytes] = set()
    if wanted:
        for query in _TEXTS:
            for (text,) in connection.execute(query):
                data = text.encode() if isinstance(text, str) else bytes(text)
                found.update(wanted.intersection(_BLOB_ID.findall(data)))
    return {blob_id.decode() for blob_id in found}
