"""Contents that are damaged or missing at the provider: counted, asked for again, mended by who holds them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.local import FIRST_RETRY, LAST_RETRY
from leap.soledad.errors import Refused
from leap.soledad.syncing.wishes import LAPSE_SECONDS, MAX_IDS, RENEW_SECONDS
from tests.soledad.memory_provider import NOW, Account, Device
from tests.soledad.packed import wipe
from tests.soledad.two_devices import equal, until


class Clock:
    """One time for the stores and the engines of all devices."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


async def family(account: Account) -> tuple[Device, Device, Clock]:
    clock = Clock()
    laptop = await account.device("laptop", now=clock)
    phone = await account.device("phone", now=clock)
    return laptop, phone, clock


def later(clock: Clock, seconds: float, *devices: Device) -> None:
    clock.now += seconds
    for device in devices:
        device.now = clock.now


async def one_pass(device: Device) -> None:
    """What runs in the background after a sync, once."""
    while await device.engine._transfer.fetch_batch():
        pass
    await device.engine._contents._wishes.grant()
    await device.engine._contents._wishes.tell()
    await device.engine.refresh_status()


@asynccontextmanager
async def running(device: Device) -> AsyncIterator[None]:
    task = asyncio.create_task(device.engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def damage(account: Account, ref: BlobRef, how: str) -> None:
    blobs = account.provider.blobs
    if how == "missing":
        del blobs[ref.blob_id]
    else:
        blobs[ref.blob_id] = bytes(len(blobs[ref.blob_id]))


@pytest.mark.parametrize("how", ["altered", "missing"])
async def test_a_lost_blob_is_counted_and_the_log_goes_on(account: Account, how: str) -> None:
    laptop, phone, _ = await family(account)
    bad = await laptop.add_blobs("r1", b"head", b"body")
    good = await laptop.add_blobs("r2", b"head2", b"body2")
    await laptop.sync()
    damage(account, bad[0], how)
    arrived = asyncio.Event()

    async with running(phone):
        status = await until(phone, lambda s: s.contents_missing and not s.blobs_to_fetch)
        assert (status.contents_missing, status.alarm) == (1, "")
        phone.store.on_change(lambda changes: arrived.set())
        await laptop.put("afterwards", v=1)
        await laptop.sync()
        await asyncio.wait_for(arrived.wait(), 5)
    assert await phone.content("afterwards") == {"v": 1}
    phone.store.attach(None)
    assert await phone.store.read_blobs([bad[1], *good]) == [b"body", b"head2", b"body2"]


async def test_a_lost_blob_is_asked_for_later_and_later_and_daily(account: Account) -> None:
    laptop, phone, clock = await family(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    whole = account.provider.blobs.pop(refs[0].blob_id)
    await phone.sync()
    pauses: list[float] = []
    for _ in range(14):
        await one_pass(phone)
        asked = len(phone.remote.fetched)
        await one_pass(phone)
        assert len(phone.remote.fetched) == asked  # not before its time
        pause = await phone.store.read(phone.store.blobs.next_retry)
        assert pause is not None
        pauses.append(pause)
        later(clock, pause, phone)
    assert pauses[0] == FIRST_RETRY
    assert pauses == sorted(pauses)
    assert pauses[-2:] == [LAST_RETRY] * 2
    account.provider.blobs[refs[0].blob_id] = whole
    await one_pass(phone)
    assert phone.engine.status.contents_missing == 0
    phone.store.attach(None)
    assert await phone.store.read_blob(refs[0]) == b"head"


async def test_a_person_need_not_wait_for_the_retry(account: Account) -> None:
    laptop, phone, _ = await family(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    whole = account.provider.blobs.pop(refs[0].blob_id)
    async with running(phone):
        await until(phone, lambda s: s.contents_missing == 1)
        account.provider.blobs[refs[0].blob_id] = whole
        await phone.engine.retry_contents()
        await until(phone, lambda s: s.contents_missing == 0)


async def test_a_clock_set_back_does_not_put_the_retry_off_for_ever(account: Account) -> None:
    laptop, phone, clock = await family(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await phone.sync()
    account.provider.blobs.pop(refs[0].blob_id)
    later(clock, 400 * 24 * 3600, phone)
    await one_pass(phone)
    later(clock, -400 * 24 * 3600, phone)
    asked = len(phone.remote.fetched)
    await one_pass(phone)
    assert len(phone.remote.fetched) == asked + 1


async def test_blobs_given_up_by_an_earlier_version_are_asked_for_again(
    account: Account,
) -> None:
    laptop, phone, _ = await family(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await phone.sync()

    def as_it_was(c: Any) -> None:
        c.execute("UPDATE blob_wanted SET missing = 1")
        c.execute("DROP TABLE blob_lost")

    await phone.store.write(as_it_was)
    await phone.restart()
    assert (await phone.engine.refresh_status()).contents_missing == 2
    await one_pass(phone)
    assert phone.engine.status.contents_missing == 0
    assert await phone.store.read_blob(refs[0]) == b"head"


async def test_one_blob_the_provider_cannot_give_does_not_hold_up_the_others(
    account: Account,
) -> None:
    laptop, phone, _ = await family(account)
    refs = [await laptop.add_blobs(f"r{n}", b"h%d" % n, b"b%d" % n) for n in range(9)]
    await laptop.sync()
    await phone.sync()
    bad = refs[4][1].blob_id

    def broken(call: Any) -> Any:
        if bad in phone.remote.fetched[-1]:
            raise Refused("internal", "something went wrong at the provider", 500)
        return call()

    phone.remote.always["get_blobs"] = broken
    await one_pass(phone)
    status = phone.engine.status
    assert (status.contents_missing, status.blobs_to_fetch) == (1, 0)


# --- other devices ---


@pytest.mark.parametrize("how", ["altered", "missing"])
async def test_a_device_that_holds_a_lost_blob_sends_it_again(account: Account, how: str) -> None:
    laptop, phone, clock = await family(account)
    refs = await laptop.add_blobs("r", b"head", b"body" * 1000)
    await laptop.sync()
    whole = account.provider.blobs[refs[1].blob_id]
    damage(account, refs[1], how)
    await phone.sync()
    await one_pass(phone)
    await laptop.sync()
    assert await laptop.store.find_docs("blobs-wanted") == []  # it may be gone with its row
    later(clock, FIRST_RETRY, laptop, phone)
    await one_pass(phone)
    await equal(phone, laptop)
    await one_pass(laptop)
    assert account.provider.blobs[refs[1].blob_id] == whole
    later(clock, LAST_RETRY, laptop, phone)
    await one_pass(phone)
    assert phone.engine.status.contents_missing == 0
    await equal(phone, laptop)
    (wish,) = await laptop.store.find_docs("blobs-wanted")
    assert wish.content is not None
    assert wish.content["blobs"] == []
    sent = laptop.remote.requests.count("put_blobs")
    await one_pass(laptop)
    assert laptop.remote.requests.count("put_blobs") == sent


async def test_a_blob_that_is_damaged_here_too_or_without_row_is_not_sent(account: Account) -> None:
    laptop, phone, clock = await family(account)
    damaged = await laptop.add_blobs("r1", b"head", b"body")
    expunged = await laptop.add_blobs("r2", b"head2", b"body2")
    await laptop.sync()
    await phone.sync()
    account.provider.blobs.clear()
    await one_pass(phone)
    later(clock, FIRST_RETRY, laptop, phone)
    await one_pass(phone)
    await phone.sync()
    await wipe(laptop.store, damaged[0].blob_id)
    await laptop.expunge("r2")
    await laptop.sync()
    await one_pass(laptop)
    assert set(account.provider.blobs) == {damaged[1].blob_id}
    assert len(expunged) == 2


async def test_a_wish_is_renewed_while_it_holds_and_lapses_when_its_device_is_gone(
    account: Account,
) -> None:
    laptop, phone, clock = await family(account)
    await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await phone.sync()
    saved = dict(account.provider.blobs)
    account.provider.blobs.clear()
    await one_pass(phone)
    later(clock, FIRST_RETRY, laptop, phone)
    await one_pass(phone)
    await phone.sync()
    (first,) = await phone.store.find_docs("blobs-wanted")
    await one_pass(phone)
    assert (await phone.store.find_docs("blobs-wanted"))[0].revision == first.revision
    later(clock, LAPSE_SECONDS, laptop, phone)
    await laptop.sync()
    await one_pass(laptop)
    assert account.provider.blobs == {}
    assert LAPSE_SECONDS > RENEW_SECONDS
    await one_pass(phone)
    await phone.sync()
    await laptop.sync()
    await one_pass(laptop)
    assert account.provider.blobs == saved


async def test_a_wish_names_no_more_than_a_batch(account: Account) -> None:
    _, phone, _ = await family(account)

    def lose(c: Any) -> None:
        for n in range(MAX_IDS + 50):
            c.execute("INSERT INTO blob_lost VALUES (?, 2, 0)", (f"{n:032x}",))

    await phone.store.write(lose)
    await phone.engine._contents._wishes.tell()
    (wish,) = await phone.store.find_docs("blobs-wanted")
    assert wish.content is not None
    assert len(wish.content["blobs"]) == MAX_IDS
