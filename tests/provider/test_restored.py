"""A provider restored from yesterday's backup: the real one, its folder copied; nothing is lost after refounding."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leap.soledad.enrol import enrol_device, log_in_again, sign_up
from leap.soledad.envelope import Epoch
from leap.soledad.errors import AuthFailed, ProviderLies, SoledadError, Unreachable
from leap.soledad.generation import OldPassphrase, begin_generation
from leap.soledad.keyset import sign_keyset
from leap.soledad.login import srp_verifier
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import (
    derive_passphrase,
    floor_kdf_params,
    unwrap,
    wrap,
    wrap_context,
)
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine, SyncStopped
from leap.soledad.wire import KeysetPut, Verifier, Wraps
from tests.provider.world import DOMAIN, PASSPHRASE, Served, opened, served
from tests.soledad.schemas import open_store

ALICE = f"alice@{DOMAIN}"


class Device:
    """A store that lives on while the provider is away."""

    def __init__(self, store: Soledad) -> None:
        self.store = store

    @asynccontextmanager
    async def online(self, https: Served) -> AsyncIterator[SyncEngine]:
        material = self.store.material
        assert material is not None
        self.client = ProviderClient(https.url, ca_file=https.ca_file, token=material.token)
        engine = SyncEngine(self.store, self.client, gather=0)
        try:
            yield engine
        finally:
            await engine.close()
            await self.client.close()

    async def put(self, doc_id: str, **content: Any) -> None:
        await self.store.transact(lambda tx: tx.put(doc_id, content))

    async def insert(self, row_id: str, blob: bytes = b"") -> None:
        sealed = await self.store.seal_blob(blob)

        def job(tx: Any) -> None:
            tx.put_blob(sealed)
            ref = sealed.ref
            values = {"body_id": ref.blob_id, "body_sha256": ref.sha256, "body_size": ref.size}
            tx.insert_row("note", row_id, {"folder": "in", **values})

        await self.store.transact(job, durable=True)

    async def view(self) -> tuple[set[str], list[str]]:
        docs = {doc.doc_id for doc in (await self.store.get_all_docs())[1]}
        rows = await self.store.read(
            lambda c: [r for (r,) in c.execute("SELECT row_id FROM note WHERE deleted = 0")]
        )
        return docs, sorted(rows)


async def enrolled(https: Served, folder: Path, name: str) -> Device:
    async with ProviderClient(https.url, ca_file=https.ca_file) as client:
        if name == "laptop":
            made = await sign_up(client, ALICE, PASSPHRASE, name, kdf=floor_kdf_params)
        else:
            made = await enrol_device(client, ALICE, PASSPHRASE, name)
    store = await open_store(folder / f"{name}.db")
    await store.save_material(made.material)
    return Device(store)


@asynccontextmanager
async def running(folder: Path, work: Path) -> AsyncIterator[Served]:
    async with opened(folder) as provider, served(provider, work) as https:
        yield https


@pytest.mark.parametrize("newer_keyset", [False, True])
async def test_devices_alarm_one_founds_the_log_anew_and_nothing_is_lost(
    tmp_path: Path, newer_keyset: bool
) -> None:
    """With `newer_keyset`, a device was enrolled after the backup: the provider forgot it, and its token."""
    folder, backup = tmp_path / "provider", tmp_path / "backup"
    async with AsyncExitStack() as stack:
        async with running(folder, tmp_path) as https:
            laptop = await enrolled(https, tmp_path, "laptop")
            phone = await enrolled(https, tmp_path, "phone")
            for device in (laptop, phone):
                stack.push_async_callback(device.store.close)
            await laptop.put("old", v=1)
            await laptop.insert("oldrow", b"old" * 1000)
            for device in (laptop, phone):
                async with device.online(https) as engine:
                    await engine.sync()
        await asyncio.to_thread(shutil.copytree, folder, backup)
        devices = [laptop, phone]
        async with running(folder, tmp_path) as https:
            if newer_keyset:
                tablet = await enrolled(https, tmp_path, "tablet")
                stack.push_async_callback(tablet.store.close)
                devices.append(tablet)
                await tablet.put("tablet", v=1)
                await tablet.insert("tabletrow", b"tablet" * 1000)
            await laptop.put("new", v=1)
            await laptop.store.transact(lambda tx: tx.delete("old"))
            await laptop.insert("newrow", b"new" * 1000)
            for device in [*reversed(devices), *devices]:
                async with device.online(https) as engine:
                    await engine.sync()
            before = await laptop.view()
            assert before[0] >= {"new"}
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.to_thread(shutil.copytree, backup, folder)
        async with running(folder, tmp_path) as https:
            await phone.put("unpushed", v="phone")
            for device in devices:
                async with device.online(https) as engine:
                    with pytest.raises((ProviderLies, AuthFailed)):
                        await engine.sync()
            async with laptop.online(https) as engine:
                with pytest.raises(SyncStopped):
                    await engine.sync()
                with pytest.raises(AuthFailed):
                    await engine.refound(
                        lambda: begin_generation(laptop.store, laptop.client, "wrong passphrase")
                    )
                assert engine.status.alarm
                await engine.refound(
                    lambda: begin_generation(laptop.store, laptop.client, PASSPHRASE)
                )
                assert engine.status.alarm == ""
            for device in devices[1:]:
                await log_in(https, device)
            for device in [*devices, *devices]:
                async with device.online(https) as engine:
                    await engine.sync()
                    assert engine.status.alarm == ""
            for device in devices:
                assert await device.view() == (before[0] | {"unpushed"}, before[1])
            # A device that comes now finds all of it, contents too.
            watch = await enrolled(https, tmp_path, "watch")
            stack.push_async_callback(watch.store.close)
            async with watch.online(https) as engine:
                await engine.sync()
                assert await watch.view() == (before[0] | {"unpushed"}, before[1])
                while await engine._transfer.fetch_batch():
                    pass
                assert (await engine.refresh_status()).contents_missing == 0
                assert (await engine.refresh_status()).blobs_to_fetch == 0


async def log_in(https: Served, device: Device) -> None:
    """A person does, where the provider forgot the token."""
    material = device.store.material
    assert material is not None
    async with ProviderClient(https.url, ca_file=https.ca_file) as client:
        token = await log_in_again(client, material, PASSPHRASE)
    await device.store.update_material(lambda now: now.with_token(token))


async def test_a_new_generation_whose_reply_was_lost_is_recognised(tmp_path: Path) -> None:
    async with running(tmp_path / "provider", tmp_path) as https:
        laptop = await enrolled(https, tmp_path, "laptop")
        try:
            async with laptop.online(https) as engine:
                await laptop.put("d", v=1)
                await engine.sync()
                put = laptop.client.put_keyset

                async def lost(body: Any) -> None:
                    await put(body)
                    raise Unreachable("the reply was lost")

                laptop.client.put_keyset = lost  # type: ignore[method-assign]
                generation = await begin_generation(laptop.store, laptop.client, PASSPHRASE)
                assert generation == 2
                assert (await laptop.client.secrets()).keyset_version == 2
                laptop.client.put_keyset = put  # type: ignore[method-assign]
                with pytest.raises(SoledadError):
                    await begin_generation(laptop.store, laptop.client, "not that one")
        finally:
            await laptop.store.close()


async def test_new_epochs_are_not_wrapped_under_the_passphrase_of_a_backup(tmp_path: Path) -> None:
    """The passphrase was changed, with a new epoch, after the backup; its old one may be known to others."""
    folder, backup, new = tmp_path / "provider", tmp_path / "backup", "a much better phrase"
    async with running(folder, tmp_path) as https:
        laptop = await enrolled(https, tmp_path, "laptop")
        await laptop.put("d", v=1)
        async with laptop.online(https) as engine:
            await engine.sync()
    await asyncio.to_thread(shutil.copytree, folder, backup)
    async with running(folder, tmp_path) as https, laptop.online(https) as engine:
        await new_epoch(laptop, new)
        await laptop.put("d", v=2)
        await engine.sync()
    await asyncio.to_thread(shutil.rmtree, folder)
    await asyncio.to_thread(shutil.copytree, backup, folder)
    try:
        async with running(folder, tmp_path) as https, laptop.online(https) as engine:
            store, client = laptop.store, laptop.client
            with pytest.raises(AuthFailed):
                await engine.refound(lambda: begin_generation(store, client, new))
            with pytest.raises(OldPassphrase):
                await engine.refound(lambda: begin_generation(store, client, PASSPHRASE))
            assert (await client.secrets()).keyset_version == 1
            await engine.refound(
                lambda: begin_generation(store, client, PASSPHRASE, new, kdf=floor_kdf_params)
            )
            async with ProviderClient(https.url, ca_file=https.ca_file) as client:
                with pytest.raises(AuthFailed):
                    await enrol_device(client, ALICE, PASSPHRASE, "eve's")
                made = await enrol_device(client, ALICE, new, "phone")
            assert len(made.material.epochs) == 2
            phone = Device(await open_store(tmp_path / "phone.db"))
            await phone.store.save_material(made.material)
            async with phone.online(https) as theirs:
                await theirs.sync()
            assert await phone.view() == ({"d"}, [])
            await phone.store.close()
    finally:
        await laptop.store.close()


async def new_epoch(laptop: Device, passphrase: str) -> None:
    """A change of passphrase, as it is at the provider: a new verifier, wraps, and an epoch more."""
    reply = await laptop.client.secrets()
    material = laptop.store.material
    assert material is not None
    keyset = material.open_keyset()
    old = derive_passphrase(PASSPHRASE, await laptop.client.kdf_of(ALICE))
    secrets = unwrap(reply.wraps.passphrase, old.wrap_key, wrap_context(ALICE))
    epoch = Epoch(2, bytes(range(32)))
    secrets = msgspec.structs.replace(secrets, epochs=[*secrets.epochs, epoch])
    params = floor_kdf_params()
    keys = derive_passphrase(passphrase, params)
    salt, verifier = srp_verifier(ALICE, keys.auth_key)
    entry = msgspec.structs.replace(keyset.epochs[0], number=2)
    if "since_version" in entry.__struct_fields__:
        entry = msgspec.structs.replace(entry, since_version=2)
    signed = sign_keyset(keyset.successor(epochs=[*keyset.epochs, entry]), secrets.root_key)
    await laptop.client.put_keyset(
        KeysetPut(
            expected_version=1,
            keyset=signed,
            wraps=Wraps(
                passphrase=wrap(secrets, keys.wrap_key, wrap_context(ALICE)),
                recovery=reply.wraps.recovery,
            ),
            passphrase=Verifier(kdf=params, srp_salt=salt, srp_verifier=verifier),
        )
    )
    await laptop.store.update_material(
        lambda now: msgspec.structs.replace(now, keyset=signed, epochs=[*now.epochs, epoch])
    )
