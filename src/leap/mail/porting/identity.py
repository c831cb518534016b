"""Who an imported message is, so that nothing comes in twice.

A message is known by the name of the mailbox it was imported into and the SHA-256 of its octets as served. From both
the id of its row is computed, keyed with the account: so all devices find the same id, the check is one look-up, and
a message and the memory of it are one row, written in one transaction. The row keeps its id when the message is moved
or its mailbox renamed; when it is deleted, a mark of it stays, and it does not come back by itself.

    row id  = HMAC-SHA-256(the account's id key, "row" 0 lengths("import", mailbox, SHA-256, nth))
    nth     = 0; with every time a deleted message is asked for again, one more
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

from leap.mail.contract import AccountError, MailboxId, RowId
from leap.mail.model import decode_record
from leap.mail.storing import account_errors
from leap.soledad.blobs import BlobRef
from leap.soledad.envelope import with_lengths
from leap.soledad.errors import SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad


def octets_hash(served: bytes) -> bytes:
    return hashlib.sha256(served).digest()


def imported_row_id(
    row_key: Callable[[bytes], str], mailbox: str, sha256: bytes, nth: int = 0
) -> RowId:
    """The id of a message imported into the mailbox of this name."""
    name = with_lengths(b"import", mailbox.encode(), sha256, str(nth).encode())
    return RowId(row_key(name))


def rows_known(connection: Connection, row_ids: Iterable[RowId]) -> dict[RowId, bool]:
    """Those of the rows that are or were there, with whether they are deleted."""
    found = connection.execute(
        "SELECT r.row_id, r.deleted FROM json_each(?) j CROSS JOIN mail_row r ON r.row_id = j.value",
        (json.dumps(list(row_ids)),),
    )
    return {RowId(row_id): bool(deleted) for row_id, deleted in found}


class OctetsHere:
    """Which octets a mailbox holds by other ways than an import: received, or put there by a mail program.

    Header records have the hash, but no index does. So messages are asked by their size; each record is opened once.
    """

    def __init__(self, store: Soledad, mailbox_id: MailboxId) -> None:
        self._store = store
        self._mailbox_id = mailbox_id
        self._unread: dict[int, list[BlobRef]] | None = None
        self._hashes: set[bytes] = set()

    async def among(self, wanted: Sequence[tuple[int, bytes]]) -> set[bytes]:
        """Those of the (size, SHA-256) whose octets are in the mailbox now. Raises AccountError."""
        with account_errors():
            if self._unread is None:
                self._unread = await self._store.read(self._sizes)
            for size, _ in wanted:
                for ref in self._unread.pop(size, ()):
                    await self._open(ref)
        return {sha256 for _, sha256 in wanted if sha256 in self._hashes}

    def _sizes(self, connection: Connection) -> dict[int, list[BlobRef]]:
        out: dict[int, list[BlobRef]] = {}
        for size, *ref in connection.execute(
            "SELECT i.size, r.header_id, r.header_sha256, r.header_size FROM mail_index i"
            " CROSS JOIN mail_row r ON r.row_id = i.row_id WHERE i.mailbox_id = ?",
            (self._mailbox_id,),
        ):
            out.setdefault(size, []).append(BlobRef(*ref))
        return out

    async def _open(self, ref: BlobRef) -> None:
        try:
            record = decode_record(await self._store.read_blob(ref))
        except (SoledadError, AccountError):
            return  # not here and not to be had now: taken as another message, for losing one is worse
        self._hashes.add(record.sha256)
