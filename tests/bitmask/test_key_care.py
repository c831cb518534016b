"""The care for an account's keys in the background: made, extended and published by itself, and failures shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.bitmask.key_care import LOOK_INTERVAL, KeyCare
from leap.keymanager.keys import KeyManager
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import Certificate, SecretKey, Unsupported, generate, offload
from leap.soledad.errors import Unreachable
from leap.soledad.store import Soledad
from tests.keymanager.conftest import ALICE, BIRTH, DAY, FakeDirectory, Time


class Directory(FakeDirectory):
    """One that tells when it took something."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Condition()

    async def put_certificate(self, certificate: bytes, /) -> None:
        await super().put_certificate(certificate)
        async with self._news:
            self._news.notify_all()

    async def took(self, count: int) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.put) >= count)


class Surroundings:
    """What the care depends on, each of which can fail."""

    def __init__(self) -> None:
        self.settled = True
        self.offline = False
        self.syncs = 0
        self.monotonic = 0.0

    async def sync(self) -> None:
        if self.offline:
            raise Unreachable("the provider does not answer")
        self.syncs += 1


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
async def keys(tmp_path: Path, directory: Directory, clock: Time) -> AsyncIterator[KeyManager]:
    store = await Soledad.open(tmp_path / "alice.db", bytes(32), merges=MERGES)
    manager = KeyManager(store, ALICE, directory, now=clock)
    yield manager
    manager.close()
    await store.close()


@pytest.fixture
def care(keys: KeyManager, around: Surroundings) -> KeyCare:
    return KeyCare(keys, lambda: around.settled, around.sync, monotonic=lambda: around.monotonic)


async def test_a_key_is_made_synced_and_published(
    care: KeyCare, keys: KeyManager, directory: Directory, around: Surroundings
) -> None:
    assert await care.care()
    assert directory.put == [(await keys.own.certificate()).binary]
    assert around.syncs == 1
    assert await care.care()
    assert len(directory.put) == 1


async def test_what_fails_is_shown_and_done_later(
    care: KeyCare,
    keys: KeyManager,
    directory: Directory,
    around: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(*_: object, **__: object) -> SecretKey:
        raise Unsupported("there is no such curve in this library")

    with monkeypatch.context() as patched:
        patched.setattr(offload, "generate", failing)
        assert not await care.care()
        assert "no such curve" in care.problem
    around.offline = True
    assert not await care.care()
    assert care.problem == ""
    assert "does not answer" in (await keys.publishing.state()).error
    assert directory.put == []
    around.offline = False
    assert await care.care()
    assert (await keys.publishing.state()).error == ""
    assert len(directory.put) == 1


async def test_the_key_is_extended_and_published_again_by_itself(
    care: KeyCare, directory: Directory, clock: Time
) -> None:
    await care.care()
    clock.at += (2 * 365 - 60) * DAY
    assert await care.care()
    ends = [Certificate.from_bytes(binary).expires for binary in directory.put]
    assert ends == [BIRTH + DAY + years * 365 * DAY for years in (2, 3)]
    assert await care.care()
    assert len(directory.put) == 2


async def test_a_clock_that_is_years_ahead_signs_no_later_end(
    care: KeyCare, keys: KeyManager, directory: Directory, clock: Time, around: Surroundings
) -> None:
    await care.care()
    before = (await keys.own.certificate()).binary
    clock.at += 70 * 365 * DAY
    around.offline = True  # by that clock the provider's TLS certificate has expired
    await care.care()
    assert (await keys.own.certificate()).binary == before
    clock.at -= 70 * 365 * DAY
    around.offline = False
    assert await care.care()
    assert directory.put == [before]


async def test_what_a_person_must_do_is_shown_and_the_key_is_published_all_the_same(
    care: KeyCare, keys: KeyManager, directory: Directory
) -> None:
    whole = generate(ALICE, now=lambda: BIRTH, lifetime=30 * DAY)
    bare = {s.public.fingerprint: s for s in whole.decryption_keys()}
    await keys.own.add(SecretKey(whole.certificate, bare), use=True)
    assert await care.care()
    assert "primary secret key is not here" in care.problem
    assert directory.put == [whole.certificate.binary]


async def test_what_the_directory_has_is_looked_at_once_a_day(
    care: KeyCare, directory: Directory, around: Surroundings
) -> None:
    await care.care()
    asked = len(directory.asked)
    around.monotonic += LOOK_INTERVAL - 1
    await care.care()
    assert len(directory.asked) == asked
    around.monotonic += 1
    await care.care()
    assert len(directory.asked) == asked + 1
    assert len(directory.put) == 2  # this directory forgets what it took


async def test_a_provisional_device_makes_nothing_and_a_change_wakes_the_care(
    care: KeyCare, keys: KeyManager, directory: Directory, around: Surroundings
) -> None:
    around.settled = False
    running = asyncio.create_task(care.run())
    try:
        care.wake()
        await asyncio.sleep(0)
        assert await keys.own_keys() == []
        around.settled = True
        care.wake()
        await directory.took(1)
        await keys.own_changes.rotate_subkey()
        await directory.took(2)
        assert directory.put[-1] == (await keys.own.certificate()).binary
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
