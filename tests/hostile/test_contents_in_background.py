"""What is damaged or missing at the provider is counted and asked for again; it stops nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.hostile.contents import AlterBlob, BlobAttack, DropBlobs, SwapBlobs, TruncateBlob
from tests.hostile.test_notices import news_arrive, running, until
from tests.hostile.world import opened


@pytest.mark.parametrize("kind", [SwapBlobs, AlterBlob, TruncateBlob, DropBlobs])
async def test_bad_contents_are_counted_and_come_when_the_provider_is_honest(
    kind: type[BlobAttack], template: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    async with opened(template[0], tmp_path / "w", kind, template[1]) as (world, attack):
        await attack.prepare(world)
        engine = world.phone.engine
        attack.evil = True
        async with running(world.phone):
            await until(lambda: engine.status.contents_missing >= 2)
            assert attack.asked
            assert engine.status.alarm == ""
            await news_arrive(world)
            attack.evil = False
            await engine.retry_contents()
            await until(lambda: not engine.status.contents_missing)
        await attack.act(world)
        assert await attack.succeeded(world)
