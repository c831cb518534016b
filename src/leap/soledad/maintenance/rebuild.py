"""Rebuild: drop everything that is derived, and derive it anew from documents and rows.

One transaction: after a kill the old tables are there, or the new ones. Indexes are built anew as well (SQLite's
REINDEX), and the column `type` of each document. What a projection has to keep (mail's UIDVALIDITY counter) it keeps.
"""

from __future__ import annotations

from leap.soledad import document_indexes
from leap.soledad.changes import Rebuildable
from leap.soledad.documents import decode_content, type_of
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

SLICE = 500


async def rebuild(store: Soledad) -> list[str]:
    """Answers the names of what was rebuilt. Readers see the old tables until it is done; writers wait.

    Whoever has numbers out of a projection in their hands (an IMAP session its UIDs) must ask again.
    """
    projections = [one for one in store.projections if isinstance(one, Rebuildable)]

    def job(connection: Connection) -> None:
        connection.execute("REINDEX")
        _retype(connection)
        document_indexes.rebuild(connection)
        for projection in projections:
            projection.drop(connection)
        for projection in projections:
            projection.create(connection)

    await store.write(job, durable=True)
    store.tell_rebuilt()
    return ["indexes", *(type(projection).__name__ for projection in projections)]


def _retype(connection: Connection) -> None:
    last = ""
    while True:
        found = connection.execute(
            "SELECT doc_id, type, content FROM document WHERE doc_id > ? ORDER BY doc_id LIMIT ?",
            (last, SLICE),
        ).fetchall()
        connection.executemany(
            "UPDATE document SET type = ? WHERE doc_id = ?",
            [
                (right, doc_id)
                for doc_id, kind, content in found
                if (right := type_of(decode_content(content))) != kind
            ],
        )
        if len(found) < SLICE:
            return
        last = found[-1][0]
