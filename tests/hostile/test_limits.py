"""What cannot be noticed by one device is not called prevented: these attacks work, and nothing is lost by them."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.hostile.limits import (
    FreezeLog,
    KeepForksApart,
    PermuteSequenceNumbers,
    ShowOldLogToNewDevice,
    WithholdUnseenSuffix,
)
from tests.hostile.world import Device, opened

Template = tuple[Path, ssl.SSLContext]


async def news(device: Device, value: str) -> None:
    await device.put("d1", v=value)
    await device.put("d2", v=value)
    await device.sync()


async def test_a_frozen_log_raises_no_alarm_and_thaws_without_loss(
    template: Template, tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", FreezeLog, template[1]) as (world, attack):
        await news(world.laptop, "news")
        await world.phone.sync()
        await attack.freeze()
        attack.evil = False  # the laptop alone is shown the truth
        await news(world.laptop, "later")
        attack.evil = True
        await world.phone.sync()
        assert await world.phone.get("d1") == {"v": "news"}
        assert not world.phone.engine.status.alarm
        attack.evil = False
        await world.phone.sync()
        assert await world.phone.get("d1") == {"v": "later"}


async def test_a_suffix_which_no_device_but_its_author_saw_can_be_withheld(
    template: Template, tmp_path: Path
) -> None:
    kind = WithholdUnseenSuffix
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        await news(world.laptop, "news")
        await attack.freeze()
        attack.evil = False
        await news(world.laptop, "later")
        attack.evil = True
        await world.phone.sync()
        assert await world.phone.get("d1") == {"v": "news"}
        assert not world.phone.engine.status.alarm
        attack.evil = False
        await world.phone.sync()
        assert await world.phone.get("d1") == {"v": "later"}


async def test_devices_kept_apart_for_ever_do_not_notice_by_themselves(
    template: Template, tmp_path: Path
) -> None:
    kind = KeepForksApart
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        common = await attack.copy_log()
        await news(world.laptop, "laptop's world")
        laptops = await attack.copy_log()
        await attack.put_log(common)
        await news(world.phone, "phone's world")
        phones = await attack.copy_log()
        for _ in range(2):
            await attack.put_log(laptops)
            await news(world.laptop, "laptop's world")
            laptops = await attack.copy_log()
            await attack.put_log(phones)
            await news(world.phone, "phone's world")
            phones = await attack.copy_log()
        assert await world.laptop.get("d1") == {"v": "laptop's world"}
        assert await world.phone.get("d1") == {"v": "phone's world"}
        assert not world.laptop.engine.status.alarm
        assert not world.phone.engine.status.alarm


async def test_a_new_device_believes_an_old_log_until_it_is_shown_more(
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
        assert await tablet.get("d1") == {"n": 1, "of": "laptop"}
        await attack.put_log(newest)
        await tablet.sync()
        assert await tablet.get("d1") == {"v": "news"}


async def test_other_numbers_for_the_same_items_change_nothing(
    template: Template, tmp_path: Path
) -> None:
    kind = PermuteSequenceNumbers
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        await news(world.laptop, "news")
        attack.evil = True
        await world.phone.sync()
        assert attack.asked
        attack.evil = False
        await world.laptop.sync()
        assert (await world.phone.kept())["documents"] == (await world.laptop.kept())["documents"]
