"""A lost device, a lost passphrase, a killed daemon: what a person does with real daemons and a real provider."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.control import ControlError
from leap.soledad.errors import AuthFailed
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import derive_passphrase
from tests.scenarios.world import PASSPHRASES, Device, World, world

ALICE, CAROL = "alice@example.test", "carol@example.test"
OLD, NEW = PASSPHRASES["alice"], "a new one, chosen in a hurry"
LETTER = b"From: bob@example.test\r\nTo: alice@example.test\r\nSubject: %s\r\n\r\nLetter %s.\r\n"


def _where(made: World, name: str) -> dict[str, Any]:
    provider = made.provider.said
    return {"api": provider["api"], "ca": Path(provider["ca"]).read_text(), "device_name": name}


def _send(device: Device, name: bytes) -> None:
    with device.smtp("bob") as smtp:
        smtp.sendmail("bob@example.test", [ALICE], LETTER % (name, name))


def _unlock(device: Device, passphrase: str) -> Any:
    result = device.ask("user-auth", address=ALICE, passphrase=passphrase)
    device.logins["alice"] = result
    return result


def _refusal(device: Device, command: str, **arguments: Any) -> ControlError:
    with pytest.raises(ControlError) as refused:
        device.ask(command, **arguments)
    return refused.value


def _bodies(served: dict[int, bytes]) -> list[bytes]:
    return sorted(raw.rpartition(b"Letter ")[2] for raw in served.values())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("lost")) as made:
        yield made


def test_a_lost_device_and_a_lost_passphrase(made: World) -> None:
    """Alice loses her laptop and her passphrase; the 24 words bring mail and keys back, and the laptop is let out."""
    laptop, phone, tablet = (made.device(name) for name in ("laptop", "phone", "tablet"))
    code = laptop.create("alice")["recovery_code"]
    phone.auth("alice")
    phone.create("bob")
    _send(phone, b"one")
    laptop.wait_for("alice", 1)
    assert laptop.ask("recovery-show", address=ALICE, passphrase=OLD)["recovery_code"] == code
    fingerprint = laptop.logins["alice"]["fingerprint"]
    laptop.process.kill()

    words = code.split()
    mistyped = " ".join([*words[:-1], "zebra" if words[-1] != "zebra" else "able"])
    asked = {**_where(made, "tablet"), "address": ALICE, "words": code, "passphrase": NEW}
    for change, kind in (
        ({"words": "one two three"}, "wrong-words"),
        ({"words": mistyped}, "wrong-words"),
        ({"passphrase": "short"}, "weak"),
    ):
        assert _refusal(tablet, "recovery-restore", **{**asked, **change}).kind == kind
    tablet.logins["alice"] = tablet.ask("recovery-restore", **asked)
    assert _bodies(tablet.wait_for("alice", 1)) == [b"one.\r\n"]
    assert tablet.logins["alice"]["fingerprint"] == fingerprint
    _send(phone, b"two")  # to the new inbox key
    for device in (tablet, phone):
        assert _bodies(device.wait_for("alice", 2)) == [b"one.\r\n", b"two.\r\n"]
    assert tablet.ask("recovery-show", address=ALICE, passphrase=NEW)["recovery_code"] == code

    removed = tablet.ask(
        "device-revoke", address=ALICE, device="laptop", passphrase=NEW, new_passphrase=None
    )
    assert removed == {
        "device_id": removed["device_id"],
        "name": "laptop",
        "recovery_code": None,
    }
    laptop.process.start()
    assert "changed on another device" in _unlock(laptop, OLD)["notice"]
    refused = _refusal(laptop, "user-auth", address=ALICE, passphrase=NEW)
    assert refused.kind == "device-revoked"
    assert "removed from the account" in str(refused)
    assert _bodies(laptop.messages("alice")) == [b"one.\r\n"]  # what was on it is on it

    # The phone goes on under its old passphrase, says what to do, and takes the new one.
    _send(phone, b"three")
    for device in (tablet, phone):
        device.wait_for("alice", 3)
    behind = _refusal(phone, "recovery-show", address=ALICE, passphrase=OLD)
    assert behind.kind == "passphrase-changed"
    assert _unlock(phone, NEW)["notice"] == ""
    assert phone.ask("recovery-show", address=ALICE, passphrase=NEW)["recovery_code"] == code
    phone.process.stop()
    phone.process.start()
    locked = _refusal(phone, "user-auth", address=ALICE, passphrase=OLD)
    assert "old one here first" in str(locked)
    assert _unlock(phone, NEW)["online"]
    listed = phone.ask("device-list", address=ALICE)
    assert [(one["name"], one["this"], one["revoked"] is None) for one in listed] == [
        ("laptop", False, False),
        ("phone", True, True),
        ("tablet", False, True),
    ]
    assert all(one["last_wrote"] is not None for one in listed)


class Change(threading.Thread):
    """`bitmask passphrase change`, until the daemon under it dies."""

    def __init__(self, device: Device, old: str, new: str) -> None:
        super().__init__()
        self._device, self._old, self._new = device, old, new
        self.failed: ControlError | None = None

    def run(self) -> None:
        try:
            self._device.ask(
                "passphrase-change", address=CAROL, passphrase=self._old, new_passphrase=self._new
            )
        except ControlError as error:
            self.failed = error


def _until(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


async def _provider_takes(made: World, passphrase: str) -> bool:
    provider = made.provider.said
    async with ProviderClient(provider["api"], ca_file=Path(provider["ca"])) as client:
        try:
            derive = partial(derive_passphrase, passphrase)
            await client.log_in_with(CAROL, derive, "0" * 32, "a check")
        except AuthFailed:
            return False
        await client.log_out()
        return True


def test_a_daemon_killed_during_a_change_leaves_one_passphrase_that_holds(made: World) -> None:
    """kill -9 when the new vault appears, and when the provider has the change but cannot answer."""
    laptop = made.device("carols")
    laptop.create("carol")
    vault = laptop.home.vault(CAROL)
    beside, wal = vault.with_name("vault.json.next"), vault.with_name("store.db-wal")
    current = PASSPHRASES["carol"]
    for number, fall in enumerate(("new vault", "no answer")):
        fresh = f"passphrase number {number}"
        written = wal.stat().st_mtime_ns
        change = Change(laptop, current, fresh)
        change.start()
        assert _until(beside.exists)
        if fall == "no answer":
            os.kill(made.provider.pid, signal.SIGSTOP)
            _until(lambda: wal.stat().st_mtime_ns != written, 2)  # noqa: B023 - called at once
        laptop.process.kill()
        os.kill(made.provider.pid, signal.SIGCONT)
        change.join()
        assert change.failed is not None

        laptop.process.start()
        for passphrase in (
            fresh,
            current,
        ):  # whichever it is, one unlocks, and the change is settled by it
            try:
                laptop.ask("user-auth", address=CAROL, passphrase=passphrase)
                break
            except ControlError as error:
                refused = error.kind
                assert refused == "wrong-passphrase", error  # noqa: PT017 - the other may be right
        assert not beside.exists()
        holding = [one for one in (current, fresh) if asyncio.run(_provider_takes(made, one))]
        assert len(holding) == 1
        (now,) = holding
        assert laptop.ask("recovery-show", address=CAROL, passphrase=now)["recovery_code"]
        other = fresh if now == current else current
        refusal = _refusal(laptop, "recovery-show", address=CAROL, passphrase=other)
        assert refusal.kind == "wrong-passphrase"
        print(f"killed at {fall!r}: the {'new' if now == fresh else 'old'} passphrase holds")
        current = now
    for path in laptop.home.path.rglob("*"):
        assert not path.stat().st_mode & 0o077, path
