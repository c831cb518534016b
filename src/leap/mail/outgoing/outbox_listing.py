"""What the outbox knows of its entries, read from its tables: for people, and for sending them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.outbox_contract import OutboxEntry, RecipientResult
from leap.mail.outgoing.outbox_entries import Copy, Entry, RecipientState
from leap.soledad.sqlite import Connection


def read_recipients(db: Connection, outbox_id: str) -> tuple[RecipientState, ...]:
    """Where each recipient of an entry stands, in the order of the envelope."""
    rows = db.execute(
        "SELECT address, submission_id, state, code, reply, in_hand, how FROM outbox_recipient"
        " WHERE outbox_id = ? ORDER BY position",
        (outbox_id,),
    )
    return tuple(
        RecipientState(address, copy, state, code, reply, bool(in_hand), how)
        for address, copy, state, code, reply, in_hand, how in rows
    )


def read_entry(db: Connection, outbox_id: str) -> Entry | None:
    """A mail on its way, or still to be put into Sent, with all that this needs; None when it ended."""
    row = db.execute(
        "SELECT sender, subject, message, added, message_id, protection, policy, attempts, created,"
        " expires, reason, wishes, delay_told FROM outbox JOIN outbox_message USING (outbox_id)"
        " WHERE outbox_id = ? AND state IN ('queued', 'sending', 'sent')",
        (outbox_id,),
    ).fetchone()
    if row is None:
        return None
    recipients = read_recipients(db, outbox_id)
    copies = tuple(
        Copy(
            name,
            tuple(one.address for one in recipients if one.copy == name),
            message,
            json.loads(keys),
            made,
            how,
        )
        for name, message, keys, made, how in db.execute(
            "SELECT submission_id, message, keys, made, how FROM outbox_copy"
            " WHERE outbox_id = ? ORDER BY rowid",
            (outbox_id,),
        ).fetchall()
    )
    sender, subject, message, added, message_id, protection, policy = row[:7]
    attempts, created, expires, reason, wishes, delay_told = row[7:]
    return Entry(
        outbox_id=outbox_id,
        sender=sender,
        subject=subject,
        message=message,
        added=tuple(line.encode("ascii") for line in json.loads(added)),
        message_id=message_id,
        protection=protection,
        policy=policy,
        attempts=attempts,
        created=created,
        expires=expires,
        reason=reason,
        recipients=recipients,
        copies=copies,
        wishes=msgspec.json.decode(wishes, type=DeliveryWishes),
        delay_told=bool(delay_told),
    )


def read_named(db: Connection, message_id: str) -> list[str]:
    """The ids of the entries with this Message-ID that were not cancelled."""
    rows = db.execute(
        "SELECT outbox_id FROM outbox WHERE message_id = ? AND state <> 'cancelled'",
        (message_id,),
    )
    return [row[0] for row in rows.fetchall()]


def read_whether_encrypted(db: Connection, message_ids: Sequence[str]) -> bool:
    """Whether one of these Message-IDs is of a mail that was encrypted to somebody."""
    found = db.execute(
        "SELECT 1 FROM outbox o JOIN outbox_recipient r USING (outbox_id)"
        " WHERE r.how = 'encrypted' AND o.message_id IN (SELECT value FROM json_each(?)) LIMIT 1",
        (json.dumps(list(message_ids)),),
    )
    return found.fetchone() is not None


def read_entries(db: Connection, outbox_id: str | None = None) -> list[OutboxEntry]:
    """All entries, newest first, or the one of this id."""
    rows = db.execute(
        "SELECT outbox_id, sender, subject, state, attempts, next_attempt, reason, not_before,"
        " message_id FROM outbox"
        " WHERE ?1 IS NULL OR outbox_id = ?1 ORDER BY created DESC, rowid DESC",
        (outbox_id,),
    ).fetchall()
    return [_listed(row, read_recipients(db, row[0])) for row in rows]


def _listed(row: Sequence[Any], recipients: Sequence[RecipientState]) -> OutboxEntry:
    outbox_id, sender, subject, state, attempts, next_attempt, reason, not_before, message_id = row
    results = []
    for one in recipients:
        if one.state == "waiting":
            words = one.reply or reason or "waiting"
        else:
            words = f"{one.state}: {one.code} {one.reply}".strip() if one.code else one.state
        results.append((one.address, words))
    return OutboxEntry(
        outbox_id=outbox_id,
        sender=sender,
        recipients=tuple(one.address for one in recipients),
        subject=subject,
        state=state,
        attempts=attempts,
        next_attempt=int(next_attempt),
        results=tuple(results),
        recipients_state=tuple(
            RecipientResult(
                address=one.address,
                state=one.state,
                code=one.code,
                words=one.reply or (reason if one.state == "waiting" else ""),
                in_hand=one.in_hand,
                how=one.how,
            )
            for one in recipients
        ),
        not_before=int(not_before),
        message_id=message_id,
    )
