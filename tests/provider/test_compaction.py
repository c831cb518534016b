"""A provider gives unused space back: by itself while it serves, and when an operator asks while it does not."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from click.testing import CliRunner

from leap.provider.cli import main
from leap.provider.folder import prepare_folder
from leap.provider.provider import Provider
from leap.soledad.wire import CommitRequest, PullRequest
from tests.provider.world import DOMAIN, account, blob, item, opened


async def filled(provider: Provider) -> tuple[int, list[str]]:
    """An account with a log, and blobs that were deleted again."""
    alice = await account(provider, "alice")
    request = CommitRequest(
        parent=b"", head=b"head", head_seq=2, count=2, items=[item("a"), item("b")]
    )
    await provider.commit(alice, request)
    blobs = [blob(30_000) for _ in range(100)]
    await provider.blobs.put(alice, blobs)
    kept, dropped = blobs[:10], blobs[10:]
    await provider.blobs.delete(alice, [one.blob_id for one in dropped])
    return alice, [one.blob_id for one in kept]


async def test_much_that_is_free_goes_by_itself_while_requests_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as provider:
        alice, kept = await filled(provider)
        file = tmp_path / "provider.sqlite"
        await provider.db.apart(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        full = file.stat().st_size
        tidying = asyncio.create_task(provider.tidy())
        found = await provider.blobs.get(alice, kept)
        for _ in range(
            20
        ):  # each makes the file a little larger, and how many fit in is a matter of speed
            await provider.blobs.put(alice, [blob(1000)])
        await tidying
        assert file.stat().st_size < full - 80 * 30_000
        assert file.with_name("provider.sqlite-wal").stat().st_size < 400_000
        assert await provider.blobs.get(alice, kept) == found
        assert len((await provider.log.pull(alice, PullRequest(since=0))).items) == 2
        check = await provider.db.apart(lambda c: c.execute("PRAGMA integrity_check").fetchall())
        assert check == [("ok",)]


def test_an_operator_compacts_a_provider_that_does_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    async def fill() -> None:
        prepare_folder(folder, DOMAIN)
        async with opened(folder) as provider:
            await filled(provider)
            stray = folder / "blobs" / "ab" / ("ab" + "0" * 30)
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(b"left over")
            os.utime(stray, (0, 0))

    asyncio.run(fill())
    done = CliRunner().invoke(main, ["compact", "--data", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    freed = json.loads(done.output)
    assert freed["before"] - freed["after"] > 80 * 30_000
    assert freed["files"] == 1
    again = CliRunner().invoke(main, ["compact", "--data", str(folder)])
    assert "bytes were given back" in again.output


def test_a_running_provider_and_another_folder_are_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["compact", "--data", str(tmp_path)])
    assert refused.exit_code == 1
    assert "not the folder of a provider" in refused.output
    folder = tmp_path / "data"

    async def hold() -> str:
        prepare_folder(folder, DOMAIN)
        async with opened(folder):
            runner = CliRunner()
            done = await asyncio.to_thread(runner.invoke, main, ["compact", "--data", str(folder)])
            assert done.exit_code == 1
            return done.output

    assert "is running" in asyncio.run(hold())
