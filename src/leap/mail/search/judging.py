"""Whether a message fits a query: certainly, certainly not, or it has to be read.

`None` stands for "has to be read"; AND, OR and NOT treat it as Kleene's logic does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from leap.mail.contract import MailboxInfo, MessageRow
from leap.mail.message import Message
from leap.mail.moments import moment
from leap.mail.search.query import (
    And,
    Attachment,
    Days,
    Flag,
    Id,
    In,
    Not,
    Or,
    Query,
    Rows,
    Text,
    Thread,
)
from leap.mail.search.texts import has_attachment, holds

Leaf = Text | Attachment
Tell = Callable[[Leaf], bool | None]


def judge(query: Query, row: MessageRow, mailbox: MailboxInfo, tell: Tell) -> bool | None:
    """`tell` answers for texts."""
    match query:
        case And(terms):
            return _least(judge(term, row, mailbox, tell) for term in terms)
        case Or(terms):
            return _most(judge(term, row, mailbox, tell) for term in terms)
        case Not(inner):
            found = judge(inner, row, mailbox, tell)
            return None if found is None else not found
        case Flag(flag, there):
            return (flag.lower() in (one.lower() for one in row.flags)) is there
        case In(name):
            return named_so(mailbox, name)
        case Id(beginning):
            return row.row_id.startswith(beginning) or row.message_id.startswith(beginning)
        case Rows(row_ids):
            return row.row_id in row_ids
        case Thread():
            raise AssertionError("threads are resolved before rows are judged")
        case Days(first, end):
            day = day_of(row)
            return (first is None or day >= first) and (end is None or day < end)
        case _:
            return tell(query)


def reading(message: Message) -> Tell:
    """Answers about texts by reading them."""

    def tell(leaf: Leaf) -> bool:
        if isinstance(leaf, Attachment):
            return has_attachment(message)
        return holds(message, leaf.where, leaf.needle)

    return tell


def leaves(query: Query) -> Iterator[Leaf]:
    """The texts a query asks about."""
    match query:
        case And(terms) | Or(terms):
            for term in terms:
                yield from leaves(term)
        case Not(inner):
            yield from leaves(inner)
        case Text() | Attachment():
            yield query
        case _:
            pass


def named_so(mailbox: MailboxInfo, name: str) -> bool:
    """Whether `in:` with this name means the mailbox."""
    wanted = name.lower()
    use = (mailbox.special_use or "").lower().lstrip("\\")
    return wanted in (mailbox.name.lower(), use)


def day_of(row: MessageRow) -> date:
    return moment(row.internal_date, row.zone).date()


def _least(values: Iterator[bool | None]) -> bool | None:
    out: bool | None = True
    for value in values:
        if value is False:
            return False
        if value is None:
            out = None
    return out


def _most(values: Iterator[bool | None]) -> bool | None:
    out: bool | None = False
    for value in values:
        if value is True:
            return True
        if value is None:
            out = None
    return out
