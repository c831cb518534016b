"""How soon an idling client reads of a change, from its commit on, by where the change came from; and how soon the
first, the middle and the last of many do."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from leap.mail.contract import INBOX, AccountBackend, NewMessage
from leap.mail.imap import serve_imap
from leap.mail.local import OwnedAccount
from tests.mail.imap.notices import measure_all
from tests.mail.imap.talk import mail

ROUNDS = 50
MANY = 150  # clients that idle on one mailbox
MESSAGES = 2_000  # in it


def run() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(measure_all(Path(name), ROUNDS))
    with tempfile.TemporaryDirectory() as name:
        found.update(asyncio.run(measure_many(Path(name))))
    return {
        what: {
            "median ms": median(times) * 1000,
            "p95 ms": quantiles(times, n=20)[-1] * 1000,
            "worst ms": max(times) * 1000,
        }
        for what, times in found.items()
    }


async def measure_many(folder: Path) -> dict[str, list[float]]:
    """Seconds from the commit of a new mail until clients of another process have read EXISTS."""
    async with AsyncExitStack() as stack:
        account = await OwnedAccount.open_path(folder / "store.db", bytes(32), "alice@example.test")
        stack.push_async_callback(account.close)
        for first in range(0, MESSAGES, 500):
            numbers = range(first, first + 500)
            await account.append(INBOX, [NewMessage(raw=mail(f"n{n}")) for n in numbers])
        await account.deriving.finish()

        async def authenticate(user: str, password: str) -> AccountBackend | None:
            return account

        server = await serve_imap(authenticate)
        stack.push_async_callback(server.close)
        committed: list[float] = []
        stack.callback(account.store.on_change(lambda _: committed.append(time.monotonic())))
        host, port = server.address
        beside = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.idling", str(host), str(port), "INBOX", str(MANY),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert beside.stdin is not None
        assert beside.stdout is not None
        await beside.stdout.readline()
        found: dict[str, list[float]] = {name: [] for name in _names()}
        for number in range(ROUNDS):
            beside.stdin.write(b"\n")
            await beside.stdin.drain()
            await asyncio.sleep(0.3)  # it listens, and the former notice is over
            committed.clear()
            await account.append(INBOX, [NewMessage(raw=mail(f"late{number}"))])
            moments = json.loads(await beside.stdout.readline())
            for name, moment in zip(_names(), moments, strict=True):
                found[name].append(moment - committed[0])
        beside.stdin.close()
        await beside.wait()
        return found


def _names() -> Iterator[str]:
    yield from (f"{MANY} idling: {which} hears EXISTS" for which in ("first", "middle", "last"))
