"""Which items this device is opening: noted before, so that one which brings the program down is known the next time.

The table `inbox_begun` is local and never synced; a note leaves in the transaction that stores what became of the item.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from leap.soledad.sqlite import Connection

_TABLE = "CREATE TABLE IF NOT EXISTS inbox_begun (row_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"


def note(connection: Connection, row_ids: Sequence[str]) -> frozenset[str]:
    """These are about to be opened; answers those which were so before, and nobody knows what became of them."""
    connection.execute(_TABLE)
    asked = json.dumps(row_ids)
    before = connection.execute(
        "SELECT row_id FROM inbox_begun WHERE row_id IN (SELECT value FROM json_each(?))", (asked,)
    ).fetchall()
    connection.execute(
        "INSERT OR IGNORE INTO inbox_begun (row_id) SELECT value FROM json_each(?)", (asked,)
    )
    return frozenset(row_id for (row_id,) in before)


def forget(connection: Connection, row_ids: Sequence[str]) -> None:
    """What became of these is known."""
    connection.execute(_TABLE)
    connection.execute(
        "DELETE FROM inbox_begun WHERE row_id IN (SELECT value FROM json_each(?))",
        (json.dumps(row_ids),),
    )
