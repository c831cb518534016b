"""The search index in the store: one entry a message, the terms of all messages, and the vocabulary.

    mail_text        one row a message (by its header record, which copies share): number, date, state
    mail_head        of each message whose text was seen the signature of its header, empty when not made yet
    mail_words       FTS5 without content: which messages have a term
    mail_term        each term once; id 1 is no term but the random name of this vocabulary
    mail_term_parts  FTS5 of the terms' trigrams: which terms hold these three characters
    mail_words_in    what `mail_words` holds, by term

Invariants:
* `mail_text` changes in the transaction that changes the mailbox index: what is listed has a row here. Its terms come
  later (`filling`).
* state WANTED: they did not come yet; INDEXED: all its terms are here; PARTIAL: some are. Only INDEXED may be
  judged by its terms alone.
* Terms outlive the messages they were in, until `forgetting` comes by (within a day).
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from leap.mail.search.words import Terms
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection

WANTED, INDEXED, PARTIAL = 0, 1, 2
KNOWN_TERMS = 200_000  # remembered, so that a common word is not asked of the table for each mail: about 20 MB
_TABLES = (
    """CREATE TABLE IF NOT EXISTS mail_text (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        header_id TEXT NOT NULL UNIQUE,
        internal_date INTEGER NOT NULL,
        state INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS mail_text_date ON mail_text (internal_date, number)",
    "CREATE INDEX IF NOT EXISTS mail_text_unsure ON mail_text (internal_date, number, state) WHERE state <> 1",
    "CREATE TABLE IF NOT EXISTS mail_head (number INTEGER PRIMARY KEY, signature BLOB NOT NULL) STRICT",
    "CREATE INDEX IF NOT EXISTS mail_head_wanted ON mail_head (number) WHERE signature = x''",
    "CREATE VIRTUAL TABLE IF NOT EXISTS mail_words USING fts5("
    "terms, content='', contentless_delete=1, detail=none, tokenize='ascii')",
    "CREATE VIRTUAL TABLE IF NOT EXISTS mail_words_in USING fts5vocab(mail_words, instance)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS mail_words_of USING fts5vocab(mail_words, row)",
    "CREATE TABLE IF NOT EXISTS mail_term (id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE) STRICT",
    "CREATE VIRTUAL TABLE IF NOT EXISTS mail_term_parts USING fts5("
    "term, content='', contentless_delete=1, detail=none, tokenize='trigram')",
)
_NAMES = (
    "mail_head",
    "mail_words_in",
    "mail_words_of",
    "mail_words",
    "mail_term_parts",
    "mail_term",
    "mail_text",
)


def create_search(connection: Connection) -> None:
    """Makes the tables; where they were missing, all messages of the mailbox index are wanted."""
    there = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE name IN ('mail_text', 'mail_head')"
        )
    }
    for statement in _TABLES:
        connection.execute(statement)
    if "mail_text" in there:
        if "mail_head" not in there:  # an index made before there were signatures
            connection.execute(
                "INSERT INTO mail_head (number, signature) SELECT number, x'' FROM mail_text WHERE state <> 0"
            )
        return
    connection.execute(
        "INSERT INTO mail_term (id, term) VALUES (1, ?)", ("\ue07f" + secrets.token_hex(16),)
    )
    for table in ("mail_words", "mail_term_parts"):
        # Many small segments are cheaper while mail is imported than merging them again and again
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('automerge', 8)")  # noqa: S608
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('crisismerge', 32)")  # noqa: S608
    connection.execute(
        "INSERT INTO mail_text (header_id, internal_date, state)"
        " SELECT header_id, max(internal_date), 0 FROM mail_index WHERE header_id <> '' GROUP BY header_id"
        " ORDER BY 2"
    )


def drop_search(connection: Connection) -> None:
    """Removes the index; `create_search` wants all messages anew."""
    for table in _NAMES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def want_texts(connection: Connection, arrived: Iterable[tuple[str, int]]) -> None:
    """Messages (header id, date) came into the index; the words of those that are new are wanted."""
    dates = dict(arrived)
    insert_rows(
        connection,
        "INSERT INTO mail_text (header_id, internal_date, state)",
        [(header_id, dates[header_id], WANTED) for header_id in _unknown(connection, dates)],
    )


def _unknown(connection: Connection, header_ids: Iterable[str]) -> list[str]:
    found = connection.execute(
        "SELECT j.value FROM json_each(?) j"
        " WHERE NOT EXISTS (SELECT 1 FROM mail_text t WHERE t.header_id = j.value) ORDER BY j.key",
        (json.dumps(list(header_ids)),),
    )
    return [header_id for (header_id,) in found]


