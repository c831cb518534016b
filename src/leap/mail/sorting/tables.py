"""The table of sort keys: one row an opened header record, made and forgotten with it.

Invariant: a listed message has a row here, or its header record is wanted (`mail_header_wanted`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from leap.mail.sorting.keys import SortKeys
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

_TABLE = """CREATE TABLE IF NOT EXISTS mail_sort (
    header_id TEXT PRIMARY KEY,
    sent INTEGER,
    subject TEXT NOT NULL,
    reply INTEGER NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    copied TEXT NOT NULL,
    shown_sender TEXT NOT NULL,
    shown_recipient TEXT NOT NULL,
    ids BLOB NOT NULL
) STRICT, WITHOUT ROWID"""


def create_sorting(connection: Connection) -> None:
    """Makes the table. Header records that were opened by a version without it are wanted once more."""
    fresh = not connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mail_sort'"
    ).fetchone()
    connection.execute(_TABLE)
    if fresh:
        connection.execute(
            "INSERT OR IGNORE INTO mail_header_wanted (header_id, internal_date)"
            " SELECT header_id, max(internal_date) FROM mail_index WHERE header_id <> '' GROUP BY header_id"
        )


def keep_sort_keys(connection: Connection, found: Sequence[tuple[str, SortKeys]]) -> None:
    """Each beside the id of its header record."""
    insert_rows(
        connection,
        "INSERT OR IGNORE INTO mail_sort (header_id, sent, subject, reply, sender, recipient, copied, shown_sender,"
        " shown_recipient, ids)",
        [(header_id, *keys) for header_id, keys in found],
    )


def forget_sort_keys(connection: Connection, header_ids: Sequence[str]) -> None:
    connection.execute(
        "DELETE FROM mail_sort WHERE header_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(header_ids)),),
    )


def sorting_faults(connection: Connection) -> list[str]:
    """What in the table does not fit the mailbox index."""
    lost = connection.execute(
        "SELECT 1 FROM mail_index i WHERE i.header_id <> '' AND NOT EXISTS"
        " (SELECT 1 FROM mail_sort s WHERE s.header_id = i.header_id) AND NOT EXISTS"
        " (SELECT 1 FROM mail_header_wanted w WHERE w.header_id = i.header_id) LIMIT 1"
    ).fetchone()
    return ["Some messages have no sort keys"] if lost else []
