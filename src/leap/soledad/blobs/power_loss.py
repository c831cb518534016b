"""What becomes of blobs whose octets were lost with the power, of changes that no durable COMMIT followed.

A row which was made then and whose blob nobody else has goes, as if its transaction were among those that were lost;
what the provider has is fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from leap.soledad.rows import RowTable
from leap.soledad.transaction import Transaction


def forget_lost(tx: Transaction, tables: Mapping[str, RowTable], blob_ids: Sequence[str]) -> int:
    """Answers how many rows went."""
    connection, blobs = tx.connection, tx.blobs
    listed = json.dumps(list(blob_ids))
    only_here = [
        blob_id
        for (blob_id,) in connection.execute(
            "SELECT u.blob_id FROM json_each(?) j CROSS JOIN blob_unsent u ON u.blob_id = j.value"
            " WHERE u.again = 0",
            (listed,),
        )
    ]
    there = [ref for one in blob_ids if (ref := blobs.find_ref(connection, one)) is not None]
    gone = json.dumps(only_here)
    rows = 0
    for table in tables.values():
        for blob_id, _, _ in table.schema.blobs:
            named = connection.execute(
                f"SELECT row_id FROM {table.schema.name} WHERE deleted = 0 AND {blob_id} IN"  # noqa: S608
                " (SELECT value FROM json_each(?))",
                (gone,),
            ).fetchall()
            rows += len(tx.delete_rows(table.schema.name, [row_id for (row_id,) in named]))
    blobs.remove(connection, only_here)
    for ref in there:
        if ref.blob_id not in only_here:
            connection.execute("DELETE FROM blob_unsent WHERE blob_id = ?", (ref.blob_id,))
            blobs.ask_again(connection, ref, 0, 0)
    return rows
