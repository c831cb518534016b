"""Damages blobs where they lie in packs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leap.soledad.blobs.packs import Placed
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad


async def place_of(store: Soledad, blob_id: str) -> Placed:
    """Where a blob lies."""

    def job(connection: Connection) -> Placed:
        found = connection.execute(
            "SELECT pack, place, length FROM blob WHERE blob_id = ?", (blob_id,)
        )
        return Placed(*found.fetchone())

    return await store.read(job)


async def wipe(store: Soledad, blob_id: str) -> None:
    """Zeros instead of the sealed bytes of a blob."""
    where = await place_of(store, blob_id)
    with (store.blobs.packs.folder / f"{where.pack:08}").open("r+b") as file:
        file.seek(where.place)
        file.write(bytes(where.length))


def pack_files(store_path: Path) -> Sequence[Path]:
    """The packs of a store."""
    return sorted(store_path.with_name(store_path.name + "-packs").glob("*"))
