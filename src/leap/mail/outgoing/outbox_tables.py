"""The tables of the outbox in the account's SQLCipher store, and what homes of before lack of them."""

from __future__ import annotations

from leap.soledad.sqlite import Connection

_TABLES = (
    """CREATE TABLE IF NOT EXISTS outbox (
        outbox_id TEXT PRIMARY KEY,
        sender TEXT NOT NULL,
        subject TEXT NOT NULL,
        size INTEGER NOT NULL,
        protection TEXT NOT NULL,
        policy TEXT NOT NULL,
        added TEXT NOT NULL,
        message_id TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt REAL NOT NULL,
        created REAL NOT NULL,
        expires REAL NOT NULL,
        ended REAL,
        reason TEXT NOT NULL,
        digest BLOB,
        not_before REAL NOT NULL DEFAULT 0,
        wishes TEXT NOT NULL DEFAULT '{}',
        delay_told INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS outbox_digest ON outbox (digest) WHERE digest IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS outbox_due ON outbox (state, next_attempt)",
    "CREATE INDEX IF NOT EXISTS outbox_named ON outbox (message_id)",
    """CREATE TABLE IF NOT EXISTS outbox_message (
        outbox_id TEXT PRIMARY KEY, message BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS outbox_copy (
        submission_id TEXT PRIMARY KEY,
        outbox_id TEXT NOT NULL,
        message BLOB NOT NULL,
        keys TEXT NOT NULL DEFAULT '{}',
        made REAL NOT NULL DEFAULT 0,
        how TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS outbox_copy_entry ON outbox_copy (outbox_id)",
    """CREATE TABLE IF NOT EXISTS outbox_recipient (
        outbox_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        address TEXT NOT NULL,
        submission_id TEXT,
        state TEXT NOT NULL,
        code INTEGER NOT NULL,
        reply TEXT NOT NULL,
        in_hand INTEGER NOT NULL DEFAULT 0,
        how TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (outbox_id, position)
    ) STRICT""",
)

# What came to the tables after homes with them were in use; a new one has these from the start.
_LATER_COLUMNS = (
    ("outbox", "digest", "BLOB"),
    ("outbox_copy", "keys", "TEXT NOT NULL DEFAULT '{}'"),
    ("outbox_copy", "made", "REAL NOT NULL DEFAULT 0"),
    ("outbox", "not_before", "REAL NOT NULL DEFAULT 0"),
    ("outbox_recipient", "in_hand", "INTEGER NOT NULL DEFAULT 0"),
    ("outbox_copy", "how", "TEXT NOT NULL DEFAULT ''"),
    ("outbox_recipient", "how", "TEXT NOT NULL DEFAULT ''"),
    ("outbox", "wishes", "TEXT NOT NULL DEFAULT '{}'"),
    ("outbox", "delay_told", "INTEGER NOT NULL DEFAULT 0"),
)
# What a column that came later says of entries from before it: a mail whose copies were made may have been handed over.
_OF_BEFORE = {
    "in_hand": "UPDATE outbox_recipient SET in_hand = 1"
    " WHERE state = 'waiting' AND submission_id IS NOT NULL"
}


def create_tables(connection: Connection) -> None:
    """The outbox's tables and columns, where they are missing."""
    # Before the indexes: an index on a column that a home of before does not have yet cannot be made.
    for table, column, definition in _LATER_COLUMNS:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if rows and column not in {row[1] for row in rows}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
            if column in _OF_BEFORE:
                connection.execute(_OF_BEFORE[column])
    for statement in _TABLES:
        connection.execute(statement)
