"""From one mail program to another: gateway, outbox, keys, OpenPGP, provider, inbox, store, IMAP; TLS and durability on.

Two daemons and the provider on this machine. "through": alice's program sends mails one after the other over one SMTP
connection; measured from its first command until bob's IMAP server shows all of them. "latency": one mail at a time
on an idle system; measured from the first command of its SMTP transaction until bob's program, which idles, is told.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.incoming import ALICE, BOB, _shown, _until, mail
from tests.scenarios.world import Device, world

MAILS = int(os.environ.get("BENCH_MESSAGES", "1000"))
SIZE = 10_000
SINGLE = 40
PAUSE = 0.5  # seconds between single mails: everything has come to rest


class _Idling:
    """Bob's program, in IDLE on INBOX."""

    def __init__(self, device: Device) -> None:
        server = device.logins["bob"]["imap"]
        self._socket = socket.create_connection((server["host"], server["port"]), timeout=60)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        for line in (f"a LOGIN {server['user']} {server['password']}", "b SELECT INBOX"):
            self._socket.sendall(line.encode() + b"\r\n")
            while not self._file.readline().startswith(line[:2].encode()):
                pass
        self._socket.sendall(b"c IDLE\r\n")
        assert self._file.readline().startswith(b"+")

    def until_told(self) -> None:
        while not self._file.readline().rstrip().endswith(b"EXISTS"):
            pass

    def close(self) -> None:
        self._socket.close()


def run() -> dict[str, dict[str, Any]]:
    """Two rows."""
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as made:
        alice, bob = made.device("alice"), made.device("bob")
        alice.create("alice")
        bob.create("bob")
        with alice.smtp("alice") as smtp:
            smtp.sendmail(ALICE, [BOB], mail(0, SIZE))  # the keys are looked up
        bob.wait_for("bob", 1)
        took = []
        idling = _Idling(bob)
        with alice.smtp("alice") as smtp:
            for number in range(SINGLE):
                time.sleep(PAUSE)
                began = time.perf_counter()
                smtp.sendmail(ALICE, [BOB], mail(1_000_000 + number, SIZE))
                idling.until_told()
                took.append(time.perf_counter() - began)
        idling.close()
        began = time.perf_counter()
        with alice.smtp("alice") as smtp:
            for number in range(1, MAILS + 1):
                smtp.sendmail(ALICE, [BOB], mail(number, SIZE))
        accepted = time.perf_counter() - began
        with bob.imap("bob") as imap:
            _until(lambda: _shown(imap) >= MAILS + 1 + SINGLE)
        through = time.perf_counter() - began
    took.sort()
    return {
        f"{MAILS} x 10 kB, through": {
            "accepted s": accepted,
            "visible s": through,
            "mails/s": MAILS / through,
            "limit": "15 s",
        },
        "one mail, latency": {
            "median ms": statistics.median(took) * 1000,
            "90 % ms": took[int(len(took) * 0.9)] * 1000,
            "worst ms": took[-1] * 1000,
            "limit": "300 ms",
        },
    }
