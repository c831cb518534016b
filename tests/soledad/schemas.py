"""A row schema and store openers that the tests of this folder share."""

from pathlib import Path
from typing import Any

from leap.soledad.rows import RowSchema
from leap.soledad.store import Soledad

KEY = bytes(range(32))

NOTE = RowSchema(
    name="note",
    fixed=("head_id", "head_sha256", "head_size", "body_id", "body_sha256", "body_size", "date"),
    scalars=("folder", "title"),
    sets=("flags",),
    place="folder",
    blobs=(("head_id", "head_sha256", "head_size"), ("body_id", "body_sha256", "body_size")),
    newest="date",
)


async def open_store(path: Path, **options: Any) -> Soledad:
    """A store with the schema NOTE."""
    return await Soledad.open(path, KEY, rows=[NOTE], **options)
