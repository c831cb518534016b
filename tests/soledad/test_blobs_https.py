"""Large blobs between two devices and the real provider over TLS, on lines that break, in constant memory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef, most_sealed
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.errors import BlobAltered, Refused, Unreachable
from leap.soledad.material import AccountMaterial
from leap.soledad.remote import ProviderClient
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from tests.provider.world import Served, opened, served
from tests.soledad.cut_proxy import CutLine, cut_line
from tests.soledad.large_blob import MIB, measured
from tests.soledad.schemas import open_store
from tests.soledad.test_syncing_https import enrolled

SIZE = 6 * MIB + 12_345


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


@pytest.fixture
async def line(https: Served) -> AsyncIterator[CutLine]:
    async with cut_line(https.url) as made:
        yield made


@asynccontextmanager
async def device(
    url: str, ca_file: Path, path: Path, material: AccountMaterial | None = None
) -> AsyncIterator[tuple[Soledad, SyncEngine]]:
    store = await open_store(path)
    if material is not None:
        await store.save_material(material)
    assert store.material is not None
    client = ProviderClient(url, ca_file=ca_file, token=store.material.token)
    engine = SyncEngine(store, client, gather=0)
    try:
        yield store, engine
    finally:
        await engine.close()
        await client.close()
        await store.close()


async def stored(store: Soledad, data: bytes, row_id: str = "r") -> BlobRef:
    """A row whose body is a large blob."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), MIB):
            yield data[start : start + MIB]

    sealed = await store.seal_stream(pieces(), len(data))
    ref = sealed.ref
    values = {"body_id": ref.blob_id, "body_sha256": ref.sha256, "body_size": ref.size}

    def job(tx: Any) -> None:
        tx.put_blob(sealed)
        tx.insert_row("note", row_id, {"folder": "in", **values})

    await store.transact(job, durable=True)
    return ref


@pytest.mark.parametrize("cut", [1, 5_000, 1_000_000, 3_333_333, 6_250_000])
async def test_a_download_that_is_cut_goes_on_where_it_stopped(
    https: Served, line: CutLine, tmp_path: Path, cut: int
) -> None:
    data = os.urandom(SIZE)
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with device(https.url, https.ca_file, tmp_path / "l.db", mine) as (laptop, engine):
        ref = await stored(laptop, data)
        await engine.sync()
    async with device(line.url, https.ca_file, tmp_path / "p.db", theirs) as (phone, engine):
        await engine.sync()
        line.sent_down = 0
        assert engine._transfer is not None
        line.down = [cut, 300_000]
        await engine.close()
        await engine._remote.close()  # type: ignore[attr-defined]
        phone.attach(engine._remote)
        for _ in range(5):
            try:
                await phone.keep_blobs([ref])
                break
            except Unreachable:
                continue
        assert cut not in line.down
        assert line.sent_down < most_sealed(SIZE) + 1_100_000  # what was here was not sent again
        phone.attach(None)
        assert await phone.read_blob(ref) == data
        assert list((tmp_path / "p.db-blobs" / "incoming").iterdir()) == []


async def test_a_download_goes_on_after_a_restart_and_survives_a_garbled_part(
    https: Served, line: CutLine, tmp_path: Path
) -> None:
    data = os.urandom(SIZE)
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with device(https.url, https.ca_file, tmp_path / "l.db", mine) as (laptop, engine):
        ref = await stored(laptop, data)
        await engine.sync()
    part = tmp_path / "p.db-blobs" / "incoming" / f"{ref.blob_id}.part"
    async with device(line.url, https.ca_file, tmp_path / "p.db", theirs) as (_, engine):
        await engine.sync()
        await engine._remote.close()  # type: ignore[attr-defined]
        line.down = [4_000_000, 0, 0, 0]
        with pytest.raises(Unreachable):
            await engine._transfer.fetch_large()
        assert part.stat().st_size > 3_500_000
    line.down = []
    line.sent_down = 0
    async with device(line.url, https.ca_file, tmp_path / "p.db") as (phone, engine):
        await engine._transfer.fetch_large()
        assert line.sent_down < 3_000_000
        assert await phone.read_blob(ref) == data
        # the same with a part that a crash garbled: it is begun anew, and nobody is blamed
        await phone.write(lambda c: phone.blobs.evict(c, [ref.blob_id]))
        await phone.empty_trash()
        part.write_bytes(bytes(2_000_000))
        assert await phone.read_blob(ref) == data


