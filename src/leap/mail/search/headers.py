"""Questions about whole headers: which may hold a text, by their signatures, and which do, by reading them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Sequence

from leap.mail.contract import MailboxId, Uid
from leap.mail.message import Message
from leap.mail.search.field_texts import field_texts
from leap.mail.search.folding import fold
from leap.mail.search.signature import Sieve
from leap.soledad.blobs import BlobRef
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

_BATCH = 100  # headers looked at in one turn of another thread
_AT_A_TIME = 16  # headers opened at a time
_FEW = 8  # signatures a message that is asked about, up to which reading all is cheaper than finding each
_SIGNED = (
    "SELECT i.uid, coalesce(h.signature, x'') FROM json_each(?) j CROSS JOIN mail_index i"
    " ON i.mailbox_id = ? AND i.uid = j.value LEFT JOIN mail_text t ON t.header_id = i.header_id"
    " LEFT JOIN mail_head h ON h.number = t.number"
)
UIDS = (
    "SELECT i.uid FROM json_each(?) j CROSS JOIN mail_text t ON t.number = j.value"
    " CROSS JOIN mail_index i ON i.header_id = t.header_id AND i.mailbox_id = ?"
)
_RANGES = (
    "SELECT i.uid, m.header_size, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_index i ON i.mailbox_id = ? AND i.uid = j.value CROSS JOIN mail_row r ON r.row_id = i.row_id"
    " LEFT JOIN mail_metadata m ON m.header_id = i.header_id ORDER BY i.uid"
)


def sieve_of_field(field: str, folded: str) -> Sieve:
    """For headers with that field, the needle somewhere in them."""
    return Sieve([fold(f" {field}: "), folded])


def passed(
    connection: Connection, mailbox_id: MailboxId, asked: Collection[Uid], sieve: Sieve
) -> set[Uid]:
    """Those whose header may pass the sieve, and those whose signature is not known."""
    if sieve.blind or not asked:
        return set(asked)
    (most,) = connection.execute("SELECT coalesce(max(number), 0) FROM mail_head").fetchone()
    if most > _FEW * len(asked):
        signed = connection.execute(_SIGNED, (json.dumps(list(asked)), mailbox_id))
        return set(map(Uid, sieve.passed(signed)))
    numbers = list(sieve.passed(connection.execute("SELECT number, signature FROM mail_head")))
    numbers += (n for (n,) in connection.execute("SELECT number FROM mail_text WHERE state = 0"))
    found = connection.execute(UIDS, (json.dumps(numbers), mailbox_id))
    return {uid for (uid,) in found}.intersection(asked)


async def read_headers(
    store: Soledad, mailbox_id: MailboxId, uids: Collection[Uid], test: Callable[[Message], bool]
) -> set[Uid]:
    """Those whose header fits the test; of each content only the header is read. Raises as `Soledad.read_blob`."""
    listed = json.dumps(sorted(uids))
    ranges = await store.read(
        lambda c: [
            (Uid(uid), size, BlobRef(*ref))
            for uid, size, *ref in c.execute(_RANGES, (listed, mailbox_id))
        ]
    )
    fit: set[Uid] = set()
    for first in range(0, len(ranges), _BATCH):
        batch = ranges[first : first + _BATCH]
        raws: list[bytes] = []
        for at in range(0, len(batch), _AT_A_TIME):
            some = batch[at : at + _AT_A_TIME]
            raws += await asyncio.gather(*(store.read_blob(ref, 0, size) for _, size, ref in some))
        fits = await asyncio.to_thread(_fits, raws, test)
        fit.update(uid for (uid, _, _), yes in zip(batch, fits, strict=True) if yes)
    return fit


def _fits(raws: Sequence[bytes], test: Callable[[Message], bool]) -> list[bool]:
    return [test(Message(raw)) for raw in raws]


def field_test(field: str, folded: str) -> Callable[[Message], bool]:
    """Whether one of the fields of that name holds the folded needle (RFC 3501 6.4.4)."""

    def test(message: Message) -> bool:
        return any(
            folded in fold(text) for one in message.all_fields(field) for text in field_texts(one)
        )

    return test
