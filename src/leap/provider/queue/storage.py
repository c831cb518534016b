"""What waits in the queue, in the provider's database: mails, recipients still to be served, ids seen.

Invariants:
* `add` and `settle` are durable when they return.
* A mail's content is never in clear on disk: it is sealed (leap.soledad.envelope) with a key that lies in
  a file of its own, so that neither the database nor its backup alone shows any mail.
* The id under which a mail is handed over stands in no header: who reads the mail cannot say it elsewhere.
* A recipient row is there until the mail was handed over and whatever the sender wants to hear was reported.
* What the sender asked of delivery (`DeliveryWishes`, `Tls`) is kept with the mail and never changes.
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

import msgspec

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes, Tls
from leap.mail.outgoing.field_lines import header_fields, values_of
from leap.mail.smtp.address import split_address
from leap.provider.contract import SUBMISSION_MEMORY, normal_address
from leap.provider.queue.tables import create_tables
from leap.soledad.envelope import Epoch, open_envelope, seal
from leap.soledad.private_file import write_private
from leap.soledad.sqlite import Connection, Database

KEY_FILE = "queue.key"
KEY_SIZE = 32
_KIND = "queue"
_HANDOVER_LABEL = b"leap.provider handover 1"


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
    wishes: DeliveryWishes = NO_WISHES
    tls: Tls = "usual"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient. `answer` is the other server's last word, or ours about it.

    "relayed" is delivered to a server that does not know DSN, for a sender who wants to hear of success.
    """

    kind: Literal["delivered", "relayed", "temporary", "permanent"]
    answer: str
    remote: str = ""
    next_attempt: float = 0.0


Action = Literal["failed", "delayed", "relayed"]  # RFC 3464 2.3.3
_KINDS: dict[Action, Literal["temporary", "permanent", "relayed"]] = {
    "failed": "permanent",
    "delayed": "temporary",
    "relayed": "relayed",
}
_BY_STATE: dict[str, Action] = {"failed": "failed", "waiting": "delayed", "relayed": "relayed"}


@dataclass(frozen=True, slots=True)
class DueReport:
    """Of these recipients of a mail its sender is to be told."""

    mail_id: str
    sender: str
    created: float
    wishes: DeliveryWishes
    action: Action
    recipients: Mapping[str, Outcome]


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

        await db.write(create_tables, durable=True)
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
        wishes: DeliveryWishes = NO_WISHES,
    ) -> None:
        """Keeps a mail; recipients which had this submission during the last 30 days are left out."""
        sealed, tls = await self._seal(mail_id, raw, wishes)
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
                " (mail_id, sender, submission, smtputf8, size, created, sealed, wishes, tls)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    mail_id,
                    sender,
                    submission,
                    int(smtputf8),
                    len(raw),
                    now,
                    sealed,
                    msgspec.json.encode(wishes.only_for(fresh)).decode(),
                    tls,
                ),
            )
            connection.executemany(
                "INSERT INTO queue_recipient"
                " (mail_id, address, domain, state, attempts, next_attempt, answer, remote, told)"
                " VALUES (?, ?, ?, 'waiting', 0, ?, '', '', ?)",
                [
                    (
                        mail_id,
                        one,
                        split_address(one)[1].lower(),
                        now,
                        int(not wishes.notice(one).wants("DELAY")),
                    )
                    for one in fresh
                ],
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
                "SELECT mail_id, sender, submission, smtputf8, size, created, wishes, tls"
                " FROM queue_mail WHERE mail_id IN (SELECT mail_id FROM queue_recipient"
                "  WHERE state = 'waiting' AND domain = ? AND next_attempt <= ?)"
                " ORDER BY created, mail_id LIMIT ?",
                (domain, now, limit),
            ).fetchall()
            found = []
            for mail_id, sender, submission, smtputf8, size, created, wishes, tls in mails:
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
                        wishes=_wishes(wishes),
                        tls=tls,
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
            row = connection.execute(
                "SELECT wishes FROM queue_mail WHERE mail_id = ?", (mail_id,)
            ).fetchone()
            wishes = NO_WISHES if row is None else _wishes(row[0])
            for address, outcome in outcomes.items():
                unheard = outcome.kind == "permanent" and not wishes.notice(address).wants(
                    "FAILURE"
                )
                if outcome.kind == "delivered" or unheard:
                    connection.execute(
                        "DELETE FROM queue_recipient WHERE mail_id = ? AND address = ?",
                        (mail_id, address),
                    )
                    continue
                state = {"temporary": "waiting", "permanent": "failed"}.get(outcome.kind, "relayed")
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

    async def due_reports(self, long_since: float, limit: int = 100) -> list[DueReport]:
        """What senders are to be told now; of a delay, for mails that came at `long_since` or before."""

        def job(connection: Connection) -> list[DueReport]:
            groups = connection.execute(
                "SELECT mail_id, state, sender, created, wishes FROM queue_mail JOIN"
                " (SELECT DISTINCT mail_id, state FROM queue_recipient WHERE state != 'waiting'"
                "  UNION SELECT mail_id, state FROM queue_recipient JOIN queue_mail USING (mail_id)"
                "  WHERE state = 'waiting' AND told = 0 AND attempts > 0 AND created <= ?)"
                " USING (mail_id) ORDER BY created, mail_id LIMIT ?",
                (long_since, limit),
            ).fetchall()
            found = []
            for mail_id, state, sender, created, wishes in groups:
                rows = connection.execute(
                    "SELECT address, answer, remote FROM queue_recipient"
                    " WHERE mail_id = ? AND state = ? AND (state != 'waiting'"
                    "  OR (told = 0 AND attempts > 0)) ORDER BY address",
                    (mail_id, state),
                ).fetchall()
                action = _BY_STATE[state]
                kind = _KINDS[action]
                recipients = {row[0]: Outcome(kind, row[1], row[2]) for row in rows}
                found.append(
                    DueReport(mail_id, sender, created, _wishes(wishes), action, recipients)
                )
            return found

        return await self._db.read(job)

    async def reported(self, report: DueReport) -> None:
        """The sender knows of it now."""
        whom = [(report.mail_id, address) for address in report.recipients]

        def job(connection: Connection) -> None:
            if report.action == "delayed":
                connection.executemany(
                    "UPDATE queue_recipient SET told = 1 WHERE mail_id = ? AND address = ?", whom
                )
                return
            connection.executemany(
                "DELETE FROM queue_recipient"
                " WHERE mail_id = ? AND address = ? AND state != 'waiting'",
                whom,
            )
            _delete_if_done(connection, report.mail_id)

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

    async def _seal(self, mail_id: str, raw: bytes, wishes: DeliveryWishes) -> tuple[bytes, Tls]:
        def job() -> tuple[bytes, Tls]:
            sealed = seal(
                raw,
                kind=_KIND,
                account="",
                item_id=bytes.fromhex(mail_id),
                version=0,
                epoch=self._epoch,
            )
            return sealed, tls_of(raw, wishes)

        return await asyncio.to_thread(job)


def tls_of(raw: bytes, wishes: DeliveryWishes) -> Tls:
    """How much TLS the sender wants: REQUIRETLS wins over the field "TLS-Required: No" (RFC 8689 4.1)."""
    if wishes.require_tls:
        return "required"
    said = values_of(header_fields(raw), "tls-required")
    # Only the one field with the one value there is (RFC 8689 3): anything else asks for nothing.
    return "optional" if len(said) == 1 and said[0].strip().lower() == b"no" else "usual"


def _wishes(text: str) -> DeliveryWishes:
    return msgspec.json.decode(text, type=DeliveryWishes)


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
