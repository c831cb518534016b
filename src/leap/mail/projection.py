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
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from leap.mail.contract import MailboxId, ModSeq, RowId, Uid
from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS, MAILBOX_TYPE, mailbox_id_of
from leap.soledad.changes import DocChange, Row, RowChange
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
        PRIMARY KEY (mailbox_id, uid)
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS mail_index_row ON mail_index (row_id)",
    "CREATE INDEX IF NOT EXISTS mail_index_modseq ON mail_index (mailbox_id, modseq)",
    "CREATE INDEX IF NOT EXISTS mail_index_header ON mail_index (header_id)",
    """CREATE TABLE IF NOT EXISTS mail_expunged (
        mailbox_id TEXT NOT NULL,
        modseq INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        PRIMARY KEY (mailbox_id, modseq, uid)
    ) STRICT, WITHOUT ROWID""",
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
    """CREATE TABLE IF NOT EXISTS mail_header_wanted (
        header_id TEXT PRIMARY KEY, internal_date INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS mail_header_wanted_date ON mail_header_wanted (internal_date)",
)
_LEAVING = (
    "SELECT i.mailbox_id, i.uid, i.flags, i.size FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.row_id = j.value"
)


class MailboxChanged(NamedTuple):
    """A tag of the store's change feed: this mailbox changed, and this is its modseq now."""

    mailbox_id: MailboxId
    modseq: ModSeq


class MailboxListChanged(NamedTuple):
    """A tag of the store's change feed: mailboxes were added, renamed or removed."""


class Placement(NamedTuple):
    """Where a row came to be in a transaction."""

    mailbox_id: MailboxId
    uid: Uid
    uid_validity: int


class Report:
    """What a transaction did to the index: put one into `tx.tags`, and it is filled before the COMMIT."""

    def __init__(self) -> None:
        self.placed: dict[RowId, Placement] = {}
        self.modseqs: dict[MailboxId, ModSeq] = {}


