"""kill -9 of daemon and provider during `bitmask sync refound`: the account is whole, once, under one passphrase."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.control import ControlError
from tests.scenarios.world import PASSPHRASES, Device, World, world

ALICE, BOB = "alice@example.test", "bob@example.test"
MAILS, KILLS, SEED = 4, 5, 20261126
PATIENCE = 60.0
AFTER = 0.06  # seconds after the new keyset is there; a founding takes 0.1 from then on


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


class Founding(threading.Thread):
    """`bitmask sync refound`, until somebody dies."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device
        self.failed: ControlError | None = None

    def run(self) -> None:
        try:
            self._device.ask("sync-refound", address=ALICE, passphrase=PASSPHRASES["alice"])
        except ControlError as error:
            self.failed = error


def _version(made: World) -> int:
    """Of alice's keyset at the provider: each founding begins with another one."""
    file = made.folder / "provider" / "provider.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT keyset_version FROM account WHERE address = ?", (ALICE,)
        ).fetchone()
    return int(row[0])


def _send(device: Device, number: int) -> None:
    with device.smtp("bob") as smtp:
        body = f"From: {BOB}\r\nTo: {ALICE}\r\nSubject: {number}\r\n\r\nLetter {number}.\r\n"
        smtp.sendmail(BOB, [ALICE], body.encode())


def _numbers(device: Device, count: int) -> list[int]:
    served = device.wait_for("alice", count)
    return sorted(int(raw.rpartition(b"Letter ")[2].rstrip(b".\r\n")) for raw in served.values())


def _synced(device: Device) -> dict[str, Any]:
    """Once the device is in step: fails when it does not come to that, or stops at an alarm."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            device.ask("sync-now", address=ALICE)
        except ControlError as error:
            if error.kind == "alarm":
                raise
        else:
            found: dict[str, Any] = device.ask("sync-fingerprint", address=ALICE)
            if not found["unsynced"]:
                return found
        assert time.monotonic() < deadline, device.world.logs()[-3000:]
        time.sleep(0.05)


def test_kills_while_founding_lose_and_double_nothing(made: World) -> None:
    chance = random.Random(SEED)
    laptop, phone = made.device("laptop"), made.device("phone")
    laptop.create("alice")
    phone.auth("alice")
    phone.create("bob")
    for number in range(MAILS):
        _send(phone, number)
    assert _numbers(laptop, MAILS) == _numbers(phone, MAILS) == list(range(MAILS))
    sent, cut = MAILS, 0
    for turn in range(KILLS):
        before = _version(made)
        founding = Founding(laptop)
        founding.start()
        deadline = time.monotonic() + PATIENCE
        while _version(made) == before and founding.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.random() * AFTER)
        if turn % 3 == 2:
            os.kill(made.provider.pid, signal.SIGSTOP)  # the request arrives, and no answer
            laptop.process.kill()
            made.provider.kill()
            made.provider.start()
        elif turn % 3 == 1:
            made.provider.kill()
            time.sleep(chance.random() * AFTER)
            laptop.process.kill()
            made.provider.start()
        else:
            laptop.process.kill()
        founding.join(30)
        cut += founding.failed is not None
        _send(phone, sent)
        sent += 1
        laptop.restart()
        _synced(laptop)
    assert cut
    laptop.ask("sync-refound", address=ALICE, passphrase=PASSPHRASES["alice"])  # once to its end
    for device in (laptop, phone, laptop, phone):
        _synced(device)
    assert _numbers(laptop, sent) == _numbers(phone, sent) == list(range(sent))
    words = [_synced(device) for device in (laptop, phone)]
    assert words[0]["generation"] == words[1]["generation"] == 2 + KILLS
    assert words[0]["words"] == words[1]["words"]
    tablet = made.device("tablet")
    tablet.auth("alice")  # the passphrase holds, and what it opens is all there is
    assert _numbers(tablet, sent) == list(range(sent))
    print(f"{cut} of {KILLS} foundings were cut (seed {SEED}); generation {words[0]['generation']}")


def test_another_passphrase_than_this_devices_is_not_set_by_founding(made: World) -> None:
    laptop = made.device("laptop")
    laptop.create("alice")
    old = PASSPHRASES["alice"]
    wrong = "never heard of it"
    with pytest.raises(ControlError, match="opens the account on this device") as refused:
        laptop.ask("sync-refound", address=ALICE, passphrase=old, new_passphrase=wrong)
    assert refused.value.kind == "wrong-passphrase"
    with pytest.raises(ControlError, match="does not take this passphrase") as refused:
        laptop.ask("sync-refound", address=ALICE, passphrase=wrong)
    assert refused.value.kind == "wrong-passphrase"
    assert laptop.ask("recovery-show", address=ALICE, passphrase=old)["recovery_code"]
    assert laptop.ask("sync-fingerprint", address=ALICE)["generation"] in (0, 1)
    laptop.ask("sync-refound", address=ALICE, passphrase=old, new_passphrase=old)
    assert laptop.ask("sync-fingerprint", address=ALICE)["generation"] == 2
    assert laptop.ask("recovery-show", address=ALICE, passphrase=old)["recovery_code"]


def test_at_a_provider_set_back_the_passphrase_of_this_device_is_set_again(made: World) -> None:
    laptop = made.device("laptop")
    laptop.create("alice")
    old, new = PASSPHRASES["alice"], "chosen after the backup"
    folder, backup = made.folder / "provider", made.folder / "backup"
    made.provider.stop()
    shutil.copytree(folder, backup)
    made.provider.start()
    laptop.ask("passphrase-change", address=ALICE, passphrase=old, new_passphrase=new)
    made.provider.kill()
    shutil.rmtree(folder)
    backup.rename(folder)
    made.provider.start()
    with pytest.raises(ControlError, match="--set-passphrase") as refused:
        laptop.ask("sync-refound", address=ALICE, passphrase=old)
    assert refused.value.kind == "old-passphrase"
    laptop.ask("sync-refound", address=ALICE, passphrase=old, new_passphrase=new)
    assert laptop.ask("recovery-show", address=ALICE, passphrase=new)["recovery_code"]
    phone = made.device("phone")
    where = {"api": made.provider.said["api"], "ca": Path(made.provider.said["ca"]).read_text()}
    asked = {"address": ALICE, "device_name": "phone", **where}
    with pytest.raises(ControlError):
        phone.ask("user-auth", passphrase=old, **asked)
    assert phone.ask("user-auth", passphrase=new, **asked)["fingerprint"]
