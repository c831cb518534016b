"""The full incoming pipeline: claim, unseal, decrypt, verify, parse, store, push, ack; TLS and durability on.

Alice sends while bob's daemon is down, so that all mail waits sealed in his inbox. Measured is the time from bob's
unlocking until his local IMAP server shows every mail and nothing waits to be pushed or acknowledged.
The original Soledad took 53.9 s for 1000 x 10 kB, without OpenPGP and without MIME.
"""

from __future__ import annotations

import random
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.scenarios.world import PASSPHRASES, Device, world

CASES = ((1000, 10_000), (100, 100_000), (10, 1_000_000), (1, 10_000_000))
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


def mail(number: int, size: int) -> bytes:
    """A mail of about `size` octets of words, the same for the same number."""
    chance = random.Random(number)
    message = EmailMessage()
    message["From"], message["To"] = "alice@example.test", "bob@example.test"
    message["Subject"] = f"bench {number}"
    message["Message-ID"] = f"<bench-{number}-{size}@example.test>"
    message["Date"] = "Sun, 22 Nov 2026 12:00:00 +0000"
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(chance.choices(WORDS, k=10)))
        length += len(lines[-1]) + 2
    message.set_content("\n".join(lines))
    return message.as_bytes().replace(b"\n", b"\r\n")


def _idle(device: Device, address: str) -> bool:
    status = device.ask("mail-status", address=address)
    return (
        all(entry["state"] == "sent" for entry in status["outbox"])
        and not status["sync"]["pending"]
    )


def _until(check: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError("the mail did not arrive")
        time.sleep(0.02)


def _case(count: int, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as made:
        alice, bob = made.device("alice"), made.device("bob")
        alice.create("alice")
        bob.create("bob")
        bob.process.stop()
        mails = [mail(number, size) for number in range(count)]
        began = time.perf_counter()
        with alice.smtp("alice") as smtp:
            for raw in mails:
                smtp.sendmail("alice@example.test", ["bob@example.test"], raw)
        accepted = time.perf_counter() - began
        _until(lambda: _idle(alice, "alice@example.test"))
        sent = time.perf_counter() - began
        bob.process.start()
        began = time.perf_counter()
        bob.ask("user-auth", address="bob@example.test", passphrase=PASSPHRASES["bob"])
        unlocked = time.perf_counter() - began

        def shown() -> bool:
            boxes = bob.ask("mail-status", address="bob@example.test")["mailboxes"]
            return any(box["name"] == "INBOX" and box["messages"] == count for box in boxes)

        _until(shown)
        visible = time.perf_counter() - began
        _until(lambda: _idle(bob, "bob@example.test"))
        done = time.perf_counter() - began
    return {
        "accepted s": accepted,
        "encrypted and sent s": sent,
        "unlock s": unlocked,
        "received s": visible,
        "received and pushed s": done,
    }


def run() -> dict[str, dict[str, Any]]:
    """One row a case."""
    return {f"{count} x {size // 1000} kB": _case(count, size) for count, size in CASES}
