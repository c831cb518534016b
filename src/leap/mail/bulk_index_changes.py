"""What changes of thousands of rows do to the mailbox index: a statement each, and sums for the counters.

The invariants of `leap.mail.projection` hold; uids are given in the order in which the rows were named.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from leap.mail.contract import MailboxId, RowId, Uid
from leap.mail.index_changes import (
    DropBlobs,
    IndexChanges,
    Placement,
    drop_unused_metadata,
    is_seen,
)
from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS
from leap.soledad.changes import BulkChange, RowsCopied, RowsDeleted, RowsMoved, SetChanged
from leap.soledad.sqlite import Connection

_COPY = (
    "INSERT INTO mail_index (mailbox_id, uid, row_id, message_id, header_id, modseq, flags, size,"
    " internal_date, zone, place, saved)"
    " SELECT ?1, ?2 + r.rowid - ?3, r.row_id, coalesce(nullif(r.message_id, ''), r.row_id),"
    " coalesce(r.header_id, ''), ?4, r.flags, coalesce(r.size, 0), coalesce(r.internal_date, 0),"
    " coalesce(r.zone, 0), r.mailbox, ?5"
    " FROM mail_row r WHERE r.rowid BETWEEN ?3 AND ?6 ORDER BY r.rowid"
)
# The mailbox stands beside each uid: where it is a constant, SQLite reads all of the mailbox for each of the uids
_MOVE = (
    "WITH j AS MATERIALIZED (SELECT ?7 AS mailbox_id, key, value FROM json_each(?6))"
    " UPDATE mail_index SET mailbox_id = ?1, uid = ?2 + j.key, modseq = ?3, place = ?4, saved = ?5"
    " FROM j WHERE mail_index.mailbox_id = j.mailbox_id AND mail_index.uid = j.value"
)
_FOUND = (
    "SELECT i.mailbox_id, i.uid, i.flags, i.size, i.header_id, i.row_id FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.row_id = j.value"
)


class BulkIndexChanges:
    """Follows such changes, in their order, into what one call of the projection collects."""

    def __init__(
        self, changes: IndexChanges, connection: Connection, drop_blobs: DropBlobs, now: int
    ) -> None:
        """The other arguments are those `changes` was made with."""
        self._changes = changes
        self._connection = connection
        self._drop_blobs = drop_blobs
        self._now = now

    def follow(self, bulk: Sequence[BulkChange], directory: Directory) -> None:
        for change in bulk:
            match change:
                case SetChanged(column="flags"):
                    self._reflag(change.old, change.new, change.row_ids)
                case RowsMoved():
                    self._move(change, directory)
                case RowsCopied():
                    self._copy(change, directory)
                case RowsDeleted():
                    self._delete(change.row_ids)

    def _reflag(self, old: str, new: str, row_ids: Sequence[str]) -> None:
        places: dict[MailboxId, list[int]] = defaultdict(list)
        for mailbox_id, uid in self._connection.execute(
            "SELECT i.mailbox_id, i.uid FROM json_each(?) j CROSS JOIN mail_index i"
            " ON i.row_id = j.value",
            (json.dumps(row_ids),),
        ):
            places[mailbox_id].append(uid)
        for mailbox_id, uids in places.items():
            box = self._changes.box(mailbox_id)
            box.unseen += len(uids) * (is_seen(old) - is_seen(new))
            self._connection.execute(
                "UPDATE mail_index SET flags = ?, modseq = ? WHERE mailbox_id = ?"
                " AND uid IN (SELECT value FROM json_each(?))",
                (new, box.modseq, mailbox_id, json.dumps(uids)),
            )

    def _copy(self, change: RowsCopied, directory: Directory) -> None:
        mailbox_id = directory.place(change.place)
        box = self._changes.box(mailbox_id)
        count, first = len(change.row_ids), change.first_rowid
        last = first + count - 1
        self._connection.execute(
            _COPY, (mailbox_id, box.uid_next, first, box.modseq, self._now, last)
        )
        for number, size, flags in self._connection.execute(
            f"SELECT count(*), sum(coalesce(size, 0)), flags FROM {MAIL_ROWS.name}"  # noqa: S608
            " WHERE rowid BETWEEN ? AND ? GROUP BY flags",
            (first, last),
        ):
            box.messages += number
            box.recent += number
            box.size += size
            box.unseen += number * (not is_seen(flags))
        self._changes.touched.update(
            header_id
            for (header_id,) in self._connection.execute(
                f"SELECT header_id FROM {MAIL_ROWS.name} WHERE rowid BETWEEN ? AND ?"  # noqa: S608
                " AND header_id <> ''",
                (first, last),
            )
        )
        self._place(change.row_ids, mailbox_id)

    def _move(self, change: RowsMoved, directory: Directory) -> None:
        target = directory.place(change.place)
        uids: dict[MailboxId, list[int]] = defaultdict(list)
        moved: dict[MailboxId, list[str]] = defaultdict(list)
        for mailbox_id, uid, flags, size, header_id, row_id in self._connection.execute(
            _FOUND, (json.dumps(change.row_ids),)
        ).fetchall():
            uids[mailbox_id].append(uid)
            moved[mailbox_id].append(row_id)
            if mailbox_id == target:
                continue
            leaving, arriving = self._changes.box(mailbox_id), self._changes.box(target)
            unseen = not is_seen(flags)
            leaving.recent -= uid >= leaving.recent_from
            leaving.unseen -= unseen
            leaving.size -= size
            arriving.unseen += unseen
            arriving.size += size
            self._changes.touched.add(header_id)
        for mailbox_id, its in uids.items():
            listed = json.dumps(its)
            if mailbox_id == target:  # it was shown there before
                self._connection.execute(
                    "UPDATE mail_index SET place = ? WHERE mailbox_id = ?"
                    " AND uid IN (SELECT value FROM json_each(?))",
                    (change.place, mailbox_id, listed),
                )
                continue
            leaving, arriving = self._changes.box(mailbox_id), self._changes.box(target)
            leaving.messages -= len(its)
            arriving.messages += len(its)
            arriving.recent += len(its)
            self._connection.execute(
                _MOVE,
                (target, arriving.uid_next, arriving.modseq, change.place, self._now, listed,
                 mailbox_id),
            )  # fmt: skip
            self._expunged(mailbox_id, leaving.modseq, listed)
            self._place(moved[mailbox_id], target)

    def _expunged(self, mailbox_id: MailboxId, modseq: int, uids: str) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO mail_expunged (mailbox_id, modseq, uid)"
            " SELECT ?, ?, value FROM json_each(?)",
            (mailbox_id, modseq, uids),
        )

    def _place(self, row_ids: Sequence[str], mailbox_id: MailboxId) -> None:
        """Notes that these came to be in a mailbox, under its next uids."""
        box = self._changes.box(mailbox_id)
        self._changes.placed.update(
            (RowId(row_id), Placement(mailbox_id, Uid(uid), box.uid_validity))
            for uid, row_id in enumerate(row_ids, box.uid_next)
        )
        box.uid_next += len(row_ids)

    def _delete(self, row_ids: Sequence[str]) -> None:
        listed = json.dumps(row_ids)
        uids: dict[MailboxId, list[int]] = defaultdict(list)
        headers: set[str] = set()
        for mailbox_id, uid, flags, size, header_id, _ in self._connection.execute(
            _FOUND, (listed,)
        ).fetchall():
            uids[mailbox_id].append(uid)
            headers.add(header_id)
            box = self._changes.box(mailbox_id)
            box.recent -= uid >= box.recent_from
            box.unseen -= not is_seen(flags)
            box.size -= size
        for mailbox_id, its in uids.items():
            box = self._changes.box(mailbox_id)
            box.messages -= len(its)
            gone = json.dumps(its)
            self._connection.execute(
                "DELETE FROM mail_index WHERE mailbox_id = ?"
                " AND uid IN (SELECT value FROM json_each(?))",
                (mailbox_id, gone),
            )
            self._expunged(mailbox_id, box.modseq, gone)
        self._changes.touched |= headers
        unused = drop_unused_metadata(self._connection, headers - {""})
        if unused:
            self._release(unused, listed)

    def _release(self, unused: set[str], row_ids: str) -> None:
        columns = ", ".join(f"t.{name}" for name, _, _ in MAIL_ROWS.blobs)
        found = self._connection.execute(
            f"SELECT t.header_id, {columns} FROM json_each(?) j CROSS JOIN {MAIL_ROWS.name} t"  # noqa: S608
            " ON t.row_id = j.value",
            (row_ids,),
        )
        self._drop_blobs(
            blob_id
            for header_id, *blob_ids in found
            if header_id in unused
            for blob_id in blob_ids
            if blob_id
        )