def keep_terms(connection: Connection, messages: Sequence[tuple[str, Terms]]) -> None:
    """Puts the terms of messages (by header id) into the index, each once, and only of those that are still listed."""
    known: dict[str, tuple[int, int]] = {
        header_id: (number, state)
        for header_id, number, state in connection.execute(
            "SELECT t.header_id, t.number, t.state FROM json_each(?) j CROSS JOIN mail_text t"
            " ON t.header_id = j.value",
            (json.dumps([header_id for header_id, _ in messages]),),
        )
    }
    seen: list[tuple[int, int]] = []
    words: list[tuple[int, str]] = []
    heads: list[tuple[int, bytes]] = []
    for header_id, terms in messages:
        number, state = known.pop(header_id, (0, INDEXED))
        if state == WANTED:
            seen.append((PARTIAL if terms.partial else INDEXED, number))
            words.append((number, terms.text))
            heads.append((number, terms.head))
    connection.executemany("UPDATE mail_text SET state = ? WHERE number = ?", seen)
    insert_rows(connection, "INSERT INTO mail_words (rowid, terms)", words)
    insert_rows(connection, "INSERT OR REPLACE INTO mail_head (number, signature)", heads)
    _vocabulary.learn(connection, set().union(*(text.split() for _, text in words)))


def last_number(connection: Connection) -> int:
    """The largest that was ever given; SQLite remembers it also of rows that are gone."""
    found = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'mail_text'"
    ).fetchone()
    return 0 if found is None else int(found[0])


def forget_texts(connection: Connection, header_ids: Sequence[str]) -> None:
    """Takes messages out of the index."""
    listed = json.dumps(list(header_ids))
    for table, key in (("mail_words", "rowid"), ("mail_head", "number")):
        connection.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT t.number FROM json_each(?) j"  # noqa: S608
            " CROSS JOIN mail_text t ON t.header_id = j.value WHERE t.state <> 0)",
            (listed,),
        )
    connection.execute(
        "DELETE FROM mail_text WHERE header_id IN (SELECT value FROM json_each(?))", (listed,)
    )


def search_faults(connection: Connection) -> list[str]:
    """What in the tables does not follow from the mailbox index."""
    faults = []
    for sentence, question in (
        (
            "Some messages are listed, but unknown to search",
            "SELECT 1 FROM mail_index i WHERE i.header_id <> ''"
            " AND NOT EXISTS (SELECT 1 FROM mail_text t WHERE t.header_id = i.header_id) LIMIT 1",
        ),
        (
            "Search knows messages that are not there",
            "SELECT 1 FROM mail_text t"
            " WHERE NOT EXISTS (SELECT 1 FROM mail_index i WHERE i.header_id = t.header_id) LIMIT 1",
        ),
        (
            "Search has lost the words of some messages, or kept those of others",
            "SELECT 1 WHERE (SELECT count(*) FROM mail_text WHERE state <> 0)"
            " <> (SELECT count(*) FROM mail_words_docsize)",
        ),
        (
            "Search has lost the signatures of some headers",
            "SELECT 1 FROM mail_text t WHERE t.state <> 0"
            " AND NOT EXISTS (SELECT 1 FROM mail_head h WHERE h.number = t.number) LIMIT 1",
        ),
    ):
        if connection.execute(question).fetchone():
            faults.append(sentence)
    return faults


class _Known:
    """Terms of one vocabulary that are certainly in its table, as of the row `last`."""

    def __init__(self) -> None:
        self.last: tuple[int, str] = (0, "")
        self.terms: set[str] = set()


class _Vocabulary:
    """Adds new terms to the table, and remembers for each open store which are there.

    A transaction that is undone takes its terms back: then the newest row is not the one that was remembered, and
    what was remembered is forgotten.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def learn(self, connection: Connection, terms: set[str]) -> None:
        (_, name), last = _first_and_last(connection)
        known = self._known.setdefault(name, _Known())
        self._known.move_to_end(name)
        while len(self._known) > 4:
            self._known.popitem(last=False)
        if known.last != last or len(known.terms) > KNOWN_TERMS:
            known.terms.clear()
        new = terms - known.terms
        if not new:
            return
        added = connection.execute(
            "INSERT OR IGNORE INTO mail_term (term) SELECT value FROM json_each(?) RETURNING id, term",
            (json.dumps(sorted(new)),),
        ).fetchall()
        insert_rows(connection, "INSERT INTO mail_term_parts (rowid, term)", added)
        known.terms |= new
        known.last = max(added) if added else last


def _first_and_last(connection: Connection) -> tuple[tuple[int, str], tuple[int, str]]:
    first, last = connection.execute(
        "SELECT id, term FROM mail_term WHERE id = 1 UNION ALL SELECT id, term FROM mail_term"
        " WHERE id = (SELECT max(id) FROM mail_term)"
    ).fetchall()
    return first, last


_vocabulary = _Vocabulary()
