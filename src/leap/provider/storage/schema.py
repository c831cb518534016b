"""The tables of a provider's embedded store.

Invariants:
* Every row of an account hangs on `account.number` and goes with it.
* What clients send sealed (`sealed`, `head`, the wraps) is stored as it came and never looked into.
* `item` holds the newest version of each log item only; `seq` rises over the whole account.
"""

from __future__ import annotations

from leap.soledad.sqlite import Connection

VERSION = 4

_TABLES = (
    """
    CREATE TABLE setting (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE account (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id TEXT NOT NULL UNIQUE,
        address TEXT NOT NULL UNIQUE,
        wkd_hash TEXT NOT NULL,
        created INTEGER NOT NULL,
        signup_hash BLOB NOT NULL,
        root_public BLOB NOT NULL,
        keyset BLOB NOT NULL,
        keyset_version INTEGER NOT NULL,
        wrap_passphrase BLOB NOT NULL,
        wrap_recovery BLOB NOT NULL,
        verifier_passphrase BLOB NOT NULL,
        verifier_recovery BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX account_wkd_hash ON account (wkd_hash)",
    """
    CREATE TABLE token (
        token_hash BLOB PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        device_id TEXT NOT NULL,
        device_name TEXT NOT NULL,
        created INTEGER NOT NULL,
        scram_stored BLOB,
        scram_server BLOB,
        UNIQUE (account, device_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE head (
        account INTEGER PRIMARY KEY REFERENCES account (number) ON DELETE CASCADE,
        head BLOB NOT NULL,
        head_hash BLOB NOT NULL,
        seq INTEGER NOT NULL,
        generation INTEGER NOT NULL DEFAULT 1
    ) STRICT
    """,
    """
    CREATE TABLE item (
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        item_id BLOB NOT NULL,
        version INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (account, item_id),
        UNIQUE (account, seq)
    ) STRICT
    """,
    """
    CREATE TABLE staged (
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        push_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        item_id BLOB NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (account, push_id, position)
    ) STRICT
    """,
    "CREATE INDEX staged_created ON staged (created)",
    """
    CREATE TABLE blob (
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        blob_id BLOB NOT NULL,
        size INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        created INTEGER NOT NULL DEFAULT 0,
        file TEXT,
        sealed BLOB,
        UNIQUE (account, blob_id),
        CHECK ((file IS NULL) <> (sealed IS NULL))
    ) STRICT
    """,
    "CREATE INDEX blob_file ON blob (file) WHERE file IS NOT NULL",
    """
    CREATE TABLE inbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        inbox_id TEXT NOT NULL,
        key_id TEXT NOT NULL,
        received INTEGER NOT NULL,
        leased_until INTEGER NOT NULL DEFAULT 0,
        leased_by TEXT,
        size INTEGER NOT NULL,
        file TEXT,
        sealed BLOB,
        UNIQUE (account, inbox_id),
        CHECK ((file IS NULL) <> (sealed IS NULL))
    ) STRICT
    """,
    "CREATE INDEX inbox_file ON inbox (file) WHERE file IS NOT NULL",
    "CREATE INDEX inbox_account ON inbox (account, position, leased_until)",
    """
    CREATE TABLE delivered (
        submission TEXT NOT NULL,
        recipient TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (submission, recipient)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX delivered_at ON delivered (at)",
    """
    CREATE TABLE certificate (
        account INTEGER PRIMARY KEY REFERENCES account (number) ON DELETE CASCADE,
        certificate BLOB NOT NULL,
        updated INTEGER NOT NULL
    ) STRICT
    """,
)


_STEPS = {  # from the version named to the next
    1: ("ALTER TABLE inbox ADD COLUMN leased_by TEXT",),
    # How old a blob of before is, nobody knows: as if it came today, so that none counts as an old orphan at once.
    2: (
        "ALTER TABLE blob ADD COLUMN created INTEGER NOT NULL DEFAULT 0",
        "UPDATE blob SET created = unixepoch()",
        "ALTER TABLE head ADD COLUMN generation INTEGER NOT NULL DEFAULT 1",
    ),
    # A token of before has no verifier until its device shows it the next time (`Tokens.find`).
    3: (
        "ALTER TABLE token ADD COLUMN scram_stored BLOB",
        "ALTER TABLE token ADD COLUMN scram_server BLOB",
    ),
}


class NewerStore(Exception):
    """The data was written by a newer leap-provider than this one."""


def create_tables(connection: Connection) -> None:
    """Makes the tables in a new file, or brings older ones forward; raises NewerStore for newer ones."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version > VERSION or version < 0:
        raise NewerStore(f"the data is of version {version}; this leap-provider reads {VERSION}")
    steps = [_TABLES] if version == 0 else [_STEPS[step] for step in range(version, VERSION)]
    for statement in (statement for step in steps for statement in step):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
