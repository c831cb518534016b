"""Whatever order messages come and go in, the tables hold the threads which the rules say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contacts.envelope import Person
from leap.mail.mailboxes import Directory
from leap.mail.threads.facts import Facts, number_of
from leap.mail.threads.following import keep_facts
from leap.mail.threads.listed import follow_listed, forget_facts
from leap.mail.threads.tables import create_threads, thread_faults
from tests.mail.threads.oracle import Mail, threads_of

DAY = 86_400
DIRECTORY = Directory.of({})
IDS = st.sampled_from([f"<{letter}@x>" for letter in "abcdefgh"])
MAILS = st.builds(
    Mail,
    key=st.just(""),
    message_id=IDS,
    references=st.lists(IDS, max_size=3, unique=True).map(tuple),
    subject=st.sampled_from(["", "one", "two"]),
    reply=st.booleans(),
    date=st.none() | st.integers(0, 12).map(lambda one: one * 20 * DAY),
)


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE setting (name TEXT, value)")
    connection.execute("CREATE TABLE mail_header_wanted (header_id TEXT, internal_date INTEGER)")
    connection.execute(
        "CREATE TABLE mail_index (header_id TEXT, mailbox_id TEXT, internal_date INTEGER)"
    )
    assert create_threads(connection)
    return connection


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    connection = opened()
    yield connection
    connection.close()


def facts(mail: Mail) -> Facts:
    ids = [number_of(b"<" + one.encode()) for one in (mail.message_id, *mail.references)]
    return Facts(
        ids=tuple(dict.fromkeys(ids)),
        date=mail.date,
        subject=number_of(mail.subject.encode()) if mail.subject else 0,
        orphan=mail.reply and not mail.references,
        senders=[],
        recipients=[],
    )


def store(connection: sqlite3.Connection, *mails: Mail) -> None:
    for mail in mails:
        keep_facts(connection, [(mail.key, facts(mail))])
        connection.execute("INSERT INTO mail_index VALUES (?, 'inbox', 1)", (mail.key,))
    follow_listed(connection, [mail.key for mail in mails], DIRECTORY)


def remove(connection: sqlite3.Connection, *keys: str) -> None:
    connection.executemany("DELETE FROM mail_index WHERE header_id = ?", [(key,) for key in keys])
    forget_facts(connection, keys)


def stored(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    out: dict[str, set[str]] = {}
    for root, key in connection.execute(
        "SELECT t.root, f.header_id FROM mail_facts f JOIN mail_thread t ON t.number = f.thread"
    ):
        out.setdefault(f"{root:016x}", set()).add(key)
    return {root: frozenset(keys) for root, keys in out.items()}


@settings(max_examples=25, deadline=None)
@given(
    mails=st.lists(MAILS, min_size=1, max_size=12),
    steps=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=3), max_size=20),
)
def test_threads_are_those_of_the_rules_after_any_history(
    mails: list[Mail], steps: list[list[int]]
) -> None:
    mails = [mail._replace(key=f"k{number}") for number, mail in enumerate(mails)]
    connection = opened()
    here: dict[str, Mail] = {}
    for step in [*steps, list(range(len(mails)))]:
        chosen = {mails[number % len(mails)] for number in step}
        going = [mail for mail in sorted(chosen) if mail.key in here] if len(step) < 4 else []
        coming = [mail for mail in mails if mail in chosen and mail.key not in here]
        if going:
            remove(connection, *(mail.key for mail in going))
        store(connection, *coming)
        for mail in going:
            del here[mail.key]
        here |= {mail.key: mail for mail in coming}
        assert stored(connection) == threads_of(list(here.values()))
        assert thread_faults(connection) == []
    connection.close()


def test_a_missing_link_that_comes_later_joins_two_threads(tables: sqlite3.Connection) -> None:
    first = Mail("1", "<a@x>", date=1)
    third = Mail("3", "<c@x>", ("<b@x>",), date=3)
    store(tables, third, first)
    assert len(stored(tables)) == 2
    store(tables, Mail("2", "<b@x>", ("<a@x>",), date=2))
    [(thread, keys)] = stored(tables).items()
    assert keys == {"1", "2", "3"}
    assert thread == f"{number_of(b'<<a@x>'):016x}"


def test_a_thread_keeps_its_id_when_its_beginning_comes_late_or_goes(
    tables: sqlite3.Connection,
) -> None:
    store(tables, Mail("2", "<b@x>", ("<a@x>",), date=2), Mail("3", "<c@x>", ("<a@x>",), date=3))
    [before] = stored(tables)
    store(tables, Mail("1", "<a@x>", date=1))
    assert list(stored(tables)) == [before]
    remove(tables, "1")
    assert list(stored(tables)) == [before]


def test_mails_of_one_subject_are_not_one_thread_unless_one_answers(
    tables: sqlite3.Connection,
) -> None:
    store(tables, Mail("1", "<a@x>", subject="hello", date=1))
    store(tables, Mail("2", "<b@x>", subject="hello", date=2))
    assert len(stored(tables)) == 2
    store(tables, Mail("3", "<c@x>", subject="hello", reply=True, date=3))
    assert frozenset({"2", "3"}) in stored(tables).values()
    store(tables, Mail("4", "<d@x>", subject="hello", reply=True, date=4 + 60 * DAY))
    assert frozenset({"4"}) in stored(tables).values()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mail_facts SET thread = NULL WHERE header_id = '1'",
        "UPDATE mail_facts SET thread = 9 WHERE header_id = '1'",
        "UPDATE mail_thread SET root = 1",
        "UPDATE mail_thread SET newest = 9",
        "DELETE FROM mail_thread",
        "DELETE FROM mail_thread_name",
        "DELETE FROM mail_index WHERE header_id = '1'",
        "UPDATE mail_contact SET written_from = 9",
        "DELETE FROM mail_contact",
        "DELETE FROM mail_contact_use",
        "UPDATE mail_facts SET counted = 2 WHERE header_id = '1'",
        "UPDATE mail_facts SET counted = 0 WHERE header_id = '1'",
    ],
)
def test_what_is_wrong_in_the_tables_is_found(tables: sqlite3.Connection, statement: str) -> None:
    bob = [Person("bob@example.test", "Bob")]
    for key in "12":
        mail = Mail(key, f"<{key}@x>", ("<1@x>",))
        keep_facts(tables, [(key, facts(mail)._replace(senders=bob))])
        tables.execute("INSERT INTO mail_index VALUES (?, 'inbox', 1)", (key,))
    follow_listed(tables, "12", DIRECTORY)
    assert thread_faults(tables) == []
    assert tables.execute(statement).rowcount
    assert thread_faults(tables) != []


@settings(max_examples=30, deadline=None)
@given(st.lists(MAILS, min_size=2, max_size=12), st.integers(0, 12))
def test_many_that_come_at_once_are_grouped_as_if_they_came_one_by_one(
    mails: list[Mail], before: int
) -> None:
    mails = [mail._replace(key=f"k{number}") for number, mail in enumerate(mails)]
    connection = opened()
    store(connection, *mails[:before])
    store(connection, *mails[before:])
    assert stored(connection) == threads_of(mails)
    assert thread_faults(connection) == []
    connection.close()
