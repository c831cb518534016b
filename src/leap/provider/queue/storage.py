"""The queue's tables in the provider's database: mails, recipients still to be served, ids seen.

Invariants:
* `add` and `settle` are durable when they return.
* A mail's content is never in clear on disk: it is sealed (leap.soledad.envelope) with a key that lies in
  a file of its own, so that neither the database nor its backup alone shows any mail.
* The id under which a mail is handed over stands in no header: who reads the mail cannot say it elsewhere.
* A recipient row is there until the mail was handed over or its failure was reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leap.mail.smtp.address import split_address
from leap.provider.contract import SUBMISSION_MEMORY, normal_address
from leap.soledad.envelope import Epoch, open_envelope, seal
from leap.soledad.private_file import write_private
from leap.soledad.sqlite import Connection, Database

KEY_FILE = "queue.key"
KEY_SIZE = 32
_KIND = "queue"
_HANDOVER_LABEL = b"leap.provider handover 1"

_TABLES = (
    """CREATE TABLE IF NOT EXISTS queue_mail (
        mail_id TEXT PRIMARY KEY,
        sender TEXT NOT NULL,
        submission TEXT NOT NULL,
        smtputf8 INTEGER NOT NULL,
        size INTEGER NOT NULL,
        created REAL NOT NULL,
        sealed BLOB NOT NULL
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


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """One mail with the recipients (of one domain) that are due, and how often each was tried.

    `mail_id` stands in the mail's Received field; `handover_id` is what the other server remembers the
    mail by, another one for each domain.
    """

    mail_id: str
    handover_id: str
    domain: str
    sender: str
    submission: str
    smtputf8: bool
    size: int
    created: float
    recipients: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient. `answer` is the other server's last word, or ours about it."""

    kind: Literal["delivered", "temporary", "permanent"]
    answer: str
    remote: str = ""
    next_attempt: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedMail:
    """A mail with recipients that failed for good and are not reported to the sender yet."""

    mail_id: str
    sender: str
    submission: str
    created: float
    failures: Mapping[str, Outcome]


class QueueStorage:
    """Get one with `await QueueStorage.open(db)`."""

    def __init__(self, db: Database, key: bytes, now: Callable[[], float]) -> None:
        self._db = db
        self._epoch = Epoch(1, key)
        self._now = now

    @classmethod
    async def open(
        cls, db: Database, key: bytes | None = None, now: Callable[[], float] = time.time
    ) -> QueueStorage:
        """Makes the tables if they are missing. Without `key` it is kept beside the database (0600)."""
        if key is None:
            key = await asyncio.to_thread(load_key, db.path.with_name(KEY_FILE))

        def create(connection: Connection) -> None:
            for table in _TABLES:
                connection.execute(table)

        await db.write(create, durable=True)
        return cls(db, key, now)

    async def add(
        self,
        *,
        mail_id: str,
        sender: str,
        recipients: Sequence[str],
        raw: bytes,
        submission: str,
        smtputf8: bool,
    ) -> None:
        """Keeps a mail; recipients which had this submission during the last 30 days are left out."""
        sealed = await self._seal(mail_id, raw)
        now = self._now()

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM queue_seen WHERE seen < ?", (now - SUBMISSION_MEMORY,))
            fresh = []
            for address in recipients:
                added = connection.execute(
                    "INSERT OR IGNORE INTO queue_seen (submission, address, seen) VALUES (?, ?, ?)",
                    (submission, normal_address(address), now),
                )
                if added.rowcount == 1:
                    fresh.append(address)
            if not fresh:
                return
            connection.execute(
                "INSERT INTO queue_mail"
                " (mail_id, sender, submission, smtputf8, size, created, sealed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (mail_id, sender, submission, int(smtputf8), len(raw), now, sealed),
            )
            connection.executemany(
                "INSERT INTO queue_recipient"
                " (mail_id, address, domain, state, attempts, next_attempt, answer, remote)"
                " VALUES (?, ?, ?, 'waiting', 0, ?, '', '')",
                [(mail_id, one, split_address(one)[1].lower(), now) for one in fresh],
            )

        await self._db.write(job, durable=True)

    async def due_domains(self) -> list[str]:
        """Domains for which a mail is due now."""
        now = self._now()
        rows = await self._db.read(
            lambda connection: connection.execute(
                "SELECT DISTINCT domain FROM queue_recipient"
                " WHERE state = 'waiting' AND next_attempt <= ?",
                (now,),
            ).fetchall()
        )
        return [row[0] for row in rows]

    async def due(self, domain: str, limit: int) -> list[QueuedMail]:
        """The mails for `domain` that are due, oldest first."""
        now = self._now()

        def job(connection: Connection) -> list[QueuedMail]:
            mails = connection.execute(
                "SELECT mail_id, sender, submission, smtputf8, size, created FROM queue_mail"
                " WHERE mail_id IN (SELECT mail_id FROM queue_recipient"
                "  WHERE state = 'waiting' AND domain = ? AND next_attempt <= ?)"
                " ORDER BY created, mail_id LIMIT ?",
                (domain, now, limit),
            ).fetchall()
            found = []
            for mail_id, sender, submission, smtputf8, size, created in mails:
                rows = connection.execute(
                    "SELECT address, attempts FROM queue_recipient WHERE mail_id = ?"
                    " AND domain = ? AND state = 'waiting' AND next_attempt <= ? ORDER BY address",
                    (mail_id, domain, now),
                ).fetchall()
                found.append(
                    QueuedMail(
                        mail_id=mail_id,
                        handover_id=self._handover_id(mail_id, domain),
                        domain=domain,
                        sender=sender,
                        submission=submission,
                        smtputf8=bool(smtputf8),
                        size=size,
                        created=created,
                        recipients=dict(rows),
                    )
                )
            return found

        return await self._db.read(job)

    def _handover_id(self, mail_id: str, domain: str) -> str:
        """The same at each attempt and after a restart; without the queue's key a random number."""
        message = b"\0".join([_HANDOVER_LABEL, mail_id.encode(), domain.encode()])
        return hmac.digest(self._epoch.key, message, "sha256")[:16].hex()

    async def next_time(self) -> float | None:
        """When the next mail is due, or None when none waits."""
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT min(next_attempt) FROM queue_recipient WHERE state = 'waiting'"
            ).fetchone()
        )
        return None if row[0] is None else float(row[0])

    async def settle(self, mail_id: str, outcomes: Mapping[str, Outcome]) -> None:
        """Writes down what became of recipients; a mail without any left is deleted."""

        def job(connection: Connection) -> None:
            for address, outcome in outcomes.items():
                if outcome.kind == "delivered":
                    connection.execute(
                        "DELETE FROM queue_recipient WHERE mail_id = ? AND address = ?",
                        (mail_id, address),
                    )
                    continue
                state = "waiting" if outcome.kind == "temporary" else "failed"
                connection.execute(
                    "UPDATE queue_recipient SET state = ?, attempts = attempts + 1,"
                    " next_attempt = ?, answer = ?, remote = ? WHERE mail_id = ? AND address = ?",
                    (
                        state,
                        outcome.next_attempt,
                        outcome.answer,
                        outcome.remote,
                        mail_id,
                        address,
                    ),
                )
            _delete_if_done(connection, mail_id)

        await self._db.write(job, durable=True)

    async def failed(self, limit: int = 100) -> list[FailedMail]:
        """Mails with failures that are not reported yet."""

        def job(connection: Connection) -> list[FailedMail]:
            mails = connection.execute(
                "SELECT mail_id, sender, submission, created FROM queue_mail"
                " WHERE mail_id IN (SELECT mail_id FROM queue_recipient WHERE state = 'failed')"
                " ORDER BY created, mail_id LIMIT ?",
                (limit,),
            ).fetchall()
            found = []
            for mail_id, sender, submission, created in mails:
                rows = connection.execute(
                    "SELECT address, answer, remote FROM queue_recipient"
                    " WHERE mail_id = ? AND state = 'failed' ORDER BY address",
                    (mail_id,),
                ).fetchall()
                failures = {row[0]: Outcome("permanent", row[1], row[2]) for row in rows}
                found.append(FailedMail(mail_id, sender, submission, created, failures))
            return found

        return await self._db.read(job)

    async def reported(self, mail_id: str, addresses: Sequence[str]) -> None:
        """The sender knows of these failures now."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "DELETE FROM queue_recipient"
                " WHERE mail_id = ? AND address = ? AND state = 'failed'",
                [(mail_id, address) for address in addresses],
            )
            _delete_if_done(connection, mail_id)

        await self._db.write(job, durable=True)

    async def waiting(self) -> int:
        """How many recipients are still to be served or reported."""
        row = await self._db.read(
            lambda connection: connection.execute("SELECT count(*) FROM queue_recipient").fetchone()
        )
        return int(row[0])

    async def unseal(self, mail_id: str) -> bytes:
        """The octets of a mail. Raises leap.soledad.errors.ForgedEnvelope when it does not open, which
        is so when the key is another one, or the mail has gone."""
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT sealed FROM queue_mail WHERE mail_id = ?", (mail_id,)
            ).fetchone()
        )
        sealed = b"" if row is None else bytes(row[0])

        def job() -> bytes:
            return open_envelope(
                sealed,
                kind=_KIND,
                account="",
                item_id=bytes.fromhex(mail_id),
                version=0,
                epochs={self._epoch.number: self._epoch},
            )

        return await asyncio.to_thread(job)

    async def _seal(self, mail_id: str, raw: bytes) -> bytes:
        def job() -> bytes:
            return seal(
                raw,
                kind=_KIND,
                account="",
                item_id=bytes.fromhex(mail_id),
                version=0,
                epoch=self._epoch,
            )

        return await asyncio.to_thread(job)


def _delete_if_done(connection: Connection, mail_id: str) -> None:
    connection.execute(
        "DELETE FROM queue_mail WHERE mail_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM queue_recipient WHERE queue_recipient.mail_id = queue_mail.mail_id)",
        (mail_id,),
    )


def load_key(path: Path) -> bytes:
    """The key in the file; made, whole and on disk, when there is none."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != KEY_SIZE:
            raise ValueError(f"{path} does not hold a key of {KEY_SIZE} octets")
        return key
    key = os.urandom(KEY_SIZE)
    write_private(path, key)
    return key
