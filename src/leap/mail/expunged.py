"""Which uids left a mailbox after which modseq, and how far back that is remembered (RFC 7162 5.3).

Invariants:
* An answer never misses a uid: who asks from before what is remembered hears of every uid that is not there.
* What is forgotten is forgotten oldest first and by whole modseqs, and `mail_forgotten` says up to where.
"""

from __future__ import annotations

from leap.mail.contract import MailboxId, ModSeq, Uid
from leap.soledad.sqlite import Connection

# 30 octets each; a program that was away for longer is told of gaps instead, which costs it nothing but reading
EXPUNGED_KEPT = 50_000  # in each mailbox

TABLES = (
    """CREATE TABLE IF NOT EXISTS mail_expunged (
        mailbox_id TEXT NOT NULL,
        modseq INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        PRIMARY KEY (mailbox_id, modseq, uid)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS mail_forgotten (
        mailbox_id TEXT PRIMARY KEY, modseq INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


def read_expunged(connection: Connection, mailbox_id: MailboxId, since: ModSeq) -> list[Uid]:
    """As `AccountBackend.expunged`, in one snapshot."""
    forgotten = connection.execute(
        "SELECT 1 FROM mail_forgotten WHERE mailbox_id = ? AND modseq > ?", (mailbox_id, since)
    ).fetchone()
    if forgotten:
        return _missing(connection, mailbox_id)
    found = connection.execute(
        "SELECT uid FROM mail_expunged WHERE mailbox_id = ? AND modseq > ? ORDER BY uid",
        (mailbox_id, since),
    )
    return [Uid(uid) for (uid,) in found]


def _missing(connection: Connection, mailbox_id: MailboxId) -> list[Uid]:
    """Every uid that was given and is not in the mailbox."""
    (uid_next,) = connection.execute(
        "SELECT uid_next FROM mail_box WHERE mailbox_id = ?", (mailbox_id,)
    ).fetchone()
    there = {
        uid
        for (uid,) in connection.execute(
            "SELECT uid FROM mail_index WHERE mailbox_id = ?", (mailbox_id,)
        )
    }
    return [Uid(uid) for uid in range(1, uid_next) if uid not in there]


def forget_oldest(connection: Connection, kept: int = EXPUNGED_KEPT) -> None:
    """Leaves about the newest `kept` of each mailbox; done when a store is opened."""
    many = connection.execute(
        "SELECT mailbox_id FROM mail_expunged GROUP BY mailbox_id HAVING count(*) > ?", (kept,)
    ).fetchall()
    for (mailbox_id,) in many:
        (modseq,) = connection.execute(
            "SELECT modseq FROM mail_expunged WHERE mailbox_id = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?",
            (mailbox_id, kept),
        ).fetchone()
        connection.execute(
            "DELETE FROM mail_expunged WHERE mailbox_id = ? AND modseq <= ?", (mailbox_id, modseq)
        )
        connection.execute(
            "INSERT INTO mail_forgotten (mailbox_id, modseq) VALUES (?, ?)"
            " ON CONFLICT (mailbox_id) DO UPDATE SET modseq = excluded.modseq",
            (mailbox_id, modseq),
        )
