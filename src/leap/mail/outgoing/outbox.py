"""The durable outbox: what a mail program was told is accepted stays here until every recipient is settled.

Tables in the account's SQLCipher store, never synced: an entry belongs to the device that took it.

Invariants:
* `add` answers after the entry is on disk (`synchronous=FULL`); only then may anybody say 250.
* The copies are stored before the first attempt, which the durable `take` begins: every later attempt sends the same
  bytes under the same submission id, so that the provider can tell a repetition. Where a copy is made anew, because its
  key must not be used any more, the new one travels under the id of the old one: the provider, which remembers it for
  each recipient, gives nobody both.
* A recipient's state only moves from "waiting" to "sent", "failed" or "cancelled", never back
  (`outbox_settling`: how sending and cancelling keep out of each other's way).
* The message is deleted when its entry ends; what remains says to whom it went and when.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from leap.mail.outbox_contract import OutboxEntry
from leap.mail.outgoing import outbox_settling as settling
from leap.mail.outgoing.outbox_entries import Copy, Entry, NewEntry, Protection, RecipientState
from leap.mail.outgoing.outbox_listing import (
    read_entries,
    read_entry,
    read_named,
    read_recipients,
    read_whether_encrypted,
)
from leap.mail.outgoing.outbox_settling import Taken
from leap.mail.outgoing.outbox_tables import create_tables
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import find_setting

T = TypeVar("T")

EXPIRY = 5 * 24 * 3600  # seconds; RFC 5321 4.5.4.1 asks for 4 to 5 days
RESUBMISSION = 3600  # seconds in which the same octets under the same Message-ID are the same mail
DELAY = "mail.send-delay"  # the setting: seconds a new mail waits before it leaves


class _Transaction(Protocol):
    @property
    def connection(self) -> Connection: ...
    def set_setting(self, name: str, value: Any) -> None: ...


class Store(Protocol):
    """What the outbox needs of `leap.soledad.store.Soledad`."""

    async def transact(self, job: Callable[[Any], T], durable: bool = False) -> T: ...
    async def read(self, job: Callable[[Connection], T]) -> T: ...
    async def setting(self, name: str) -> Any: ...
    async def get_doc(self, doc_id: str, /) -> Any: ...
    def row_key(self, name: bytes, /) -> str: ...
    def on_change(self, callback: Callable[[Any], None], /) -> Callable[[], None]: ...


class Outbox:
    """The outbox of one account on this device."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self.store = store
        self._now = now
        self._prepared = False
        self._listeners: list[Callable[[], None]] = []
        self._followers: list[Callable[[str], None]] = []

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` on the loop whenever something may be due; answers how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_progress(self, follower: Callable[[str], None]) -> Callable[[], None]:
        """Calls `follower` on the loop with the id of each entry that changed; answers how to stop."""
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    async def add(self, new: NewEntry) -> str:
        """Keeps a mail durably and answers its id. Raises what the store raises (StoreFull); then nothing was kept.

        A mail program that lost our 250 submits again: the same octets under the same Message-ID within
        an hour are the mail that is here already, whose id is answered (RFC 5322 3.6.4: one id, one message).
        """

        def job(tx: _Transaction) -> str:
            db = tx.connection
            digest = new.digest  # here, off the event loop: 50 MB take a tenth of a second
            if digest is not None:
                known = db.execute(
                    "SELECT outbox_id FROM outbox WHERE digest = ? AND created > ?"
                    " AND state NOT IN ('failed', 'cancelled')",
                    (digest, new.created - RESUBMISSION),
                ).fetchone()
                if known is not None:
                    return str(known[0])
            not_before = new.not_before
            if not_before is None:
                delay = find_setting(db, DELAY)
                not_before = new.created + delay if delay else 0.0
            db.execute(
                "INSERT INTO outbox (outbox_id, sender, subject, size, protection, policy, added, message_id,"
                " state, attempts, next_attempt, not_before, created, expires, reason, digest, wishes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, ?, ?, ?, '', ?, ?)",
                (
                    new.outbox_id,
                    new.sender,
                    new.subject,
                    len(new.message),
                    new.protection,
                    new.policy,
                    json.dumps([line.decode("ascii") for line in new.added]),
                    new.message_id,
                    not_before,
                    not_before,
                    new.created,
                    max(new.created, not_before) + EXPIRY,
                    digest,
                    msgspec.json.encode(new.wishes).decode(),
                ),
            )
            db.execute(
                "INSERT INTO outbox_message (outbox_id, message) VALUES (?, ?)",
                (new.outbox_id, new.message),
            )
            db.executemany(
                "INSERT INTO outbox_recipient (outbox_id, position, address, state, code, reply, how)"
                " VALUES (?, ?, ?, 'waiting', 0, '', ?)",
                [
                    (new.outbox_id, at, address, "encrypted" if address in new.encrypted else "")
                    for at, address in enumerate(new.recipients)
                ],
            )
            return new.outbox_id

        outbox_id = await self._write(job)
        self._changed()
        self._progress(outbox_id)
        return outbox_id

    async def due(self, limit: int = 100) -> list[tuple[str, int]]:
        """(id, size in octets) of entries to try now, or to put into Sent, those that waited longest first."""
        now = self._now()

        def job(db: Connection) -> list[tuple[str, int]]:
            rows = db.execute(
                "SELECT outbox_id, size FROM (SELECT * FROM outbox WHERE state IN ('queued', 'sending')"
                " AND next_attempt <= ?1 UNION ALL SELECT o.* FROM outbox_message m"
                " CROSS JOIN outbox o USING (outbox_id) WHERE o.state = 'sent' AND o.next_attempt <= ?1)"
                " ORDER BY next_attempt, created LIMIT ?2",
                (now, limit),
            )
            return [(row[0], row[1]) for row in rows]

        return await self._read(job)

    async def next_due(self, after: float) -> float | None:
        """When the first attempt of any entry falls after that time (seconds since 1970); None when none does."""

        def job(db: Connection) -> float | None:
            row = db.execute(
                "SELECT min(next_attempt) FROM outbox WHERE state IN ('queued', 'sending')"
                " AND next_attempt > ?",
                (after,),
            ).fetchone()
            return None if row is None or row[0] is None else float(row[0])

        return await self._read(job)

    async def load(self, outbox_id: str) -> Entry | None:
        """A mail on its way, or to be put into Sent, with all that this needs; None when it ended or was cancelled."""
        return await self._read(lambda db: read_entry(db, outbox_id))

    async def keep_copies(
        self,
        outbox_id: str,
        copies: Sequence[Copy],
        protection: Protection,
        *,
        instead_of: Iterable[Copy] = (),
    ) -> bool:
        """Stores what will be sent, before the first attempt, or instead of copies that must not be sent any more.

        False when there are others than those, or the entry ended.
        """
        now = self._now()
        old = {copy.name for copy in instead_of}

        def job(tx: _Transaction) -> bool:
            db = tx.connection
            rows = db.execute(
                "SELECT submission_id FROM outbox_copy WHERE outbox_id = ?", (outbox_id,)
            ).fetchall()
            known = {row[0] for row in rows}
            alive = db.execute(
                "SELECT 1 FROM outbox_message WHERE outbox_id = ?", (outbox_id,)
            ).fetchone()
            if (known and not old) or not old <= known or alive is None:
                return False
            db.executemany(
                "DELETE FROM outbox_copy WHERE submission_id = ?", [(name,) for name in old]
            )
            for copy in copies:
                db.execute(
                    "INSERT INTO outbox_copy (submission_id, outbox_id, message, keys, made, how)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        copy.name,
                        outbox_id,
                        copy.message,
                        json.dumps(dict(copy.keys)),
                        now,
                        copy.how,
                    ),
                )
                db.executemany(
                    "UPDATE outbox_recipient SET submission_id = ?, how = ?"
                    " WHERE outbox_id = ? AND address = ?",
                    [(copy.name, copy.how, outbox_id, address) for address in copy.recipients],
                )
            db.execute(
                "UPDATE outbox SET state = 'sending', protection = ? WHERE outbox_id = ?",
                (protection, outbox_id),
            )
            return True

        # Not durable: `take` is, before anything is sent, and with it all that was committed before.
        kept = await self._write(job, durable=False)
        self._progress(outbox_id)
        return kept

    async def take(self, outbox_id: str, copy: str) -> Taken:
        """Takes those who wait for the copy of this name in hand: for them, and nobody else, it may be handed over."""
        taken = await self._write(lambda tx: settling.take(tx.connection, outbox_id, copy))
        if taken.new:
            self._progress(outbox_id)
        return taken

    async def put_back(self, outbox_id: str, addresses: Collection[str]) -> None:
        """Nothing was handed over for these: they may be cancelled again."""
        if addresses:
            # Not durable: if this is lost, they only count as in hand for longer.
            await self._write(
                lambda tx: settling.put_back(tx.connection, outbox_id, addresses), durable=False
            )
            self._progress(outbox_id)

    async def note_results(
        self,
        outbox_id: str,
        results: Mapping[str, tuple[int, str]],
        refused: Collection[str] = (),
    ) -> None:
        """Records what was said about recipients: 2xx settles, 5xx settles, anything else is only noted.

        For `refused` it is certain that nothing was handed over, now or before: they may be cancelled again.
        """
        # Not durable: if this is lost, the same bytes go again under the same id, and nothing doubles.
        await self._write(
            lambda tx: settling.note_results(tx.connection, outbox_id, results, refused),
            durable=False,
        )
        self._progress(outbox_id)

    async def cancel(self, outbox_id: str) -> bool | None:
        """Cancels for everybody who waits and is not in hand; False: too late for all. None: no such entry."""
        now = self._now()
        cancelled = await self._write(lambda tx: settling.cancel(tx.connection, outbox_id, now))
        if cancelled:
            self._changed()
            self._progress(outbox_id)
        return cancelled

    async def recipients(self, outbox_id: str) -> tuple[RecipientState, ...]:
        """Where each recipient of an entry stands."""
        return await self._read(lambda db: read_recipients(db, outbox_id))

    async def postpone(self, outbox_id: str, until: float, reason: str, *, attempted: bool) -> None:
        """Tries again at `until`; counts an attempt when there was one."""

        def job(tx: _Transaction) -> None:
            tx.connection.execute(
                "UPDATE outbox SET next_attempt = ?, reason = ?, attempts = attempts + ?"
                " WHERE outbox_id = ? AND state IN ('queued', 'sending', 'sent')",
                (until, reason, int(attempted), outbox_id),
            )

        await self._write(job, durable=False)
        self._progress(outbox_id)

    async def note_delay_told(self, outbox_id: str) -> None:
        """The sender knows by a report that it takes long."""
        await self._write(
            lambda tx: tx.connection.execute(
                "UPDATE outbox SET delay_told = 1 WHERE outbox_id = ?", (outbox_id,)
            ),
            durable=False,
        )

    async def finish(self, outbox_id: str) -> None:
        """Ends an entry whose recipients are all settled, after an attempt."""
        now = self._now()
        await self._write(
            lambda tx: settling.end(tx.connection, outbox_id, now, attempts=1), durable=False
        )
        self._progress(outbox_id)

    async def make_due(self, outbox_id: str | None = None) -> bool:
        """Tries one entry at once, even one that was to leave later, or all that wait but for those which were.

        False when nothing waits.
        """

        def job(tx: _Transaction) -> list[str]:
            rows = tx.connection.execute(
                "UPDATE outbox SET next_attempt = CASE WHEN ?1 IS NULL THEN not_before ELSE 0 END,"
                " not_before = CASE WHEN ?1 IS NULL THEN not_before ELSE 0 END"
                " WHERE state IN ('queued', 'sending') AND (?1 IS NULL OR outbox_id = ?1)"
                " RETURNING outbox_id",
                (outbox_id,),
            )
            return [row[0] for row in rows.fetchall()]

        due = await self._write(job)
        self._changed()
        for one in due:
            self._progress(one)
        return bool(due)

    async def entries(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        """All entries that are remembered, newest first; or the one of this id."""
        return await self._read(lambda db: read_entries(db, outbox_id))

    async def named(self, message_id: str) -> list[str]:
        """The entries that left with this Message-ID (angle brackets included), as far as they are remembered."""
        return await self._read(lambda db: read_named(db, message_id))

    async def went_encrypted(self, message_ids: Sequence[str]) -> bool:
        """Whether mail with one of these Message-IDs was encrypted to somebody, as far as is remembered."""
        return await self._read(lambda db: read_whether_encrypted(db, message_ids))

    async def delay(self) -> int:
        """Seconds a new mail waits before it leaves."""
        return int(await self._read(lambda db: find_setting(db, DELAY)) or 0)

    async def set_delay(self, seconds: int) -> None:
        await self._write(lambda tx: tx.set_setting(DELAY, seconds))

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _progress(self, outbox_id: str) -> None:
        for follower in tuple(self._followers):
            follower(outbox_id)

    async def _write(self, job: Callable[[Any], T], *, durable: bool = True) -> T:
        await self._prepare()
        return await self.store.transact(job, durable)

    async def _read(self, job: Callable[[Connection], T]) -> T:
        await self._prepare()
        return await self.store.read(job)

    async def _prepare(self) -> None:
        if not self._prepared:
            await self.store.transact(lambda tx: create_tables(tx.connection), durable=True)
            self._prepared = True
