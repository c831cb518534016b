"""Verify against the provider: what it withholds, alters, shows in an older form, or lost, is found and named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.maintenance import Report, verify
from tests.provider.world import Served, opened, served
from tests.soledad.maintenance.damage import fill_and_sync
from tests.soledad.memory_provider import Account, Device, MemoryProvider
from tests.soledad.test_syncing_https import device as https_device
from tests.soledad.test_syncing_https import enrolled


@pytest.fixture
async def laptop(account: Account) -> Device:
    device = await account.device("laptop")
    await fill_and_sync(device)
    return device


async def check(device: Device, **options: Any) -> Report:
    return await verify(device.store, remote=device.remote, sync=device.sync, **options)


async def test_an_honest_provider(laptop: Device) -> None:
    report = await check(laptop)
    assert report.clean
    assert report.checked["items_at_provider"] >= 4
    assert report.checked["blobs_at_provider"] == 6
    assert report.checked["sampled"] == 6


def withhold(provider: MemoryProvider) -> None:
    del provider.items[next(iter(provider.items))]


def truncate(provider: MemoryProvider) -> None:
    item = provider.items[next(iter(provider.items))]
    change_of(provider, item.item_id, sealed=item.sealed[:-1])


def change_of(provider: MemoryProvider, item_id: bytes, **fields: Any) -> None:
    provider.items[item_id] = msgspec.structs.replace(provider.items[item_id], **fields)


def swap(provider: MemoryProvider) -> None:
    one, other = list(provider.items.values())[:2]
    change_of(provider, one.item_id, sealed=other.sealed)


def older(provider: MemoryProvider) -> None:
    """The first commit's form of the document that was committed twice."""
    first = next(item for item in provider.commits[0].items if item.item_id in provider.items)
    for commit in provider.commits[1:]:
        for item in commit.items:
            found = next((i for i in provider.commits[0].items if i.item_id == item.item_id), None)
            first = found or first
    change_of(provider, first.item_id, sealed=first.sealed, version=first.version)


def add(provider: MemoryProvider) -> None:
    item = next(iter(provider.items.values()))
    provider.items[b"x" * 32] = msgspec.structs.replace(
        item, item_id=b"x" * 32, seq=provider.head_seq
    )


def alter_head(provider: MemoryProvider) -> None:
    provider.head = provider.head[:-1] + bytes([provider.head[-1] ^ 1])


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (withhold, {"item-missing"}),
        (truncate, {"item-older", "item-forged"}),
        (swap, {"item-older", "item-forged"}),
        (older, {"item-older"}),
        (add, {"item-unknown", "item-forged"}),
        (alter_head, {"item-forged"}),
    ],
)
async def test_what_the_provider_shows_of_the_log(
    laptop: Device, attack: Callable[[MemoryProvider], None], expected: set[str]
) -> None:
    await laptop.put("d1", n="again")
    await laptop.sync()
    assert (await check(laptop)).clean
    attack(laptop.account.provider)
    report = await check(laptop)
    assert set(report.counts) == expected
    assert report.left  # nothing of this is mended from here


async def test_another_device_that_commits_meanwhile_is_no_finding(
    account: Account, laptop: Device
) -> None:
    phone = await account.device("phone")
    await phone.sync()
    await phone.put("d5", n="from the phone")
    laptop.remote.before["secrets"] = phone.sync  # between the pull and the comparison
    report = await check(laptop)
    assert report.clean
    assert await laptop.content("d5") == {"n": "from the phone"}


async def test_a_blob_the_provider_lost_is_sent_again(account: Account, laptop: Device) -> None:
    lost = next(iter(account.provider.blobs))
    kept = account.provider.blobs.pop(lost)
    report = await check(laptop, repair=True)
    assert [(f.kind, f.what, f.mended) for f in report.findings] == [
        ("blob-missing", lost, "sent-again")
    ]
    await laptop.sync()
    assert account.provider.blobs[lost] == kept
    assert (await check(laptop)).clean


