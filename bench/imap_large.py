"""The IMAP server with a large account: 100,000 small messages in one mailbox, and 1,000 folders.

The account is filled through the library while no daemon runs, until everything is indexed. Then the daemon is started,
its provider out of reach: what is measured is this machine's work. `cold` is asked for the first time since, `warm` is
the median of the next ones. The start counts from the new process to the answer to the first LOGIN.

BENCH_MESSAGES and BENCH_FOLDERS change how large it is.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.imap import HEADERS
from bench.imap_load import Client
from bench.imap_peers import server_of
from bench.large_account import message
from leap.keymanager.openpgp import offload
from leap.mail.contract import NewMessage
from leap.mail.local import OwnedAccount
from leap.soledad.vault import open_vault
from tests.scenarios.world import PASSPHRASES, Device, world

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "100000"))
FOLDERS = int(os.environ.get("BENCH_FOLDERS", "1000"))
TOGETHER = 1_000  # messages stored in one transaction
ADDRESS = "alice@example.test"
LIST_STATUS = 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY))'
LIMITS = {  # ms, or MB
    "SELECT": 20.0,
    "LIST with STATUS": 300.0,
    "daemon start to first LOGIN": 1_000.0,
    "memory (RSS)": 200.0,
}


def run() -> dict[str, dict[str, Any]]:
    """One row an operation."""
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name, world(Path(name)) as made:
        device = made.device("laptop")
        device.create("alice")
        device.process.stop()
        made.provider.stop()
        began = time.perf_counter()
        asyncio.run(_fill(device))
        rows["(filling)"] = {"cold": _ms(began)}
        rows["daemon start to first LOGIN"] = {"cold": round(_start(device) * 1e3, 1)}
        client = server_of(device).client()
        pid = device.process.pid
        rows["memory (RSS) after start"] = {"cold": _rss(pid)}
        _measure(rows, client)
        rows["memory (RSS)"] = {"cold": _rss(pid)}
        client.close()
    for row, limit in LIMITS.items():
        rows[row]["limit"] = limit
    return rows


async def _fill(device: Device) -> None:
    home = device.home
    key = await open_vault(home.vault(ADDRESS), PASSPHRASES["alice"])
    account = await OwnedAccount.open_path(home.store(ADDRESS), key, ADDRESS)
    try:
        large = await account.create_mailbox("Large")
        for number in range(FOLDERS):
            await account.create_mailbox(f"Folder/{number // 50}/{number}")
        for first in range(0, MESSAGES, TOGETHER):
            numbers = range(first, min(MESSAGES, first + TOGETHER))
            await account.append(
                large.mailbox_id,
                [NewMessage(raw=message(number), flags=("\\Seen",)) for number in numbers],
            )
        with account.deriving.hurrying():
            await account.deriving.finish()
    finally:
        await account.close()
        await offload.close()


def _start(device: Device) -> float:
    """Seconds from the start of a daemon, through the unlocking of the account, to the answer to the first LOGIN."""
    began = time.perf_counter()
    device.start()
    device.unlock("alice")
    server_of(device).client().close()
    return time.perf_counter() - began


def _measure(rows: dict[str, dict[str, Any]], client: Client) -> None:
    def note(row: str, once: Callable[[], float], rounds: int) -> None:
        cold = once()
        times = [once() for _ in range(rounds)]
        rows[row] = {
            "cold": round(cold * 1e3, 2),
            "warm": round(statistics.median(times) * 1e3, 2),
            "worst": round(max(times) * 1e3, 2),
        }

    def select() -> float:
        client.do("EXAMINE INBOX")
        return client.do('SELECT "Large"')

    note("LIST with STATUS", lambda: client.do(LIST_STATUS), 5)
    note("SELECT", select, 11)
    note("NOOP", lambda: client.do("NOOP"), 101)
    note("FETCH 1:* (FLAGS)", lambda: client.do("FETCH 1:* (FLAGS)"), 5)
    note("UID FETCH newest 200 headers", lambda: client.do(_newest()), 5)


def _newest() -> str:
    return HEADERS.replace("1:*", f"{max(1, MESSAGES - 199)}:*")


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1e3, 1)


def _rss(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the daemon is gone")
