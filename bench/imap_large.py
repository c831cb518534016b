"""The IMAP server with a large account: 100,000 small messages in one mailbox, and 1,000 folders.

The account is made with MULTIAPPEND and CREATE, and the daemon started anew: `cold` is asked for the first time since,
`warm` is the median of the next ones. The daemon alone holds the account: what is measured is this machine's work.

BENCH_MESSAGES and BENCH_FOLDERS change how large it is.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.imap import HEADERS
from bench.imap_load import Client
from bench.imap_peers import server_of, wait_until_synced
from bench.large_account import message
from tests.scenarios.world import world

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "100000"))
FOLDERS = int(os.environ.get("BENCH_FOLDERS", "1000"))
TOGETHER = 2_000  # messages made at a time
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
        client = server_of(device).client()
        began = time.perf_counter()
        _fill(client)
        rows["(filling)"] = {"cold": _ms(began)}
        client.close()
        wait_until_synced(device)
        device.process.stop()
        began = time.perf_counter()
        device.start()
        device.unlock("alice")
        client = server_of(device).client()
        rows["daemon start to first LOGIN"] = {"cold": _ms(began)}
        pid = device.process.pid
        rows["memory (RSS) after start"] = {"cold": _rss(pid)}
        _measure(rows, client)
        rows["memory (RSS)"] = {"cold": _rss(pid)}
        client.close()
    for row, limit in LIMITS.items():
        rows[row]["limit"] = limit
    return rows


def _fill(client: Client) -> None:
    client.fresh("Large")
    for first in range(0, MESSAGES, TOGETHER):
        batch = [message(number) for number in range(first, min(MESSAGES, first + TOGETHER))]
        client.append_many("Large", batch)
    for number in range(FOLDERS):
        client.do(f'CREATE "Folder/{number // 50}/{number}"')


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
