"""Who settles a recipient: the worker that hands mail over, or a person who cancels it; the transactions of both.

    waiting --take--> waiting, in hand --250--> sent          waiting --cancel--> cancelled
                          |    |--5xx--> failed               waiting, in hand --cancel--> (too late)
                          '--certainly not handed over, and not in hand before--> waiting

Invariants:
* Each function runs within one transaction of the one writer: either the taking is first, or the cancelling.
* The mail is handed over only for those whom `take` answered, after its COMMIT, which is durable.
* Whoever is in hand stays so until it is certain that nothing was handed over: an answer that was lost, or a crash,
  leaves them in hand; so does a 4xx that came after the message, which a provider may have kept for some of them; and
  a refusal of a later attempt says nothing of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leap.soledad.sqlite import Connection

REMEMBERED = 14 * 24 * 3600  # seconds a settled entry is still listed


@dataclass(frozen=True, slots=True)
class Taken:
    """Whom a copy may be handed over for now; `new` are those of them who were not in hand before."""

    recipients: tuple[str, ...] = ()
    new: frozenset[str] = frozenset()


def take(db: Connection, outbox_id: str, copy: str) -> Taken:
    """Takes those who wait for this copy in hand."""
    new = db.execute(
        "UPDATE outbox_recipient SET in_hand = 1 WHERE outbox_id = ? AND submission_id = ?"
        " AND state = 'waiting' AND in_hand = 0 RETURNING address",
        (outbox_id, copy),
    ).fetchall()
    rows = db.execute(
        "SELECT address FROM outbox_recipient WHERE outbox_id = ? AND submission_id = ?"
        " AND state = 'waiting' ORDER BY position",
        (outbox_id, copy),
    ).fetchall()
    return Taken(tuple(row[0] for row in rows), frozenset(row[0] for row in new))


def put_back(db: Connection, outbox_id: str, addresses: Iterable[str]) -> None:
    """Nothing was handed over for these."""
    db.executemany(
        "UPDATE outbox_recipient SET in_hand = 0"
        " WHERE outbox_id = ? AND address = ? AND state = 'waiting'",
        [(outbox_id, address) for address in addresses],
    )


def note_results(
    db: Connection,
    outbox_id: str,
    results: Mapping[str, tuple[int, str]],
    refused: Iterable[str],
) -> None:
    """2xx settles, 5xx settles, anything else is only noted; `refused` are put back."""
    db.executemany(
        "UPDATE outbox_recipient SET state = ?1, code = ?2, reply = ?3,"
        " in_hand = CASE WHEN ?1 = 'waiting' THEN in_hand ELSE 0 END"
        " WHERE outbox_id = ?4 AND address = ?5 AND state = 'waiting'",
        [
            (_settled(code), code, reply, outbox_id, address)
            for address, (code, reply) in results.items()
        ],
    )
    put_back(db, outbox_id, refused)


def cancel(db: Connection, outbox_id: str, now: float) -> bool | None:
    """Whether anybody was cancelled; None when there is no such entry."""
    if db.execute("SELECT 1 FROM outbox WHERE outbox_id = ?", (outbox_id,)).fetchone() is None:
        return None
    cancelled = db.execute(
        "UPDATE outbox_recipient SET state = 'cancelled', code = 0, reply = ''"
        " WHERE outbox_id = ? AND state = 'waiting' AND in_hand = 0 RETURNING address",
        (outbox_id,),
    ).fetchall()
    if not cancelled:
        return False
    # The same mail may be sent again on purpose, and is another one then.
    db.execute("UPDATE outbox SET digest = NULL WHERE outbox_id = ?", (outbox_id,))
    states = _states(db, outbox_id)
    if "waiting" not in states:
        if "failed" in states:
            # The sender is to make the report before the entry ends.
            db.execute(
                "UPDATE outbox SET next_attempt = 0, not_before = 0 WHERE outbox_id = ?",
                (outbox_id,),
            )
        else:
            # The sender puts what somebody got into Sent, and then lets the message go.
            end(db, outbox_id, now, keep="sent" in states)
            db.execute("UPDATE outbox SET next_attempt = 0 WHERE outbox_id = ?", (outbox_id,))
    return True


def end(
    db: Connection, outbox_id: str, now: float, *, attempts: int = 0, keep: bool = False
) -> None:
    """Ends an entry as its recipients stand: its message and copies are deleted, and entries of long ago forgotten.

    `keep`: but for the message, which is still to be put into Sent.
    """
    states = _states(db, outbox_id)
    state = next((one for one in ("failed", "sent") if one in states), "cancelled")
    db.execute(
        "UPDATE outbox SET state = ?, ended = ?, attempts = attempts + ?"
        " WHERE outbox_id = ? AND state IN ('queued', 'sending')",
        (state, now, attempts, outbox_id),
    )
    db.execute("DELETE FROM outbox_copy WHERE outbox_id = ?", (outbox_id,))
    if not keep:
        db.execute("DELETE FROM outbox_message WHERE outbox_id = ?", (outbox_id,))
    old = db.execute("SELECT outbox_id FROM outbox WHERE ended < ?", (now - REMEMBERED,)).fetchall()
    for (forgotten,) in old:
        db.execute("DELETE FROM outbox_recipient WHERE outbox_id = ?", (forgotten,))
        db.execute("DELETE FROM outbox WHERE outbox_id = ?", (forgotten,))


def _states(db: Connection, outbox_id: str) -> set[str]:
    rows = db.execute(
        "SELECT DISTINCT state FROM outbox_recipient WHERE outbox_id = ?", (outbox_id,)
    ).fetchall()
    return {row[0] for row in rows}


def _settled(code: int) -> str:
    return {2: "sent", 5: "failed"}.get(code // 100, "waiting")
