"""Counts what fits a query whose answer lies in flags and mailboxes alone, without looking at single messages."""

from __future__ import annotations

from collections.abc import Mapping

from leap.mail.answers import QueryCount
from leap.mail.contract import (
    MailboxId,
    MailboxInfo,
    MessageId,
    MessageRow,
    ModSeq,
    RowId,
    Uid,
)
from leap.mail.flags import flags_of
from leap.mail.search.judging import Leaf, judge
from leap.mail.search.query import And, Flag, In, Not, Or, Query
from leap.soledad.sqlite import Connection


def is_countable(query: Query) -> bool:
    """Whether flags and mailboxes decide the query."""
    match query:
        case And(terms) | Or(terms):
            return all(map(is_countable, terms))
        case Not(inner):
            return is_countable(inner)
        case Flag() | In():
            return True
        case _:
            return False


def count_by_flags(
    connection: Connection, query: Query, mailboxes: Mapping[MailboxId, MailboxInfo]
) -> QueryCount:
    """The answer for a countable query. There are few different sets of flags: each is judged once."""
    messages = unseen = 0
    for mailbox_id, flags, count in connection.execute(
        "SELECT mailbox_id, flags, count(*) FROM mail_index GROUP BY mailbox_id, flags"
    ):
        mailbox = mailboxes.get(mailbox_id)
        if mailbox is None:
            continue
        row = _row(flags)
        if judge(query, row, mailbox, _nothing):
            messages += count
            unseen += 0 if "\\Seen" in row.flags else count
    return QueryCount(messages=messages, unseen=unseen)


def _nothing(leaf: Leaf) -> bool:
    raise AssertionError(f"{type(leaf).__name__} is not decided by flags")


def _row(flags: str) -> MessageRow:
    return MessageRow(
        row_id=RowId(""),
        message_id=MessageId(""),
        uid=Uid(0),
        modseq=ModSeq(0),
        flags=flags_of(flags),
        size=0,
        internal_date=0,
    )
