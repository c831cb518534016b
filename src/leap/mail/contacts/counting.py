"""Counts messages for contacts: each message once, however many copies there are.

    in a mailbox of special use \\Sent, or From the account's own address    counts for those it was written to
    any other                                                               counts for those it is from
    only in \\Junk or \\Drafts (RFC 6154)                                     does not count

Counting up is done where the counts are; counting down, which is rare, from what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from leap.mail.contacts.envelope import Person
from leap.mail.contacts.model import ContactUse
from leap.mail.search.folding import fold
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

NOT, RECEIVED, SENT = 0, 1, 2  # how a message counts: `counted` of its facts
_UNREAD = {"\\Junk", "\\Drafts"}
_INTO = "INSERT INTO mail_contact (address, written_to, written_from, last, name, named, found)"
_LATER_NAME = (
    "excluded.name <> '' AND (name = '' OR (excluded.named, excluded.name) > (named, name))"
)
_ADDED = (
    "ON CONFLICT (address) DO UPDATE SET written_to = written_to + excluded.written_to,"
    " written_from = written_from + excluded.written_from, last = max(last, excluded.last),"
    f" found = iif({_LATER_NAME}, excluded.found, found), named = iif({_LATER_NAME}, excluded.named, named),"
    f" name = iif({_LATER_NAME}, excluded.name, name)"
)


class Counted(NamedTuple):
    """A message (by the number of its facts) that counts, how, and for whom; `date` is when it arrived."""

    message: int
    how: int
    people: Iterable[Person]
    date: int


def how_it_counts(uses: Collection[str | None], senders: Iterable[Person], own: str) -> int:
    """For a message in mailboxes of these special uses, none for an ordinary one."""
    kept = [use for use in uses if use not in _UNREAD]
    if not kept:
        return NOT
    if "\\Sent" in kept or (own and any(person.address == own for person in senders)):
        return SENT
    return RECEIVED


def count_all(connection: Connection, counted: Iterable[Counted]) -> None:
    """Counts messages that were not counted."""
    uses: list[tuple[str, int, int, int, str]] = []
    sums: dict[str, list[int]] = {}
    names: dict[str, tuple[int, str]] = {}
    for message, how, people, date in counted:
        sent = int(how == SENT)
        for address, name in people:
            uses.append((address, message, sent, date, name))
            to, by, last = sums.get(address, (0, 0, date))
            sums[address] = [to + sent, by + 1 - sent, max(last, date)]
            if name:
                names[address] = max(names.get(address, (date, name)), (date, name))
    insert_rows(
        connection,
        "INSERT INTO mail_contact_use (address, message, sent, date, name)",
        sorted(uses),
    )
    contacts = []
    for address in sorted(sums):
        named, name = names.get(address, (0, ""))
        contacts.append((address, *sums[address], name, named, found_by(address, name)))
    insert_rows(connection, _INTO, contacts, _ADDED)


def uncount(connection: Connection, messages: Iterable[tuple[int, Iterable[Person]]]) -> None:
    """Counts messages no longer, each with the people it was counted for."""
    uses = [(person.address, message) for message, people in messages for person in people]
    connection.executemany("DELETE FROM mail_contact_use WHERE address = ? AND message = ?", uses)
    for address in sorted({address for address, _ in uses}):
        sent, all_uses, last = connection.execute(
            "SELECT sum(sent), count(*), max(date) FROM mail_contact_use WHERE address = ?",
            (address,),
        ).fetchone()
        if not all_uses:
            connection.execute("DELETE FROM mail_contact WHERE address = ?", (address,))
            continue
        named, name = connection.execute(
            "SELECT date, name FROM mail_contact_use WHERE address = ? AND name <> ''"
            " ORDER BY date DESC, name DESC LIMIT 1",
            (address,),
        ).fetchone() or (0, "")
        connection.execute(
            "UPDATE mail_contact SET written_to = ?, written_from = ?, last = ?, name = ?, named = ?, found = ?"
            " WHERE address = ?",
            (sent, all_uses - sent, last, name, named, found_by(address, name), address),
        )


def find_contacts(connection: Connection, prefix: str, limit: int, own: str) -> list[ContactUse]:
    """Those one wrote to most come first, then those one heard from most, then the latest. `prefix`: how the address
    or a word of the name begins, letter case and accents aside. One's own address is none."""
    found = connection.execute(
        "SELECT address, name, written_to, written_from, last FROM mail_contact"
        " WHERE instr(found, ?) AND address <> ?"
        " ORDER BY written_to DESC, written_from DESC, last DESC, address LIMIT ?",
        (" " + fold(prefix).strip(), own, max(0, limit)),
    )
    return [
        ContactUse(address=address, name=name, written_to=to, written_from=by, last=last)
        for address, name, to, by, last in found
    ]


def found_by(address: str, name: str) -> str:
    """What begins with a space and a prefix when the contact is asked for."""
    return f" {fold(address)} {' '.join(fold(name).split())}"
