"""Each attack three times: the provider honest, the attack named and met, and the attack without the check."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from leap.soledad.errors import ProviderLies, SoledadError
from leap.soledad.syncing import SyncStopped
from tests.hostile.catalogue import ATTACKS
from tests.hostile.server import Attack, Reaction
from tests.hostile.switching_off import switched_off
from tests.hostile.world import Device, World, opened

Template = tuple[Path, ssl.SSLContext]

every_attack = pytest.mark.parametrize("kind", ATTACKS, ids=lambda kind: kind.__name__)


async def begin(world: World, attack: Attack) -> Device:
    """The honest part, then an edit of the victim which is not pushed yet."""
    await attack.prepare(world)
    victim: Device = getattr(world, attack.victim)
    await victim.put("local", v="an edit that is not pushed")
    return victim


@every_attack
async def test_an_honest_provider_is_believed(
    kind: type[Attack], template: Template, tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        victim = await begin(world, attack)
        await attack.act(world)
        assert await attack.succeeded(world)
        assert not attack.asked
        assert not victim.engine.status.alarm


@every_attack
async def test_the_attack_is_named_and_nothing_is_lost(
    kind: type[Attack], template: Template, tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        attack.plans_evil = True
        victim = await begin(world, attack)
        before, bobs = await victim.kept(), await world.bob.kept()
        attack.evil = True
        with pytest.raises(attack.expected) as raised:
            await attack.act(world)
        assert type(raised.value) is attack.expected
        assert attack.asked
        await reacted(victim, attack, raised.value)
        assert await victim.kept() == (attack.before or before)

        # Bob, on the same provider in the same process, has noticed nothing.
        assert await world.bob.kept() == bobs
        await world.bob.put("meanwhile", v=1)
        await world.bob.sync()
        assert (await world.bob.engine.refresh_status()).alarm == ""

        if not attack.recoverable:
            return
        # What was kept is worth something: once the provider is honest again, all of it gets through.
        attack.evil = False
        await attack.repent(world)
        await victim.engine.clear_alarm()
        await victim.sync()
        await world.laptop.engine.clear_alarm()
        await world.laptop.sync()
        assert await world.laptop.get("local") == {"v": "an edit that is not pushed"}


async def reacted(victim: Device, attack: Attack, error: SoledadError) -> None:
    status = await victim.engine.refresh_status()
    if attack.reaction is Reaction.ALARM:
        assert isinstance(error, ProviderLies)
        assert attack.says in status.alarm
        assert status.alarm == error.sentence
        assert error.advice in status.alarm
        with pytest.raises(SyncStopped, match=attack.says):
            await victim.sync()
        return
    assert status.alarm == ""
    sentence = error.sentence if isinstance(error, ProviderLies) else str(error)
    assert attack.says in sentence
    if attack.reaction is Reaction.RETRY:
        assert attack.says in status.error


@every_attack
async def test_without_its_check_the_attack_goes_unnoticed(
    kind: type[Attack], template: Template, tmp_path: Path
) -> None:
    with switched_off(kind.checks):
        async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
            attack.plans_evil = True
            victim = await begin(world, attack)
            attack.evil = True
            if attack.instead is None:
                await attack.act(world)
                assert not victim.engine.status.alarm
            else:
                with pytest.raises(attack.instead) as raised:
                    await attack.act(world)
                assert not isinstance(raised.value, attack.expected)
            assert await attack.harmed(world)
