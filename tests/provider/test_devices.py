"""Two devices with their own stores, in step through this provider over HTTPS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from leap.soledad.enrol import Enrolled, enrol_device, sign_up
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.store import Soledad
from leap.soledad.syncing.loop import SyncEngine
from leap.soledad.wire import MAX_COMMIT_ITEMS
from tests.provider.world import DOMAIN, PASSPHRASE, Served

ALICE = f"alice@{DOMAIN}"


@asynccontextmanager
async def device(
    https: Served, path: Path, made: Enrolled, client: ProviderClient
) -> AsyncIterator[tuple[Soledad, SyncEngine]]:
    store = await Soledad.open(path, bytes(32))
    await store.save_material(made.material)
    engine = SyncEngine(store, client, gather=0)
    try:
        yield store, engine
    finally:
        await engine.close()
        await store.close()


async def test_what_one_device_writes_the_other_has(https: Served, tmp_path: Path) -> None:
    async with (
        ProviderClient(https.url, ca_file=https.ca_file) as one,
        ProviderClient(https.url, ca_file=https.ca_file) as two,
    ):
        first = await sign_up(one, ALICE, PASSPHRASE, "laptop", kdf=floor_kdf_params)
        second = await enrol_device(two, ALICE, PASSPHRASE, "phone")
        async with (
            device(https, tmp_path / "laptop.db", first, one) as (laptop, laptop_engine),
            device(https, tmp_path / "phone.db", second, two) as (phone, phone_engine),
        ):
            count = MAX_COMMIT_ITEMS + 100  # more than one request holds: some are staged
            await laptop.transact(
                lambda tx: [tx.put(f"doc {n}", {"type": "note", "n": n}) for n in range(count)]
            )
            await laptop_engine.sync()
            await phone_engine.sync()
            assert len(await phone.find_docs("note")) == count
            await phone.transact(lambda tx: tx.put("doc 1", {"type": "note", "n": "phone"}))
            await laptop.transact(lambda tx: tx.put("doc 2", {"type": "note", "n": "laptop"}))
            await phone_engine.sync()
            await laptop_engine.sync()
            await phone_engine.sync()
            for store in (laptop, phone):
                found = [await store.transact(lambda tx, n=n: tx.get(f"doc {n}")) for n in (1, 2)]
                assert [content["n"] for content in found] == ["phone", "laptop"]
            assert not laptop_engine.status.alarm
            assert not phone_engine.status.alarm
