"""Takes messages into threads and out of them, so that the tables say what `grouping` says of all that is listed.

A message that comes mostly founds a thread or joins one, and joins two when it is the link between them: the smaller
one is then renumbered. What may fall apart (a message goes, or comes between an orphan and what it followed) is
grouped anew, thread by thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from leap.mail.threads.facts import Facts, ids_of
from leap.mail.threads.grouping import Member, age, group, near, root_number
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

_MEMBER = "f.header_id, f.ids, f.date, f.subject, f.orphan"
_EARLIER = (
    "SELECT f.date, f.thread, f.header_id FROM mail_facts f WHERE f.thread IS NOT NULL AND f.subject <> 0"
    " AND f.date IS NOT NULL AND f.subject = ? AND (f.date, f.header_id) < (?, ?)"
    " ORDER BY f.date DESC, f.header_id DESC LIMIT 1"
)
_LATER = (
    "SELECT f.date, f.thread, f.orphan FROM mail_facts f WHERE f.thread IS NOT NULL AND f.subject <> 0"
    " AND f.date IS NOT NULL AND f.subject = ? AND (f.date, f.header_id) > (?, ?)"
    " ORDER BY f.date, f.header_id LIMIT 1"
)
# A message came into a thread: (thread, root number, oldest, its id, arrived).
JOINED = (
    "UPDATE mail_thread SET messages = messages + 1, newest = max(newest, ?5),"
    " root = iif((?3, ?4) < (oldest, oldest_id), ?2, root),"
    " oldest_id = iif((?3, ?4) < (oldest, oldest_id), ?4, oldest_id), oldest = min(oldest, ?3)"
    " WHERE number = ?1"
)


class Arriving(NamedTuple):
    """A message that is listed now: the number of its facts, what grouping asks, and when it arrived."""

    number: int
    member: Member
    arrived: int


def keep_facts(connection: Connection, found: Iterable[tuple[str, Facts]]) -> None:
    """Keeps what was found in header records; a message is in a thread when it is listed and `join` was called."""
    insert_rows(
        connection,
        "INSERT OR IGNORE INTO mail_facts (header_id, ids, date, subject, orphan, people)",
        [
            (
                header_id,
                facts.ids_octets,
                facts.date,
                facts.subject,
                facts.orphan,
                facts.people_octets,
            )
            for header_id, facts in found
        ],
    )


def join(connection: Connection, one: Arriving) -> None:
    """Takes a message into the thread it belongs to, or makes one; threads that it links become one."""
    member = one.member
    named = dict(
        connection.execute(
            "SELECT n.id, n.thread FROM json_each(?) j CROSS JOIN mail_thread_name n ON n.id = j.value",
            (json.dumps(member.ids),),
        ).fetchall()
    )
    threads = set(named.values())
    parted = False
    if member.may_follow:
        followed, parted = _by_subject(connection, member)
        threads |= followed
    thread = _merged(connection, sorted(threads)) if threads else None
    oldest, oldest_id = age(member)
    if thread is None:
        thread = connection.execute(
            "INSERT INTO mail_thread (root, messages, oldest, oldest_id, newest) VALUES (?, 1, ?, ?, ?)",
            (root_number(member.ids), oldest, oldest_id, one.arrived),
        ).lastrowid
    else:
        connection.execute(
            JOINED, (thread, root_number(member.ids), oldest, oldest_id, one.arrived)
        )
    connection.execute(
        "UPDATE mail_facts SET thread = ?, arrived = ? WHERE number = ?",
        (thread, one.arrived, one.number),
    )
    connection.executemany(
        "INSERT INTO mail_thread_name (id, thread) VALUES (?, ?)",
        [(number, thread) for number in member.ids if number not in named],
    )
    if parted:
        regroup(connection, [thread])


def leave(connection: Connection, header_ids: Sequence[str]) -> None:
    """Takes messages out of their threads, whose rest is grouped anew."""
    listed = json.dumps(list(header_ids))
    found = connection.execute(
        f"SELECT f.thread, t.messages, {_MEMBER} FROM json_each(?) j CROSS JOIN mail_facts f"  # noqa: S608
        " ON f.header_id = j.value JOIN mail_thread t ON t.number = f.thread",
        (listed,),
    ).fetchall()
    if not found:
        return
    connection.execute(
        "UPDATE mail_facts SET thread = NULL, arrived = NULL"
        " WHERE header_id IN (SELECT value FROM json_each(?))",
        (listed,),
    )
    alone: list[int] = []
    torn: set[int] = set()
    names: set[int] = set()
    for thread, messages, *values in found:
        member = _member(values)
        names.update(member.ids)
        if messages == 1:
            alone.append(thread)
        else:
            torn.add(thread)
        if member.may_follow:
            later = connection.execute(_LATER, (member.subject, member.date, member.key)).fetchone()
            if later is not None and later[2]:
                torn.add(later[1])  # it may follow an earlier one now
    connection.executemany("DELETE FROM mail_thread_name WHERE id = ?", [(one,) for one in names])
    connection.executemany("DELETE FROM mail_thread WHERE number = ?", [(one,) for one in alone])
    regroup(connection, torn)


def regroup(connection: Connection, threads: Iterable[int]) -> None:
    """Groups the messages of threads anew, and of those that turn out to belong to them."""
    wanted, members = set(threads), {}
    links: list[tuple[Member, Member]] = []
    read: set[int] = set()
    while wanted - read:
        found = _members(connection, sorted(wanted - read))
        read |= wanted
        members.update(found)
        for member, _, _, _ in found.values():
            if member.orphan and member.may_follow:
                earlier = connection.execute(
                    _EARLIER, (member.subject, member.date, member.key)
                ).fetchone()
                if earlier is not None and near(earlier[0], age(member)[0]):
                    wanted.add(earlier[1])
                    links.append((member, Member(earlier[2], (), None, 0, False)))
    connection.executemany(
        "DELETE FROM mail_thread WHERE number = ?", [(thread,) for thread in sorted(read)]
    )
    free = sorted(read, reverse=True)
    for thread in group([values[0] for values in members.values()], links):
        number = free.pop() if free else None  # names of threads that are only this device's
        inside = [members[member.key] for member in thread]
        number = connection.execute(
            "INSERT INTO mail_thread (number, root, messages, oldest, oldest_id, newest) VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                root_number(thread[0].ids),
                len(thread),
                *age(thread[0]),
                max(arrived for _, arrived, _, _ in inside),
            ),
        ).lastrowid
        connection.executemany(
            "UPDATE mail_facts SET thread = ? WHERE number = ?",
            [(number, facts) for _, _, facts, before in inside if before != number],
        )
        connection.executemany(
            "INSERT INTO mail_thread_name (id, thread) VALUES (?, ?) ON CONFLICT (id) DO UPDATE"
            " SET thread = excluded.thread",
            [(one, number) for one in {one for member in thread for one in member.ids}],
        )


def _by_subject(connection: Connection, member: Member) -> tuple[set[int], bool]:
    """The threads it belongs to by its subject, and whether it comes between an orphan and what that followed."""
    date, _ = age(member)
    place = (member.subject, date, member.key)
    earlier = connection.execute(_EARLIER, place).fetchone()
    later = connection.execute(_LATER, place).fetchone()
    threads: set[int] = set()
    follows = bool(member.orphan and earlier is not None and near(earlier[0], date))
    if follows:
        threads.add(earlier[1])
    if later is None or not later[2]:
        return threads, False
    if near(date, later[0]):
        threads.add(later[1])
    return threads, earlier is not None and near(earlier[0], later[0]) and not follows


def _merged(connection: Connection, threads: Sequence[int]) -> int:
    """Makes one of these threads, the largest, and answers it."""
    if len(threads) == 1:
        return threads[0]
    found = connection.execute(
        "SELECT t.number, t.messages, t.root, t.oldest, t.oldest_id, t.newest FROM json_each(?) j"
        " CROSS JOIN mail_thread t ON t.number = j.value",
        (json.dumps(threads),),
    ).fetchall()
    kept = max(found, key=lambda values: values[1])[0]
    others = [(kept, values[0]) for values in found if values[0] != kept]
    names = {
        number
        for _, other in others
        for (ids,) in connection.execute("SELECT ids FROM mail_facts WHERE thread = ?", (other,))
        for number in ids_of(ids)
    }
    connection.executemany(
        "UPDATE mail_thread_name SET thread = ? WHERE id = ?", [(kept, name) for name in names]
    )
    connection.executemany("UPDATE mail_facts SET thread = ? WHERE thread = ?", others)
    connection.executemany("DELETE FROM mail_thread WHERE number = ?", [one[1:] for one in others])
    oldest = min(found, key=lambda values: values[3:5])
    connection.execute(
        "UPDATE mail_thread SET messages = ?, root = ?, oldest = ?, oldest_id = ?, newest = ? WHERE number = ?",
        (
            sum(values[1] for values in found),
            *oldest[2:5],
            max(values[5] for values in found),
            kept,
        ),
    )
    return int(kept)


def _members(
    connection: Connection, threads: Sequence[int]
) -> dict[str, tuple[Member, int, int, int]]:
    """By key: the member, when it arrived, the number of its facts and its thread until now."""
    return {
        values[0]: (_member(values), arrived, number, thread)
        for arrived, number, thread, *values in connection.execute(
            f"SELECT f.arrived, f.number, f.thread, {_MEMBER} FROM json_each(?) j"  # noqa: S608
            " CROSS JOIN mail_facts f ON f.thread = j.value",
            (json.dumps(threads),),
        )
    }


def _member(values: Sequence[object]) -> Member:
    key, ids, date, subject, orphan = values
    return Member(key, ids_of(ids), date, subject, bool(orphan))  # type: ignore[arg-type]
