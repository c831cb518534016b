"""Memory with much mail on its way: 1000 mails of 500 kB through the sending and then the receiving daemon.

Alice's daemon takes all of it from a mail program as fast as it can and sends it, encrypted and signed; bob's daemon is
down meanwhile, so that everything waits for it when it starts. Measured is the most that each daemon, its workers
counted, has in memory, and how late its event loop is.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.first_sync import Memory, probed
from bench.lag import read_lag
from tests.scenarios.world import PASSPHRASES, Device, World, world

MAILS = int(os.environ.get("BENCH_MAILS", "1000"))
SIZE = 500_000  # octets
PATIENCE = 900.0
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


def _text() -> bytes:
    chance = random.Random(1)
    lines, size = [], 0
    while size < SIZE:
        lines.append(" ".join(chance.choices(WORDS, k=10)).encode())
        size += len(lines[-1]) + 2
    return b"\r\n".join(lines) + b"\r\n"


def _head(number: int) -> bytes:
    return (
        f"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: large {number}\r\n"
        f"Message-ID: <large-{number}@example.test>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n"
    ).encode()


def _until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the mail did not arrive")
        time.sleep(1)


def _settled(device: Device, address: str) -> bool:
    status = device.ask("mail-status", address=address)
    return all(entry["state"] == "sent" for entry in status["outbox"]) and not (
        status["sync"]["pending"] or status["sync"]["blobs_to_send"]
    )


def _row(device: Device, file: Path, memory: Memory, before: float, began: float) -> dict[str, Any]:
    lag = read_lag(device.process.pid, file)
    return {
        "MB before": before,
        "MB at most": memory.most,
        "s": time.perf_counter() - began,
        "lag p99 ms": lag["p99"] * 1e3,
        "worst ms": lag["worst"] * 1e3,
    }


def _device(made: World, name: str, folder: Path) -> tuple[Device, Path]:
    device = Device(made, name)
    made.devices.append(device)
    file = probed(device, folder)
    device.start()
    device.create(name)
    return device, file


def run() -> dict[str, dict[str, Any]]:
    """One row a daemon."""
    rows: dict[str, dict[str, Any]] = {}
    text = _text()
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as made:
        alice, alices = _device(made, "alice", Path(name))
        bob, bobs = _device(made, "bob", Path(name))
        bob.process.stop()
        read_lag(alice.process.pid, alices)
        began = time.perf_counter()
        with Memory(alice.process.pid) as memory:
            time.sleep(1)
            before = memory.most
            with alice.smtp("alice", timeout=300) as smtp:
                for number in range(MAILS):
                    smtp.sendmail("alice@example.test", ["bob@example.test"], _head(number) + text)
            _until(lambda: _settled(alice, "alice@example.test"))
        rows["sending"] = _row(alice, alices, memory, before, began)
        alice.process.stop()
        bob.process.start()
        began = time.perf_counter()
        with Memory(bob.process.pid) as memory:
            time.sleep(1)
            before = memory.most
            bob.ask("user-auth", address="bob@example.test", passphrase=PASSPHRASES["bob"])

            def shown() -> bool:
                boxes = bob.ask("mail-status", address="bob@example.test")["mailboxes"]
                return any(box["name"] == "INBOX" and box["messages"] == MAILS for box in boxes)

            _until(shown)
            _until(lambda: _settled(bob, "bob@example.test"))
        rows["receiving"] = _row(bob, bobs, memory, before, began)
    return rows
