"""The tables of threads and contacts, and what may be wrong with them.

    mail_facts         one row a message (by its header record, which copies share): what `Facts` says, its thread, how
                       it counts for contacts; kept as long as the opened header record is
    mail_thread        one row a thread; `root` is the number its id is made of
    mail_thread_name   which thread the messages belong to that are named so: ids of messages here and of missing ones
    mail_behind        messages that came or went and were not looked at since (`behind`)
    mail_contact       one row an address: counts, the newest name
    mail_contact_use   which messages those counts count

Invariants:
* They change in the transaction that opens a header record or follows what the one which changed the mailbox index
  noted in `mail_behind`, never otherwise.
* Noted messages aside, `thread` is set for exactly the facts of messages that are listed, and is what `grouping` says
  of all those.
* Numbers of rows are this device's own; what is answered to anybody is the same on every device with the same mail.
"""

from __future__ import annotations

from leap.mail.threads.facts import ids_of, people_in
from leap.mail.threads.grouping import Member, age, group, root_number, subject_links
from leap.soledad.sqlite import Connection

_FACTS = (
    """CREATE TABLE IF NOT EXISTS mail_facts (
        number INTEGER PRIMARY KEY,
        header_id TEXT NOT NULL UNIQUE,
        ids BLOB NOT NULL,
        date INTEGER,
        subject INTEGER NOT NULL,
        orphan INTEGER NOT NULL,
        people BLOB NOT NULL,
        thread INTEGER,
        arrived INTEGER,
        counted INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS mail_facts_thread ON mail_facts (thread) WHERE thread IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS mail_facts_subject ON mail_facts (subject, date, header_id, orphan, thread)"
    " WHERE thread IS NOT NULL AND subject <> 0 AND date IS NOT NULL",
    # Few: so that of most messages it is known at once that no subject makes them belong anywhere.
    "CREATE INDEX IF NOT EXISTS mail_facts_orphan ON mail_facts (subject) WHERE orphan = 1 AND thread IS NOT NULL",
)
_TABLES = (
    """CREATE TABLE IF NOT EXISTS mail_thread (
        number INTEGER PRIMARY KEY,
        root INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        oldest INTEGER NOT NULL,
        oldest_id TEXT NOT NULL,
        newest INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS mail_thread_newest ON mail_thread (newest, root)",
    "CREATE TABLE IF NOT EXISTS mail_behind (number INTEGER PRIMARY KEY, header_id TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS mail_thread_name (id INTEGER PRIMARY KEY, thread INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS mail_contact (
        address TEXT PRIMARY KEY,
        written_to INTEGER NOT NULL,
        written_from INTEGER NOT NULL,
        last INTEGER NOT NULL,
        name TEXT NOT NULL,
        named INTEGER NOT NULL,
        found TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS mail_contact_use (
        address TEXT NOT NULL,
        message INTEGER NOT NULL,
        sent INTEGER NOT NULL,
        date INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (address, message)
    ) STRICT, WITHOUT ROWID""",
)
_DERIVED = (
    "mail_thread",
    "mail_thread_name",
    "mail_behind",
    "mail_contact",
    "mail_contact_use",
)


def create_threads(connection: Connection) -> bool:
    """Makes the tables; True where they were missing: then every listed message has to be taken in.

    Header records that were opened before there were facts are wanted once more.
    """
    fresh = not connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mail_thread'"
    ).fetchone()
    for statement in (*_FACTS, *_TABLES):
        connection.execute(statement)
    if fresh:
        connection.execute("DELETE FROM mail_behind")
        connection.execute("UPDATE mail_facts SET thread = NULL, arrived = NULL, counted = 0")
        connection.execute(
            "INSERT OR IGNORE INTO mail_header_wanted (header_id, internal_date)"
            " SELECT i.header_id, max(i.internal_date) FROM mail_index i WHERE i.header_id <> ''"
            " AND NOT EXISTS (SELECT 1 FROM mail_facts f WHERE f.header_id = i.header_id) GROUP BY i.header_id"
        )
    return fresh


def drop_threads(connection: Connection) -> None:
    """Removes what is derived; facts go with the opened header records, see `forget_facts`."""
    for table in _DERIVED:
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def thread_faults(connection: Connection) -> list[str]:
    """What in the tables does not follow from the mailbox index and the facts; looks at everything."""
    faults = []
    for sentence, question in (
        (
            "Some messages are listed, but in no thread",
            "SELECT 1 FROM mail_index i WHERE i.header_id <> '' AND NOT EXISTS (SELECT 1 FROM mail_header_wanted w"
            " WHERE w.header_id = i.header_id) AND i.header_id NOT IN (SELECT header_id FROM mail_behind)"
            " AND NOT EXISTS (SELECT 1 FROM mail_facts f"
            " WHERE f.header_id = i.header_id AND f.thread IS NOT NULL) LIMIT 1",
        ),
        (
            "Some threads hold messages that are not there",
            "SELECT 1 FROM mail_facts f WHERE (f.thread IS NOT NULL OR f.counted <> 0)"
            " AND NOT EXISTS (SELECT 1 FROM mail_index i WHERE i.header_id = f.header_id) LIMIT 1",
        ),
        (
            "Some contacts are counted wrongly",
            "SELECT 1 FROM (SELECT address, sum(sent) AS sent, count(*) AS uses, max(date) AS last"
            " FROM mail_contact_use GROUP BY address) u FULL JOIN mail_contact c ON c.address = u.address"
            " WHERE c.written_to IS NOT u.sent OR c.written_from IS NOT u.uses - u.sent OR c.last IS NOT u.last"
            " LIMIT 1",
        ),
    ):
        if connection.execute(question).fetchone():
            faults.append(sentence)
    if not faults and _grouped(connection) != _stored(connection):
        faults.append("Messages are in other threads than they belong to")
    if _uses(connection) != set(
        connection.execute("SELECT address, message, sent FROM mail_contact_use")
    ):
        faults.append("Some messages are counted for other contacts than theirs")
    return faults


def _grouped(connection: Connection) -> dict[int, frozenset[str]]:
    """By their roots, the threads as they have to be."""
    members = [
        Member(key, ids_of(ids), date, subject, bool(orphan))
        for key, ids, date, subject, orphan in connection.execute(
            "SELECT header_id, ids, date, subject, orphan FROM mail_facts WHERE thread IS NOT NULL"
        )
    ]
    return {
        root_number(thread[0].ids): frozenset(member.key for member in thread)
        for thread in group(members, subject_links(members))
    }


def _stored(connection: Connection) -> dict[int, frozenset[str]]:
    """The threads as they are; of one that says something else about itself, nobody."""
    threads: dict[int, list[tuple[tuple[int, str], int, str]]] = {}
    named = dict(connection.execute("SELECT id, thread FROM mail_thread_name").fetchall())
    lost: set[int] = set()
    for thread, key, ids, date, arrived in connection.execute(
        "SELECT thread, header_id, ids, date, arrived FROM mail_facts WHERE thread IS NOT NULL"
    ):
        numbers = ids_of(ids)
        threads.setdefault(thread, []).append(
            (age(Member(key, numbers, date, 0, False)), arrived, key)
        )
        if any(named.get(number) != thread for number in numbers):
            lost.add(thread)
    out = {}
    for number, root, messages, oldest, oldest_id, newest in connection.execute(
        "SELECT number, root, messages, oldest, oldest_id, newest FROM mail_thread"
    ):
        inside = threads.get(number, [])
        right = (
            number not in lost
            and len(inside) == messages
            and min(one[0] for one in inside) == (oldest, oldest_id)
            and max(one[1] for one in inside) == newest
        )
        out[root] = frozenset(one[2] for one in inside) if right else frozenset()
    return out


def _uses(connection: Connection) -> set[tuple[str, int, int]]:
    out = set()
    for number, people, counted in connection.execute(
        "SELECT number, people, counted FROM mail_facts WHERE counted <> 0"
    ):
        sent = counted == 2
        out |= {(one.address, number, int(sent)) for one in people_in(people)[sent]}
    return out
