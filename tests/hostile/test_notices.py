"""Floods and silence on the stream of notices: bounded work, and news all the same."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from leap.soledad.syncing.notices import FREE_NOTICES
from tests.hostile.notices import FloodWithNotices, SilenceNotices
from tests.hostile.switching_off import switched_off
from tests.hostile.world import Device, World, opened

Template = tuple[Path, ssl.SSLContext]


@contextlib.asynccontextmanager
async def running(device: Device) -> AsyncIterator[None]:
    heard = asyncio.Event()
    end = device.engine.on_notice(lambda kind, _: heard.set())
    task = asyncio.create_task(device.engine.run())
    try:
        await asyncio.wait_for(heard.wait(), 20)
        await until(lambda: device.engine.status.last_sync is not None)
        yield
    finally:
        end()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - some of it is told by nobody
            await asyncio.sleep(0.01)


async def news_arrive(world: World, seconds: float = 20) -> None:
    heard = asyncio.Event()
    end = world.phone.store.on_change(lambda changes: heard.set() if changes.from_sync else None)
    await world.laptop.put("d1", v="news")
    await world.laptop.sync()
    try:
        async with asyncio.timeout(seconds):
            await heard.wait()
    finally:
        end()
    assert await world.phone.get("d1") == {"v": "news"}


async def flood(attack: FloodWithNotices, count: int) -> None:
    for n in range(count):
        attack.events.publish(attack.alice, "head", 2**40 + n)
        await asyncio.sleep(0.01)


async def test_a_true_notice_brings_news(template: Template, tmp_path: Path) -> None:
    kind = FloodWithNotices
    world_of_it = opened(template[0], tmp_path / "w", kind, template[1])
    async with world_of_it as (world, _), running(world.phone):
        await news_arrive(world)


async def test_a_flood_of_notices_costs_a_few_pulls_only(
    template: Template, tmp_path: Path
) -> None:
    kind = FloodWithNotices
    world_of_it = opened(template[0], tmp_path / "w", kind, template[1])
    async with world_of_it as (world, attack), running(world.phone):
        attack.evil = True
        await flood(attack, 100)
        assert 1 <= attack.asked <= FREE_NOTICES + 4
        assert not world.phone.engine.status.alarm
        await world.bob.put("meanwhile", v=1)
        await world.bob.sync()


async def test_without_the_bound_a_flood_keeps_the_device_busy(
    template: Template, tmp_path: Path
) -> None:
    kind = FloodWithNotices
    with switched_off(kind.checks):
        world_of_it = opened(template[0], tmp_path / "w", kind, template[1])
        async with world_of_it as (world, attack), running(world.phone):
            attack.evil = True
            flooding = asyncio.create_task(flood(attack, 100_000))
            await until(lambda: attack.asked > 2 * (FREE_NOTICES + 4))
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)


async def test_news_come_although_notices_fall_silent(template: Template, tmp_path: Path) -> None:
    kind = SilenceNotices
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        attack.evil = True
        async with running(world.phone):
            await news_arrive(world)
            assert attack.streams > 1


async def test_without_its_time_limit_a_silent_stream_keeps_news_away(
    template: Template, tmp_path: Path
) -> None:
    kind = SilenceNotices
    with switched_off(kind.checks):
        async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
            attack.evil = True
            async with running(world.phone):
                with pytest.raises(TimeoutError):  # it would take a quarter of an hour
                    await news_arrive(world, seconds=2.5)
                assert attack.streams == 1
