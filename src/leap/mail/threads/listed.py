"""Follows the mailbox index: puts what became listed into threads and counts it, and forgets what is gone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from leap.keymanager.canonical import canonical
from leap.mail.contacts.counting import NOT, SENT, Counted, count_all, how_it_counts, uncount
from leap.mail.contacts.envelope import Person
from leap.mail.mailboxes import Directory
from leap.mail.threads.facts import ids_of, people_in
from leap.mail.threads.following import Arriving, leave
from leap.mail.threads.grouping import Member
from leap.mail.threads.joining import join_all
from leap.soledad.material import address_in
from leap.soledad.sqlite import Connection
from leap.soledad.store import MATERIAL
from leap.soledad.transaction import find_setting

SLICE = 500  # messages looked at in one statement
_LISTED = (
    "SELECT f.number, f.header_id, f.ids, f.date, f.subject, f.orphan, f.people, f.thread, f.counted, f.arrived,"
    " i.mailbox_id, i.internal_date FROM json_each(?) j CROSS JOIN mail_facts f ON f.header_id = j.value"
    " CROSS JOIN mail_index i ON i.header_id = f.header_id"
)
_ALL = "SELECT header_id FROM mail_facts WHERE header_id > ? ORDER BY header_id LIMIT ?"


def follow_listed(connection: Connection, header_ids: Iterable[str], directory: Directory) -> None:
    """Looks again at messages that came into a mailbox, left one, or whose header record was opened just now; of those
    whose record is not here yet there is nothing to say."""
    wanted = sorted(set(header_ids) - {""})
    own = own_address(connection) if wanted else ""
    for first in range(0, len(wanted), SLICE):
        _follow(connection, wanted[first : first + SLICE], directory, own)


def note_behind(connection: Connection, header_ids: Iterable[str]) -> None:
    """Notes messages that came into a mailbox or left one, for `follow_behind`; those whose header record is not open
    need no note."""
    connection.execute(
        "INSERT INTO mail_behind (header_id) SELECT j.value FROM json_each(?) j"
        " WHERE EXISTS (SELECT 1 FROM mail_facts f WHERE f.header_id = j.value)",
        (json.dumps(list(header_ids)),),
    )


def follow_behind(connection: Connection, directory: Directory, most: int) -> bool:
    """Looks again at so many of the noted messages, in the order of their notes; whether there may be more."""
    found = connection.execute(
        "SELECT number, header_id FROM mail_behind ORDER BY number LIMIT ?", (most,)
    ).fetchall()
    if found:
        follow_listed(connection, [header_id for _, header_id in found], directory)
        connection.execute("DELETE FROM mail_behind WHERE number <= ?", (found[-1][0],))
    return len(found) == most


def follow_everything(connection: Connection, directory: Directory) -> None:
    """The same for all messages: the tables are new."""
    own, last = own_address(connection), ""
    while listed := [one for (one,) in connection.execute(_ALL, (last, SLICE))]:
        _follow(connection, listed, directory, own)
        last = listed[-1]


def forget_facts(connection: Connection, header_ids: Sequence[str]) -> None:
    """Takes messages that are no longer listed out of everything."""
    listed = json.dumps(list(header_ids))
    counted = connection.execute(
        "SELECT f.number, f.counted, f.people FROM json_each(?) j CROSS JOIN mail_facts f"
        " ON f.header_id = j.value WHERE f.counted <> 0",
        (listed,),
    ).fetchall()
    uncount(connection, [(number, _counted(people, how)) for number, how, people in counted])
    leave(connection, header_ids)
    connection.execute(
        "DELETE FROM mail_facts WHERE header_id IN (SELECT value FROM json_each(?))", (listed,)
    )


def own_address(connection: Connection) -> str:
    """The account's address, in canonical form; "" while the store belongs to none."""
    data = find_setting(connection, MATERIAL)
    return canonical(address_in(data)) if data is not None else ""


def _follow(
    connection: Connection, header_ids: Sequence[str], directory: Directory, own: str
) -> None:
    found: dict[int, tuple[Any, ...]] = {}
    places: dict[int, tuple[set[str | None], list[int]]] = {}
    for number, *values, mailbox_id, date in connection.execute(
        _LISTED, (json.dumps(list(header_ids)),)
    ).fetchall():
        found[number] = tuple(values)
        uses, dates = places.setdefault(number, (set(), []))
        info = directory.shown.get(mailbox_id)
        uses.add(info.special_use if info else None)
        dates.append(date)
    uncounted: list[tuple[int, Iterable[Person]]] = []
    counting: list[Counted] = []
    arriving: list[Arriving] = []
    counts: list[tuple[int, int]] = []
    for number, values in found.items():
        key, ids, sent_at, subject, orphan, people, thread, counted, arrived = values
        uses, dates = places[number]
        if thread is None:
            arrived = max(dates)
            member = Member(key, ids_of(ids), sent_at, subject, bool(orphan))
            arriving.append(Arriving(number, member, arrived))
        how = how_it_counts(uses, people_in(people)[0], own)
        if how != counted:
            if counted != NOT:
                uncounted.append((number, _counted(people, counted)))
            counting.append(Counted(number, how, _counted(people, how), arrived))
            counts.append((how, number))
    join_all(connection, arriving)
    uncount(connection, uncounted)
    count_all(connection, counting)
    connection.executemany("UPDATE mail_facts SET counted = ? WHERE number = ?", counts)


def _counted(people: bytes, how: int) -> Sequence[Person]:
    """For whom a message counts that counts so."""
    senders, recipients = people_in(people)
    return () if how == NOT else recipients if how == SENT else senders
