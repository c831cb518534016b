"""New rows of messages: what a message is stored as, whether it came from a mail program or from outside."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from leap.mail.contract import MailboxId, RowId
from leap.mail.storing import Prepared
from leap.soledad.sqlite import Connection

# INTERNALDATE has four digits for the year and a zone below a day (RFC 9051 9); what lies beyond is noise
EARLIEST, LATEST, MAX_ZONE = -2_208_988_800, 253_370_764_800, 24 * 60 - 1  # 1900, 9999, minutes


class Arrived(NamedTuple):
    """A mail from outside, ready to be stored under an id the caller computed; `internal_date` is in seconds."""

    row_id: RowId
    prepared: Prepared
    internal_date: int


def new_row_id() -> RowId:
    return RowId(secrets.token_hex(16))


def new_row_ids(count: int) -> list[RowId]:
    """As many; they follow each other, so that they lie together in the indexes of the store."""
    beginning = secrets.token_hex(12)  # no two of an account's begin alike
    return [RowId(f"{beginning}{number:08x}") for number in range(count)]


def stored_date(date: int) -> int:
    """A date within what INTERNALDATE can say."""
    return min(max(date, EARLIEST), LATEST)


def stored_zone(zone: int) -> int:
    """Minutes east of Greenwich, within what INTERNALDATE can say."""
    return min(max(zone, -MAX_ZONE), MAX_ZONE)


def row_values(
    row_id: RowId, fixed: dict[str, Any], mailbox: MailboxId, flags: str, date: int, zone: int
) -> dict[str, Any]:
    """A new row; the message takes its name from its first row, so that two devices name it alike."""
    return {
        **fixed,
        "message_id": row_id,
        "internal_date": stored_date(date),
        "zone": stored_zone(zone),
        "mailbox": mailbox,
        "flags": flags,
    }


def was_there(connection: Connection, row_id: RowId) -> bool:
    return (
        connection.execute("SELECT 1 FROM mail_row WHERE row_id = ?", (row_id,)).fetchone()
        is not None
    )
