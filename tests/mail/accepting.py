"""A process that accepts mail until it kills itself, at a step that is told: before it or after it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leap.mail.contract import INBOX, NewMessage
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.spool import Spool
from leap.soledad.transaction import Transaction

ALICE, KEY = "alice@example.test", bytes(range(32))


def letter(name: str) -> bytes:
    return f"Subject: {name}\r\nMessage-ID: <{name}@example.test>\r\n\r\nIt is {name}.\r\n".encode()


def work(folder: Path, last: int, after: bool) -> None:
    """Dies at the step of that number: a record, the files of records that go, a transaction."""
    asyncio.run(_work(folder, last, after))


async def _work(folder: Path, last: int, after: bool) -> None:
    store = await open_mail_store(folder / "store.db", KEY)
    account = await LocalAccount.open(store, ALICE)
    left = last

    def dying(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = step(*args)
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    for owner, name in ((Spool, "append"), (Spool, "release"), (Transaction, "finish")):
        setattr(owner, name, dying(getattr(owner, name)))
    answers = (folder / "answered").open("ab", buffering=0)
    for number in range(8):
        made = await account.append(
            INBOX, [NewMessage(raw=letter(f"{number}-{at}")) for at in range(number % 3 + 1)]
        )
        for at, one in enumerate(made):
            answers.write(f"{number}-{at} {one.uid} {one.uid_validity} {one.row_id}\n".encode())
        if number % 3 == 2:
            await account.status(INBOX)  # whoever asks has it stored
        if number == 4:
            await account.create_mailbox("Other")
    await account.close()
    await store.close()
