"""Stores and providers which earlier versions wrote are opened, read whole, synced, and joined by new devices."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.enrol import enrol_by_recovery, enrol_device
from leap.soledad.maintenance import verify
from leap.soledad.material import AccountMaterial
from leap.soledad.remote import ProviderClient
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from leap.soledad.vault import open_vault
from tests.golden.making import ADDRESS, FOLDER, LETTER, PASSPHRASE, contents, open_letter
from tests.provider.world import Served, opened, served

VERSIONS = sorted(path.name for path in FOLDER.glob("[0-9]*.[0-9]*"))


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one version's folder."""
    folder = tmp_path / "golden"
    shutil.copytree(FOLDER / request.param, folder)
    (folder / "device").chmod(0o700)
    return folder


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden / "expected.json").read_text())
    return found


@pytest.fixture
async def https(golden: Path, tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(golden / "provider") as provider, served(provider, tmp_path) as running:
        yield running


@asynccontextmanager
async def device(
    path: Path, key: bytes, material: AccountMaterial | None = None
) -> AsyncIterator[tuple[Soledad, LocalAccount]]:
    store = await open_mail_store(path, key)
    if material is not None:
        await store.save_material(material)
    account = LocalAccount(store, ADDRESS)
    try:
        yield store, account
    finally:
        await account.close()
        await store.close()


@asynccontextmanager
async def synced(https: Served, store: Soledad) -> AsyncIterator[tuple[ProviderClient, SyncEngine]]:
    assert store.material is not None
    client = ProviderClient(https.url, ca_file=https.ca_file, token=store.material.token)
    engine = SyncEngine(store, client, gather=0)
    try:
        yield client, engine
    finally:
        await engine.close()
        await client.close()


def test_there_is_one_of_the_present_version() -> None:
    assert "0.1" in VERSIONS
    size = sum(file.stat().st_size for file in (FOLDER / "0.1/device").rglob("*") if file.is_file())
    assert size < 400_000  # it is in every clone of the repository


async def test_a_store_is_read_whole_and_syncs_what_waited(
    golden: Path, expected: dict[str, Any], https: Served
) -> None:
    code, letter = expected.pop("recovery_code"), expected.pop("letter")
    assert len(code.split()) == 24
    key = await open_vault(golden / "device/vault.json", PASSPHRASE)
    async with device(golden / "device/store.db", key) as (store, account):
        assert await contents(store, account) == expected
        assert await open_letter(store, letter) == LETTER
        assert (await verify(store)).clean
        async with synced(https, store) as (client, engine):
            result = await engine.sync()
            assert result.pushed > 0
            assert result.blobs_sent == 2
            assert await contents(store, account) == expected
            report = await verify(store, remote=client, sync=engine.sync)
            assert report.clean, report.findings
        # and a device that joins now sees the same
        async with ProviderClient(https.url, ca_file=https.ca_file) as client:
            made = await enrol_device(client, ADDRESS, PASSPHRASE, "phone")
        async with (
            device(golden / "phone.db", bytes(32), made.material) as (phone, theirs),
            synced(https, phone) as (_, engine),
        ):
            await engine.sync()
            assert await contents(phone, theirs) == expected
            assert await open_letter(phone, letter) == LETTER


async def test_an_account_is_restored_by_its_recovery_code(
    golden: Path, expected: dict[str, Any], https: Served
) -> None:
    async with ProviderClient(https.url, ca_file=https.ca_file) as client:
        made = await enrol_by_recovery(client, ADDRESS, expected["recovery_code"], "new")
    async with (
        device(golden / "new.db", bytes(32), made.material) as (store, account),
        synced(https, store) as (_, engine),
    ):
        await engine.sync()
        found = await contents(store, account)
        assert found["keys"] == expected["keys"]
        assert await open_letter(store, expected["letter"]) == LETTER
        assert found["documents"]["conflicted"] == expected["documents"]["conflicted"]
        # what the other device had not sent yet is not here
        assert len(found["mailboxes"]["INBOX"]) == len(expected["mailboxes"]["INBOX"]) - 1
