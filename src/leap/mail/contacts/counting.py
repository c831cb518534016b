"""Counts messages for contacts: each message once, however many copies there are.

    in a mailbox of special use \\Sent, or From the account's own address    counts for those it was written to
    any other                                                               counts for those it is from
    only in \\Junk or \\Drafts (RFC 6154)                                     does not count

Counting up is done where the counts are; counting down, which is rare, from what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from leap.mail.contacts.envelope import Person
from leap.mail.contacts.model import ContactUse
from leap.mail.search.folding import fold
from leap.soledad.sqlite import Connection

NOT, RECEIVED, SENT = 0, 1, 2  # how a message counts: `counted` of its facts
_UNREAD = {"\\Junk", "\\Drafts"}
_COUNT_UP = """
    INSERT INTO mail_contact (address, written_to, written_from, last, name, named, found)
    VALUES (?1, ?2, 1 - ?2, ?3, ?4, iif(?4 = '', 0, ?3), ?5)
    ON CONFLICT (address) DO UPDATE SET written_to = written_to + ?2, written_from = written_from + 1 - ?2,
        last = max(last, ?3), found = iif(?4 <> '' AND (name = '' OR (?3, ?4) > (named, name)), ?5, found),
        named = iif(?4 <> '' AND (name = '' OR (?3, ?4) > (named, name)), ?3, named),
        name = iif(?4 <> '' AND (name = '' OR (?3, ?4) > (named, name)), ?4, name)"""


def how_it_counts(uses: Collection[str | None], senders: Iterable[Person], own: str) -> int:
    """For a message in mailboxes of these special uses, none for an ordinary one."""
    kept = [use for use in uses if use not in _UNREAD]
    if not kept:
        return NOT
    if "\\Sent" in kept or (own and any(person.address == own for person in senders)):
        return SENT
    return RECEIVED


def count(
    connection: Connection, message: int, how: int, people: Iterable[Person], date: int
) -> None:
    """Counts a message that was not counted, for these people; `date` is when it arrived."""
    sent = int(how == SENT)
    for person in people:
        connection.execute(
            "INSERT INTO mail_contact_use (address, message, sent, date, name) VALUES (?, ?, ?, ?, ?)",
            (person.address, message, sent, date, person.name),
        )
        connection.execute(
            _COUNT_UP,
            (person.address, sent, date, person.name, found_by(person.address, person.name)),
        )


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
