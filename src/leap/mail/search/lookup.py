"""What the index says about one needle: which messages hold it, which may, and that all others do not.

A needle is taken apart into pieces, each of them stands for all terms of the vocabulary of that shape, and those for
the messages that have one of them. Where that would be too many terms, the index has no say: every message may.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from leap.mail.search.texts import Where
from leap.mail.search.words import ATTACHMENT, MARKS, STEP, Field, Piece, Pieces, pieces
from leap.soledad.sqlite import Connection

MAX_TERMS = 20_000  # that one piece may stand for; a doclist each costs about 10 µs
COMMON = 500  # messages with the very word: who wants the newest only needs no other words that contain it
MATCHED_TERMS = (
    24  # that one MATCH may name; with more, reading their lists one after the other is faster
)
MANY = 2_500  # messages: a set of more is not made unless it has to be
_SPARSE = 40  # numbers in a row for one that is wanted, up to which reading them all is cheaper than the whole set

_FIELDS: dict[Where, tuple[Field, ...]] = {
    "from": ("from",),
    "to": ("to",),
    "recipients": ("to",),
    "cc": ("to",),
    "bcc": ("to",),
    "subject": ("subject",),
    "name": ("name",),
    "body": ("body",),
    "people": ("body", "from", "to", "subject"),
    "text": ("body", "from", "to", "subject"),
}
_INEXACT = ("to", "cc", "bcc")  # which are indexed together


class _Way(NamedTuple):
    """One way to match: a term of each group."""

    groups: list[list[str]]
    exact: bool
    messages: set[int] | None  # None: too many to have been read yet
    most: int  # so many messages at most; MANY + 1 stands for more


class Judged(NamedTuple):
    """Of some messages: those that match, and those that have to be read."""

    sure: set[int]
    unsure: set[int]


class Lookup:
    """One needle, looked up in one snapshot; the numbers stay true in later ones, for none is given twice."""

    def __init__(
        self, connection: Connection, where: Where | str, folded: str, *, newest: bool = False
    ) -> None:
        """`newest`: only the newest matches are wanted, so that a common word need not be looked up in full."""
        self._newest = newest
        self._ways: list[_Way] = []
        self._sets: list[set[int] | None] = []
        self.blind = False  # the index has no say
        self.rest = where == "text"  # what is found is right, but more may match
        if where == "attachment":
            self._ways.append(self._way(connection, [[ATTACHMENT]], True))
        else:
            self._look_up(connection, _FIELDS[where], folded, where not in _INEXACT)  # type: ignore[index]
        self._sets = [way.messages for way in self._ways]

    def _look_up(
        self, connection: Connection, fields: Sequence[Field], folded: str, exact: bool
    ) -> None:
        shapes = {in_field: pieces(folded, in_field=in_field) for in_field in (False, True)}
        marks = {
            in_field: [MARKS[field] for field in fields if (field != "body") is in_field]
            for in_field in (False, True)
        }
        if shapes[False] == shapes[True]:  # no punctuation: one look is enough
            self._add_way(connection, shapes[False], marks[False] + marks[True], exact)
            return
        for in_field in (False, True):
            if marks[in_field]:
                self._add_way(connection, shapes[in_field], marks[in_field], exact)

    def _add_way(
        self, connection: Connection, shape: Pieces, marks: Sequence[str], exact: bool
    ) -> None:
        if not shape.pieces:
            self.blind = True
            return
        sure = exact and shape.exact
        very = [[mark + shape.pieces[0].text for mark in marks]]
        first: set[int] | None = None  # the messages with the very word
        groups: list[list[str] | None] = [None]
        if self._newest and sure:
            first = _few(connection, very, COMMON)
        if not (self._newest and sure) or first is not None:
            groups = [find_terms(connection, marks, piece) for piece in shape.pieces]
        known = [group for group in groups if group is not None]
        if not known:
            self.blind = True
            if sure:
                # those with the very word are right, and often there are enough of them
                self._ways.append(
                    _Way(very, True, first, MANY + 1 if first is None else len(first))
                )
        elif all(known):
            exact = sure and len(known) == len(groups)
            if first is not None and set(known[0]) <= set(very[0]):
                self._ways.append(_Way(very, exact, first, len(first)))
            else:
                self._ways.append(self._way(connection, known, exact))

    def _way(self, connection: Connection, groups: list[list[str]], exact: bool) -> _Way:
        if not self._newest:  # all are wanted: counting them first would be the same work again
            every = _messages(connection, groups)
            return _Way(groups, exact, every, len(every))
        if sum(map(len, groups)) <= MATCHED_TERMS:
            found = _few(connection, groups, MANY + 1)
            return _Way(groups, exact, found, MANY + 1 if found is None else len(found))
        return _Way(groups, exact, None, min(_count(connection, group) for group in groups))

    @property
    def count(self) -> int | None:
        """At most so many messages match, or have to be read; None: perhaps all."""
        return None if self.blind or self.rest else sum(way.most for way in self._ways)

    def everywhere(self, connection: Connection) -> Judged:
        """Of all messages. What the index cannot tell is not in it."""
        return self._gathered(self._all(connection, at) for at in range(len(self._ways)))

    def among(self, connection: Connection, numbers: Sequence[int]) -> Judged:
        """Of those messages. What the index cannot tell is not in it."""
        wanted = set(numbers)
        return self._gathered(
            self._some(connection, at, numbers) & wanted for at in range(len(self._ways))
        )

    def _gathered(self, sets: Iterable[set[int]]) -> Judged:
        sure: set[int] = set()
        unsure: set[int] = set()
        for way, found in zip(self._ways, sets, strict=True):
            (sure if way.exact else unsure).update(found)
        return Judged(sure, unsure - sure)

    def _all(self, connection: Connection, at: int) -> set[int]:
        known = self._sets[at]
        if known is None:
            known = self._sets[at] = _messages(connection, self._ways[at].groups)
        return known

    def _some(self, connection: Connection, at: int, numbers: Sequence[int]) -> set[int]:
        way = self._ways[at]
        if not numbers:
            return set()
        low, high = min(numbers), max(numbers)
        if (
            self._sets[at] is not None
            or way.most <= MANY
            or high - low > _SPARSE * len(numbers)
            or sum(map(len, way.groups)) > MATCHED_TERMS
        ):
            return self._all(connection, at)
        return _matching(connection, way.groups, low, high)


def find_terms(connection: Connection, marks: Sequence[str], piece: Piece) -> list[str] | None:
    """The terms of that shape in those fields; None when there are more than MAX_TERMS."""
    if piece.shape == "is":
        return [mark + piece.text for mark in marks]
    if piece.shape == "begins":
        found: list[str] = []
        for mark in marks:
            start = mark + piece.text
            found += _column(
                connection,
                "SELECT term FROM mail_term WHERE term >= ? AND term < ? LIMIT ?",
                (start, start + "\U0010ffff", MAX_TERMS + 1),
            )
    else:
        # by the first character: those of a field have its mark there, those of the body none; so a piece too short
        # for trigrams is looked for in the terms of its field alone
        ranges = [_range(mark) for mark in marks if mark]
        if "" in marks:
            ranges = ["term < '\ue000'", "term >= '\ue100'", *ranges]
        fits = "instr(term, :text)"
        if piece.shape == "ends":
            fits = f"substr(term, -{len(piece.text)}) = :text"
        source, order = "mail_term", " ORDER BY id"
        trigrams = {piece.text[at : at + 3] for at in range(len(piece.text) - 2)}
        if trigrams:
            order = ""  # theirs already
            source = (
                "(SELECT rowid AS n FROM mail_term_parts WHERE mail_term_parts MATCH :trigrams)"
                " CROSS JOIN mail_term ON id = n"
            )
        found = _column(
            connection,
            f"SELECT term FROM {source} WHERE ({' OR '.join(ranges)}) AND {fits}{order} LIMIT :most",  # noqa: S608
            {
                "text": piece.text,
                "trigrams": " AND ".join(map(_quoted, sorted(trigrams))),
                "most": MAX_TERMS + 1,
            },
        )
    return None if len(found) > MAX_TERMS else found


def _range(mark: str) -> str:
    return f"(term >= '{mark}' AND term < '{chr(ord(mark) + 1)}')"


def _count(connection: Connection, group: list[str]) -> int:
    """How often a message has a term of the group; MANY + 1 stands for more."""
    total = 0
    for some in _portions(group):
        [among] = _column(
            connection,
            "SELECT coalesce(sum(v.doc), 0) FROM json_each(?) j CROSS JOIN mail_words_of v ON v.term = j.value",
            (json.dumps(some),),
        )
        total += among
        if total > MANY:
            return MANY + 1
    return total


def _portions(group: list[str]) -> Iterator[list[str]]:
    """Few terms first: the oldest are the most frequent ones, so that these few often settle it."""
    first, size = 0, 8
    while first < len(group):
        yield group[first : first + size]
        first, size = first + size, min(4 * size, 2_000)


def _few(connection: Connection, groups: list[list[str]], limit: int) -> set[int] | None:
    """The messages with a term of each group; None when there are `limit` or more."""
    found = _column(
        connection,
        "SELECT rowid FROM mail_words WHERE mail_words MATCH ? LIMIT ?",
        (_match(groups), limit),
    )
    return None if len(found) >= limit else set(found)


def _messages(connection: Connection, groups: list[list[str]]) -> set[int]:
    """All messages with a term of each group."""
    if sum(map(len, groups)) <= MATCHED_TERMS:
        return _matching(connection, groups, 0, 2**62)
    found: set[int] | None = None
    [every] = _column(connection, "SELECT count(*) FROM mail_text WHERE number > ?", (0,))
    for group in sorted(groups, key=len):
        having: set[int] = set()
        for some in _portions(group):
            having.update(
                _column(
                    connection,
                    "SELECT v.doc FROM json_each(?) j CROSS JOIN mail_words_in v ON v.term = j.value",
                    (json.dumps(some),),
                )
            )
            if len(having) >= every or (found is not None and found <= having):
                break
        found = having if found is None else found & having
        if not found:
            break
    return found or set()


def _matching(connection: Connection, groups: list[list[str]], low: int, high: int) -> set[int]:
    return set(
        _column(
            connection,
            "SELECT rowid FROM mail_words WHERE mail_words MATCH ? AND rowid BETWEEN ? AND ?",
            (_match(groups), low, high),
        )
    )


def _match(groups: list[list[str]]) -> str:
    return " AND ".join("(" + " OR ".join(map(_quoted, group)) + ")" for group in groups)


def _column(connection: Connection, sql: str, values: Sequence[object] | dict[str, object]) -> list:  # type: ignore[type-arg]
    return [value for (value,) in connection.execute(sql, values)]


def _quoted(term: str) -> str:
    return '"' + term + '"'


assert STEP >= 3  # else a piece of a long word could not be looked up by its trigrams
