"""How a query is answered from the tables: from where the candidates come, newest first, and what is known of each.

Where a text of the query is in few messages, these are the candidates; else all messages are walked through by date,
and the index says of each page which of it may fit. Rows are read of those alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from leap.mail.contract import MailboxId, MailboxInfo, MessageRow, RowId
from leap.mail.listing import ROW, as_row
from leap.mail.search.judging import Leaf, judge, leaves, named_so
from leap.mail.search.lookup import MANY, Judged, Lookup
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
    Thread,
)
from leap.soledad.blobs import BlobRef
from leap.soledad.sqlite import Connection

FIRST_PAGE, LAST_PAGE = 60, 4_000  # messages looked at in one go; more the longer nothing is found
_EVER = (-(2**62), 2**62)

_ROWS = (
    f"SELECT t.number, i.mailbox_id, r.content_id, r.content_sha256, r.content_size, b.blob_id, {ROW}"  # noqa: S608
    " FROM json_each(?) j CROSS JOIN mail_text t ON t.number = j.value"
    " CROSS JOIN mail_index i ON i.header_id = t.header_id CROSS JOIN mail_row r ON r.row_id = i.row_id"
    " LEFT JOIN blob b ON b.blob_id = r.content_id"
    " ORDER BY i.internal_date DESC, t.number DESC, i.row_id"
)


class Candidate(NamedTuple):
    """A row that fits (`fits`), or may (None): then `content` has to be read; None when it is not here."""

    mailbox: MailboxInfo
    row: MessageRow
    fits: bool | None
    content: BlobRef | None


class Plan:
    """One query at one account; `next_page` is called until it is `done`, in any snapshots."""

    def __init__(
        self, connection: Connection, query: Query, mailboxes: Mapping[MailboxId, MailboxInfo]
    ) -> None:
        self.query = query
        self._mailboxes = mailboxes
        self._lookups = {leaf: _lookup(connection, leaf) for leaf in dict.fromkeys(leaves(query))}
        self._first, self._end = _days(query)
        self._unindexed = {
            number
            for (number,) in connection.execute("SELECT number FROM mail_text WHERE state <> 1")
        }
        bound = self._bound(connection, query)
        if bound is None:
            bound = self._bound_by_mailbox(connection)
        else:
            bound |= self._unindexed
        self._numbers: list[int] | None = None
        if bound is not None:
            self._numbers = [
                number
                for (number,) in connection.execute(
                    "SELECT t.number FROM json_each(?) j CROSS JOIN mail_text t ON t.number = j.value"
                    " WHERE t.internal_date >= ? AND t.internal_date < ?"
                    " ORDER BY t.internal_date DESC, t.number DESC",
                    (json.dumps(list(bound)), self._first, self._end),
                )
            ]
        self._at = 0
        self.done = False
        self._last = (self._end, 0)  # where walking by date has come to
        self._page = FIRST_PAGE

    def next_page(self, connection: Connection) -> list[Candidate]:
        """The next candidates, newest first, perhaps none."""
        numbers = self._next_numbers(connection)
        if not numbers:
            return []
        judged = {leaf: one.among(connection, numbers) for leaf, one in self._lookups.items()}
        likely = self._may(self.query, set(numbers), judged)
        found: list[Candidate] = []
        for number, mailbox_id, content, row in _rows(connection, likely):
            mailbox = self._mailboxes.get(mailbox_id)
            if mailbox is None:
                continue
            fits = judge(self.query, row, mailbox, self._teller(number, judged))
            if fits is not False:
                found.append(Candidate(mailbox, row, fits, content))
        return found

    def _next_numbers(self, connection: Connection) -> list[int]:
        size = self._page
        self._page = min(2 * size, LAST_PAGE)
        if self._numbers is not None:
            self._at += size
            self.done = self._at >= len(self._numbers)
            return self._numbers[self._at - size : self._at]
        found = connection.execute(
            "SELECT internal_date, number FROM mail_text WHERE (internal_date, number) < (?, ?)"
            " AND internal_date >= ? ORDER BY internal_date DESC, number DESC LIMIT ?",
            (*self._last, self._first, size),
        ).fetchall()
        if found:
            self._last = found[-1]
        self.done = len(found) < size
        return [number for _, number in found]

    # -- what the index says of numbers

    def _bound(self, connection: Connection, query: Query) -> set[int] | None:
        """Numbers outside of which no indexed message fits; None: that would be too many to say."""
        match query:
            case And(terms):
                known = [one for one in map(self._bound_of(connection), terms) if one is not None]
                return set.intersection(*known) if known else None
            case Or(terms):
                all_terms = [self._bound(connection, term) for term in terms]
                known = [one for one in all_terms if one is not None]
                return set().union(*known) if len(known) == len(all_terms) else None
            case Not() | Flag() | In() | Days() | Thread():
                return None
            case Id(beginning):
                return _with_id(connection, beginning)
            case Rows(row_ids):
                return _with_rows(connection, row_ids)
            case _:
                lookup = self._lookups[query]
                if lookup.count is None or lookup.count > MANY:
                    return None
                sure, unsure = lookup.everywhere(connection)
                return sure | unsure

    def _bound_of(self, connection: Connection) -> Callable[[Query], set[int] | None]:
        return lambda query: self._bound(connection, query)

    def _bound_by_mailbox(self, connection: Connection) -> set[int] | None:
        """The messages of the mailboxes that `in:` allows, if these are small."""
        chosen = [
            mailbox_id
            for mailbox_id, mailbox in self._mailboxes.items()
            if all(
                named_so(mailbox, one.mailbox)
                for one in _conjuncts(self.query)
                if isinstance(one, In)
            )
        ]
        listed = json.dumps(chosen)
        (count,) = connection.execute(
            "SELECT coalesce(sum(messages), 0) FROM mail_box"
            " WHERE mailbox_id IN (SELECT value FROM json_each(?))",
            (listed,),
        ).fetchone()
        if count > 2 * MANY or len(chosen) == len(self._mailboxes):
            return None
        return {
            number
            for (number,) in connection.execute(
                "SELECT t.number FROM json_each(?) j CROSS JOIN mail_index i ON i.mailbox_id = j.value"
                " CROSS JOIN mail_text t ON t.header_id = i.header_id",
                (listed,),
            )
        }

    def _may(self, query: Query, page: set[int], judged: dict[Leaf, Judged]) -> set[int]:
        """Those of the page that may fit, by their texts."""
        match query:
            case And(terms):
                return page.intersection(*(self._may(term, page, judged) for term in terms))
            case Or(terms):
                return set().union(*(self._may(term, page, judged) for term in terms))
            case Not(inner):
                return page - self._must(inner, page, judged)
            case Flag() | In() | Id() | Days() | Rows() | Thread():
                return page
            case _:
                if self._lookups[query].blind or self._lookups[query].rest:
                    return page
                sure, unsure = judged[query]
                return sure | unsure | (self._unindexed & page)

    def _must(self, query: Query, page: set[int], judged: dict[Leaf, Judged]) -> set[int]:
        """Those of the page that certainly fit, by their texts."""
        match query:
            case And(terms):
                return page.intersection(*(self._must(term, page, judged) for term in terms))
            case Or(terms):
                return set().union(*(self._must(term, page, judged) for term in terms))
            case Not(inner):
                return page - self._may(inner, page, judged)
            case Flag() | In() | Id() | Days() | Rows() | Thread():
                return set()
            case _:
                return judged[query].sure - self._unindexed

    def _teller(self, number: int, judged: dict[Leaf, Judged]) -> Callable[[Leaf], bool | None]:
        def tell(leaf: Leaf) -> bool | None:
            sure, unsure = judged[leaf]
            if number in sure:
                return True
            lookup = self._lookups[leaf]
            if number in unsure or number in self._unindexed or lookup.blind or lookup.rest:
                return None
            return False

        return tell


def _lookup(connection: Connection, leaf: Leaf) -> Lookup:
    if isinstance(leaf, Attachment):
        return Lookup(connection, "attachment", "")
    return Lookup(connection, leaf.where, leaf.needle, newest=True)


def _rows(
    connection: Connection, numbers: Collection[int]
) -> Iterator[tuple[int, MailboxId, BlobRef | None, MessageRow]]:
    """The rows of these messages; the content of those whose content is here."""
    if not numbers:
        return
    for number, mailbox_id, content_id, sha256, size, here, *values in connection.execute(
        _ROWS, (json.dumps(list(numbers)),)
    ):
        content = None if here is None else BlobRef(content_id, sha256, size)
        yield number, mailbox_id, content, as_row(*values)


def _with_id(connection: Connection, beginning: str) -> set[int]:
    found = connection.execute(
        "SELECT t.number FROM mail_index i CROSS JOIN mail_text t ON t.header_id = i.header_id"
        " WHERE substr(i.row_id, 1, ?1) = ?2 OR substr(i.message_id, 1, ?1) = ?2",
        (len(beginning), beginning),
    )
    return {number for (number,) in found}


def _with_rows(connection: Connection, row_ids: Collection[RowId]) -> set[int]:
    found = connection.execute(
        "SELECT t.number FROM json_each(?) j CROSS JOIN mail_index i ON i.row_id = j.value"
        " CROSS JOIN mail_text t ON t.header_id = i.header_id",
        (json.dumps(list(row_ids)),),
    )
    return {number for (number,) in found}


def _conjuncts(query: Query) -> tuple[Query, ...]:
    return query.terms if isinstance(query, And) else (query,)


def _days(query: Query) -> tuple[int, int]:
    """Seconds between which everything that fits lies; a day more at each end, for the zones."""
    first, end = _EVER
    for one in _conjuncts(query):
        if isinstance(one, Days):
            if one.first is not None:
                first = max(first, _seconds(one.first) - 2 * 86_400)
            if one.end is not None:
                end = min(end, _seconds(one.end) + 2 * 86_400)
    return first, end


def _seconds(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(seconds=1)
