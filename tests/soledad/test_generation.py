"""A log founded anew while the account's keys changed too: epochs, revocations, backups from before them."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from leap.soledad.devices import revoke_device
from leap.soledad.errors import DeviceRevoked, ProviderLies, SoledadError
from leap.soledad.generation import OldPassphrase, begin_generation
from leap.soledad.passphrase import change_passphrase, replace_recovery_code, show_recovery_code
from leap.soledad.secrets import derive_passphrase, floor_kdf_params
from tests.provider.world import Served, opened, served
from tests.soledad.members import OLD, Member, quick_stretching


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_stretching(monkeypatch)


@asynccontextmanager
async def running(folder: Path, work: Path) -> AsyncIterator[Served]:
    async with opened(folder) as provider, served(provider, work) as https:
        yield https


async def begun(
    https: Served, folder: Path, stack: AsyncExitStack
) -> tuple[Member, Member, Member]:
    laptop = await Member.signing_up(https, folder)
    phone = await Member.enrolling(https, folder, "phone")
    tablet = await Member.enrolling(https, folder, "tablet")
    for member in (laptop, phone, tablet):
        stack.push_async_callback(member.close)
        await member.put(f"of {member.name}", v=1)
        await member.sync()
    for member in (laptop, phone, tablet):
        await member.sync()
    return laptop, phone, tablet


async def at(https: Served, *members: Member, passphrase: str = OLD) -> None:
    """The provider is another process now."""
    for member in members:
        member.https = https
        await member.restart(passphrase)


async def refound(by: Member, passphrase: str = OLD, new: str | None = None) -> None:
    await by.engine.refound(
        lambda: begin_generation(by.store, by.client, passphrase, new, kdf=floor_kdf_params)
    )


async def in_step(*members: Member) -> list[str]:
    for member in (*members, *members):
        await member.sync()
    contents = [sorted(doc.doc_id for doc in (await m.store.get_all_docs())[1]) for m in members]
    assert all(one == contents[0] for one in contents)
    words = [(await member.engine.fingerprint()).words for member in members]
    assert all(one == words[0] for one in words)
    return contents[0]


async def test_a_founder_that_had_not_heard_of_the_newest_epoch_founds_under_it(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        https = await stack.enter_async_context(running(tmp_path / "provider", tmp_path))
        laptop, phone, tablet = await begun(https, tmp_path, stack)
        await phone.put("news", v=1)
        await revoke_device(phone.keys, tablet.device_id, OLD, None, phone.sync)
        await laptop.put("unsynced", v=1)
        assert laptop.material.epoch.number == 1
        await refound(laptop)
        assert laptop.material.epoch == phone.material.epoch
        assert laptop.material.inbox_keys == phone.material.inbox_keys
        found = await in_step(laptop, phone)
        assert {"news", "unsynced", "of tablet"} <= set(found)
        with pytest.raises(SoledadError):
            await tablet.sync()


async def test_a_founder_that_others_had_removed_founds_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        https = await stack.enter_async_context(running(tmp_path / "provider", tmp_path))
        laptop, phone, tablet = await begun(https, tmp_path, stack)
        await revoke_device(phone.keys, tablet.device_id, OLD, None, phone.sync)
        version = phone.material.open_keyset().version
        tablet.client.token = phone.client.token  # whatever the provider thinks of its log-in

        async def log_in(*_: object) -> object:
            params = await phone.client.kdf_of(phone.material.address)
            return await asyncio.to_thread(derive_passphrase, OLD, params)

        tablet.client.log_in_with = log_in  # type: ignore[method-assign, assignment]
        with pytest.raises(DeviceRevoked):
            await refound(tablet)
        await laptop.sync()
        assert laptop.material.open_keyset().version == version
        assert laptop.material.open_keyset().generation == 1


async def test_old_wraps_beside_a_new_keyset_make_no_generation_without_its_epochs(
    tmp_path: Path,
) -> None:
    """The provider kept wraps of before: what they lack is not put under their passphrase unasked."""
    async with AsyncExitStack() as stack:
        https = await stack.enter_async_context(running(tmp_path / "provider", tmp_path))
        laptop, phone, tablet = await begun(https, tmp_path, stack)
        old = (await laptop.client.secrets()).wraps
        await revoke_device(phone.keys, tablet.device_id, OLD, None, phone.sync)
        asked = laptop.client.secrets

        async def secrets() -> object:
            reply = await asked()
            return msgspec.structs.replace(reply, wraps=old)

        laptop.client.secrets = secrets  # type: ignore[method-assign, assignment]
        with pytest.raises(OldPassphrase):
            await refound(laptop)
        assert laptop.material.open_keyset().generation == 1


@pytest.mark.parametrize("ahead", ["laptop", "phone"])
async def test_two_lines_of_keysets_from_one_backup_become_one_again(
    tmp_path: Path, ahead: str
) -> None:
    """Each made an epoch of its own with the same number; `ahead` made one more."""
    folder, backup = tmp_path / "provider", tmp_path / "backup"
    async with AsyncExitStack() as stack:
        async with running(folder, tmp_path) as https:
            laptop, phone, tablet = await begun(https, tmp_path, stack)
        await asyncio.to_thread(shutil.copytree, folder, backup)
        async with running(folder, tmp_path) as https:
            await at(https, laptop)
            await revoke_device(laptop.keys, tablet.device_id, OLD, None, laptop.sync)
            if ahead == "laptop":
                await change_passphrase(laptop.keys, OLD, OLD, leaked=True)
            await laptop.put("only the laptop", v=1)
            await laptop.sync()
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.to_thread(shutil.copytree, backup, folder)
        async with running(folder, tmp_path) as https:
            await at(https, phone)
            await revoke_device(phone.keys, tablet.device_id, OLD, None, phone.sync)
            if ahead == "phone":
                await change_passphrase(phone.keys, OLD, OLD, leaked=True)
            await phone.put("only the phone", v=1)
            await phone.sync()
            await phone.put("unsynced", v=1)
            await at(https, laptop)
            with pytest.raises(ProviderLies):
                await laptop.sync()
            assert laptop.material.epochs_by_number[2] != phone.material.epochs_by_number[2]
            await refound(laptop, OLD, OLD)  # its epochs are put under the passphrase by that
            found = await in_step(laptop, phone)
            assert {"only the laptop", "only the phone", "unsynced"} <= set(found)
            assert laptop.material.epoch == phone.material.epoch
            watch = await Member.enrolling(https, tmp_path, "watch")
            stack.push_async_callback(watch.close)
            assert await in_step(laptop, phone, watch) == found
            assert watch.material.open_keyset().device(tablet.device_id).revoked_at is not None
            # Mail that is queued for the inbox keys of either line opens on both.
            held = {key.key_id for key in laptop.material.inbox_keys}
            assert held >= {key.key_id for key in phone.material.inbox_keys}
            assert {key.key_id for key in watch.material.inbox_keys} == held


async def test_a_recovery_code_from_before_a_backup_is_not_shown_as_if_it_were_good(
    tmp_path: Path,
) -> None:
    folder, backup = tmp_path / "provider", tmp_path / "backup"
    async with AsyncExitStack() as stack:
        async with running(folder, tmp_path) as https:
            laptop, _phone, _tablet = await begun(https, tmp_path, stack)
        await asyncio.to_thread(shutil.copytree, folder, backup)
        async with running(folder, tmp_path) as https:
            await at(https, laptop)
            await replace_recovery_code(laptop.keys, OLD)
            await laptop.sync()
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.to_thread(shutil.copytree, backup, folder)
        async with running(folder, tmp_path) as https:
            await at(https, laptop)
            await refound(laptop)
            assert await show_recovery_code(laptop.keys, OLD) is None
            code = await replace_recovery_code(laptop.keys, OLD)
            assert await show_recovery_code(laptop.keys, OLD) == code
