"""Stored mail that could not be opened, wholly or in a part, opened again when an own key came.

    mail_metadata   which messages say "undecryptable": a partial index finds them, however many others there are
    mail_closed     table of this device: with which own keys each was tried

Invariants:
* The message that is opened takes the place of the closed one in one durable transaction: in the same mailbox, with the
  same flags, date and message id, under a row id which all devices compute alike. So two devices that do it at once
  make one of it, and no crash loses or doubles it.
* What opens no further stays untouched, and is not tried again with the same keys.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from leap.mail.contract import MailboxId, RowId, SecurityStatus
from leap.mail.incoming.delivery import OURS, Delivery
from leap.mail.incoming.lots import Item
from leap.mail.incoming.ready import Closed, Ready
from leap.mail.incoming.senders import SignerKeys
from leap.mail.incoming.workshop import Workshop
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import row_values, was_there
from leap.mail.storing import keep_all
from leap.soledad.blobs.format import BlobRef
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

logger = logging.getLogger(__name__)

AT_ONCE = 10  # mails opened together: 50 MiB each at most, mostly some kilobytes
_SAYS_SO = "instr(security, X'756e6465637279707461626c65') > 0"  # "undecryptable"
_INDEX = (
    f"CREATE INDEX IF NOT EXISTS mail_metadata_closed ON mail_metadata (header_id) WHERE {_SAYS_SO}"
)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS mail_closed (header_id TEXT PRIMARY KEY, keys TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID"
)
_FIND = (
    "SELECT m.header_id, m.security, r.content_id, r.content_sha256, r.content_size, r.original_id,"  # noqa: S608
    " r.original_sha256, r.original_size, max(r.internal_date)"
    f" FROM (SELECT header_id, security FROM mail_metadata WHERE {_SAYS_SO}) m"
    " CROSS JOIN mail_index i ON i.header_id = m.header_id"
    " CROSS JOIN mail_row r ON r.row_id = i.row_id AND r.deleted = 0 AND r.content_id IS NOT NULL"
    " LEFT JOIN mail_closed c ON c.header_id = m.header_id"
    " WHERE c.keys IS NULL OR c.keys <> ? GROUP BY m.header_id ORDER BY max(r.internal_date) DESC"
)
_ROWS = (
    "SELECT r.row_id, r.message_id, r.mailbox, r.flags, r.tags, r.internal_date, r.zone"
    " FROM mail_index i CROSS JOIN mail_row r ON r.row_id = i.row_id AND r.deleted = 0"
    " WHERE i.header_id = ?"
)


class _Found(NamedTuple):
    header_id: str
    security: SecurityStatus
    content: BlobRef
    original: BlobRef | None
    received: int


class Reopening:
    """Opens what is closed in one account."""

    def __init__(
        self, store: Soledad, keys: SignerKeys, workshop: Workshop, delivery: Delivery
    ) -> None:
        self._store = store
        self._keys = keys
        self._workshop = workshop
        self._delivery = delivery

    async def retry(self) -> int:
        """Opens what was not tried with the own keys of now, newest first; answers how many mails opened.

        Nothing is raised but what the store raises when it is closed.
        """
        own = await self._keys.own_keys()
        names = sorted({one for key in own for one in key.certificate.fingerprints})
        if not names:
            return 0
        tried = hashlib.sha256(" ".join(names).encode()).hexdigest()
        await self._store.write(_make_tables)
        found = await self._store.read(lambda connection: _find(connection, tried))
        opened = 0
        for first in range(0, len(found), AT_ONCE):
            try:
                opened += await self._open(found[first : first + AT_ONCE], tried)
            except OURS as error:  # a content may be at the provider, which cannot be reached
                logger.info("closed mail cannot be opened again now: %s", type(error).__name__)
        return opened

    async def _open(self, found: Sequence[_Found], tried: str) -> int:
        items = [
            Closed(
                await self._store.read_blob(one.content),
                None if one.original is None else await self._store.read_blob(one.original),
                one.security,
            )
            for one in found
        ]
        outcomes = await self._workshop.open_again(items)
        opened = 0
        for one, outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, Ready):
                await self._replace(one, outcome)
                opened += 1
        await self._store.write(lambda connection: _note(connection, found, tried))
        return opened

    async def _replace(self, one: _Found, ready: Ready) -> None:
        item = Item("", "", one.received, b"")

        def job(tx: Transaction) -> None:
            rows = tx.connection.execute(_ROWS, (one.header_id,)).fetchall()
            if not rows:
                return  # it was expunged meanwhile
            [fixed] = keep_all(tx, [ready.prepared])
            for row_id, message_id, mailbox, flags, tags, date, zone in rows:
                new = RowId(self._store.row_key(b"opened again " + row_id.encode()))
                if was_there(tx.connection, new):
                    continue
                values = row_values(new, fixed, MailboxId(mailbox), flags, date, zone)
                tx.insert_row(
                    MAIL_ROWS.name, new, {**values, "message_id": message_id, "tags": tags}
                )
            tx.delete_rows(MAIL_ROWS.name, [row[0] for row in rows])

        await self._delivery.replace_and_learn(item, ready, job)


def _make_tables(connection: Connection) -> None:
    connection.execute(_INDEX)
    connection.execute(_TABLE)


def _find(connection: Connection, tried: str) -> list[_Found]:
    out = []
    for header_id, security, *refs, received in connection.execute(_FIND, (tried,)):
        out.append(
            _Found(
                header_id,
                msgspec.msgpack.decode(security, type=SecurityStatus),
                BlobRef(*refs[:3]),
                BlobRef(*refs[3:]) if refs[3] else None,
                received,
            )
        )
    return out


def _note(connection: Connection, found: Sequence[_Found], tried: str) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO mail_closed (header_id, keys) VALUES (?, ?)",
        [(one.header_id, tried) for one in found],
    )
