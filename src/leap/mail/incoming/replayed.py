"""What can be said of a signed mail that may be an old one, sent again. Pure.

A signature does not tell when, or to whom, a mail was sent. Where it names its recipients (RFC 9580 5.2.3.36) and the
reader is none of them, it is not good. Else there is one thing to see: it was made long before, or after, the Date
that is shown, which anybody can write, or take away, when it is not protected.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from leap.mail.contract import SignatureVerdict
from leap.mail.message.view import Message

LATE = (
    2 * 24 * 3600
)  # seconds; a mail may wait in an outbox over a weekend's day, and clocks are wrong


def note_of_age(message: bytes, signatures: Sequence[SignatureVerdict]) -> str:
    """A sentence when good signatures over a message were made long before or after its Date, or it has none."""
    made = [one.created for one in signatures if one.state == "good" and one.created > 0]
    if not made:
        return ""
    date = Message(message).date
    if date is not None and any(abs(date.seconds - one) <= LATE for one in made):
        return ""
    day = datetime.fromtimestamp(max(made), UTC).date().isoformat()
    if (
        date is None
    ):  # who sends an old mail again may take its date away: programs show when it came
        return f"It bears no date; it was signed on {day}."
    return f"It was signed on {day}, which is not the date it bears: it may be an old mail, sent again."
