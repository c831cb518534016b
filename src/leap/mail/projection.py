"""The mailbox index: UIDs, modification sequences and counts, derived from mailbox documents and message rows.

Invariants:
* It is changed only in the transaction that changes documents or rows, whether that came from here or from sync.
* A uid is given once in a mailbox and never again, also after a restart, a deletion or a move back.
* UIDVALIDITY is minted when a mailbox is first indexed here, in 1..2^32-1, and larger than any minted before,
  also when the index is dropped and built anew: a program that kept uids then sees that they mean nothing now.
* Each transaction that changes a mailbox raises its modseq by one, and all it changed bears that number.
* Counts in `mail_box` equal what counting the rows would give.

The index is not one of the things that sync: every device has its own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from leap.mail import expunged
from leap.mail.bulk_index_changes import BulkIndexChanges
from leap.mail.contract import MailboxId, ModSeq, RowId
from leap.mail.index_changes import IndexChanges, Placement, latest
from leap.mail.index_faults import index_faults
from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS, MAILBOX_TYPE, mailbox_id_of
from leap.mail.save_dates import add_save_dates
from leap.mail.search.tables import create_search, drop_search, search_faults
from leap.mail.sorting.tables import create_sorting, sorting_faults
from leap.mail.threads.listed import follow_everything, note_behind
from leap.mail.threads.tables import create_threads, drop_threads, thread_faults
from leap.soledad.changes import DocChange, RowChange
from leap.soledad.document_api import find as find_documents
from leap.soledad.sqlite import Connection

if TYPE_CHECKING:
    from leap.soledad.transaction import Transaction

_TABLES = (
    # Outlives every other table here: see UIDVALIDITY above.
    "CREATE TABLE IF NOT EXISTS mail_validity (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS mail_directory (id INTEGER PRIMARY KEY CHECK (id = 1), stamp INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS mail_document (mailbox_id TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS mail_box (
        mailbox_id TEXT PRIMARY KEY,
        uid_validity INTEGER NOT NULL,
        uid_next INTEGER NOT NULL,
        recent_from INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        recent INTEGER NOT NULL,
        unseen INTEGER NOT NULL,
        size INTEGER NOT NULL
    ) STRICT""",
    # `place` is the mailbox the row names, `mailbox_id` the one it is shown in.
    """CREATE TABLE IF NOT EXISTS mail_index (
        mailbox_id TEXT NOT NULL,
        uid INTEGER NOT NULL,
        row_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        header_id TEXT NOT NULL,
        modseq INTEGER NOT NULL,
        flags TEXT NOT NULL,
        size INTEGER NOT NULL,
        internal_date INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        place TEXT NOT NULL,
        saved INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mailbox_id, uid)
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS mail_index_row ON mail_index (row_id)",
    "CREATE INDEX IF NOT EXISTS mail_index_modseq ON mail_index (mailbox_id, modseq)",
    "CREATE INDEX IF NOT EXISTS mail_index_header ON mail_index (header_id)",
    *expunged.TABLES,
    # The header record of each message, opened; filled at append, else when its blob is here.
    """CREATE TABLE IF NOT EXISTS mail_metadata (
        header_id TEXT PRIMARY KEY,
        envelope BLOB NOT NULL,
        body BLOB NOT NULL,
        body_structure BLOB NOT NULL,
        header_size INTEGER NOT NULL,
        subject TEXT NOT NULL,
        preview TEXT NOT NULL,
        security BLOB NOT NULL
    ) STRICT""",
    # The header fields lists ask for; where they are missing they are made when somebody asks.
    "CREATE TABLE IF NOT EXISTS mail_header (header_id TEXT PRIMARY KEY, fields BLOB NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS mail_header_wanted (
        header_id TEXT PRIMARY KEY, internal_date INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS mail_header_wanted_date ON mail_header_wanted (internal_date)",
)


class MailboxChanged(NamedTuple):
    """A tag of the store's change feed: this mailbox changed, and this is its modseq now."""

    mailbox_id: MailboxId
    modseq: ModSeq


@dataclass(frozen=True)  # a NamedTuple without fields would equal every other one
class MailboxListChanged:
    """A tag of the store's change feed: mailboxes were added, renamed or removed."""


class Report:
    """What a transaction did to the index: put one into `tx.tags`, and it is filled before the COMMIT."""

    def __init__(self) -> None:
        self.placed: dict[RowId, Placement] = {}
        self.modseqs: dict[MailboxId, ModSeq] = {}


