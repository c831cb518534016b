"""When each message came to be in its mailbox (RFC 8514), as this device saw it: a column of the mailbox index.

An index made by a version without the column takes the moment of its first opening for all messages: who deletes what
has lain in a mailbox for thirty days then deletes too late, never too early.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from leap.mail.contract import MailboxId, Uid
from leap.soledad.sqlite import Connection

T = TypeVar("T")


def add_save_dates(connection: Connection, now: int) -> None:
    """Gives an index of a former version the column."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(mail_index)")}
    if "saved" not in columns:
        connection.execute("ALTER TABLE mail_index ADD COLUMN saved INTEGER NOT NULL DEFAULT 0")
        connection.execute("UPDATE mail_index SET saved = ?", (now,))


class LocalSaveDates:
    """A part of `LocalAccount`."""

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def save_dates(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> list[int | None]:
        asked = json.dumps(list(uids))
        return await self._look(
            mailbox_id,
            lambda connection: [
                saved
                for (saved,) in connection.execute(
                    "SELECT i.saved FROM json_each(?) j LEFT JOIN mail_index i"
                    " ON i.mailbox_id = ? AND i.uid = j.value ORDER BY j.key",
                    (asked, mailbox_id),
                )
            ],
        )
