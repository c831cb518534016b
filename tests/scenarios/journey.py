"""Mail on its whole way, from one person's mail program to another's, while processes on that way are killed."""

from __future__ import annotations

import base64
import random
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scenarios.world import Device, World, world


@dataclass(frozen=True)
class Journey:
    """Two people, each with a daemon of their own, and all that can be killed between them.

    `killers`: each kills one process and starts it again.
    """

    worlds: tuple[World, ...]
    alice: Device
    bob: Device
    sender: str
    recipient: str
    killers: tuple[Callable[[random.Random], None], ...]

    def letter(self, number: int) -> bytes:
        """The same octets for the same number: up to 20 kB."""
        return (
            f"From: {self.sender}\r\nTo: {self.recipient}\r\nSubject: kill test {number}\r\n"
            f"Message-ID: <kill-{number}@example.test>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n"
            f"This is letter number {number}.\r\n".encode()
            + b"x" * (random.Random(number).randrange(20_000))
            + b"\r\n"
        )

    def arrived(self) -> int:
        """How many mails bob's mail program sees."""
        with self.bob.imap("bob", timeout=30) as imap:
            status = imap.status("INBOX", "(MESSAGES)")[1][0]
            return int(re.findall(rb"MESSAGES (\d+)", status)[0])

    def outbox(self) -> list[dict[str, Any]]:
        """Alice's mails, as her daemon tells of them."""
        listed: list[dict[str, Any]] = self.alice.ask("mail-status", address=self.sender)["outbox"]
        return listed

    def check(self, count: int, patience: float) -> None:
        """Fails unless bob has each of `count` letters exactly once and as it was written, and alice knows it."""
        inbox = self.bob.wait_for("bob", count, timeout=patience)
        found = {uid: _number(raw) for uid, raw in inbox.items()}
        assert sorted(found.values()) == list(range(count)), "lost or doubled"
        for uid, raw in inbox.items():
            number = found[uid]
            assert raw.startswith(b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid"), (
                number
            )
            assert raw.endswith(self.letter(number).partition(b"\r\n\r\n")[2]), number
        deadline = time.monotonic() + patience  # a reply that a kill swallowed is asked for again
        while not all(entry["state"] == "sent" for entry in self.outbox()):
            assert time.monotonic() < deadline, self.outbox()
            time.sleep(0.2)
        assert self.arrived() == count  # and what was sent again did not arrive again

    def logs(self) -> str:
        return "\n".join(one.logs() for one in self.worlds)


@contextmanager
def one_provider(folder: Path) -> Iterator[Journey]:
    """Both are at one provider."""
    with world(folder) as made:
        alice, bob = made.device("laptop"), made.device("phone")
        alice.create("alice")
        bob.create("bob")
        killers = (_daemon_killer(alice), _provider_killer(made), _daemon_killer(bob))
        yield Journey((made,), alice, bob, "alice@example.test", "bob@example.test", killers)


@contextmanager
def two_providers(folder: Path) -> Iterator[Journey]:
    """Each is at a provider of their own; the one knows the way to the other by its route table."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("one", "two"):
        (folder / name).mkdir()
    with (
        world(folder / "two", "other.test", ("--mx-port", str(port))) as there,
        world(folder / "one", arguments=("--route", f"other.test=127.0.0.1:{port}")) as here,
    ):
        alice, bob = here.device("laptop"), there.device("phone")
        alice.create("alice")
        bob.create("bob")
        _give_key(alice, "alice@example.test", bob, "bob@other.test")
        _give_key(bob, "bob@other.test", alice, "alice@example.test")
        killers = (
            _daemon_killer(alice),
            _provider_killer(here),
            _daemon_killer(bob),
            _provider_killer(there),
        )
        yield Journey((here, there), alice, bob, "alice@example.test", "bob@other.test", killers)


def torment(journey: Journey, mails: int, kills: int, seed: int) -> int:
    """Sends `mails` letters during `kills` kills, one process after the other; answers how many met mail in transit."""
    chance = random.Random(seed)
    program = _MailProgram(journey)
    in_transit = 0
    for turn in range(kills):
        first, last = turn * mails // kills, (turn + 1) * mails // kills
        thread = threading.Thread(target=program.send, args=(range(first, last),))
        thread.start()
        patience = time.monotonic() + 10
        while program.accepted <= first and time.monotonic() < patience:
            time.sleep(0.001)  # until the first of this turn is on its way
        time.sleep(chance.random() * 0.05)
        there = journey.arrived()
        in_transit += program.accepted > there or (thread.is_alive() and program.accepted < last)
        journey.killers[turn % len(journey.killers)](chance)
        thread.join(120)
        if thread.is_alive():
            program.give_up()
            raise AssertionError(f"{first} to {last} were not accepted:\n{journey.logs()[-3000:]}")
    return in_transit


class _MailProgram:
    """Tries a mail again until it hears 250."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self.accepted = 0
        self._lost = threading.Event()

    def send(self, numbers: Sequence[int]) -> None:
        journey, waiting = self._journey, list(numbers)
        while waiting and not self._lost.is_set():
            try:
                with journey.alice.smtp("alice", timeout=20) as smtp:
                    while waiting:
                        letter = journey.letter(waiting[0])
                        smtp.sendmail(journey.sender, [journey.recipient], letter)
                        waiting.pop(0)
                        self.accepted += 1
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)  # the daemon is being killed or started

    def give_up(self) -> None:
        self._lost.set()


def _give_key(owner: Device, of: str, other: Device, at: str) -> None:
    exported = owner.ask("keys-export", address=of, of=of)
    data = base64.b64encode(exported["armored"].encode()).decode()
    other.ask("keys-import", address=at, data=data, origin="a file")


def _number(raw: bytes) -> int:
    return int(re.findall(rb"Subject: kill test (\d+)", raw)[0])


def _daemon_killer(device: Device) -> Callable[[random.Random], None]:
    def kill(chance: random.Random) -> None:
        device.process.kill()
        time.sleep(chance.random() * 0.1)
        device.restart()

    return kill


def _provider_killer(made: World) -> Callable[[random.Random], None]:
    def kill(chance: random.Random) -> None:
        made.provider.kill()
        time.sleep(chance.random() * 0.3)
        made.provider.start()

    return kill
