"""`bitmask sync contents`: what was not fetched, or went to save room, comes when a mail program reads it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bitmask.command import bitmask
from tests.scenarios.world import Device, World, append, fetched, world

ALICE = "alice@example.test"
BODIES = [os.urandom(30_000).hex().encode() for _ in range(3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("contents")) as made:
        yield made


def contents(device: Device, *options: str, code: int = 0) -> Any:
    done = bitmask(device.home.path, "sync", "contents", *options, code=code)
    return json.loads(done.stdout) if "--json" in options else done.stdout + done.stderr


def until_held(device: Device, name: str, count: int) -> dict[str, Any]:
    """How things stand once so many contents are `here`, `evicted` or `absent`."""
    deadline = time.monotonic() + 30
    while True:
        held: dict[str, Any] = contents(device, "--json")
        if held[name]["blobs"] == count:
            return held
        assert time.monotonic() < deadline, held
        time.sleep(0.1)


def subjects(device: Device) -> int:
    """Of how many mails a mail program is given the envelope."""
    with device.imap("alice") as imap:
        imap.select("INBOX", readonly=True)
        typ, data = imap.uid("FETCH", "1:*", "(ENVELOPE)")
        assert typ == "OK"
        return sum(b"Letter " in line for line in data)


def read(device: Device, number: int) -> bytes | None:
    """The mail of this number as a mail program is given it; None when it is refused."""
    with device.imap("alice") as imap:
        imap.select("INBOX", readonly=True)
        _, found = imap.uid("SEARCH", "SUBJECT", f'"Letter {number}"')
        typ, data = imap.uid("FETCH", found[0].decode(), "(UID BODY.PEEK[])")
        return None if typ == "NO" else fetched(data)[int(found[0])]


def test_contents_are_kept_fetched_and_evicted_as_was_decided(made: World) -> None:
    laptop = made.device("laptop")
    laptop.create("alice")
    phone = made.device("phone")
    phone.auth("alice")
    assert contents(phone, "--json")["contents"] == "all"
    assert "when it is read" in contents(phone, "--on-demand")

    raws = [
        b"From: bob@example.test\r\nTo: %s\r\nSubject: Letter %d\r\n\r\n%s\r\n"
        % (ALICE.encode(), number, body)
        for number, body in enumerate(BODIES)
    ]
    with laptop.imap("alice") as imap:
        for raw in raws:
            assert append(imap, "INBOX", raw)[0] == "OK"
    laptop.ask("sync-now", address=ALICE)
    phone.ask("sync-now", address=ALICE)

    # On demand: the lists come by themselves, a content when it is read.
    held = until_held(phone, "here", 3)
    assert held["absent"]["blobs"] == 3
    assert held["absent"]["bytes"] == sum(map(len, raws))
    assert subjects(phone) == 3
    assert read(phone, 1) == raws[1]
    assert contents(phone, "--json")["absent"]["blobs"] == 2

    # The decision is kept over a restart; without the provider lists are there, contents are not.
    phone.process.stop()
    phone.restart()
    made.provider.stop()
    assert contents(phone, "--json")["contents"] == "on-demand"
    assert subjects(phone) == 3
    assert read(phone, 1) == raws[1]
    assert read(phone, 2) is None
    made.provider.start()

    # A budget of nothing: what is safely at the provider goes, and comes when it is read.
    said = contents(laptop, "--keep", "0")
    assert "At most 0 bytes stay here" in said
    held = until_held(laptop, "evicted", 3)
    assert held["here"]["blobs"] == 3
    assert "Gone from here to save room: 3 contents" in contents(laptop)
    assert sorted(laptop.messages("alice").values()) == sorted(raws)

    # Everything again.
    for device in (laptop, phone):
        contents(device, "--all")
        device.ask("sync-now", address=ALICE)
        held = until_held(device, "here", 6)
        assert held["evicted"]["blobs"] == held["absent"]["blobs"] == 0
    assert "is not a size" in contents(phone, "--keep", "much", code=2)
    assert "cannot stand" in contents(phone, "--all", "--on-demand", code=2)
