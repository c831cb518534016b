"""Alice with two devices and bob with one, on one provider: made once by the real clients, then copied for each run."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from leap.provider.tls import self_made_context
from leap.soledad.blobs.format import BlobRef
from leap.soledad.enrol import Enrolled, enrol_device, sign_up
from leap.soledad.material import AccountMaterial
from leap.soledad.remote import ProviderClient
from leap.soledad.remote.transport import PATIENT, Patience
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from tests.hostile.server import ALICE, BOB, Attack, serving
from tests.provider.world import DOMAIN, PASSPHRASE, Clock
from tests.soledad.schemas import open_store

A = TypeVar("A", bound=Attack)


class Device:
    """One device: its store, its HTTPS client, its engine and its clock."""

    def __init__(self, name: str, store: Soledad, client: ProviderClient) -> None:
        self.name = name
        self.store = store
        self.client = client
        self.later = 0.0  # seconds by which this device's clock is ahead
        self.engine = SyncEngine(store, client, now=lambda: time.time() + self.later, gather=0)

    @property
    def material(self) -> AccountMaterial:
        assert self.store.material is not None
        return self.store.material

    async def sync(self) -> None:
        await self.engine.sync()

    async def put(self, doc_id: str, **content: Any) -> None:
        await self.store.transact(lambda tx: tx.put(doc_id, content))

    async def get(self, doc_id: str) -> Any:
        return await self.store.transact(lambda tx: tx.get(doc_id))

    async def delete(self, doc_id: str) -> None:
        await self.store.transact(lambda tx: tx.delete(doc_id))

    async def add_note(self, row_id: str, *contents: bytes) -> list[BlobRef]:
        """A row with the blobs of its head and its body."""
        blobs = [await self.store.seal_blob(data) for data in contents]
        values: dict[str, Any] = {"folder": "in", "date": 1}
        for kind, blob in zip(("head", "body"), blobs, strict=False):
            values |= {
                f"{kind}_id": blob.ref.blob_id,
                f"{kind}_sha256": blob.ref.sha256,
                f"{kind}_size": blob.ref.size,
            }

        def job(tx: Any) -> None:
            for blob in blobs:
                tx.put_blob(blob)
            tx.insert_row("note", row_id, values)

        await self.store.transact(job, durable=True)
        return [blob.ref for blob in blobs]

    async def kept(self) -> dict[str, Any]:
        """All that a person could miss: documents, rows, contents, and which edits are still to be pushed."""

        def job(c: Any) -> dict[str, Any]:
            documents = c.execute(
                "SELECT doc_id, revision, content, conflicts, dirty FROM document ORDER BY doc_id"
            ).fetchall()
            rows = c.execute(
                "SELECT row_id, folder, title, flags, dirty, deleted FROM note ORDER BY row_id"
            ).fetchall()
            names = [name for (name,) in c.execute("SELECT blob_id FROM blob ORDER BY blob_id")]
            blobs = {name: self.store.blobs.find(c, name) for name in names}
            unsent = c.execute("SELECT blob_id FROM blob_unsent ORDER BY blob_id").fetchall()
            return {"documents": documents, "rows": rows, "blobs": blobs, "unsent": unsent}

        return await self.store.read(job)


class World:
    """One run: the hostile server, and everyone's devices, open."""

    laptop: Device
    phone: Device
    bob: Device
    tablet: Device  # only where an attack enrols them
    watch: Device

    def __init__(self, folder: Path, attack: Attack, url: str, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.attack = attack
        self.url = url
        self.ca_file = folder / "tls" / "ca.pem"
        self._stack = stack

    def client(self, token: str | None = None, patience: Patience = PATIENT) -> ProviderClient:
        return ProviderClient(self.url, ca_file=self.ca_file, token=token, patience=patience)

    async def open(self, name: str, material: AccountMaterial | None = None) -> Device:
        """A device by the name of its store; with `material` a new one."""
        store = await self._stack.enter_async_context(
            await open_store(self.folder / "stores" / f"{name}.db")
        )
        if material is not None:
            await store.save_material(material)
        assert store.material is not None
        patience = self.attack.patience
        client = await self._stack.enter_async_context(self.client(store.material.token, patience))
        device = Device(name, store, client)
        self._stack.push_async_callback(device.engine.close)
        return device

    async def log_in(self, name: str, address: str = ALICE) -> Enrolled:
        """A new device logs in with the passphrase and is enrolled."""
        async with self.client() as client:
            return await enrol_device(client, address, PASSPHRASE, name)

    async def enrol(self, name: str) -> Device:
        """A new device of alice."""
        return await self.open(name, (await self.log_in(name)).material)


@asynccontextmanager
async def opened(
    template: Path, folder: Path, kind: type[A], tls: ssl.SSLContext
) -> AsyncIterator[tuple[World, A]]:
    """A copy of the world, served by this kind of provider."""
    await asyncio.to_thread(shutil.copytree, template, folder)
    async with AsyncExitStack() as stack:
        attack = await kind.open(folder / "provider", DOMAIN, now=Clock())
        stack.push_async_callback(attack.close)
        url = await stack.enter_async_context(serving(attack, tls))
        world = World(folder, attack, url, stack)
        attack.world = world
        found = await attack.accounts.find_verifier(ALICE, with_recovery=False)
        if found is not None:
            attack.alice = found.account
            for name in ("laptop", "phone", "bob"):
                setattr(world, name, await world.open(name))
        yield world, attack


class Honest(Attack):
    """Does nothing wrong."""


async def made(template: Path, tls: ssl.SSLContext) -> None:
    """Makes the world in `template`: sign-up, enrolment by SRP, and a few synced documents, rows and contents."""
    (template / "stores").mkdir()
    empty = template.with_name("making")
    async with opened(template, empty, Honest, tls) as (world, _):
        for name, address in (("laptop", ALICE), ("bob", BOB)):
            async with world.client() as client:
                signed_up = await sign_up(client, address, PASSPHRASE, name, kdf=floor_kdf_params)
            setattr(world, name, await world.open(name, signed_up.material))
        world.phone = await world.enrol("phone")
        for device in (world.laptop, world.bob):
            for n in range(4):
                await device.put(f"d{n}", n=n, of=device.name)
                await device.sync()
            await device.add_note("old", b"head of the old note", os.urandom(70_000))
            await device.put("gone", v="for a moment")
            await device.sync()
            await device.delete("gone")
            await device.sync()
        for device in (world.phone, world.laptop, world.phone):
            await device.sync()
        await world.phone.put("d0", n=0, of="phone")
        for device in (world.phone, world.laptop):
            await device.sync()
    shutil.rmtree(template)
    shutil.copytree(empty, template)
    shutil.rmtree(empty)


def make(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The world that all runs begin with, and the server's TLS."""
    template = folder / "template"
    tls, _ = self_made_context(template / "tls", [DOMAIN])
    asyncio.run(made(template, tls))
    return template, tls