class MailIndex:
    """The projection (`leap.soledad.changes.Projection`)."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._directory = DirectoryReader()

    def create(self, connection: Connection) -> None:
        for statement in _TABLES:
            connection.execute(statement)
        stamped = connection.execute("SELECT count(*) FROM mail_directory").fetchone()[0]
        if not stamped:
            self._restamp(connection)
        self._ensure_boxes(connection, self._directory.read(connection))

    def apply(
        self,
        tx: Transaction,
        docs: Sequence[DocChange],
        rows: Sequence[RowChange],
        from_sync: bool,
    ) -> None:
        changes = _Changes(tx)
        mail = _latest(change for change in rows if change.schema == MAIL_ROWS.name)
        mailboxes = [change for change in docs if _is_mailbox(change)]
        # Rows go before their mailbox does: else they would be shown in INBOX for a moment.
        changes.remove([change for change in mail if change.after is None])
        if mailboxes:
            self._follow_mailboxes(tx, mailboxes, changes)
        remaining = [change for change in mail if change.after is not None]
        if remaining:
            changes.follow(remaining, self._directory.read(tx.connection), from_sync)
        _finish(tx, changes)

    # -- mailboxes

    def _follow_mailboxes(
        self, tx: Transaction, docs: Sequence[DocChange], changes: _Changes
    ) -> None:
        connection = tx.connection
        before = self._directory.read(connection)
        for change in docs:
            mailbox_id = mailbox_id_of(change.doc_id)
            if change.after is None:
                connection.execute("DELETE FROM mail_document WHERE mailbox_id = ?", (mailbox_id,))
            else:
                connection.execute(
                    "INSERT INTO mail_document (mailbox_id, content) VALUES (?, ?)"
                    " ON CONFLICT (mailbox_id) DO UPDATE SET content = excluded.content",
                    (mailbox_id, msgspec.msgpack.encode(change.after)),
                )
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
                    " messages, unseen, size) VALUES (?, ?, 1, 1, 1, 0, 0, 0)",
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


def renumber(tx: Transaction, row_ids: Sequence[RowId], directory: Directory) -> None:
    """Gives rows new uids in the mailbox they are in, as a move into the same mailbox asks."""
    changes = _Changes(tx)
    changes.replace(row_ids, directory)
    _finish(tx, changes)


def _finish(tx: Transaction, changes: _Changes) -> None:
    changes.finish()
    for tag in list(tx.tags):
        if isinstance(tag, Report):
            tag.placed.update(changes.placed)
            tag.modseqs.update(changes.modseqs)
    for mailbox_id, modseq in changes.modseqs.items():
        tx.tags.add(MailboxChanged(mailbox_id, modseq))


class _Box:
    """The counters of one mailbox during one transaction."""

    __slots__ = ("messages", "modseq", "size", "uid_next", "uid_validity", "unseen")

    def __init__(self, uid_validity: int, uid_next: int, modseq: int) -> None:
        self.uid_validity = uid_validity
        self.uid_next = uid_next
        self.modseq = modseq
        self.messages = self.unseen = self.size = 0  # differences


class _Changes:
    """Collects what one call of the projection does to the index."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._connection = tx.connection
        self._boxes: dict[MailboxId, _Box] = {}
        self.placed: dict[RowId, Placement] = {}

    @property
    def modseqs(self) -> dict[MailboxId, ModSeq]:
        return {mailbox_id: ModSeq(box.modseq) for mailbox_id, box in self._boxes.items()}

    def remove(self, rows: Sequence[RowChange]) -> None:
        """Follows rows that were deleted: out of the index, and their blobs too when nothing else shows them."""
        if not rows:
            return
        self._leave([change.row_id for change in rows])
        headers = [
            row["header_id"] for change in rows if (row := change.before) and row["header_id"]
        ]
        unused = drop_unused_metadata(self._connection, headers)
        self._tx.drop_blobs(
            blob_id
            for change in rows
            if (row := change.before) and row["header_id"] in unused
            for column, _, _ in MAIL_ROWS.blobs
            if (blob_id := row[column])
        )

    def follow(self, rows: Sequence[RowChange], directory: Directory, from_sync: bool) -> None:
        """Sorts changes of rows into those that come, move or change their flags."""
        known = self._known([change.row_id for change in rows])
        leaving: list[str] = []
        arriving: list[Row] = []
        flagged: dict[tuple[MailboxId, str], list[str]] = defaultdict(list)
        renamed: list[tuple[str, str]] = []
        for change in rows:
            row, shown = change.after, known.get(change.row_id)
            if row is None:
                continue
            place = directory.place(row["mailbox"])
            if shown is None:
                arriving.append(row)
            elif shown[0] != place:
                leaving.append(change.row_id)
                arriving.append(row)
            else:
                if row["flags"] != shown[1]:
                    flagged[place, row["flags"]].append(change.row_id)
                if row["mailbox"] != shown[2]:
                    renamed.append((row["mailbox"], change.row_id))
        self._connection.executemany("UPDATE mail_index SET place = ? WHERE row_id = ?", renamed)
        if leaving:
            self._leave(leaving)
        if arriving:
            if from_sync:  # a device that sees them for the first time numbers them as they came
                arriving.sort(key=lambda row: (row["internal_date"] or 0, row["row_id"]))
            self._arrive(arriving, directory)
        for (mailbox_id, flags), row_ids in flagged.items():
            self._reflag(mailbox_id, flags, row_ids)

    def replace(self, row_ids: Sequence[RowId], directory: Directory) -> None:
        """Takes rows out and puts them in again where they belong now, with new uids."""
        if not row_ids:
            return
        columns = (
            "row_id",
            "message_id",
            "header_id",
            "flags",
            "size",
            "internal_date",
            "zone",
            "mailbox",
        )
        found = self._connection.execute(
            "SELECT i.row_id, i.message_id, i.header_id, i.flags, i.size, i.internal_date, i.zone, i.place"
            " FROM json_each(?) j CROSS JOIN mail_index i ON i.row_id = j.value ORDER BY j.key",
            (json.dumps(row_ids),),
        ).fetchall()
        self._leave(row_ids)
        self._arrive([dict(zip(columns, values, strict=True)) for values in found], directory)

    def finish(self) -> None:
        """Writes the counters."""
        for mailbox_id, box in self._boxes.items():
            self._connection.execute(
                "UPDATE mail_box SET uid_next = ?, modseq = ?, messages = messages + ?,"
                " unseen = unseen + ?, size = size + ? WHERE mailbox_id = ?",
                (box.uid_next, box.modseq, box.messages, box.unseen, box.size, mailbox_id),
            )

    def _known(self, row_ids: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """(mailbox, flags, place) of those rows that the index has."""
        found = self._connection.execute(
            "SELECT i.row_id, i.mailbox_id, i.flags, i.place FROM json_each(?) j"
            " CROSS JOIN mail_index i ON i.row_id = j.value",
            (json.dumps(list(row_ids)),),
        )
        return {row_id: (mailbox_id, flags, place) for row_id, mailbox_id, flags, place in found}

    def _box(self, mailbox_id: MailboxId) -> _Box:
        """The mailbox, its modseq raised once for this call."""
        box = self._boxes.get(mailbox_id)
        if box is None:
            found = self._connection.execute(
                "SELECT uid_validity, uid_next, modseq FROM mail_box WHERE mailbox_id = ?",
                (mailbox_id,),
            ).fetchone()
            box = self._boxes[mailbox_id] = _Box(found[0], found[1], found[2] + 1)
        return box

    def _arrive(self, rows: Sequence[Row], directory: Directory) -> None:
        values: list[tuple[Any, ...]] = []
        wanted: list[tuple[str, int]] = []
        for row in rows:
            mailbox_id = directory.place(row["mailbox"])
            box = self._box(mailbox_id)
            uid = box.uid_next
            box.uid_next += 1
            box.messages += 1
            box.unseen += not _seen(row["flags"])
            box.size += row["size"] or 0
            row_id = RowId(row["row_id"])
            self.placed[row_id] = Placement(mailbox_id, Uid(uid), box.uid_validity)
            header_id, date = row["header_id"] or "", row["internal_date"] or 0
            values.append(
                (mailbox_id, uid, row_id, row["message_id"] or row_id, header_id, box.modseq, row["flags"],
                 row["size"] or 0, date, row["zone"] or 0, row["mailbox"])
            )  # fmt: skip
            if header_id:
                wanted.append((header_id, date))
        self._connection.executemany(
            "INSERT INTO mail_index (mailbox_id, uid, row_id, message_id, header_id, modseq, flags, size,"
            " internal_date, zone, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO mail_header_wanted (header_id, internal_date) SELECT ?1, ?2"
            " WHERE NOT EXISTS (SELECT 1 FROM mail_metadata WHERE header_id = ?1)",
            wanted,
        )

    def _leave(self, row_ids: Sequence[str]) -> None:
        listed = json.dumps(row_ids)
        gone: list[tuple[MailboxId, int, int]] = []
        for mailbox_id, uid, flags, size in self._connection.execute(
            _LEAVING, (listed,)
        ).fetchall():
            box = self._box(mailbox_id)
            box.messages -= 1
            box.unseen -= not _seen(flags)
            box.size -= size
            gone.append((mailbox_id, box.modseq, uid))
        self._connection.execute(
            "DELETE FROM mail_index WHERE row_id IN (SELECT value FROM json_each(?))", (listed,)
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO mail_expunged (mailbox_id, modseq, uid) VALUES (?, ?, ?)", gone
        )

    def _reflag(self, mailbox_id: MailboxId, flags: str, row_ids: Sequence[str]) -> None:
        box = self._box(mailbox_id)
        listed = json.dumps(row_ids)
        seen_before = self._connection.execute(
            "SELECT count(*) FROM json_each(?) j CROSS JOIN mail_index i ON i.row_id = j.value"
            " WHERE instr(' ' || i.flags || ' ', ' \\Seen ')",
            (listed,),
        ).fetchone()[0]
        box.unseen += seen_before - len(row_ids) * _seen(flags)
        self._connection.execute(
            "UPDATE mail_index SET flags = ?, modseq = ? WHERE row_id IN (SELECT value FROM json_each(?))",
            (flags, box.modseq, listed),
        )


def drop_unused_metadata(connection: Connection, header_ids: Iterable[str]) -> set[str]:
    """Removes opened header records that no row shows any more; answers their ids."""
    unused = {
        header_id
        for (header_id,) in connection.execute(
            "SELECT DISTINCT j.value FROM json_each(?) j"
            " WHERE NOT EXISTS (SELECT 1 FROM mail_index i WHERE i.header_id = j.value)",
            (json.dumps(list(header_ids)),),
        )
    }
    listed = json.dumps(list(unused))
    for table in ("mail_metadata", "mail_header_wanted"):
        connection.execute(
            f"DELETE FROM {table} WHERE header_id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (listed,),
        )
    return unused


def _latest(rows: Iterable[RowChange]) -> list[RowChange]:
    """A row may change twice in a transaction: what it was before all and is at the end counts."""
    out: dict[str, RowChange] = {}
    for change in rows:
        earlier = out.pop(change.row_id, None)
        out[change.row_id] = (
            change._replace(before=earlier.before or change.before) if earlier else change
        )
    return list(out.values())


def _seen(flags: str) -> bool:
    return "\\Seen" in flags.split()


def _is_mailbox(change: DocChange) -> bool:
    kinds = [
        content.get("type") for content in (change.before, change.after) if content is not None
    ]
    return MAILBOX_TYPE in kinds and mailbox_id_of(change.doc_id) is not None


def _id_of(change: DocChange) -> MailboxId:
    return mailbox_id_of(change.doc_id) or MailboxId("")
