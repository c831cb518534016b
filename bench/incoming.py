"""The full incoming pipeline: claim, unseal, decrypt, verify, parse, index, store, push, ack; TLS and durability on.

Alice sends while bob's daemon is down, so that all mail waits sealed in his inbox at the provider. The folders of
provider and daemon are then copied, and each run begins with such a copy. Bob's passphrase unlocks the account
("unlock"); from its answer on is measured until his local IMAP server shows every mail ("visible"), and until the
provider's inbox is empty, which it is when all was stored, pushed and acknowledged ("acked"). Medians of `RUNS`;
"worst total" is the slowest run, unlocking included.
The original Soledad took 53.9 s for 1000 x 10 kB, without OpenPGP and without MIME.
"""

from __future__ import annotations

import contextlib
import imaplib
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.scenarios.world import Device, World, world

CASES: dict[str, Sequence[tuple[int, int]]] = {
    "1000 x 10 kB": ((1000, 10_000),),
    "100 x 100 kB": ((100, 100_000),),
    "10 x 1 MB": ((10, 1_000_000),),
    "1 x 10 MB": ((1, 10_000_000),),
    "60 x 15 kB + 1 x 1 MB": ((60, 15_000), (1, 1_000_000)),
}
RUNS = 5
LOOK_EVERY = 0.04  # seconds
WORDS = [
    "oak",
    "map",
    "treasure",
    "river",
    "letter",
    "key",
    "lantern",
    "bridge",
    "winter",
    "garden",
]
TIMEOUT = 300.0
ALICE, BOB = "alice@example.test", "bob@example.test"


def mail(number: int, size: int) -> bytes:
    """A mail of about `size` octets of words, the same for the same number."""
    chance = random.Random(number)
    message = EmailMessage()
    message["From"], message["To"] = ALICE, BOB
    message["Subject"] = f"bench {number}"
    message["Message-ID"] = f"<bench-{number}-{size}@example.test>"
    message["Date"] = "Sun, 22 Nov 2026 12:00:00 +0000"
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(chance.choices(WORDS, k=10)))
        length += len(lines[-1]) + 2
    message.set_content("\n".join(lines))
    return message.as_bytes().replace(b"\n", b"\r\n")


def _until(check: Callable[[], bool], pause: float = LOOK_EVERY) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError("the mail did not arrive")
        time.sleep(pause)


def _all_sent(alice: Device) -> bool:
    status = alice.ask("mail-status", address=ALICE)
    return all(entry["state"] == "sent" for entry in status["outbox"])


def _waiting(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found: int = connection.execute("SELECT count(*) FROM inbox").fetchone()[0]
    return found


def _shown(imap: imaplib.IMAP4) -> int:
    _, data = imap.status("INBOX", "(MESSAGES)")
    return int(data[0].partition(b"MESSAGES ")[2].rstrip(b")"))


def peak_memory(pid: int) -> int:
    """The most that a process and its children had resident, in MB (each one's own peak, added up)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if int(folder.name) == pid or int(fields["PPid"]) == pid:
            total += int(fields.get("VmHWM", "0 kB").split()[0])
    return total // 1024


def _one(made: World, bob: Device, kept: Path, count: int) -> dict[str, float]:
    for name in ("provider", "bob"):
        shutil.rmtree(made.folder / name)
        shutil.copytree(kept / name, made.folder / name)
    made.provider.start()
    bob.process.start()
    began = time.perf_counter()
    bob.unlock("bob")
    unlocked = time.perf_counter()
    with bob.imap("bob") as imap:
        _until(lambda: _shown(imap) >= count)
    visible = time.perf_counter()
    _until(lambda: _waiting(made.folder / "provider" / "provider.sqlite") == 0)
    acked = time.perf_counter()
    memory = peak_memory(bob.process.pid)
    bob.process.stop()
    made.provider.stop()
    return {
        "unlock s": unlocked - began,
        "visible s": visible - unlocked,
        "acked s": acked - unlocked,
        "total s": acked - began,
        "peak MB": memory,
    }


def _case(lots: Sequence[tuple[int, int]]) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory() as copies,
        world(Path(name)) as made,
    ):
        kept = Path(copies)
        alice, bob = made.device("alice"), made.device("bob")
        alice.create("alice")
        bob.create("bob")
        bob.process.stop()
        with alice.smtp("alice") as smtp:
            for count, size in lots:
                for number in range(count):
                    smtp.sendmail(ALICE, [BOB], mail(number, size))
        _until(lambda: _all_sent(alice), 0.2)
        alice.process.stop()
        made.provider.stop()
        for folder in ("provider", "bob"):
            shutil.copytree(made.folder / folder, kept / folder)
        count = sum(count for count, _ in lots)
        runs = [_one(made, bob, kept, count) for _ in range(RUNS)]
    medians = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
    return {
        **{what: value for what, value in medians.items() if what not in ("total s", "peak MB")},
        "worst total s": max(run["total s"] for run in runs),
        "peak MB": int(max(run["peak MB"] for run in runs)),
    }


def run() -> dict[str, dict[str, Any]]:
    """One row a case."""
    return {name: _case(lots) for name, lots in CASES.items()}
