"""What the outbox shows of its entries, read from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leap.mail.outbox_contract import OutboxEntry, RecipientResult
from leap.mail.outgoing.outbox_entries import RecipientState
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