async def test_a_large_blob_of_which_a_little_is_read_is_not_fetched(
    https: Served, line: CutLine, tmp_path: Path
) -> None:
    data = os.urandom(SIZE)
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with device(https.url, https.ca_file, tmp_path / "l.db", mine) as (laptop, engine):
        ref = await stored(laptop, data)
        await engine.sync()
    async with device(line.url, https.ca_file, tmp_path / "p.db", theirs) as (phone, engine):
        await phone.set_policy(ContentsPolicy(contents="on-demand"))
        await engine.sync()
        line.sent_down = 0
        for start, length in ((0, 10), (65_530, 20), (SIZE - 5, 100), (3_000_000, 200_000)):
            assert await phone.read_blob(ref, start, length) == data[start : start + length]
        assert line.sent_down < 800_000
        assert await phone.read(lambda c: c.execute("SELECT * FROM blob").fetchall()) == []
        assert [piece async for piece in phone.stream_blob(ref, 5_000_000, 300_000, keep=False)]
        streamed = b"".join([piece async for piece in phone.stream_blob(ref, keep=False)])
        assert streamed == data
        assert await phone.read(lambda c: c.execute("SELECT * FROM blob").fetchall()) == []


async def test_a_large_blob_altered_at_the_provider_is_given_out_by_no_way(
    https: Served, tmp_path: Path
) -> None:
    data = os.urandom(SIZE)
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with device(https.url, https.ca_file, tmp_path / "l.db", mine) as (laptop, engine):
        ref = await stored(laptop, data)
        await engine.sync()
    (path,) = (tmp_path / "provider" / "blobs").glob("??/*")
    with path.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"altered")
    async with device(https.url, https.ca_file, tmp_path / "p.db", theirs) as (phone, engine):
        await engine.sync()
        assert await phone.read_blob(ref, 100, 10) == data[100:110]  # another chunk, untouched
        with pytest.raises(BlobAltered):
            await phone.read_blob(ref, 3_000_000, 10)
        with pytest.raises(BlobAltered):
            await phone.read_blob(ref)
        with pytest.raises(BlobAltered):
            await anext(phone.stream_blob(ref))
        await engine._transfer.fetch_large()
        assert (await engine.refresh_status()).contents_missing == 1
        assert list((tmp_path / "p.db-blobs" / "incoming").iterdir()) == []
        with path.open("r+b") as file:
            file.truncate(1_000_000)
        await phone.write(phone.blobs.retry_now)
        with pytest.raises(Refused, match="the provider failed"):
            await phone.read_blob(ref)
        assert await engine._transfer.fetch_large() == 1  # it is off the list for a while
        assert await engine._transfer.fetch_large() == 0


async def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    report = await measured(tmp_path, 96 * MIB)
    assert report["intact"]
    for what in ("laptop", "phone", "provider"):
        assert report[what] < 32 * MIB, report


async def test_kills_while_a_large_blob_travels_lose_and_double_nothing(
    https: Served, line: CutLine, tmp_path: Path
) -> None:
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    data = os.urandom(SIZE)
    line.standing = True
    async with device(https.url, https.ca_file, tmp_path / "l.db", mine) as (laptop, _):
        ref = await stored(laptop, data)
    async with device(https.url, https.ca_file, tmp_path / "p.db", theirs) as (_, engine):
        await engine.sync()
    for name, cuts in (("l", line.up), ("p", line.down)):
        for octets in (30_000, 4_000_000):
            cuts.append(octets)
            line.stood.clear()
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.soledad.large_blob",
                "travel",
                line.url,
                str(https.ca_file),
                str(tmp_path / f"{name}.db"),
            )
            async with asyncio.timeout(20):
                await line.stood.wait()
            child.kill()
            await child.wait()
        async with device(https.url, https.ca_file, tmp_path / f"{name}.db") as (store, engine):
            await engine.sync()
            await engine._transfer.fetch_large()
            assert await store.read_blob(ref) == data
            rows = await store.read(lambda c: c.execute("SELECT row_id FROM note").fetchall())
            assert rows == [("r",)]
            assert len(list((tmp_path / f"{name}.db-blobs").rglob("?" * 32))) == 1
    assert len(list((tmp_path / "provider" / "blobs").glob("??/*"))) == 1
    assert list((tmp_path / "provider" / "blobs" / "partial").iterdir()) == []
