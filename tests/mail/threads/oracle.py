"""Which messages are one thread, and who is a contact, worked out the slow way from the rules of docs/threads.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

TWO_MONTHS = 60 * 86_400


class Mail(NamedTuple):
    """A message as the rules see it: `key` stands for its header record."""

    key: str
    message_id: str
    references: tuple[str, ...] = ()
    subject: str = ""  # base subject
    reply: bool = False
    date: int | None = None
    sender: str = ""
    recipients: tuple[str, ...] = ()
    name: str = ""  # of the sender


def number_of(message_id: str) -> int:
    digest = hashlib.blake2b(b"<" + message_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def threads_of(mails: Sequence[Mail]) -> dict[str, frozenset[str]]:
    """By thread id the keys of its messages."""
    joined: dict[str, set[str]] = {mail.key: set() for mail in mails}
    for one in mails:
        for other in mails:
            if {one.message_id, *one.references} & {other.message_id, *other.references}:
                joined[one.key].add(other.key)
        if one.reply and not one.references and one.subject and one.date is not None:
            before = [
                other
                for other in mails
                if other.subject == one.subject
                and other.date is not None
                and (other.date, other.key) < (one.date, one.key)
            ]
            if before:
                last = max(before, key=lambda other: (other.date, other.key))
                if one.date - (last.date or 0) <= TWO_MONTHS:
                    joined[one.key].add(last.key)
                    joined[last.key].add(one.key)
    by_key = {mail.key: mail for mail in mails}
    out: dict[str, frozenset[str]] = {}
    left = set(by_key)
    while left:
        thread, edge = set(), {left.pop()}
        while edge:
            thread |= edge
            edge = {near for key in edge for near in joined[key]} - thread
        left -= thread
        oldest = min(
            (by_key[key] for key in thread),
            key=lambda mail: (mail.date is None, mail.date or 0, mail.key),
        )
        others = [one for one in oldest.references if one != oldest.message_id]
        name = others[0] if others else oldest.message_id
        out[f"{number_of(name):016x}"] = frozenset(thread)
    return out


def contacts_of(
    mails: Sequence[Mail],
    placed: dict[str, set[str | None]],
    arrived: dict[str, int],
    own: str,
) -> list[tuple[str, str, int, int, int]]:
    """(address, name, written to, written from, last), the most used first; `placed` has the special uses of the
    mailboxes each message is in."""
    to: dict[str, list[Mail]] = {}
    by: dict[str, list[Mail]] = {}
    for mail in mails:
        kept = placed[mail.key] - {"\\Junk", "\\Drafts"}
        if not kept:
            continue
        if "\\Sent" in kept or mail.sender == own:
            for one in mail.recipients:
                to.setdefault(one, []).append(mail)
        else:
            by.setdefault(mail.sender, []).append(mail)
    out = []
    for address in (to.keys() | by.keys()) - {own}:
        heard = by.get(address, [])
        named = [(arrived[mail.key], mail.name) for mail in heard if mail.name]
        all_of_them = [*heard, *to.get(address, [])]
        out.append(
            (
                address,
                max(named)[1] if named else "",
                len(to.get(address, [])),
                len(heard),
                max(arrived[mail.key] for mail in all_of_them),
            )
        )
    return sorted(out, key=lambda one: (-one[2], -one[3], -one[4], one[0]))
