"""Every request delivered twice, at once and much later: nothing changes by it."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.errors import SoledadError
from leap.soledad.generation import begin_generation
from leap.soledad.remote import ProviderClient
from leap.soledad.syncing import SyncEngine
from tests.provider.world import PASSPHRASE, Served, opened, served
from tests.soledad.schemas import open_store
from tests.soledad.test_syncing_https import enrolled


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


class Twice:
    """Sends each request of a client twice, keeps it for later, and answers with the second reply."""

    def __init__(self, client: ProviderClient) -> None:
        self._http = client._http
        self._request = self._http.request
        self.kept: list[tuple[Any, ...]] = []
        self._http.request = self.request  # type: ignore[method-assign]

    async def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if body is not None and not isinstance(body, bytes):
            body = b"".join([piece async for piece in body])
        if path.startswith("/1/login"):
            return await self._request(method, path, body, **options)
        self.kept.append((method, path, body, options))
        await self._request(method, path, body, **options)
        return await self._request(method, path, body, **options)

    async def all_again(self, chance: random.Random) -> int:
        """Everything that was ever sent, in any order; answers how much of it was refused."""
        refused = 0
        for method, path, body, options in chance.sample(self.kept, len(self.kept)):
            try:
                await self._request(method, path, body, **options)
            except SoledadError:
                refused += 1
        return refused


async def test_requests_that_come_twice_and_late_change_nothing(
    https: Served, tmp_path: Path
) -> None:
    engines, stores, twices, clients = [], [], [], []
    for name in ("laptop", "phone"):
        material = await enrolled(https, name)
        store = await open_store(tmp_path / f"{name}.db")
        await store.save_material(material)
        client = ProviderClient(https.url, ca_file=https.ca_file, token=material.token)
        twices.append(Twice(client))
        clients.append(client)
        stores.append(store)
        engines.append(SyncEngine(store, client, gather=0))
    laptop, phone = stores
    await laptop.transact(lambda tx: [tx.put(f"d{n}", {"n": n}) for n in range(2_500)] and None)
    blob = await laptop.seal_blob(b"content" * 1000)
    values = {"body_id": blob.ref.blob_id, "body_sha256": blob.ref.sha256, "body_size": 7000}

    def insert(tx: Any) -> None:
        tx.put_blob(blob)
        tx.insert_row("note", "r", {"folder": "in", **values})

    await laptop.transact(insert)
    for n in range(3):
        await phone.transact(lambda tx, n=n: tx.put("busy", {"n": n}) and None)
        for engine in engines:
            await engine.sync()
    await laptop.transact(lambda tx: tx.delete("d7") and None)
    await engines[0].sync()
    await engines[0].refound(lambda: begin_generation(laptop, clients[0], PASSPHRASE))
    for engine in (engines[1], engines[0], engines[1]):
        await engine.sync()

    async def stored() -> Any:
        return await https.provider.db.read(
            lambda c: [
                c.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                for table in ("item", "head", "blob", "account")
            ]
        )

    before = await stored()
    assert len(before[0]) == 2_502
    chance = random.Random(5)
    for twice in twices:
        assert await twice.all_again(chance) >= 3
    assert await stored() == before
    for engine in engines:
        result = await engine.sync()
        assert (result.pulled, result.pushed) == (0, 0)
    assert (await engines[0].fingerprint()).words == (await engines[1].fingerprint()).words
    for engine, client, store in zip(engines, clients, stores, strict=True):
        await engine.close()
        await client.close()
        await store.close()
