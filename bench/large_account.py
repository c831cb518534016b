"""An account with many messages at a provider, made with the library: what another device stored and synced long ago.

Every message is a real one of about 1.5 kB, parsed and sealed as `LocalAccount.append` does it. Its blobs go to the
provider directly, so that the device which makes them does not have to hold them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from leap.mail.contract import INBOX, MailboxId
from leap.mail.local import LOCAL, open_mail_store
from leap.mail.model import MAIL_ROWS, blob_values, encode_record, header_record
from leap.soledad.blobs.format import seal_blob
from leap.soledad.enrol import sign_up
from leap.soledad.material import AccountMaterial
from leap.soledad.remote.client import ProviderClient
from leap.soledad.store import Soledad
from leap.soledad.syncing.loop import SyncEngine
from leap.soledad.transaction import Transaction
from leap.soledad.wire import Blob

TOGETHER = 250  # messages of one request; two blobs each
IN_ONE_TRANSACTION = 10_000
ARCHIVE = MailboxId("archive")
NEWEST = 1_790_000_000  # seconds since 1970; the others lie up to ten years before
SENDERS = ("eve", "bob")
WORDS = (
    "oak",
    "map",
    "river",
    "letter",
    "key",
    "lantern",
    "bridge",
    "winter",
    "garden",
    "treasure",
)


def message(number: int) -> bytes:
    """A mail of about 1.5 kB, the same for the same number."""
    chance = random.Random(number)
    sender, noise = SENDERS[number % 2], chance.getrandbits(64)
    lines = [
        f"Received: from mx.example.test by mx.example.net with ESMTPS id {number:08x}",
        f"From: {sender} <{sender}@example.test>",
        "To: alice@example.test",
        f"Subject: {' '.join(chance.choices(WORDS, k=4))} {number}",
        f"Message-ID: <{number}.{noise:x}@example.test>",
        f"References: <{number // 3}.first@example.test>",
        "Date: Sun, 22 Nov 2026 12:00:00 +0000",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "",
    ]
    words = chance.choices(WORDS, k=154)
    lines += [" ".join(words[first : first + 11]) for first in range(0, len(words), 11)]
    return "\r\n".join([*lines, ""]).encode("ascii")


async def make_account(
    folder: Path, api: str, ca: Path, address: str, passphrase: str, messages: int
) -> None:
    """Signs up, and leaves so many messages at the provider; seven of ten lie in INBOX, the rest in the archive."""
    async with ProviderClient(api, ca_file=ca) as client:
        enrolled = await sign_up(client, address, passphrase, "the first device")
        material = enrolled.material
        store = await open_mail_store(folder / "first.db", bytes(32))
        try:
            await store.save_material(material)
            rows: list[tuple[str, dict[str, object]]] = []
            sending: asyncio.Task[None] | None = None
            for first in range(0, messages, TOGETHER):
                numbers = range(first, min(messages, first + TOGETHER))
                blobs, made = await asyncio.to_thread(_messages, material, numbers, messages)
                if sending is not None:
                    await sending
                sending = asyncio.create_task(client.put_blobs(blobs))
                rows += made
                if len(rows) >= IN_ONE_TRANSACTION or numbers[-1] == messages - 1:
                    await _insert(store, rows)
                    rows = []
            if sending is not None:
                await sending
            engine = SyncEngine(store, client, fetch_blobs=False)
            await engine.sync()
            await engine.close()
        finally:
            await store.close()


def _messages(
    material: AccountMaterial, numbers: Sequence[int], messages: int
) -> tuple[list[Blob], list[tuple[str, dict[str, object]]]]:
    """Sealed blobs and rows of these messages."""
    blobs: list[Blob] = []
    rows: list[tuple[str, dict[str, object]]] = []
    account, epoch = material.account_id, material.epoch
    for number in numbers:
        raw = message(number)
        record = header_record(raw, LOCAL)
        header = seal_blob(encode_record(record), account=account, epoch=epoch)
        content = seal_blob(raw, account=account, epoch=epoch)
        blobs += [Blob(blob_id=one.ref.blob_id, sealed=one.sealed) for one in (header, content)]
        row_id = random.randbytes(16).hex()
        rows.append(
            (
                row_id,
                {
                    **blob_values("header", header.ref),
                    **blob_values("content", content.ref),
                    "message_id": row_id,
                    "size": len(raw),
                    "internal_date": NEWEST - (messages - 1 - number) * 3000,
                    "zone": 60,
                    "mailbox": INBOX if number % 10 < 7 else ARCHIVE,
                    "flags": "" if number % 20 == 0 else "\\Seen",
                },
            )
        )
    return blobs, rows


async def _insert(store: Soledad, rows: Sequence[tuple[str, dict[str, object]]]) -> None:
    def job(tx: Transaction) -> None:
        for row_id, values in rows:
            tx.insert_row(MAIL_ROWS.name, row_id, values)

    await store.transact(job)