class MailIndex:
    """The projection (`leap.soledad.changes.Projection`)."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        expunged_kept: int = expunged.EXPUNGED_KEPT,
    ) -> None:
        self._now = now
        self._expunged_kept = expunged_kept
        self._directory = DirectoryReader()

    def create(self, connection: Connection) -> None:
        """Makes the tables; where they were missing, the index is built from what the store holds."""
        fresh = not connection.execute(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mail_box'"
        ).fetchone()
        for statement in _TABLES:
            connection.execute(statement)
        add_save_dates(connection, int(self._now()))
        if fresh:
            connection.execute("DELETE FROM mail_index")
            drop_search(connection)
            drop_threads(connection)
        create_search(connection)
        if fresh:
            self._build(connection)
        directory = self._directory.read(connection)
        self._ensure_boxes(connection, directory)
        expunged.forget_oldest(connection, self._expunged_kept)
        create_sorting(connection)
        if create_threads(connection):
            follow_everything(connection, directory)

    def _build(self, connection: Connection) -> None:
        for table in (
            "mail_document",
            "mail_index",
            "mail_expunged",
            "mail_forgotten",
            "mail_header_wanted",
        ):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
        for document in find_documents(connection, MAILBOX_TYPE):
            mailbox_id = mailbox_id_of(document.doc_id)
            if mailbox_id is not None and document.content is not None:
                _keep_document(connection, mailbox_id, document.content)
        self._restamp(connection)
        directory = self._directory.read(connection)
        self._ensure_boxes(connection, directory)
        changes = IndexChanges(connection, lambda _: None, int(self._now()))
        changes.add_missing(directory)
        changes.finish()
        # Only what comes from now on is recent
        connection.execute("UPDATE mail_box SET recent_from = uid_next, recent = 0")

    def drop(self, connection: Connection) -> None:
        """Removes the index; `create` builds it anew, under larger UIDVALIDITYs.

        Opened header records stay where their blob is not here: they could not be opened again offline.
        """
        for table in (
            "mail_directory",
            "mail_document",
            "mail_box",
            "mail_index",
            "mail_expunged",
            "mail_forgotten",
        ):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        drop_search(connection)
        drop_threads(connection)
        for table in ("mail_metadata", "mail_facts", "mail_sort", "mail_header"):
            connection.execute(
                f"DELETE FROM {table} WHERE header_id IN (SELECT blob_id FROM blob)"  # noqa: S608
                f" OR header_id NOT IN (SELECT header_id FROM {MAIL_ROWS.name}"
                " WHERE deleted = 0 AND header_id IS NOT NULL)"
            )

    def faults(self, connection: Connection) -> list[str]:
        """What in the index does not follow from documents and rows."""
        return [
            *index_faults(connection, self._directory.read(connection)),
            *search_faults(connection),
            *thread_faults(connection),
            *sorting_faults(connection),
        ]

    def apply(
        self,
        tx: Transaction,
        docs: Sequence[DocChange],
        rows: Sequence[RowChange],
        from_sync: bool,
    ) -> None:
        given = tx.connection, tx.drop_blobs, int(self._now())
        changes = IndexChanges(*given)
        bulk = [change for change in tx.bulk if change.schema == MAIL_ROWS.name]
        if bulk:
            BulkIndexChanges(changes, *given).follow(bulk, self._directory.read(tx.connection))
        mail = latest(change for change in rows if change.schema == MAIL_ROWS.name)
        mailboxes = [change for change in docs if _is_mailbox(change)]
        # Rows go before their mailbox does: else they would be shown in INBOX for a moment.
        changes.remove([change for change in mail if change.after is None])
        if mailboxes:
            self._follow_mailboxes(tx, mailboxes, changes)
        remaining = [change for change in mail if change.after is not None]
        if remaining:
            changes.follow(remaining, self._directory.read(tx.connection), from_sync)
        if MAIL_ROWS.name in tx.arrived:
            changes.add_missing(self._directory.read(tx.connection))
        if changes.touched:
            note_behind(tx.connection, changes.touched)
        _finish(tx, changes)

    # -- mailboxes

    def _follow_mailboxes(
        self, tx: Transaction, docs: Sequence[DocChange], changes: IndexChanges
    ) -> None:
        connection = tx.connection
        before = self._directory.read(connection)
        for change in docs:
            mailbox_id = mailbox_id_of(change.doc_id)
            if change.after is None:
                connection.execute("DELETE FROM mail_document WHERE mailbox_id = ?", (mailbox_id,))
            else:
                _keep_document(connection, _id_of(change), change.after)
        self._restamp(connection)
        after = self._directory.read(connection)
        self._ensure_boxes(connection, after)
        if before.shown != after.shown:
            tx.tags.add(MailboxListChanged())
        moved = {
            place
            for place in before.shown_as.keys() | after.shown_as.keys() | set(map(_id_of, docs))
            if before.place(place) != after.place(place)
        }
        reused = {
            one
            for one, info in after.shown.items()
            if one not in before.shown or before.shown[one].special_use != info.special_use
        }
        if reused:  # what counts for contacts is another now
            changes.touched.update(
                header_id
                for (header_id,) in connection.execute(
                    "SELECT DISTINCT header_id FROM mail_index WHERE mailbox_id IN (SELECT value FROM json_each(?))",
                    (json.dumps(sorted(reused)),),
                )
            )
        if moved:
            found = connection.execute(
                "SELECT row_id FROM mail_index WHERE place IN (SELECT value FROM json_each(?))"
                " ORDER BY internal_date, row_id",
                (json.dumps(sorted(moved)),),
            )
            changes.replace([RowId(row_id) for (row_id,) in found], after)

    def _restamp(self, connection: Connection) -> None:
        # Random, for a number counted up would come again after a ROLLBACK, with other contents.
        connection.execute(
            "INSERT INTO mail_directory (id, stamp) VALUES (1, ?)"
            " ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp",
            (secrets.randbits(62),),
        )

    def _ensure_boxes(self, connection: Connection, directory: Directory) -> None:
        known = {
            mailbox_id for (mailbox_id,) in connection.execute("SELECT mailbox_id FROM mail_box")
        }
        for mailbox_id in directory.shown:
            if mailbox_id not in known:
                connection.execute(
                    "INSERT INTO mail_box (mailbox_id, uid_validity, uid_next, recent_from, modseq,"
                    " messages, recent, unseen, size) VALUES (?, ?, 1, 1, 1, 0, 0, 0, 0)",
                    (mailbox_id, self._mint(connection)),
                )

    def _mint(self, connection: Connection) -> int:
        found = connection.execute("SELECT last FROM mail_validity WHERE id = 1").fetchone()
        last = found[0] if found else 0
        minted = (
            max(int(self._now()), last + 1) & 0xFFFFFFFF or 1
        )  # RFC 9051 2.3.1.1: nz-number, 32 bits
        connection.execute(
            "INSERT INTO mail_validity (id, last) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET last = excluded.last",
            (minted,),
        )
        return int(minted)


class DirectoryReader:
    """Reads which mailboxes there are, as of a transaction or snapshot; resolves them only when they changed."""

    def __init__(self) -> None:
        self._cached: tuple[int, Directory] | None = None

    def read(self, connection: Connection) -> Directory:
        stamp = connection.execute("SELECT stamp FROM mail_directory WHERE id = 1").fetchone()[0]
        cached = self._cached
        if cached is not None and cached[0] == stamp:
            return cached[1]
        documents = {
            MailboxId(mailbox_id): msgspec.msgpack.decode(content)
            for mailbox_id, content in connection.execute(
                "SELECT mailbox_id, content FROM mail_document"
            )
        }
        directory = Directory.of(documents)
        self._cached = (stamp, directory)
        return directory


def renumber(tx: Transaction, row_ids: Sequence[RowId], directory: Directory, now: int) -> None:
    """Gives rows new uids in the mailbox they are in, as a move into the same mailbox asks."""
    changes = IndexChanges(tx.connection, tx.drop_blobs, now)
    changes.replace(row_ids, directory)
    _finish(tx, changes)


def _finish(tx: Transaction, changes: IndexChanges) -> None:
    changes.finish()
    for tag in list(tx.tags):
        if isinstance(tag, Report):
            tag.placed.update(changes.placed)
            tag.modseqs.update(changes.modseqs)
    for mailbox_id, modseq in changes.modseqs.items():
        tx.tags.add(MailboxChanged(mailbox_id, modseq))


def _keep_document(connection: Connection, mailbox_id: MailboxId, content: dict[str, Any]) -> None:
    connection.execute(
        "INSERT INTO mail_document (mailbox_id, content) VALUES (?, ?)"
        " ON CONFLICT (mailbox_id) DO UPDATE SET content = excluded.content",
        (mailbox_id, msgspec.msgpack.encode(content)),
    )


def _is_mailbox(change: DocChange) -> bool:
    kinds = [
        content.get("type") for content in (change.before, change.after) if content is not None
    ]
    return MAILBOX_TYPE in kinds and mailbox_id_of(change.doc_id) is not None


def _id_of(change: DocChange) -> MailboxId:
    return mailbox_id_of(change.doc_id) or MailboxId("")
