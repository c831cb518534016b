"""Large blobs beside small ones, both ways: what is small never waits for what is large."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leap.soledad.blobs import download
from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.errors import Refused, SoledadError, StoreFull, Unreachable
from leap.soledad.syncing import uploads
from tests.soledad.memory_provider import Account, Device, lost_reply, lost_request
from tests.soledad.packed import wipe
from tests.soledad.two_devices import equal, pair, until

SIZE = LARGE + 1000


async def add_large(device: Device, row_id: str, size: int = SIZE, date: int = 0) -> BlobRef:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 1_000_000):
            yield os.urandom(min(1_000_000, size - start))

    sealed = await device.store.seal_stream(pieces(), size)
    ref = sealed.ref
    values = {"body_id": ref.blob_id, "body_sha256": ref.sha256, "body_size": ref.size}

    def job(tx: Any) -> None:
        tx.put_blob(sealed)
        tx.insert_row("note", row_id, {"folder": "in", "date": date, **values})

    await device.store.transact(job, durable=True)
    return ref


@asynccontextmanager
async def running(device: Device) -> AsyncIterator[None]:
    task = asyncio.create_task(device.engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Gate:
    """Holds requests of one kind until it is opened."""

    def __init__(self, device: Device, name: str) -> None:
        self.reached, self._open = asyncio.Event(), asyncio.Event()
        device.remote.before[name] = self._hold

    async def _hold(self) -> None:
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


async def rows_of(device: Device) -> set[str]:
    return {row[0] for row in (await device.view())["rows"]}


async def test_rows_of_small_blobs_are_pushed_while_a_large_one_is_under_way(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    gate = Gate(laptop, "put_blob_file")
    await add_large(laptop, "large")
    async with running(laptop):
        await asyncio.wait_for(gate.reached.wait(), 5)
        for n in range(3):
            await laptop.add_blobs(f"small{n}", b"head", b"body")
            await laptop.engine.sync_log()
            await phone.sync()
            assert await rows_of(phone) == {f"small{k}" for k in range(n + 1)}
        status = laptop.engine.status
        assert (status.blobs_to_send, status.pending) == (1, 1)
        gate.open()
        await until(laptop, lambda s: not s.blobs_to_send and not s.pending)
    await phone.sync()
    assert await rows_of(phone) == {"small0", "small1", "small2", "large"}


async def test_a_sync_by_itself_sends_everything(account: Account) -> None:
    laptop, phone = await pair(account)
    ref = await add_large(laptop, "large")
    await laptop.add_blobs("small", b"head", b"body")
    result = await laptop.sync()
    assert result.blobs_sent == 3
    await phone.sync()
    assert await rows_of(phone) == {"small", "large"}
    assert len(await phone.store.read_blob(ref)) == SIZE


async def test_the_smallest_of_the_large_ones_goes_first(account: Account) -> None:
    laptop, _ = await pair(account)
    sizes = [SIZE + 500_000, SIZE, SIZE + 200_000]
    refs = [await add_large(laptop, f"r{size}", size) for size in sizes]
    await laptop.sync()
    assert list(account.provider.blobs) == [
        ref.blob_id for ref in sorted(refs, key=lambda ref: ref.size)
    ]


@pytest.mark.parametrize("fault", [lost_request, lost_reply])
async def test_a_large_upload_with_lost_messages_is_repeated(account: Account, fault: Any) -> None:
    laptop, phone = await pair(account)
    ref = await add_large(laptop, "large")
    laptop.remote.faults["put_blob_file"] = [fault]
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert laptop.engine.status.error
    await phone.sync()
    assert await rows_of(phone) == set()
    await laptop.restart()
    await laptop.sync()
    await phone.sync()
    assert await rows_of(phone) == {"large"}
    assert len(await phone.store.read_blob(ref)) == SIZE


async def test_a_large_blob_the_provider_refuses_does_not_stop_the_others(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone = await pair(account)
    bad = await add_large(laptop, "bad", SIZE)
    await add_large(laptop, "good", SIZE + 1000)

    def refuse(call: Any) -> Any:
        raise Refused("too-large", "a blob is too large for this provider", 413)

    laptop.remote.faults["put_blob_file"] = [refuse]
    with pytest.raises(Refused):
        await laptop.sync()
    await laptop.sync()
    await phone.sync()
    assert await rows_of(phone) == {"good"}
    assert bad.blob_id not in account.provider.blobs
    monkeypatch.setattr(uploads, "ASIDE_SECONDS", 0.0)
    laptop.engine._uploads._mails._aside.clear()  # an hour later
    await laptop.sync()
    await phone.sync()
    assert await rows_of(phone) == {"good", "bad"}


async def test_other_bytes_at_the_provider_are_replaced_by_those_verified_here(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    large = await add_large(laptop, "large")
    small = await laptop.add_blobs("small", b"head", b"body")
    for ref in (large, small[1]):
        account.provider.blobs[ref.blob_id] = b"something else"
    await laptop.sync()
    await phone.sync()
    assert await phone.store.read_blobs([small[0], small[1]]) == [b"head", b"body"]
    assert len(await phone.store.read_blob(large)) == SIZE


async def test_bytes_damaged_here_do_not_replace_what_the_provider_has(account: Account) -> None:
    laptop, _ = await pair(account)
    small = await laptop.add_blobs("small", b"head", b"body")
    account.provider.blobs[small[1].blob_id] = b"something else"
    await wipe(laptop.store, small[1].blob_id)
    with pytest.raises(SoledadError, match="damaged on this machine"):
        await laptop.sync()
    assert account.provider.blobs[small[1].blob_id] == b"something else"
    assert laptop.engine.status.alarm == ""


async def test_small_contents_are_fetched_while_a_large_one_is_under_way(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await add_large(laptop, "large", date=100)
    refs = [await laptop.add_blobs(f"s{n}", b"h%d" % n, b"b%d" % n, date=n) for n in range(3)]
    await laptop.sync()
    gate = Gate(phone, "receive_blob")
    async with running(phone):
        await asyncio.wait_for(gate.reached.wait(), 5)
        await until(phone, lambda s: s.blobs_to_fetch == 1)
        phone.store.attach(None)
        assert await phone.store.read_blobs([ref[1] for ref in refs]) == [b"b0", b"b1", b"b2"]
        phone.store.attach(phone.remote)
        gate.open()
        await until(phone, lambda s: s.blobs_to_fetch == 0)


async def test_large_contents_come_newest_first_and_one_that_is_always_cut_lets_others_by(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = [await add_large(laptop, f"r{n}", date=n) for n in range(3)]
    await laptop.sync()
    await phone.sync()
    phone.remote.faults["receive_blob"] = [lost_request]
    with pytest.raises(Unreachable):
        await phone.engine._transfer.fetch_large()
    held: list[set[str]] = []
    for _ in range(3):
        assert await phone.engine._transfer.fetch_large() == 1
        held.append(
            {r[0] for r in await phone.store.read(lambda c: c.execute("SELECT blob_id FROM blob"))}
        )
    assert held[0] == {refs[1].blob_id}
    assert held[1] == {refs[1].blob_id, refs[0].blob_id}
    assert len(held[2]) == 3
    assert await phone.engine._transfer.fetch_large() == 0


async def test_what_has_no_room_here_is_not_begun_and_small_ones_still_come(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone = await pair(account)
    ref = await add_large(laptop, "large")
    small = await laptop.add_blobs("small", b"head", b"body")
    await laptop.sync()
    await phone.sync()
    monkeypatch.setattr(download, "RESERVE", 10**18)
    with pytest.raises(StoreFull, match="make some"):
        await phone.store.read_blob(ref)
    assert "receive_blob" not in phone.remote.requests
    while await phone.engine._transfer.fetch_batch():
        pass
    phone.store.attach(None)
    assert await phone.store.read_blobs(small) == [b"head", b"body"]
    monkeypatch.undo()
    phone.store.attach(phone.remote)
    assert len(await phone.store.read_blob(ref)) == SIZE


# --- on demand ---


async def test_on_demand_nothing_is_fetched_but_what_is_read_and_it_can_be_switched(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = [await laptop.add_blobs(f"r{n}", b"h%d" % n, b"b%d" % n) for n in range(3)]
    large = await add_large(laptop, "large")
    await laptop.sync()
    await phone.store.set_policy(ContentsPolicy(contents="on-demand"))
    await phone.restart()
    assert phone.store.policy.contents == "on-demand"
    async with running(phone):
        await until(phone, lambda s: s.last_sync is not None)
        assert await phone.store.read_blob(refs[1][1]) == b"b1"
        await phone.sync()
        assert [name for name in phone.remote.requests if name.startswith(("get", "rec"))] == [
            "get_blobs"
        ]
        status = await phone.engine.refresh_status()
        assert status.blobs_to_fetch == 0  # nothing is on its way
        gate = Gate(phone, "get_blobs")
        await phone.store.set_policy(ContentsPolicy(contents="on-demand", always=1))
        await asyncio.wait_for(gate.reached.wait(), 5)
        assert (await phone.engine.refresh_status()).blobs_to_fetch == 3  # the heads
        gate.open()
        await until(phone, lambda s: s.blobs_to_fetch == 0)
        assert await phone.store.read(
            lambda c: c.execute("SELECT count(*) FROM blob_wanted").fetchone()
        ) == (3,)  # two bodies, and the large one
        await phone.store.set_policy(ContentsPolicy())
        await phone.engine.refresh_status()
        await until(phone, lambda s: s.blobs_to_fetch == 0)
    phone.store.attach(None)
    assert await phone.store.read_blobs([ref[1] for ref in refs]) == [b"b0", b"b1", b"b2"]
    assert len(await phone.store.read_blob(large)) == SIZE


async def test_on_demand_what_was_read_and_lost_is_asked_for_again(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await phone.store.set_policy(ContentsPolicy(contents="on-demand"))
    await phone.sync()
    whole = account.provider.blobs.pop(refs[1].blob_id)
    with pytest.raises(SoledadError):
        await phone.store.read_blob(refs[1])
    account.provider.blobs[refs[1].blob_id] = whole
    await phone.store.write(phone.store.blobs.retry_now)
    assert await phone.engine._transfer.fetch_batch() == 1
    assert await phone.engine._transfer.fetch_batch() == 0
    phone.store.attach(None)
    assert await phone.store.read_blob(refs[1]) == b"body"


async def test_a_large_blob_lost_at_the_provider_comes_again_from_who_has_it_intact(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    intact = await add_large(laptop, "intact")
    damaged = await add_large(laptop, "damaged", SIZE + 1)
    await equal(laptop, phone)
    saved = dict(account.provider.blobs)
    account.provider.blobs.clear()
    for _ in range(2):
        assert await phone.engine._transfer.fetch_large() == 1
    assert (await phone.engine.refresh_status()).contents_missing == 2
    await phone.store.write(lambda c: c.execute("UPDATE blob_lost SET attempts = 2, retry_at = 0"))
    await phone.engine._contents._wishes.tell()
    await equal(laptop, phone)
    path = laptop.store.blobs.files.path(damaged.blob_id)
    path.write_bytes(bytes(path.stat().st_size))
    assert await laptop.engine._contents._wishes.grant() == 1
    assert set(account.provider.blobs) == {intact.blob_id}
    assert account.provider.blobs[intact.blob_id] == saved[intact.blob_id]
    while await phone.engine._transfer.fetch_large():
        pass
    phone.store.attach(None)
    assert len(await phone.store.read_blob(intact)) == SIZE
