"""Mail that brings down or holds up what opens it is set aside, and what follows is not kept waiting."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from functools import partial

import pytest

from leap.mail.incoming import begun, workshop
from leap.mail.incoming.apart import Stopped, run_apart
from leap.mail.incoming.ready import Desk, Outcome, make_all_ready
from leap.soledad.inbox_seal import open_from_inbox
from tests.mail.travel import DOMAIN, Person, mail

BOB = f"bob@{DOMAIN}"
KILLS, SPINS = b"This one kills.", b"This one spins."
_released = threading.Event()


def opened_by_a_fragile_program(items: Sequence[bytes], desk: Desk) -> list[Outcome]:
    """`make_all_ready` of a version which two kinds of mail are too much for."""
    for sealed in items:
        raw = open_from_inbox(sealed, desk.inbox_keys, desk.account)
        apart = multiprocessing.parent_process() is not None
        if KILLS in raw and apart:
            os._exit(11)
        if SPINS in raw:
            while apart:
                pass
            _released.wait(60)
    return make_all_ready(items, desk)


def double(first: int, second: int) -> int:
    return 2 * (first + second)


def end(first: int, second: int) -> None:
    os._exit(first)


def spin(first: int, second: int) -> None:
    while True:
        pass


def fill_memory(first: int, second: int) -> bytes:
    return b"x" * (first * 1024**3)


def test_work_apart_gives_its_result() -> None:
    assert run_apart(double, 3, 4, seconds=30) == 14


def test_work_apart_that_ends_its_process_is_stopped() -> None:
    with pytest.raises(Stopped, match="brought down"):
        run_apart(end, 3, 0, seconds=30)


def test_work_apart_that_never_ends_is_ended() -> None:
    with pytest.raises(Stopped):
        run_apart(spin, 0, 0, seconds=1)


def test_work_apart_has_only_so_much_memory() -> None:
    with pytest.raises(Stopped):
        run_apart(fill_memory, 64, 0, seconds=30)


async def test_what_killed_the_program_is_opened_apart_and_set_aside_and_the_others_arrive(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "make_all_ready", opened_by_a_fragile_program)
    for body in (b"One.\r\n", KILLS + b"\r\n", b"Three.\r\n"):
        bob.provider.deliver(BOB, mail(body=body))
    sealed = [one.item.sealed for one in bob.provider.inboxes[BOB]]
    row_ids = [await bob.incoming._row_id(one) for one in sealed]
    await bob.store.transact(lambda tx: begun.note(tx.connection, row_ids))  # then it was killed
    assert await bob.incoming.process_once() == 3
    assert sorted(one.partition(b"\r\n\r\n")[2] for one in await bob.messages()) == [
        b"One.\r\n",
        b"Three.\r\n",
    ]
    assert bob.provider.waiting(BOB) == 0
    [kept] = await bob.incoming.quarantined.items()
    assert kept.poisoned
    assert "brought down" in kept.reason
    raw, opened = await bob.incoming.quarantined.export(kept.row_id)
    assert opened
    assert KILLS in raw
    # not again by itself, until another version comes; then it is a mail like any other
    assert await bob.incoming.quarantined.retry() == []
    assert await bob.incoming.quarantined.retry([kept.row_id]) == []
    monkeypatch.setattr("leap.mail.incoming.quarantined_mail.__version__", "99")
    monkeypatch.setattr(workshop, "make_all_ready", make_all_ready)
    assert await bob.incoming.quarantined.retry() == [kept.row_id]
    assert len(await bob.messages()) == 3
    left = await bob.store.transact(partial(_begun))
    assert left == frozenset()


def _begun(tx: object) -> frozenset[str]:
    connection = tx.connection  # type: ignore[attr-defined]
    return frozenset(row_id for (row_id,) in connection.execute("SELECT row_id FROM inbox_begun"))


async def test_what_takes_for_ever_is_set_aside_and_the_others_arrive(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "make_all_ready", opened_by_a_fragile_program)
    monkeypatch.setattr(workshop, "PATIENCE", 0.3)
    monkeypatch.setattr(workshop, "APART", 2.0)
    _released.clear()
    try:
        for body in (b"One.\r\n", SPINS + b"\r\n"):
            bob.provider.deliver(BOB, mail(body=body))
        assert await bob.incoming.process_once() == 2
    finally:
        _released.set()
    assert len(await bob.messages()) == 1
    [kept] = await bob.incoming.quarantined.items()
    assert kept.poisoned
