"""Whether a mail answers mail that came, or went, encrypted: what it quotes must not leave readable by accident.

    In-Reply-To, References  ->  messages of the account with these Message-IDs  ->  how they came
                             ->  mail of the outbox with these Message-IDs       ->  how it went

Invariant: what is not known here (deleted, never seen, no such field) counts as not encrypted: this guards against
slips of the person, who may quote whatever they like in a new mail.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from leap.mail.contract import SecurityStatus
from leap.mail.message.header import message_ids
from leap.mail.outgoing.field_lines import Field, values_of
from leap.mail.threads.facts import number_of
from leap.soledad.sqlite import Connection

T = TypeVar("T")
MOST = 200  # ids looked at, the newest of References; a thread of a year of daily mail has as many

# A message that was not looked at since it came has no thread yet.
_FOUND = """
    WITH wanted (id, own) AS (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
    SELECT m.security FROM wanted w
        JOIN mail_thread_name n ON n.id = w.id
        JOIN mail_facts f ON f.thread = n.thread AND hex(substr(f.ids, 1, 8)) = w.own
        JOIN mail_metadata m ON m.header_id = f.header_id
    UNION ALL
    SELECT m.security FROM mail_behind b
        JOIN mail_facts f ON f.header_id = b.header_id
        JOIN wanted w ON hex(substr(f.ids, 1, 8)) = w.own
        JOIN mail_metadata m ON m.header_id = f.header_id
"""


class Store(Protocol):
    """What is needed of a store opened by `leap.mail.local.open_mail_store`."""

    async def read(self, job: Callable[[Connection], T]) -> T: ...


def answered_ids(fields: Sequence[Field]) -> list[str]:
    """The Message-IDs a mail answers, the newest last."""
    values = values_of(fields, "references") + values_of(fields, "in-reply-to")
    return list(dict.fromkeys(one for value in values for one in message_ids(value)))[-MOST:]


class Answered:
    """Knows of the mail of one account how it came and went."""

    def __init__(
        self, store: Store, went_encrypted: Callable[[Sequence[str]], Awaitable[bool]]
    ) -> None:
        """`went_encrypted` knows whether mail of one of these Message-IDs left encrypted (`Outbox`)."""
        self._store = store
        self._went_encrypted = went_encrypted

    async def encrypted(self, fields: Sequence[Field]) -> bool:
        """Whether a mail with this header answers encrypted mail."""
        ids = answered_ids(fields)
        if not ids:
            return False
        came = await self._store.read(lambda db: _came(db, ids))
        return came or await self._went_encrypted(ids)


def _came(db: Connection, ids: Sequence[str]) -> bool:
    numbers = [number_of(b"<" + one.encode()) for one in ids]
    wanted = json.dumps([(one, struct.pack(">Q", one).hex().upper()) for one in numbers])
    for (octets,) in db.execute(_FOUND, (wanted,)).fetchall():
        status = msgspec.msgpack.decode(octets, type=SecurityStatus)
        if status.encryption == "end-to-end":
            return True
        if any(part.encryption == "end-to-end" for part in status.parts):
            return True
    return False
