"""What sources answered is remembered: "none" for hours and over a restart, failures shortly."""

from __future__ import annotations

import asyncio

import pytest

from leap.keymanager.discovery.answers import (
    FAILED_SECONDS,
    FOUND_SECONDS,
    NONE_SECONDS,
    Remembering,
    kept_answers,
)
from leap.keymanager.discovery.contract import Found
from leap.keymanager.errors import LookupFailed
from leap.keymanager.kept_times import KeptTimes
from leap.keymanager.openpgp import SecretKey
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad
from tests.keymanager.conftest import BOB, Time


class Place:
    """A source that says what it is told to, when it is told to."""

    name = "place"

    def __init__(self) -> None:
        self.says: Found | LookupFailed | None = None
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def find(self, address: str) -> Found | None:
        self.asked.append(address)
        self.begun.set()
        await self.gate.wait()
        if isinstance(self.says, LookupFailed):
            raise self.says
        return self.says


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def source(place: Place, store: Soledad, clock: Time) -> Remembering:
    return Remembering(place, kept_answers(store), now=clock)


def found(bob: SecretKey) -> Found:
    return Found(
        certificate=bob.certificate, level=Level.PROVIDER_TRUST, source="place", evidence="it said"
    )


async def test_none_holds_for_hours_and_over_a_restart(
    place: Place, source: Remembering, store: Soledad, clock: Time, bob: SecretKey
) -> None:
    assert await source.find(BOB) is None
    assert await source.find(BOB) is None
    again = Remembering(place, kept_answers(store), now=clock)
    place.says = found(bob)
    assert await again.find(BOB) is None
    assert place.asked == [BOB]
    clock.at += NONE_SECONDS
    assert await again.find(BOB) == place.says
    assert await source.find("ann@example.test") == place.says


async def test_a_clock_that_was_wrong_keeps_nothing_hidden(
    place: Place, source: Remembering, clock: Time, bob: SecretKey
) -> None:
    clock.at += 1_000_000_000
    assert await source.find(BOB) is None
    clock.at -= 1_000_000_000
    place.says = found(bob)
    assert await source.find(BOB) == place.says


async def test_what_was_found_holds_for_an_hour(
    place: Place, source: Remembering, clock: Time, bob: SecretKey
) -> None:
    place.says = found(bob)
    for _ in range(3):
        assert await source.find(BOB) == place.says
    assert place.asked == [BOB]
    clock.at += FOUND_SECONDS
    place.says = None
    assert await source.find(BOB) is None


async def test_a_failure_holds_for_a_minute_and_stays_a_failure(
    place: Place, source: Remembering, clock: Time, bob: SecretKey
) -> None:
    place.says = LookupFailed("it is down")
    for _ in range(3):
        with pytest.raises(LookupFailed, match="it is down"):
            await source.find(BOB)
    assert place.asked == [BOB]
    clock.at += FAILED_SECONDS
    place.says = found(bob)
    assert await source.find(BOB) == place.says


async def test_asking_anew_passes_the_memory_by(
    place: Place, source: Remembering, bob: SecretKey
) -> None:
    assert await source.find(BOB) is None
    place.says = found(bob)
    assert await source.ask(BOB) == place.says
    assert await source.find(BOB) == place.says
    place.says = None
    assert await source.refresh(BOB, bob.fingerprint) is None
    assert await source.find(BOB) is None
    assert len(place.asked) == 3


async def test_all_who_ask_at_once_share_one_look_up(
    place: Place, source: Remembering, bob: SecretKey
) -> None:
    place.gate.clear()
    place.says = found(bob)
    askers = [asyncio.create_task(source.find(BOB)) for _ in range(5)]
    await place.begun.wait()
    place.begun.clear()
    other = asyncio.create_task(source.find("ann@example.test"))
    await place.begun.wait()
    askers[0].cancel()
    place.gate.set()
    answers = await asyncio.gather(*askers[1:])
    assert answers == [place.says] * 4
    await other
    assert place.asked == [BOB, "ann@example.test"]


async def test_a_look_up_nobody_waits_for_any_more_is_finished_and_remembered(
    place: Place, source: Remembering
) -> None:
    for says in (None, LookupFailed("down")):
        place.says = says
        place.gate.clear()
        place.begun.clear()
        asker = asyncio.create_task(source.find(f"{len(place.asked)}@example.test"))
        await place.begun.wait()
        asker.cancel()
        [task] = source._under_way.values()
        place.gate.set()
        await asyncio.wait([task])
    assert await source.find("0@example.test") is None
    with pytest.raises(LookupFailed):
        await source.find("1@example.test")
    assert len(place.asked) == 2


async def test_closing_ends_what_is_under_way(place: Place, source: Remembering) -> None:
    place.gate.clear()
    asker = asyncio.create_task(source.find(BOB))
    await place.begun.wait()
    await source.close()
    with pytest.raises(LookupFailed, match="broken off"):  # whoever asks is not cancelled by it
        await asker


async def test_only_the_latest_are_kept_and_no_address_is_readable(store: Soledad) -> None:
    times = KeptTimes(store, "test.times", most=3)
    for number in range(5):
        await times.put(f"{number}@example.test", float(number))
    again = KeptTimes(store, "test.times", most=3)
    assert [await again.get(f"{n}@example.test") for n in range(5)] == [None, None, 2.0, 3.0, 4.0]
    assert b"example" not in await store.setting("test.times")
    await again.put("4@example.test", None)
    await again.put("nobody@example.test", None)
    assert await again.get("4@example.test") is None
    await again.clear()
    assert await KeptTimes(store, "test.times", most=3).get("3@example.test") is None


async def test_a_damaged_memory_is_an_empty_one(store: Soledad) -> None:
    await store.transact(lambda tx: tx.set_setting("test.times", b"\xff"))
    assert await KeptTimes(store, "test.times", most=3).get("x") is None
