"""kill -9 of the daemon and of the provider while a hundred mails travel: each is there once afterwards."""

from __future__ import annotations

import random
import re
import smtplib
import threading
import time
from pathlib import Path
from typing import Any

from tests.scenarios.world import Device, World, world

MAILS, KILLS, SEED = 100, 22, 20261122
PATIENCE = 180.0  # seconds for everything to arrive after the last kill


def letter(number: int) -> bytes:
    return (
        f"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: kill test {number}\r\n"
        f"Message-ID: <kill-{number}@example.test>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n"
        f"This is letter number {number}.\r\n".encode()
        + b"x" * (random.Random(number).randrange(20_000))
        + b"\r\n"
    )


class Sender:
    """A mail program which tries a mail again until it hears 250."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.accepted = 0
        self._lost = threading.Event()

    def send(self, numbers: range) -> None:
        waiting = list(numbers)
        while waiting and not self._lost.is_set():
            try:
                with self._device.smtp("alice", timeout=20) as smtp:
                    while waiting:
                        smtp.sendmail(
                            "alice@example.test", ["bob@example.test"], letter(waiting[0])
                        )
                        waiting.pop(0)
                        self.accepted += 1
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)  # the daemon is being killed or started

    def give_up(self) -> None:
        self._lost.set()


def arrived(device: Device) -> int:
    with device.imap("bob", timeout=10) as imap:
        return int(re.findall(rb"MESSAGES (\d+)", imap.status("INBOX", "(MESSAGES)")[1][0])[0])


def torment(made: World, device: Device, mails: int, kills: int, seed: int) -> tuple[int, int]:
    """Sends `mails` letters during `kills` kills; answers (kills, kills with mail in transit)."""
    chance = random.Random(seed)
    sender = Sender(device)
    in_transit = 0
    for turn in range(kills):
        first, last = turn * mails // kills, (turn + 1) * mails // kills
        thread = threading.Thread(target=sender.send, args=(range(first, last),))
        thread.start()
        patience = time.monotonic() + 10
        while sender.accepted <= first and time.monotonic() < patience:
            time.sleep(0.001)  # until the first of this turn is on its way
        time.sleep(chance.random() * 0.05)
        there = arrived(device)
        in_transit += sender.accepted > there or (thread.is_alive() and sender.accepted < last)
        if turn % 2:
            made.provider.kill()
            time.sleep(chance.random() * 0.3)
            made.provider.start()
        else:
            device.process.kill()
            device.restart()
        thread.join(60)
        if thread.is_alive():
            sender.give_up()
            raise AssertionError(
                f"mails {first} to {last} were not accepted:\n{made.logs()[-3000:]}"
            )
    return kills, in_transit


def test_a_hundred_mails_survive_kills_of_daemon_and_provider(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        kills, in_transit = torment(made, device, MAILS, KILLS, SEED)
        inbox = device.wait_for("bob", MAILS, timeout=PATIENCE)
        print(f"{kills} kills, {in_transit} of them with mail in transit (seed {SEED})")
        found = sorted(
            int(re.findall(rb"Subject: kill test (\d+)", raw)[0]) for raw in inbox.values()
        )
        assert found == list(range(MAILS))
        for raw in inbox.values():
            number = int(re.findall(rb"Subject: kill test (\d+)", raw)[0])
            assert raw.endswith(letter(number).partition(b"\r\n\r\n")[2]), number
        assert kills >= 20
        assert in_transit * 2 >= kills
        deadline = time.monotonic() + PATIENCE  # a reply that a kill swallowed is asked for again
        while not all(entry["state"] == "sent" for entry in _outbox(device)):
            assert time.monotonic() < deadline, _outbox(device)
            time.sleep(0.2)
        assert arrived(device) == MAILS  # and what was sent again did not arrive again


def _outbox(device: Device) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = device.ask("mail-status", address="alice@example.test")["outbox"]
    return listed
