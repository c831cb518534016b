"""What makes a running engine sync, how soon, and how it waits at an alarm."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from leap.soledad.errors import ProviderLies
from leap.soledad.remote.events import Event
from leap.soledad.syncing import SyncEngine
from leap.soledad.syncing.notices import FREE_NOTICES
from tests.soledad.memory_provider import Account, Device
from tests.soledad.test_syncing import until_quiet
from tests.soledad.two_devices import equal, pair, prepared, until


@asynccontextmanager
async def running(*devices: Device) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(device.engine.run()) for device in devices]
    try:
        for device in devices:
            await asyncio.wait_for(device.engine.pulled.wait(), 5)
        await until_quiet(*devices)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def arrival(device: Device, doc_id: str) -> None:
    """Until the document is there."""
    arrived = asyncio.Event()
    end = device.store.on_change(lambda changes: arrived.set())
    try:
        while await device.content(doc_id) is None:
            await asyncio.wait_for(arrived.wait(), 10)
            arrived.clear()
    finally:
        end()


def tell(account: Account, kind: str, data: int) -> None:
    for listener in account.provider.listeners:
        listener.put_nowait(Event(kind, data))


# --- notices ---


async def test_a_notice_of_a_head_that_is_not_there_is_heeded_once(account: Account) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    async with running(phone):
        before = phone.remote.requests.count("pull")
        pulled = asyncio.Event()

        async def note() -> None:
            pulled.set()

        phone.remote.before["pull"] = note
        tell(account, "head", 2**52)
        await asyncio.wait_for(pulled.wait(), 5)
        await until_quiet(phone)
        assert phone.remote.requests.count("pull") == before + 1
        await laptop.put("d", v=1)  # the next notice is of a lower seq, and is heeded all the same
        await laptop.sync()
        await arrival(phone, "d")


@pytest.mark.parametrize("kind", ["head", "hello"])
async def test_a_flood_of_empty_notices_makes_few_requests(account: Account, kind: str) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    async with running(phone):
        before = phone.remote.requests.count("pull")
        for n in range(3 * FREE_NOTICES):
            tell(account, kind, 2**52 + n)
            await until_quiet(phone)
        assert phone.remote.requests.count("pull") <= before + FREE_NOTICES + 5
        committed: asyncio.Queue[Event] = asyncio.Queue()
        account.provider.listeners.add(committed)
        await phone.put("own", v=1)  # what is changed here does not wait for that
        await asyncio.wait_for(committed.get(), 5)
        await laptop.sync()
        assert await laptop.content("own") == {"v": 1}


async def test_a_notice_that_comes_while_somebody_else_syncs_is_not_forgotten(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    async with running(phone):
        heard = asyncio.Event()
        phone.engine.on_notice(lambda kind, data: heard.set())
        async with phone.engine._lock:
            await laptop.put("d", v=1)
            await laptop.sync()
            await asyncio.wait_for(heard.wait(), 5)
        await arrival(phone, "d")


# --- local changes ---


async def test_the_first_change_goes_at_once_and_those_that_follow_go_together(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    await laptop.engine.close()
    laptop.engine = SyncEngine(laptop.store, laptop.remote, gather=2.0)
    async with running(laptop, phone):
        commits = len(account.provider.commits)
        started = time.monotonic()
        await laptop.put("first", v=1)
        await arrival(phone, "first")
        assert time.monotonic() - started < 1.8  # did not wait for others to come
        for n in range(20):
            await laptop.put(f"more{n}", v=n)
            await until_quiet(laptop)
        await arrival(phone, "more19")
        assert time.monotonic() - started >= 1.8
        assert len(account.provider.commits) - commits <= 5


# --- alarms ---


async def test_a_running_engine_waits_at_an_alarm_until_a_person_clears_it(
    account: Account,
) -> None:
    laptop, phone = await prepared(account)
    provider = account.provider
    saved = provider.head, provider.head_seq, provider.items
    async with running(phone):
        provider.head, provider.head_seq, provider.items = b"", 0, {}
        tell(account, "hello", 1)
        alarm = (await until(phone, lambda s: bool(s.alarm))).alarm
        assert "empty log" in alarm
        tell(account, "hello", 1)
        await phone.put("local", v=1)
        counts = await until_quiet(phone)
        assert await phone.engine.clear_alarm() == alarm  # it still shows the same
        await until(phone, lambda s: s.alarm == alarm)
        again = await until_quiet(phone)
        assert again[0] == counts[0] + 1  # one look, and it waits again
        provider.head, provider.head_seq, provider.items = saved
        assert await phone.engine.clear_alarm() == alarm
        await until(phone, lambda s: not s.alarm and not s.pending)
        assert await phone.engine.clear_alarm() == ""
    await laptop.sync()
    assert await laptop.content("local") == {"v": 1}


async def test_an_alarm_of_an_earlier_run_is_waited_at_and_cleared(account: Account) -> None:
    _, phone = await prepared(account)
    provider = account.provider
    saved = provider.head, provider.head_seq, provider.items
    provider.head, provider.head_seq, provider.items = b"", 0, {}
    with pytest.raises(ProviderLies):
        await phone.sync()
    await phone.restart()
    provider.head, provider.head_seq, provider.items = saved
    task = asyncio.create_task(phone.engine.run())
    await until(phone, lambda s: bool(s.alarm))
    await until_quiet(phone)
    assert "pull" not in phone.remote.requests
    assert not task.done()
    await phone.engine.clear_alarm()
    await until(phone, lambda s: s.online)
    assert "pull" in phone.remote.requests
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
