"""Reads the mailbox index: status, rows, what is recent. Each function runs in one snapshot or transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from leap.mail.contract import (
    FoundMessage,
    MailboxId,
    MailboxStatus,
    MessageId,
    MessageRow,
    ModSeq,
    RowId,
    Uid,
)
from leap.mail.flags import flags_of
from leap.soledad.sqlite import Connection

ROW = "i.row_id, i.message_id, i.uid, i.modseq, i.flags, i.size, i.internal_date, i.zone"
_AMONG = " FROM json_each(?) j CROSS JOIN mail_index i ON i.mailbox_id = ? AND i.uid = j.value"
_LAST_UID = 2**32 - 1
_SLICE = 2_000  # rows made in one go: about 2 ms in which no other thread runs Python

RowValues = tuple[Any, ...]  # in the order of `as_row`

# One text of many rows: SQLite makes it without Python's lock, and in half the time of a tuple for each row
_SLICED = (
    "SELECT json_group_array(json_array(row_id, message_id, uid, modseq, flags, size, internal_date, zone))"  # noqa: S608
    f" FROM (SELECT {ROW} FROM mail_index i WHERE i.mailbox_id = ? AND i.uid BETWEEN ? AND ?"
    " ORDER BY i.uid LIMIT ?)"
)
_sliced = msgspec.json.Decoder(list[tuple[str, str, Uid, ModSeq, str, int, int, int]])


_STATUS = "SELECT mailbox_id, uid_validity, uid_next, modseq, messages, recent, unseen, size FROM mail_box"


def read_status(connection: Connection, mailbox_id: MailboxId) -> MailboxStatus:
    found = connection.execute(f"{_STATUS} WHERE mailbox_id = ?", (mailbox_id,)).fetchone()
    return _status(*found)


def read_statuses(connection: Connection) -> list[MailboxStatus]:
    """Of every mailbox that was ever indexed, those deleted since among them."""
    return [_status(*found) for found in connection.execute(_STATUS)]


def _status(
    mailbox_id: str,
    validity: int,
    uid_next: int,
    modseq: int,
    messages: int,
    recent: int,
    unseen: int,
    size: int,
) -> MailboxStatus:
    return MailboxStatus(
        mailbox_id=MailboxId(mailbox_id),
        uid_validity=validity,
        uid_next=Uid(uid_next),
        messages=messages,
        unseen=unseen,
        recent=recent,
        size=size,
        highest_modseq=ModSeq(modseq),
    )


def read_rows(
    connection: Connection,
    mailbox_id: MailboxId,
    first: Uid,
    last: Uid | None,
    changed_since: ModSeq,
) -> list[MessageRow]:
    """Ascending by uid."""
    end = _LAST_UID if last is None else last
    if not changed_since:
        return _read_range(connection, mailbox_id, first, end)
    found = connection.execute(
        # "+" keeps SQLite from the index that does not serve
        f"SELECT {ROW} FROM mail_index i WHERE i.mailbox_id = ? AND i.modseq > ? AND +i.uid BETWEEN ? AND ?"  # noqa: S608
        " ORDER BY i.uid",
        (mailbox_id, changed_since, first, end),
    )
    return [as_row(*values) for values in found]


def _read_range(
    connection: Connection, mailbox_id: MailboxId, first: int, last: int
) -> list[MessageRow]:
    rows: list[MessageRow] = []
    while True:
        (text,) = connection.execute(_SLICED, (mailbox_id, first, last, _SLICE)).fetchone()
        found = _sliced.decode(text)
        rows += [as_row(*values) for values in found]
        if len(found) < _SLICE:
            return rows
        first = rows[-1].uid + 1


def read_rows_of(connection: Connection, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
    """All rows of messages, by message as asked, then by date."""
    wanted = list(dict.fromkeys(message_ids))
    # A message is named after its first row, and all its rows share a header record, which an index knows
    found = connection.execute(
        f"SELECT i.mailbox_id, {ROW} FROM json_each(?) j CROSS JOIN mail_index o ON o.row_id = j.value"  # noqa: S608
        " CROSS JOIN mail_index i ON i.header_id = o.header_id AND i.message_id = j.value",
        (json.dumps(wanted),),
    ).fetchall()
    known = {values[2] for values in found}
    if rest := [one for one in wanted if one not in known]:  # the first row is gone: the slow way
        found += connection.execute(
            f"SELECT i.mailbox_id, {ROW} FROM mail_index i"  # noqa: S608
            " WHERE i.message_id IN (SELECT value FROM json_each(?))",
            (json.dumps(rest),),
        ).fetchall()
    order = {message_id: at for at, message_id in enumerate(wanted)}
    out = [
        FoundMessage(mailbox_id=MailboxId(mailbox_id), row=as_row(*values))
        for mailbox_id, *values in found
    ]
    return sorted(
        out, key=lambda one: (order[one.row.message_id], one.row.internal_date, one.row.row_id)
    )


def claim_recent(connection: Connection, mailbox_id: MailboxId) -> list[Uid]:
    """Answers the unclaimed uids and takes them: in the writer's transaction, so that each goes out once."""
    found = connection.execute(
        "SELECT i.uid FROM mail_box b JOIN mail_index i ON i.mailbox_id = b.mailbox_id"
        " AND i.uid >= b.recent_from WHERE b.mailbox_id = ? ORDER BY i.uid",
        (mailbox_id,),
    ).fetchall()
    if found:
        connection.execute(
            "UPDATE mail_box SET recent_from = uid_next, recent = 0 WHERE mailbox_id = ?",
            (mailbox_id,),
        )
    return [Uid(uid) for (uid,) in found]


