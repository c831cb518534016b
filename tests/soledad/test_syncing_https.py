"""The sync engine with the real provider over TLS: two devices, large pushes, and processes killed while they push."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.enrol import enrol_device, sign_up
from leap.soledad.material import AccountMaterial
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from tests.provider.world import DOMAIN, Served, opened, served
from tests.soledad.schemas import open_store

ALICE = f"alice@{DOMAIN}"
PASSPHRASE = "the quick brown fox"


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


async def enrolled(https: Served, name: str) -> AccountMaterial:
    async with ProviderClient(https.url, ca_file=https.ca_file) as client:
        if name == "laptop":
            made = await sign_up(client, ALICE, PASSPHRASE, name, kdf=floor_kdf_params)
        else:
            made = await enrol_device(client, ALICE, PASSPHRASE, name)
        return made.material


@asynccontextmanager
async def device(
    https: Served, path: Path, material: AccountMaterial | None = None
) -> AsyncIterator[tuple[Soledad, SyncEngine]]:
    store = await open_store(path)
    if material is not None:
        await store.save_material(material)
    assert store.material is not None
    client = ProviderClient(https.url, ca_file=https.ca_file, token=store.material.token)
    engine = SyncEngine(store, client, gather=0)
    try:
        yield store, engine
    finally:
        await engine.close()
        await client.close()
        await store.close()


async def test_two_devices(https: Served, tmp_path: Path) -> None:
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with (
        device(https, tmp_path / "laptop.db", mine) as (laptop, laptop_engine),
        device(https, tmp_path / "phone.db", theirs) as (phone, phone_engine),
    ):
        big, small = os.urandom(700_000), b"small"
        blobs = [await laptop.seal_blob(data) for data in (small, big)]

        def fill(tx: Any) -> None:
            for n in range(2_500):
                tx.put(f"d{n}", {"n": n})
            for blob in blobs:
                tx.put_blob(blob)
            values = {"folder": "in", "date": 1}
            for kind, blob in zip(("head", "body"), blobs, strict=True):
                ref = blob.ref
                values |= {
                    f"{kind}_id": ref.blob_id,
                    f"{kind}_sha256": ref.sha256,
                    f"{kind}_size": ref.size,
                }
            tx.insert_row("note", "r", values)

        await laptop.transact(fill)
        result = await laptop_engine.sync()
        assert (result.pushed, result.blobs_sent) == (2_501, 2)
        assert (await phone_engine.sync()).pulled == 2_501
        assert await phone.read_blobs([blob.ref for blob in blobs]) == [small, big]

        heard = asyncio.Event()
        laptop.on_change(lambda changes: heard.set() if changes.from_sync else None)
        running = [asyncio.create_task(engine.run()) for engine in (laptop_engine, phone_engine)]
        await phone.transact(lambda tx: tx.update_rows("note", ["r"], {"flags": "seen"}) and None)
        await asyncio.wait_for(heard.wait(), 20)
        row = await laptop.transact(lambda tx: tx.row("note", "r"))
        assert row is not None
        assert row["flags"] == "seen"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def work_until_killed(url: str, ca_file: str, path: str) -> None:
    """What the killed process does: rows and documents, one after the other, and sync beside it."""
    store = await open_store(Path(path))
    assert store.material is not None
    client = ProviderClient(url, ca_file=Path(ca_file), token=store.material.token)
    engine = SyncEngine(store, client, gather=0)
    running = asyncio.create_task(engine.run())
    while not running.done():
        name = os.urandom(8).hex()

        def job(tx: Any, name: str = name) -> None:
            tx.insert_row("note", name, {"folder": "in"})
            tx.put(f"d{name}", {"n": name})

        await store.transact(job, durable=True)
        print(name, flush=True)
        await engine.sync()
    await running


async def test_processes_killed_while_they_push_lose_and_double_nothing(
    https: Served, tmp_path: Path
) -> None:
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    path = tmp_path / "laptop.db"
    async with device(https, path, mine):
        pass
    said: list[str] = []
    code = (
        "import sys, asyncio; sys.path[:0] = sys.argv[4:];"
        "from tests.soledad.test_syncing_https import work_until_killed;"
        "asyncio.run(work_until_killed(*sys.argv[1:4]))"
    )
    chance = random.Random(7)
    for _ in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            https.url,
            str(https.ca_file),
            str(path),
            *sys.path,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(2, 12)):
            line = await process.stdout.readline()
            assert line, "it ended by itself"
            said.append(line.decode().strip())
        for _ in range(chance.randrange(0, 40)):  # somewhere in the middle of a push
            await asyncio.sleep(0)
        process.kill()
        rest = await process.stdout.read()
        said += [line.decode() for line in rest.splitlines() if len(line) == 16]
        await process.wait()
    async with (
        device(https, path) as (laptop, laptop_engine),
        device(https, tmp_path / "phone.db", theirs) as (phone, phone_engine),
    ):
        await laptop_engine.sync()
        await phone_engine.sync()
        for store in (laptop, phone):
            rows = await store.read(
                lambda c: [r for (r,) in c.execute("SELECT row_id FROM note WHERE deleted = 0")]
            )
            assert set(said) <= set(rows)
            assert len(rows) == len(set(rows))
            documents = await store.find_docs("")
            assert {d.doc_id for d in documents} == {f"d{row}" for row in rows}
            assert not any(d.has_conflicts for d in documents)
