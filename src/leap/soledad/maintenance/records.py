"""The records of an export, in the order in which they come.

    Opening
    for each row:       RowRecord, then the plaintext of each blob that comes here for the first time, in Pieces;
                        Withdrawn in the place of a Piece when a large content could not be had to its end
    for each document:  DocumentRecord
    Closing

Blobs travel as plaintext inside the sealed file, not as the provider has them: so no key of the old account has to
leave it, and they open nowhere but with the export's passphrase.
"""

from __future__ import annotations

from typing import Any

import msgspec

from leap.soledad.documents import Version

PIECE = 256 * 1024  # octets of a blob in one record


class Opening(msgspec.Struct, frozen=True, array_like=True, tag="opening"):
    """`account` is the account's id, `address` whose it is ("" of a store without one); `schemas` their columns."""

    account: str
    address: str
    written: int
    schemas: dict[str, list[str]]


class BlobEntry(msgspec.Struct, frozen=True, array_like=True):
    """A blob of a row: at which place of the schema's blobs, its id in the old account, octets of its plaintext.

    `here`: the pieces follow. `shared`: other rows name it too, and refer back to it by this id.
    """

    place: int
    blob_id: str
    size: int
    here: bool
    shared: bool


class RowRecord(msgspec.Struct, frozen=True, array_like=True, tag="row"):
    """A row; `values` are its columns but for those that refer to blobs."""

    schema: str
    row_id: str
    values: dict[str, Any]
    blobs: list[BlobEntry]

    def __repr__(self) -> str:
        return f"RowRecord({self.row_id!r})"


class Piece(msgspec.Struct, frozen=True, array_like=True, tag="piece"):
    """The next octets of the blob that is due; `packed`: one zstd frame."""

    packed: bool
    data: bytes

    def __repr__(self) -> str:
        return f"Piece({len(self.data)})"


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, tag="withdrawn"):
    """The row before, whose contents are not complete, does not count: as if it and its pieces were not there."""


class DocumentRecord(msgspec.Struct, frozen=True, array_like=True, tag="document"):
    """A document that is not deleted, or has conflicts."""

    doc_id: str
    revision: str
    content: str | None
    conflicts: list[Version]

    def __repr__(self) -> str:
        return f"DocumentRecord({self.doc_id!r})"


class Closing(msgspec.Struct, frozen=True, array_like=True, tag="closing"):
    """How many of each there were; `left_out` counts what the export does not hold, by what it is."""

    rows: int
    documents: int
    blobs: int
    left_out: dict[str, int]


Record = Opening | RowRecord | Piece | Withdrawn | DocumentRecord | Closing
