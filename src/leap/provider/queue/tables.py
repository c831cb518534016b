"""The queue's tables in the provider's database, and what databases of before lack of them.

A recipient's state: waiting -> gone, when it was handed over
                             -> failed | relayed -> gone, when its sender was told
`told`: nobody is to hear any more that it takes long.
"""

from __future__ import annotations

from leap.soledad.sqlite import Connection

_TABLES = (
    """CREATE TABLE IF NOT EXISTS queue_mail (
        mail_id TEXT PRIMARY KEY,
        sender TEXT NOT NULL,
        submission TEXT NOT NULL,
        smtputf8 INTEGER NOT NULL,
        size INTEGER NOT NULL,
        created REAL NOT NULL,
        sealed BLOB NOT NULL,
        wishes TEXT NOT NULL DEFAULT '{}',
        tls TEXT NOT NULL DEFAULT 'usual'
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS queue_recipient (
        mail_id TEXT NOT NULL,
        address TEXT NOT NULL,
        domain TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt REAL NOT NULL,
        answer TEXT NOT NULL,
        remote TEXT NOT NULL,
        told INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mail_id, address)
    ) STRICT, WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS queue_recipient_by_time
        ON queue_recipient (state, domain, next_attempt)""",
    """CREATE TABLE IF NOT EXISTS queue_seen (
        submission TEXT NOT NULL,
        address TEXT NOT NULL,
        seen REAL NOT NULL,
        PRIMARY KEY (submission, address)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS queue_seen_by_time ON queue_seen (seen)",
)

_LATER_COLUMNS = (
    ("queue_mail", "wishes", "TEXT NOT NULL DEFAULT '{}'"),
    ("queue_mail", "tls", "TEXT NOT NULL DEFAULT 'usual'"),
    ("queue_recipient", "told", "INTEGER NOT NULL DEFAULT 0"),
)


def create_tables(connection: Connection) -> None:
    """The queue's tables and columns, where they are missing."""
    for table, column, definition in _LATER_COLUMNS:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if rows and column not in {row[1] for row in rows}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
    for statement in _TABLES:
        connection.execute(statement)
