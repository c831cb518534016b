"""Makes the signatures of headers that an index of a former version lacks, newest first, from what is on this device.

Until one is made, a question that could mean that header reads it.
"""

from __future__ import annotations

import asyncio
import contextlib

from leap.mail.message import Message
from leap.mail.search.texts import header_signature
from leap.soledad.blobs import BlobRef
from leap.soledad.errors import SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

_BATCH = 100  # headers in one transaction
_LACKING = (
    "SELECT h.number, m.header_size, r.content_id, r.content_sha256, r.content_size, b.blob_id IS NOT NULL FROM"
    " (SELECT number FROM mail_head WHERE signature = x'' AND number < ? ORDER BY number DESC LIMIT ?) h"
    " CROSS JOIN mail_text t ON t.number = h.number CROSS JOIN mail_index i ON i.header_id = t.header_id"
    " CROSS JOIN mail_row r ON r.row_id = i.row_id LEFT JOIN mail_metadata m ON m.header_id = i.header_id"
    " LEFT JOIN blob b ON b.blob_id = r.content_id GROUP BY h.number ORDER BY h.number DESC"
)


async def make_signatures(store: Soledad) -> None:
    """Goes through all that are lacking, once. Raises NotOpen."""
    before = 2**62
    while True:
        found = await store.read(lambda c: c.execute(_LACKING, (before, _BATCH)).fetchall())  # noqa: B023
        if not found:
            return
        before = found[-1][0]
        raws: list[tuple[int, bytes]] = []
        for number, size, *ref, here in found:
            if here:
                # one by one: what cannot be opened keeps back itself alone
                with contextlib.suppress(SoledadError):
                    raws.append((number, await store.read_blob(BlobRef(*ref), 0, size)))
        made = await asyncio.to_thread(_signed, raws)

        def keep(connection: Connection, made: list[tuple[bytes, int]] = made) -> None:
            connection.executemany("UPDATE mail_head SET signature = ? WHERE number = ?", made)

        await store.write(keep)


def _signed(raws: list[tuple[int, bytes]]) -> list[tuple[bytes, int]]:
    return [(header_signature(Message(raw)), number) for number, raw in raws]
