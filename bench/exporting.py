"""Export and import of a mail account: everything into one sealed file, and from it into a store of another account.

The account is made with the library, as an account lies on a disk: encrypted, with its mail index. No provider takes
part. Argon2id has its usual costs, and is counted. Medians of `RUNS`.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.incoming import mail
from bench.large_account import ARCHIVE, NEWEST
from leap.mail.contract import INBOX
from leap.mail.export_rules import MailCarrying
from leap.mail.local import LOCAL, open_mail_store
from leap.mail.model import MAIL_ROWS, blob_values, encode_record, header_record
from leap.soledad.maintenance import export_store, import_store
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

MESSAGES, SIZE = 20_000, 5_000
RUNS = 3
TOGETHER = 500
PASSPHRASE = "the quick brown fox"


async def _fill(store: Soledad, messages: int) -> None:
    for first in range(0, messages, TOGETHER):
        numbers = range(first, min(messages, first + TOGETHER))
        raws = [mail(number, SIZE) for number in numbers]
        headers = await store.seal_many([encode_record(header_record(raw, LOCAL)) for raw in raws])
        contents = await store.seal_many(raws)

        def insert(
            tx: Transaction,
            numbers: range = numbers,
            raws: list[bytes] = raws,
            headers: list[Any] = headers,
            contents: list[Any] = contents,
        ) -> None:
            for number, raw, header, content in zip(numbers, raws, headers, contents, strict=True):
                tx.put_blob(header)
                tx.put_blob(content)
                row_id = random.randbytes(16).hex()
                values = {
                    **blob_values("header", header.ref),
                    **blob_values("content", content.ref),
                    "message_id": row_id,
                    "size": len(raw),
                    "internal_date": NEWEST - (messages - 1 - number) * 3000,
                    "zone": 60,
                    "mailbox": INBOX if number % 10 < 7 else ARCHIVE,
                    "flags": "" if number % 20 == 0 else "\\Seen",
                }
                tx.insert_row(MAIL_ROWS.name, row_id, values)

        await store.transact(insert)


async def _measure(folder: Path, messages: int) -> dict[str, dict[str, Any]]:
    exports: list[float] = []
    imports: list[float] = []
    size = 0
    store = await open_mail_store(folder / "old.db", bytes(32))
    await _fill(store, messages)
    for number in range(RUNS):
        path = folder / f"export{number}"
        began = time.perf_counter()
        made = await export_store(store, path, PASSPHRASE, carrying=MailCarrying())
        exports.append(time.perf_counter() - began)
        new = await open_mail_store(folder / f"new{number}.db", bytes(32))
        began = time.perf_counter()
        taken = await import_store(new, path, PASSPHRASE, carrying=MailCarrying())
        imports.append(time.perf_counter() - began)
        await new.close()
        assert made.rows == taken.rows == messages
        size = path.stat().st_size
        path.unlink()
    await store.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        what: {
            "messages": messages,
            "seconds": statistics.median(times),
            "a second": int(messages / statistics.median(times)),
            "file MB": size // 1_000_000,
            "peak MB": memory,
        }
        for what, times in (("export", exports), ("import", imports))
    }


def run(messages: int = MESSAGES) -> dict[str, dict[str, Any]]:
    """Messages a second each way."""
    with (
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_measure(Path(name), messages))


if __name__ == "__main__":
    for what, figures in run(*map(int, sys.argv[1:])).items():
        print(what, figures)
