"""Reads threads: which one a message is in, lists of them, their messages. Each function runs in one snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from leap.mail import listing
from leap.mail.contacts.envelope import Person
from leap.mail.contract import FoundMessage, MailboxId, RowId
from leap.mail.threads.facts import find_number, people_in, thread_id_of
from leap.mail.threads.model import ThreadId, ThreadSummary
from leap.soledad.sqlite import Connection

MOST_PARTICIPANTS = 20  # told of a thread; a list shows a few

_OF_ROWS = (
    "SELECT i.row_id IS NULL, t.root FROM json_each(?) j LEFT JOIN mail_index i ON i.row_id = j.value"
    " LEFT JOIN mail_facts f ON f.header_id = i.header_id LEFT JOIN mail_thread t ON t.number = f.thread"
    " ORDER BY j.key"
)
_NEWEST = "SELECT t.number, t.root, t.messages, t.newest FROM mail_thread t"
_IN_MAILBOX = (
    " WHERE EXISTS (SELECT 1 FROM mail_facts f CROSS JOIN mail_index i ON i.header_id = f.header_id"
    " WHERE f.thread = t.number AND i.mailbox_id = ?)"
)
_UNSEEN = (
    "SELECT f.thread, count(*) FROM json_each(?) j CROSS JOIN mail_facts f ON f.thread = j.value"
    " WHERE NOT EXISTS (SELECT 1 FROM mail_index i WHERE i.header_id = f.header_id"
    " AND ' ' || i.flags || ' ' LIKE '% \\Seen %') GROUP BY f.thread"
)
_SENDERS = (
    "SELECT f.thread, f.people FROM json_each(?) j CROSS JOIN mail_facts f ON f.thread = j.value"
    " ORDER BY f.arrived, f.header_id"
)
# Of those sent in the same second the one that answers the fewest began it
_FIRST = (
    "SELECT f.thread, m.subject FROM json_each(?) j CROSS JOIN mail_thread t ON t.number = j.value"
    " CROSS JOIN mail_facts o ON o.header_id = t.oldest_id"
    " CROSS JOIN mail_facts f ON f.thread = t.number AND f.date IS o.date"
    " LEFT JOIN mail_metadata m ON m.header_id = f.header_id ORDER BY length(f.ids) DESC, f.header_id DESC"
)
# condition on `i` of mail_index, for one parameter: what `thread_parameter` makes of a thread id
IN_THREAD = (
    "i.header_id IN (SELECT f.header_id FROM mail_facts f WHERE f.thread ="
    " (SELECT n.thread FROM mail_thread_name n WHERE n.id = ?))"
)


class OfRow(NamedTuple):
    """`gone`: there is no such message; `thread_id` is empty while its header record was not opened."""

    gone: bool
    thread_id: ThreadId


def find_thread_ids(connection: Connection, row_ids: Sequence[RowId]) -> list[OfRow]:
    """In the order asked."""
    return [
        OfRow(bool(gone), ThreadId("") if root is None else thread_id_of(root))
        for gone, root in connection.execute(_OF_ROWS, (json.dumps(list(row_ids)),))
    ]


def thread_parameter(thread_id: str) -> int:
    """For `IN_THREAD`. An id that a thread had before it was merged into another finds that one."""
    number = find_number(thread_id)
    return -1 if number is None else number


def read_threads(
    connection: Connection, mailbox_id: MailboxId | None, limit: int, offset: int
) -> list[ThreadSummary]:
    """Newest first."""
    place = () if mailbox_id is None else (mailbox_id,)
    found = connection.execute(
        f"{_NEWEST}{_IN_MAILBOX if place else ''} ORDER BY t.newest DESC, t.root DESC LIMIT ? OFFSET ?",
        (*place, max(0, limit), max(0, offset)),
    ).fetchall()
    listed = json.dumps([number for number, *_ in found])
    subjects = dict(connection.execute(_FIRST, (listed,)).fetchall())  # the last one counts
    unseen = dict(connection.execute(_UNSEEN, (listed,)).fetchall())
    senders: dict[int, list[Person]] = {}
    for number, people in connection.execute(_SENDERS, (listed,)):
        senders.setdefault(number, []).extend(people_in(people)[0])
    return [
        ThreadSummary(
            thread_id=thread_id_of(root),
            subject=subjects.get(number) or "",
            messages=messages,
            unseen=unseen.get(number, 0),
            newest=newest,
            participants=participants(senders.get(number, [])),
        )
        for number, root, messages, newest in found
    ]


def read_thread(connection: Connection, thread_id: str) -> list[FoundMessage]:
    """Oldest first."""
    found = connection.execute(
        f"SELECT i.mailbox_id, {listing.ROW} FROM mail_thread_name n"  # noqa: S608
        " CROSS JOIN mail_facts f ON f.thread = n.thread CROSS JOIN mail_index i ON i.header_id = f.header_id"
        " WHERE n.id = ? ORDER BY i.internal_date, i.row_id",
        (thread_parameter(thread_id),),
    )
    return [
        FoundMessage(mailbox_id=mailbox_id, row=listing.as_row(*values))
        for mailbox_id, *values in found
    ]


def participants(senders: Sequence[Person]) -> tuple[str, ...]:
    """Each sender once, by the first name seen, else by the address."""
    names: dict[str, str] = {}
    for person in senders:
        names[person.address] = names.get(person.address) or person.name
    return tuple(name or address for address, name in names.items())[:MOST_PARTICIPANTS]
