"""What one device cannot notice shows by comparing: stale devices in the status, and the words of two fingerprints."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.hostile.limits import FreezeLog, KeepForksApart, ShowOldLogToNewDevice
from tests.hostile.test_limits import news
from tests.hostile.world import Device, World, opened

Template = tuple[Path, ssl.SSLContext]
DAYS = 24 * 3600.0


async def words(device: Device) -> tuple[str, ...]:
    return (await device.engine.fingerprint()).words


async def in_step(world: World) -> None:
    for device in (world.laptop, world.phone, world.laptop):
        await device.sync()


async def test_devices_in_step_show_the_same_words_and_nobody_is_stale(
    template: Template, tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", FreezeLog, template[1]) as (world, _):
        await news(world.laptop, "news")
        await in_step(world)
        assert await words(world.phone) == await words(world.laptop)
        for device in (world.laptop, world.phone):
            device.later = 4 * DAYS
        await in_step(world)
        assert world.phone.engine.status.stale == ()
        assert await words(world.phone) == await words(world.laptop)


async def test_a_freeze_shows_as_a_stale_device_and_in_the_words(
    template: Template, tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", FreezeLog, template[1]) as (world, attack):
        await news(world.laptop, "news")
        await in_step(world)
        await attack.freeze()
        for device in (world.laptop, world.phone):
            device.later = 4 * DAYS
        attack.evil = False  # the laptop alone is shown the truth
        await news(world.laptop, "later")
        attack.evil = True
        await world.phone.engine._puller.pull()
        status = await world.phone.engine.refresh_status()
        assert [device.name for device in status.stale] == ["laptop"]
        assert await words(world.phone) != await words(world.laptop)


async def test_a_permanent_fork_shows_as_a_stale_device_and_in_the_words(
    template: Template, tmp_path: Path
) -> None:
    kind = KeepForksApart
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        await in_step(world)
        common = await attack.copy_log()
        for device in (world.laptop, world.phone):
            device.later = 4 * DAYS
        await news(world.laptop, "laptop's world")
        await attack.put_log(common)
        await news(world.phone, "phone's world")
        assert await words(world.phone) != await words(world.laptop)
        assert [one.name for one in world.phone.engine.status.stale] == ["laptop"]
        assert [one.name for one in world.laptop.engine.status.stale] == ["phone"]


async def test_an_old_log_shown_to_a_new_device_shows_in_the_words(
    template: Template, tmp_path: Path
) -> None:
    kind = ShowOldLogToNewDevice
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        old = await attack.copy_log()
        await news(world.laptop, "news")
        newest = await attack.copy_log()
        await attack.put_log(old)
        tablet = await world.enrol("tablet")
        await tablet.engine._puller.pull()
        assert await words(tablet) != await words(world.laptop)
        await attack.put_log(newest)
        await tablet.sync()
        await world.laptop.sync()
        await tablet.sync()
        assert await words(tablet) == await words(world.laptop)
