"""What one transaction does to the mailbox index: rows come, go, move, change their flags; counters follow."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from leap.mail.contract import MailboxId, ModSeq, RowId, Uid
from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS
from leap.mail.search.tables import forget_texts, want_texts
from leap.mail.sorting.tables import forget_sort_keys
from leap.mail.threads.listed import forget_facts
from leap.soledad.changes import Row, RowChange
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

ARRIVING = 1_000  # rows taken into the index at a time when there are many
DropBlobs = Callable[[Iterable[str]], None]
_LEAVING = (
    "SELECT i.mailbox_id, i.uid, i.flags, i.size, i.header_id FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.row_id = j.value"
)


_WANT = (
    "INSERT OR IGNORE INTO mail_header_wanted (header_id, internal_date)"
    " SELECT j.value ->> 0, j.value ->> 1 FROM json_each(?) j"
    " WHERE NOT EXISTS (SELECT 1 FROM mail_metadata m WHERE m.header_id = j.value ->> 0)"
)


class _Shown(NamedTuple):
    """A row as the index has it."""

    mailbox_id: MailboxId
    flags: str
    place: str
    header_id: str
    size: int


class Placement(NamedTuple):
    """Where a row came to be in a transaction."""

    mailbox_id: MailboxId
    uid: Uid
    uid_validity: int


class _Box:
    """The counters of one mailbox during one transaction."""

    __slots__ = (
        "messages",
        "modseq",
        "recent",
        "recent_from",
        "size",
        "uid_next",
        "uid_validity",
        "unseen",
    )

    def __init__(self, uid_validity: int, uid_next: int, recent_from: int, modseq: int) -> None:
        self.uid_validity = uid_validity
        self.uid_next = uid_next
        self.recent_from = recent_from
        self.modseq = modseq
        self.messages = self.recent = self.unseen = self.size = 0  # differences


class IndexChanges:
    """Collects what one call of the projection does to the index; `finish` writes the counters."""

    def __init__(self, connection: Connection, drop_blobs: DropBlobs, now: int) -> None:
        """`now` is the save date of what comes."""
        self._connection = connection
        self._now = now
        self._drop_blobs = drop_blobs
        self._boxes: dict[MailboxId, _Box] = {}
        self.placed: dict[RowId, Placement] = {}
        self.touched: set[str] = set()  # header records of rows that came or went

    @property
    def modseqs(self) -> dict[MailboxId, ModSeq]:
        return {mailbox_id: ModSeq(box.modseq) for mailbox_id, box in self._boxes.items()}

    def remove(self, rows: Sequence[RowChange]) -> None:
        """Follows rows that were deleted: out of the index, and their blobs too when nothing else shows them."""
        if rows:
            self._leave([change.row_id for change in rows])
            self._release([change.before for change in rows if change.before])

    def _release(self, rows: Sequence[Row]) -> None:
        """Forgets the header records of rows as they were, and drops their blobs, unless another row has them."""
        unused = drop_unused_metadata(
            self._connection, [row["header_id"] for row in rows if row["header_id"]]
        )
        self._drop_blobs(
            blob_id
            for row in rows
            if row["header_id"] in unused
            for column, _, _ in MAIL_ROWS.blobs
            if (blob_id := row[column])
        )

    def follow(self, rows: Sequence[RowChange], directory: Directory, from_sync: bool) -> None:
        """Sorts changes of rows into those that come, move or change their flags."""
        flagged: dict[tuple[MailboxId, str, str], list[str]] = defaultdict(list)
        others: list[RowChange] = []
        for change in rows:
            before, after = change.before, change.after
            if before is not None and after is not None and _only_flags_differ(before, after):
                place = directory.place(after["mailbox"])
                flagged[place, before["flags"], after["flags"]].append(change.row_id)
            else:
                others.append(change)
        if others:
            self._relocate(others, directory, from_sync)
        for (mailbox_id, old, new), row_ids in flagged.items():
            if old != new:
                self._reflag(mailbox_id, old, new, row_ids)

    def _relocate(self, rows: Sequence[RowChange], directory: Directory, from_sync: bool) -> None:
        if not from_sync and all(change.before is None for change in rows):
            known = {}  # a row made here is nowhere yet
        else:
            known = self._known([change.row_id for change in rows])
        leaving: list[str] = []
        arriving: list[Row] = []
        stayed: list[tuple[str, str, str]] = []
        replaced: list[Row] = []
        renamed: list[tuple[str, int]] = []
        for change in rows:
            row, shown = change.after, known.get(change.row_id)
            if row is None:
                continue
            place = directory.place(row["mailbox"])
            header_id = row["header_id"] or ""
            if shown is None:
                arriving.append(row)
                continue
            if header_id != shown.header_id and change.before is not None:
                replaced.append(
                    change.before
                )  # two devices stored the same incoming mail; one copy stays
            if shown.mailbox_id != place or shown.size != (row["size"] or 0):
                leaving.append(
                    change.row_id
                )  # other octets need another uid too (RFC 9051 2.3.1.1)
                arriving.append(row)
                continue
            if row["flags"] != shown.flags:
                self._reflag(place, shown.flags, row["flags"], [change.row_id])
            if row["mailbox"] != shown.place or header_id != shown.header_id:
                stayed.append((row["mailbox"], header_id, change.row_id))
                if header_id:
                    renamed.append((header_id, row["internal_date"] or 0))
                    self.touched.add(header_id)
        if stayed:
            self._connection.executemany(
                "UPDATE mail_index SET place = ?, header_id = ? WHERE row_id = ?", stayed
            )
            self._want([(header_id, 0) for _, header_id, _ in stayed if header_id])
            want_texts(self._connection, renamed)
        if leaving:
            self._leave(leaving)
        if arriving:
            if from_sync:  # a device that sees them for the first time numbers them as they came
                arriving.sort(key=lambda row: (row["internal_date"] or 0, row["row_id"]))
            self._arrive(arriving, directory)
        if replaced:
            self._release(replaced)

    def add_missing(self, directory: Directory) -> None:
        """Puts every row of the store that is not in the index into it, as they came; `placed` is silent of them."""
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
            f"SELECT {', '.join(columns)} FROM {MAIL_ROWS.name} r WHERE deleted = 0"  # noqa: S608
            " AND NOT EXISTS (SELECT 1 FROM mail_index i WHERE i.row_id = r.row_id)"
            " ORDER BY internal_date, row_id"
        )
        while batch := found.fetchmany(ARRIVING):
            arriving = [dict(zip(columns, values, strict=True)) for values in batch]
            self._arrive(arriving, directory, tell=False)

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
                "UPDATE mail_box SET uid_next = ?, modseq = ?, messages = messages + ?, recent = recent + ?,"
                " unseen = unseen + ?, size = size + ? WHERE mailbox_id = ?",
                (
                    box.uid_next,
                    box.modseq,
                    box.messages,
                    box.recent,
                    box.unseen,
                    box.size,
                    mailbox_id,
                ),
            )

    def _known(self, row_ids: Iterable[str]) -> dict[str, _Shown]:
        """How the index shows those rows that it has."""
        found = self._connection.execute(
            "SELECT i.row_id, i.mailbox_id, i.flags, i.place, i.header_id, i.size FROM json_each(?) j"
            " CROSS JOIN mail_index i ON i.row_id = j.value",
            (json.dumps(list(row_ids)),),
        )
        return {row_id: _Shown(*values) for row_id, *values in found}

    def box(self, mailbox_id: MailboxId) -> _Box:
        """The mailbox, its modseq raised once for this call."""
        box = self._boxes.get(mailbox_id)
        if box is None:
            found = self._connection.execute(
                "SELECT uid_validity, uid_next, recent_from, modseq FROM mail_box WHERE mailbox_id = ?",
                (mailbox_id,),
            ).fetchone()
            box = self._boxes[mailbox_id] = _Box(found[0], found[1], found[2], found[3] + 1)
        return box

    def _arrive(self, rows: Sequence[Row], directory: Directory, *, tell: bool = True) -> None:
        values: list[tuple[Any, ...]] = []
        wanted: list[tuple[str, int]] = []
        place = None
        for row in rows:
            if row["mailbox"] != place:  # mostly all go to one mailbox
                place = row["mailbox"]
                mailbox_id = directory.place(place)
                box = self.box(mailbox_id)
            uid = box.uid_next
            box.uid_next += 1
            box.messages += 1
            box.recent += 1
            box.unseen += not is_seen(row["flags"])
            box.size += row["size"] or 0
            row_id = RowId(row["row_id"])
            if tell:
                self.placed[row_id] = Placement(mailbox_id, Uid(uid), box.uid_validity)
            header_id, date = row["header_id"] or "", row["internal_date"] or 0
            values.append(
                (mailbox_id, uid, row_id, row["message_id"] or row_id, header_id, box.modseq, row["flags"],
                 row["size"] or 0, date, row["zone"] or 0, row["mailbox"], self._now)
            )  # fmt: skip
            if header_id:
                wanted.append((header_id, date))
                self.touched.add(header_id)
        insert_rows(
            self._connection,
            "INSERT INTO mail_index (mailbox_id, uid, row_id, message_id, header_id, modseq, flags, size,"
            " internal_date, zone, place, saved)",
            values,
        )
        self._want(wanted)
        want_texts(self._connection, wanted)

    def _want(self, headers: Sequence[tuple[str, int]]) -> None:
        """Header records (id, date) that are to be opened, unless they are."""
        self._connection.execute(_WANT, (json.dumps(headers),))

    def _leave(self, row_ids: Sequence[str]) -> None:
        listed = json.dumps(row_ids)
        gone: list[tuple[MailboxId, int, int]] = []
        for mailbox_id, uid, flags, size, header_id in self._connection.execute(
            _LEAVING, (listed,)
        ).fetchall():
            box = self.box(mailbox_id)
            self.touched.add(header_id)
            box.messages -= 1
            box.recent -= uid >= box.recent_from
            box.unseen -= not is_seen(flags)
            box.size -= size
            gone.append((mailbox_id, box.modseq, uid))
        self._connection.execute(
            "DELETE FROM mail_index WHERE row_id IN (SELECT value FROM json_each(?))", (listed,)
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO mail_expunged (mailbox_id, modseq, uid) VALUES (?, ?, ?)", gone
        )

    def _reflag(self, mailbox_id: MailboxId, old: str, new: str, row_ids: Sequence[str]) -> None:
        box = self.box(mailbox_id)
        box.unseen += len(row_ids) * (is_seen(old) - is_seen(new))
        self._connection.execute(
            "UPDATE mail_index SET flags = ?, modseq = ? WHERE row_id IN (SELECT value FROM json_each(?))",
            (new, box.modseq, json.dumps(row_ids)),
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
    for table in ("mail_metadata", "mail_header", "mail_header_wanted"):
        connection.execute(
            f"DELETE FROM {table} WHERE header_id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (listed,),
        )
    forget_texts(connection, list(unused))
    forget_facts(connection, list(unused))
    forget_sort_keys(connection, list(unused))
    return unused


def latest(rows: Iterable[RowChange]) -> list[RowChange]:
    """A row may change twice in a transaction: what it was before all and is at the end counts."""
    rows = list(rows)
    if len({change.row_id for change in rows}) == len(rows):
        return rows
    out: dict[str, RowChange] = {}
    for change in rows:
        earlier = out.pop(change.row_id, None)
        out[change.row_id] = (
            change._replace(before=earlier.before or change.before) if earlier else change
        )
    return list(out.values())


@lru_cache(maxsize=1024)
def is_seen(flags: str) -> bool:
    return "\\Seen" in flags.split()


def _only_flags_differ(before: Row, after: Row) -> bool:
    return bool(
        before["mailbox"] == after["mailbox"]
        and before["header_id"] == after["header_id"]
        and before["size"] == after["size"]
    )