def row_values(
    connection: Connection, mailbox_id: MailboxId, uids: Sequence[Uid]
) -> list[RowValues]:
    """Those uids that exist, ascending."""
    return connection.execute(
        f"SELECT {ROW}{_AMONG} ORDER BY i.uid",
        (json.dumps(sorted(set(uids))), mailbox_id),
    ).fetchall()


def rows_among(
    connection: Connection, mailbox_id: MailboxId, uids: Sequence[Uid]
) -> dict[Uid, RowId]:
    """Those uids that exist, ascending, with their rows."""
    found = connection.execute(
        f"SELECT i.uid, i.row_id{_AMONG} ORDER BY i.uid",
        (json.dumps(sorted(set(uids))), mailbox_id),
    )
    return {Uid(uid): RowId(row_id) for uid, row_id in found}


def deleted_among(
    connection: Connection, mailbox_id: MailboxId, uids: Sequence[Uid] | None
) -> dict[Uid, RowId]:
    """Those flagged \\Deleted, among `uids` when given, ascending, with their rows."""
    deleted = "instr(' ' || i.flags || ' ', ' \\Deleted ')"
    if uids is None:
        found = connection.execute(
            f"SELECT i.uid, i.row_id FROM mail_index i WHERE i.mailbox_id = ? AND {deleted}"  # noqa: S608
            " ORDER BY i.uid",
            (mailbox_id,),
        )
    else:
        found = connection.execute(
            f"SELECT i.uid, i.row_id{_AMONG} WHERE {deleted} ORDER BY i.uid",
            (json.dumps(sorted(set(uids))), mailbox_id),
        )
    return {Uid(uid): RowId(row_id) for uid, row_id in found}


def row_ids_in(connection: Connection, mailbox_id: MailboxId) -> list[RowId]:
    """All rows of a mailbox, ascending by uid."""
    found = connection.execute(
        "SELECT row_id FROM mail_index WHERE mailbox_id = ? ORDER BY uid", (mailbox_id,)
    )
    return [RowId(row_id) for (row_id,) in found]


def as_row(
    row_id: str,
    message_id: str,
    uid: Uid,
    modseq: ModSeq,
    flags: str,
    size: int,
    date: int,
    zone: int,
) -> MessageRow:
    return MessageRow(
        row_id=RowId(row_id),
        # mostly the same: then one text serves for both, where 100,000 rows are kept in memory
        message_id=MessageId(row_id if message_id == row_id else message_id),
        uid=uid,
        modseq=modseq,
        flags=flags_of(flags),
        size=size,
        internal_date=date,
        zone=zone,
    )