async def test_a_blob_with_other_bytes_is_replaced(account: Account, laptop: Device) -> None:
    name, kept = next(iter(account.provider.blobs.items()))
    account.provider.blobs[name] = kept[:-1] + b"x"
    report = await check(laptop, repair=True)
    assert [(f.kind, f.mended) for f in report.findings] == [("blob-differs", "sent-again")]
    await laptop.sync()
    assert account.provider.blobs[name] == kept
    assert (await check(laptop)).clean


async def test_what_is_lost_everywhere_near_is_asked_of_other_devices(
    account: Account, laptop: Device
) -> None:
    phone = await account.device("phone")
    await phone.sync()
    lost = (await laptop.row("r1"))["body_id"]
    assert await phone.store.read(lambda c: phone.store.blobs.find(c, lost)) is None
    kept = account.provider.blobs.pop(lost)
    report = await check(phone, repair=True)
    assert [(f.kind, f.mended) for f in report.findings] == [("blob-missing", "asked-for")]
    assert (await phone.engine.refresh_status()).contents_missing == 1
    account.provider.blobs[lost] = kept


async def test_a_list_that_lies_is_found_by_the_sample_those_not_here_first(
    account: Account, laptop: Device
) -> None:
    phone = await account.device("phone")
    await phone.sync()
    body = (await laptop.row("r1"))["body_id"]
    found = await laptop.store.read(lambda c: laptop.store.blobs.find(c, body))
    assert found is not None
    for row_id in ("r0", "r1", "r2"):  # all but that one are kept on the phone
        row = await laptop.row(row_id)
        refs = [
            BlobRef(row[f"{k}_id"], row[f"{k}_sha256"], row[f"{k}_size"]) for k in ("head", "body")
        ]
        await phone.store.keep_blobs([ref for ref in refs if ref.blob_id != body])

    honest = phone.remote.list_blobs
    listed = await honest("")

    async def lying(after: str = "") -> Any:
        return listed

    account.provider.blobs[body] = b"rubbish"
    phone.remote.list_blobs = lying  # type: ignore[method-assign]
    report = await check(phone, sample=1)
    assert [(f.kind, f.what) for f in report.findings] == [("blob-differs", body)]
    assert report.checked["sampled"] == 1
    assert await phone.store.read(lambda c: phone.store.blobs.find(c, body)) is None  # not kept


async def test_blobs_that_no_row_names_are_counted(account: Account, laptop: Device) -> None:
    account.provider.blobs["0" * 32] = b"x" * 1000
    report = await check(laptop)
    assert report.clean
    assert report.notes == {"blobs_no_row_names": 1, "bytes_no_row_names": 1000}


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


async def test_the_real_provider(https: Served, tmp_path: Path) -> None:
    material = await enrolled(https, "laptop")
    async with https_device(https, tmp_path / "laptop.db", material) as (store, engine):
        blob = await store.seal_blob(b"x" * 100_000)

        def put(tx: Any) -> None:
            for n in range(2_100):  # two pages of a pull
                tx.put(f"d{n}", {"n": n})
            tx.put_blob(blob)
            ref = blob.ref
            values = {"body_id": ref.blob_id, "body_sha256": ref.sha256, "body_size": ref.size}
            tx.insert_row("note", "r", {"folder": "in", **values})

        await store.transact(put)
        await engine.sync()
        checked = partial(verify, store, remote=engine._remote, sync=engine.sync)
        report = await checked()
        assert report.clean, report.findings
        assert (report.checked["items_at_provider"], report.checked["sampled"]) == (2_101, 1)

        def forget(connection: Any) -> None:
            connection.execute("DELETE FROM item WHERE seq = 7")
            connection.execute("DELETE FROM blob")

        await https.provider.db.write(forget)
        report = await checked()
        assert set(report.counts) == {"item-missing", "blob-missing"}
