"""The tables which every store has; rows and projections bring their own."""

from __future__ import annotations

from leap.soledad import document_indexes, promises
from leap.soledad.blobs.download import LARGE
from leap.soledad.errors import SoledadError
from leap.soledad.sqlite import Connection

FORMAT = 1
WANTED = {
    "small": f"size <= {LARGE}",
    "large": f"size > {LARGE}",
}  # the lots of blobs to be fetched

TABLES = (
    "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
    promises.TABLE,
    # `content` is JSON, NULL in a tombstone. `base` is the DocumentItem last synced, while dirty.
    """CREATE TABLE IF NOT EXISTS document (
        doc_id TEXT PRIMARY KEY,
        type TEXT NOT NULL,
        revision TEXT NOT NULL,
        content TEXT,
        conflicts BLOB,
        dirty INTEGER NOT NULL,
        base BLOB,
        generation INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS document_type ON document (type)",
    "CREATE INDEX IF NOT EXISTS document_generation ON document (generation)",
    "CREATE INDEX IF NOT EXISTS document_dirty ON document (doc_id) WHERE dirty = 1",
    # Made by programs with `create_index`; number n has a table and an index of its own (`document_indexes`).
    document_indexes.TABLE,
    # What of the log this device has applied or committed: what the set digest is the sum of.
    """CREATE TABLE IF NOT EXISTS log_item (
        item_id BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        ct_hash BLOB NOT NULL,
        seq INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    # What it had applied of a log that was founded anew since, as long as the new one does not hold it.
    """CREATE TABLE IF NOT EXISTS former_item (
        item_id BLOB PRIMARY KEY,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        ct_hash BLOB NOT NULL,
        seq INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Heads of this generation, as they were accepted: which commit of which device lies at or before which seq.
    """CREATE TABLE IF NOT EXISTS accepted_head (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        seq INTEGER NOT NULL,
        author TEXT NOT NULL,
        counter INTEGER NOT NULL,
        time INTEGER NOT NULL
    ) STRICT""",
    # Pulled, but not verified against a head yet: nothing else reads it.
    """CREATE TABLE IF NOT EXISTS pulled_item (
        item_id BLOB PRIMARY KEY,
        seq INTEGER NOT NULL,
        version INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT""",
    # The one commit that may have been sent; `payload` becomes the base when it took place.
    """CREATE TABLE IF NOT EXISTS pending_item (
        position INTEGER PRIMARY KEY,
        item_id BLOB NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        payload BLOB NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT""",
    # Pages of rows which no schema of this program describes.
    """CREATE TABLE IF NOT EXISTS unknown_page (
        page_id TEXT PRIMARY KEY,
        schema TEXT NOT NULL,
        payload BLOB NOT NULL
    ) STRICT""",
    # Sealed blobs that are here: in the row, or (NULL) in a file of the blob folder.
    """CREATE TABLE IF NOT EXISTS blob (
        blob_id TEXT PRIMARY KEY,
        sha256 TEXT NOT NULL,
        size INTEGER NOT NULL,
        sealed BLOB
    ) STRICT""",
    # To be sent; `again`: the provider had it once, so other devices may know it.
    """CREATE TABLE IF NOT EXISTS blob_unsent (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        blob_id TEXT NOT NULL UNIQUE,
        again INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS blob_wanted (
        blob_id TEXT PRIMARY KEY,
        sha256 TEXT NOT NULL,
        size INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        missing INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    # What is to be fetched next is read from these alone: ids are random, so each look into the table is another page.
    *(
        f"CREATE INDEX IF NOT EXISTS blob_wanted_{lot} ON blob_wanted (priority, newest DESC, sha256, size)"
        f" WHERE missing = 0 AND {sizes}"
        for lot, sizes in WANTED.items()
    ),
    "DROP INDEX IF EXISTS blob_wanted_order",  # of earlier versions
    # Wanted, but what the provider gave last was nothing or something else: asked for again at `retry_at`.
    """CREATE TABLE IF NOT EXISTS blob_lost (
        blob_id TEXT PRIMARY KEY,
        attempts INTEGER NOT NULL,
        retry_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Stores made before there was that table gave such blobs up for good.
    "INSERT OR IGNORE INTO blob_lost (blob_id, attempts, retry_at)"
    " SELECT blob_id, 1, 0 FROM blob_wanted WHERE missing = 1",
    # Known to be safely at the provider, and removed here to save room: fetched again when it is read.
    """CREATE TABLE IF NOT EXISTS blob_evicted (
        blob_id TEXT PRIMARY KEY,
        sha256 TEXT NOT NULL,
        size INTEGER NOT NULL,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # When a blob was read last; kept only where there is a budget.
    """CREATE TABLE IF NOT EXISTS blob_used (
        blob_id TEXT PRIMARY KEY,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Those that are files, for whoever looks for strays.
    "CREATE INDEX IF NOT EXISTS blob_file ON blob (blob_id) WHERE sealed IS NULL",
    # Sent in the last days: until its row is committed it could be taken for an orphan.
    """CREATE TABLE IF NOT EXISTS blob_sent (
        blob_id TEXT PRIMARY KEY,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS blob_sent_time ON blob_sent (time)",
    # Named here while another device may be deleting it: looked after at the provider until all devices have
    # acknowledged the log position `since` (NULL until the row that names it is committed).
    """CREATE TABLE IF NOT EXISTS blob_guarded (
        blob_id TEXT PRIMARY KEY,
        since INTEGER
    ) STRICT, WITHOUT ROWID""",
    # Its row is gone; its file is to go.
    "CREATE TABLE IF NOT EXISTS blob_trash (blob_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    # Without rows since log position `since` (NULL until that is committed).
    """CREATE TABLE IF NOT EXISTS blob_doomed (
        blob_id TEXT PRIMARY KEY,
        since INTEGER,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

# Columns which stores made by earlier versions lack.
ADDED = (
    ("blob_unsent", "again", "INTEGER NOT NULL DEFAULT 0"),
    ("log_item", "seq", "INTEGER NOT NULL DEFAULT 0"),
)


def create_tables(connection: Connection) -> None:
    """Makes what is missing; raises SoledadError for a store of a newer format."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise SoledadError("this store was written by a newer version of the program; use that one")
    for statement in TABLES:
        connection.execute(statement)
    for table, column, declared in ADDED:
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if column not in present:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {declared}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
