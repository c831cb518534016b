"""The language people search in, and what it means. Pure: text in, values out.

    query  = *( ["-"] term / "OR" )             all terms have to fit; OR between two: one of them
    term   = [ name ":" ] ( word / DQUOTE phrase DQUOTE )
    name   = from / to / subject / body         text in that place
           / has                                has:attachment
           / is                                 read, unread, flagged, unflagged, answered, unanswered, draft
           / tag                                a tag, or the keyword that it is
           / in                                 a mailbox, by name or special use (in:inbox, in:sent)
           / id                                 a message by the beginning of its id, as `search` shows it
           / thread                             a conversation, by its id
           / before / after                     a day, YYYY-MM-DD, or YYYY-MM, YYYY; after means from then on

A word is found inside longer words too, letter case and accents aside. A colon behind another name is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from leap.mail.contract import NotPermitted, QueryError, RowId
from leap.mail.search.folding import fold
from leap.mail.search.texts import Where
from leap.mail.tags import keyword_of
from leap.mail.threads.model import ThreadId


@dataclass(frozen=True, slots=True)
class Text:
    """One of the texts of `where` holds the folded needle."""

    where: Where
    needle: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """There is a file beside the text."""


@dataclass(frozen=True, slots=True)
class Flag:
    """The row has the flag, or has not; letter case aside."""

    flag: str
    there: bool = True


@dataclass(frozen=True, slots=True)
class In:
    """The row is in the mailbox of that name, or special use without its backslash; letter case aside."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Id:
    """The id of the row, or of its message, begins so."""

    beginning: str


@dataclass(frozen=True, slots=True)
class Thread:
    """The row's message is in that conversation; the account puts `Rows` in its place before it looks."""

    thread_id: ThreadId


@dataclass(frozen=True, slots=True)
class Rows:
    """The row is one of these."""

    row_ids: frozenset[RowId]


@dataclass(frozen=True, slots=True)
class Days:
    """The row's date, in the zone it came with, is in [first, end)."""

    first: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True)
class Not:
    inner: Query


@dataclass(frozen=True, slots=True)
class And:
    """All of them; none means everything."""

    terms: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Query, ...]


Query = Text | Attachment | Flag | In | Id | Thread | Rows | Days | Not | And | Or

MAX_QUERY = 2_000  # characters
MAX_TEXTS = 50  # words and phrases in one query
_TERM = re.compile(r'(-?)(?:([A-Za-z]+):)?(?:"([^"]*)"?|(\S+))')
_PLACES: dict[str, Where] = {
    "from": "from",
    "to": "recipients",
    "subject": "subject",
    "body": "body",
}
_STATES = {
    "read": Flag("\\Seen"),
    "unread": Flag("\\Seen", False),
    "flagged": Flag("\\Flagged"),
    "starred": Flag("\\Flagged"),
    "unflagged": Flag("\\Flagged", False),
    "answered": Flag("\\Answered"),
    "replied": Flag("\\Answered"),
    "unanswered": Flag("\\Answered", False),
    "draft": Flag("\\Draft"),
}
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


def parse_query(text: str) -> Query:
    """What a person asks for; an empty query is everything. Raises QueryError."""
    if len(text) > MAX_QUERY:
        raise QueryError(f"A query has at most {MAX_QUERY} characters.")
    groups: list[list[Query]] = []
    terms = [found for found in _TERM.finditer(text) if found[0]]
    if len(terms) > MAX_TEXTS:
        raise QueryError(f"A query has at most {MAX_TEXTS} words.")
    joined = False
    for found in terms:
        if found[0] == "OR":
            if not groups or joined:
                raise QueryError("OR stands between two words.")
            joined = True
            continue
        term = _term(found[2], found[3] if found[4] is None else found[4], found[4] is None)
        if term is None:
            continue
        query = Not(term) if found[1] else term
        if joined:
            groups[-1].append(query)
        else:
            groups.append([query])
        joined = False
    if joined:
        raise QueryError("OR stands between two words.")
    parts = tuple(group[0] if len(group) == 1 else Or(tuple(group)) for group in groups)
    return parts[0] if len(parts) == 1 else And(parts)


def threads_of(query: Query) -> Iterator[ThreadId]:
    """The conversations a query names."""
    match query:
        case And(terms) | Or(terms):
            for term in terms:
                yield from threads_of(term)
        case Not(inner):
            yield from threads_of(inner)
        case Thread(thread_id):
            yield thread_id
        case _:
            pass


def with_rows(query: Query, rows: Mapping[ThreadId, frozenset[RowId]]) -> Query:
    """The query with the messages of conversations in place of their ids."""
    match query:
        case And(terms):
            return And(tuple(with_rows(term, rows) for term in terms))
        case Or(terms):
            return Or(tuple(with_rows(term, rows) for term in terms))
        case Not(inner):
            return Not(with_rows(inner, rows))
        case Thread(thread_id):
            return Rows(rows.get(thread_id, frozenset()))
        case _:
            return query


def _term(name: str | None, value: str, quoted: bool) -> Query | None:
    key = (name or "").lower()
    if key in _PLACES:
        return _text(_PLACES[key], value, f"{key}:")
    match key:
        case "has":
            if value.lower() not in ("attachment", "attachments"):
                raise QueryError("After has: comes attachment.")
            return Attachment()
        case "is":
            state = _STATES.get(value.lower())
            if state is None:
                raise QueryError(f"After is: comes one of {', '.join(sorted(_STATES))}.")
            return state
        case "tag":
            if not value:
                raise QueryError("After tag: comes a tag.")
            return _tag(value)
        case "in":
            if not value:
                raise QueryError("After in: comes the name of a mailbox.")
            return In(value)
        case "id":
            if not value:
                raise QueryError("After id: comes the beginning of a message's id.")
            return Id(value.lower())
        case "thread":
            if not value:
                raise QueryError("After thread: comes the id of a conversation.")
            return Thread(ThreadId(value))
        case "before":
            return Days(end=_day(value, key))
        case "after":
            return Days(first=_day(value, key))
        case _:
            text = value if name is None else f"{name}:{value}"
            return _text("people", text, "") if text else None


def _tag(value: str) -> Query:
    """A tag as people write it, or the keyword that it is."""
    try:
        keyword = keyword_of(value)
    except NotPermitted as error:
        raise QueryError(str(error)) from None
    if keyword == value:
        return Flag(value)
    return Or((Flag(keyword), Flag(value)))


def _text(where: Where, value: str, said: str) -> Query | None:
    needle = fold(value).strip()
    if not needle:
        if said:
            raise QueryError(f"After {said} comes a word.")
        return None
    return Text(where, needle)


def _day(value: str, name: str) -> date:
    found = _DAY.fullmatch(value)
    try:
        if found:
            return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        pass
    raise QueryError(f"After {name}: comes a day, as 2026-01-31.")
