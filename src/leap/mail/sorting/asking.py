"""Asks the table of sort keys: the messages of a mailbox in an order, or as a forest. Each in one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leap.mail.contract import MailboxId, RowId, Uid
from leap.mail.sorting.model import SortField, SortKey, ThreadAlgorithm, ThreadLine
from leap.mail.threads.facts import ids_of
from leap.mail.threads.forest import (
    Node,
    Sent,
    thread_by_ordered_subject,
    thread_by_references,
)
from leap.mail.threads.subject import BaseSubject
from leap.soledad.sqlite import Connection

_COLUMNS: dict[SortField, str] = {
    "arrival": "i.internal_date",
    "cc": "s.copied",
    "date": "coalesce(s.sent, i.internal_date)",  # RFC 5256 2.2
    "displayfrom": "s.shown_sender",
    "displayto": "s.shown_recipient",
    "from": "s.sender",
    "size": "i.size",
    "subject": "s.subject",
    "to": "s.recipient",
}
FROM_INDEX: frozenset[SortField] = frozenset({"arrival", "size"})
_JOINED = (
    " FROM mail_index i LEFT JOIN mail_sort s ON s.header_id = i.header_id WHERE i.mailbox_id = ?"
)


class Ordered(NamedTuple):
    """All uids of a mailbox in an order; `absent` are rows whose header record has to be opened first, and then
    `uids` means nothing."""

    uids: list[Uid]
    absent: list[RowId]


def read_order(connection: Connection, mailbox_id: MailboxId, keys: Sequence[SortKey]) -> Ordered:
    """Messages that are equal by all keys ascend by uid, also when a key descends (RFC 5256 3, REVERSE)."""
    order = ", ".join(_COLUMNS[key.field] + (" DESC" if key.descending else "") for key in keys)
    if all(key.field in FROM_INDEX for key in keys):
        found = connection.execute(
            f"SELECT i.uid FROM mail_index i WHERE i.mailbox_id = ? ORDER BY {order}, i.uid",  # noqa: S608
            (mailbox_id,),
        )
        return Ordered([Uid(uid) for (uid,) in found], [])
    absent = _absent(connection, mailbox_id)
    if absent:
        return Ordered([], absent)
    found = connection.execute(f"SELECT i.uid{_JOINED} ORDER BY {order}, i.uid", (mailbox_id,))
    return Ordered([Uid(uid) for (uid,) in found], [])


def read_uids(connection: Connection, mailbox_id: MailboxId) -> set[int]:
    return {
        uid
        for (uid,) in connection.execute(
            "SELECT uid FROM mail_index WHERE mailbox_id = ?", (mailbox_id,)
        )
    }


def read_sent(connection: Connection, mailbox_id: MailboxId) -> tuple[list[Sent[Uid]], list[RowId]]:
    """The messages of a mailbox as threading sees them, ascending by uid; or rows that have to be opened first."""
    absent = _absent(connection, mailbox_id)
    if absent:
        return [], absent
    found = connection.execute(
        "SELECT i.uid, coalesce(s.sent, i.internal_date), coalesce(s.subject, ''), coalesce(s.reply, 0),"
        f" coalesce(s.ids, x''){_JOINED} ORDER BY i.uid",
        (mailbox_id,),
    )
    out = []
    for uid, date, subject, reply, ids in found:
        own, *references = map(str, ids_of(ids) or ("",))  # without a header record it has no name
        out.append(Sent(Uid(uid), own, references, BaseSubject(subject, bool(reply)), date))
    return out, []


def _absent(connection: Connection, mailbox_id: MailboxId) -> list[RowId]:
    """Rows of messages without sort keys. What waits for them is on one short list, mostly empty."""
    found = connection.execute(
        "SELECT i.row_id FROM mail_header_wanted w CROSS JOIN mail_index i ON i.header_id = w.header_id"
        " WHERE i.mailbox_id = ? AND NOT EXISTS (SELECT 1 FROM mail_sort s WHERE s.header_id = w.header_id)",
        (mailbox_id,),
    )
    return [RowId(row_id) for (row_id,) in found]


def forest(messages: Sequence[Sent[Uid]], algorithm: ThreadAlgorithm) -> list[ThreadLine]:
    """RFC 5256 3; CPU about 10 µs a message."""
    thread = thread_by_references if algorithm == "references" else thread_by_ordered_subject
    waiting: list[tuple[int, Node[Uid]]] = [(0, root) for root in reversed(thread(messages))]
    out = []
    while waiting:
        depth, node = waiting.pop()
        out.append(ThreadLine(depth, 0 if node.key is None else node.key))
        waiting.extend((depth + 1, child) for child in reversed(node.children))
    return out
