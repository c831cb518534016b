"""Takes many messages into threads at once: what `following.join` does one by one, with few statements.

Most found a thread, or answer a message of one: those are settled here, in memory. What links threads, or may belong
to one by its subject, goes to `join`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from leap.mail.threads.following import JOINED, Arriving, join
from leap.mail.threads.grouping import age, root_number
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

_NAMED = "SELECT n.id, n.thread FROM json_each(?) j CROSS JOIN mail_thread_name n ON n.id = j.value"
_ORPHANED = (
    "SELECT j.value FROM json_each(?) j WHERE EXISTS (SELECT 1 FROM mail_facts f INDEXED BY mail_facts_orphan"
    " WHERE f.subject = j.value AND f.orphan = 1 AND f.thread IS NOT NULL)"
)
_PLACED = "UPDATE mail_facts SET thread = ?2, arrived = ?3 WHERE number = ?1"


def join_all(connection: Connection, arriving: Sequence[Arriving]) -> None:
    """Takes messages into the threads they belong to; the order does not matter."""
    if len(arriving) == 1:
        join(connection, arriving[0])
    elif arriving:
        for one in _join_plain(connection, arriving):
            join(connection, one)


def _join_plain(connection: Connection, arriving: Sequence[Arriving]) -> list[Arriving]:
    """Takes in those of which it is plain where they belong; answers the others."""
    named = _named(connection, arriving)
    orphaned = _orphaned(connection, arriving)
    left: list[Arriving] = []
    founded: dict[int, list[int | str]] = {}
    joined: list[tuple[int, int, int, str, int]] = []
    names: list[tuple[int, int]] = []
    placed: list[tuple[int, int, int]] = []
    (last,) = connection.execute("SELECT ifnull(max(number), 0) FROM mail_thread").fetchone()
    for one in arriving:
        member = one.member
        threads = {named[number] for number in member.ids if number in named}
        if len(threads) > 1 or (member.may_follow and member.subject in orphaned):
            left.append(one)
            continue
        if threads:
            (thread,) = threads
            joined.append((thread, root_number(member.ids), *age(member), one.arrived))
        else:
            last = thread = last + 1
            founded[thread] = [thread, root_number(member.ids), 1, *age(member), one.arrived]
        for number in member.ids:
            if number not in named:
                named[number] = thread
                names.append((number, thread))
        placed.append((one.number, thread, one.arrived))
    insert_rows(
        connection,
        "INSERT INTO mail_thread (number, root, messages, oldest, oldest_id, newest)",
        list(founded.values()),
    )
    connection.executemany(JOINED, joined)
    insert_rows(connection, "INSERT INTO mail_thread_name (id, thread)", sorted(names))
    connection.executemany(_PLACED, placed)
    return left


def _named(connection: Connection, arriving: Sequence[Arriving]) -> dict[int, int]:
    ids = {number for one in arriving for number in one.member.ids}
    return dict(connection.execute(_NAMED, (json.dumps(sorted(ids)),)).fetchall())


def _orphaned(connection: Connection, arriving: Sequence[Arriving]) -> set[int]:
    """Subjects of these which an orphan has that is listed, or is one of these."""
    members = [one.member for one in arriving if one.member.may_follow]
    subjects = sorted({member.subject for member in members})
    found = connection.execute(_ORPHANED, (json.dumps(subjects),)).fetchall()
    return {subject for (subject,) in found} | {
        member.subject for member in members if member.orphan
    }
