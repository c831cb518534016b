"""Contents over a budget leave this machine only when they are safely at the provider, and come back when read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.holdings import count_holdings, size_here
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.errors import BlobAltered, Unreachable
from leap.soledad.syncing.eviction import Eviction
from leap.soledad.syncing.state import CHECK_BLOBS
from leap.soledad.transaction import save_setting
from tests.soledad.memory_provider import Account, Device, lost_request
from tests.soledad.test_blob_lanes import add_large, running
from tests.soledad.two_devices import equal, pair, until

SIZE = 10_000


async def budget(device: Device, octets: int, always: int = 0) -> None:
    await device.store.set_policy(ContentsPolicy(keep_bytes=octets, always=always))


async def filled(device: Device, count: int, first: int = 0) -> list[list[BlobRef]]:
    """So many rows, each newer than the one before, with a small head and a body of SIZE."""
    return [
        await device.add_blobs(f"r{n}", b"head %d" % n, os.urandom(SIZE), date=n)
        for n in range(first, first + count)
    ]


async def evict(device: Device, draw: Callable[[int], int] = lambda count: 0) -> int:
    clock = device.store.blobs.now
    transfer = device.engine._transfer
    return await Eviction(device.store, device.remote, transfer, now=clock, draw=draw).run_once()


async def here(device: Device) -> set[str]:
    return {
        row[0] for row in await device.store.read(lambda c: c.execute("SELECT blob_id FROM blob"))
    }


async def test_the_oldest_contents_go_until_a_tenth_below_the_budget(account: Account) -> None:
    laptop, _ = await pair(account)
    refs = await filled(laptop, 10)
    await laptop.sync()
    await budget(laptop, 5 * SIZE)
    assert await evict(laptop) == 6  # 4 * SIZE and the heads stay, which is below 4.5 * SIZE
    left = await here(laptop)
    assert left == {ref[0].blob_id for ref in refs} | {ref[1].blob_id for ref in refs[6:]}
    assert await evict(laptop) == 0


async def test_what_was_read_lately_stays(account: Account) -> None:
    clock = [1_700_000_000.0]
    laptop = await account.device("laptop", now=lambda: clock[0])
    refs = await filled(laptop, 6)
    await laptop.sync()
    await budget(laptop, 3 * SIZE)
    await laptop.store.read_blob(refs[1][1])
    clock[0] += 10
    await laptop.store.read_blobs([refs[0][1]])
    assert await evict(laptop) == 4
    assert refs[0][1].blob_id in await here(laptop)
    assert refs[1][1].blob_id in await here(laptop)
    await budget(laptop, 2 * SIZE)
    await laptop.store.read_blob(refs[0][1])
    assert await evict(laptop) == 1
    assert refs[0][1].blob_id in await here(laptop)
    assert refs[1][1].blob_id not in await here(laptop)


async def test_without_a_budget_nothing_goes(account: Account) -> None:
    laptop, _ = await pair(account)
    await filled(laptop, 3)
    await laptop.sync()
    assert await evict(laptop) == 0
    assert "find_listed" not in laptop.remote.requests
    assert len(await here(laptop)) == 6


async def test_the_first_columns_stay_where_the_policy_says_so(account: Account) -> None:
    laptop, _ = await pair(account)
    refs = await filled(laptop, 3)
    await laptop.sync()
    await budget(laptop, 0, always=1)
    assert await evict(laptop) == 3
    assert await here(laptop) == {ref[0].blob_id for ref in refs}


async def test_what_went_is_fetched_when_it_is_read_and_not_in_the_background(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 3)
    large = await add_large(laptop, "large", date=100)
    await equal(laptop, phone)
    content = await laptop.store.read_blob(large)
    async with running(laptop):
        await until(laptop, lambda s: s.last_sync is not None)
        await budget(laptop, 0)
        await until(laptop, lambda s: s.blobs_to_fetch == 0)
        async with asyncio.timeout(10):
            while await here(laptop):  # noqa: ASYNC110  the engine tells nobody of it
                await asyncio.sleep(0.01)
        laptop.remote.requests.clear()
        await laptop.put("news", v=1)
        await laptop.sync()
        await laptop.engine.refresh_status()
        assert laptop.engine.status.blobs_to_fetch == laptop.engine.status.contents_missing == 0
    assert not {"get_blobs", "receive_blob"} & set(laptop.remote.requests)
    folder = laptop.store.blobs.files.folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    await laptop.restart()
    assert await laptop.store.read_blob(refs[0][0]) == b"head 0"
    assert await laptop.store.read_blob(large) == content
    assert await here(laptop) == {refs[0][0].blob_id, large.blob_id}
    assert await laptop.store.read(
        lambda c: c.execute("SELECT count(*) FROM blob_evicted").fetchone()
    ) == (5,)


async def test_nothing_goes_that_is_only_here(account: Account) -> None:
    laptop, _ = await pair(account)
    await laptop.sync()
    await budget(laptop, 0)
    laptop.remote.always["put_blobs"] = lost_request
    await filled(laptop, 2)
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert await evict(laptop) == 0
    assert len(await here(laptop)) == 4


async def test_nothing_goes_whose_row_is_not_committed_or_that_is_doomed(account: Account) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    await budget(laptop, 0)
    await laptop.sync()
    laptop.remote.always["commit"] = lost_request
    await laptop.add_blobs("r", b"head", b"body")
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert (
        await laptop.store.read(lambda c: c.execute("SELECT * FROM blob_unsent").fetchall()) == []
    )
    assert await evict(laptop) == 0
    del laptop.remote.always["commit"]
    await laptop.sync()
    ids = sorted(await here(laptop))
    await laptop.store.write(lambda c: laptop.store.blobs.doom(c, ids))
    assert await evict(laptop) == 0
    assert len(await here(laptop)) == 2


@pytest.mark.parametrize("how", ["missing", "altered"])
async def test_what_the_provider_does_not_list_as_it_was_is_sent_again(
    account: Account, how: str
) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 3)
    await laptop.sync()
    await phone.sync()
    bad = refs[1][1].blob_id
    whole = account.provider.blobs.pop(bad)
    if how == "altered":
        account.provider.blobs[bad] = bytes(len(whole))
    await budget(laptop, 0)
    assert await evict(laptop) == 5
    assert await here(laptop) == {bad}
    there = account.provider.blobs.pop(bad, None)
    account.provider.blobs[bad] = whole
    assert await evict(laptop) == 0  # what is to be sent stays, whatever the provider lists
    account.provider.blobs.pop(bad)
    if there is not None:
        account.provider.blobs[bad] = there
    await laptop.sync()
    assert account.provider.blobs[bad] == whole
    assert await evict(laptop) == 1
    assert await laptop.store.read_blob(refs[1][1])


async def test_a_provider_that_lists_what_it_has_not_loses_nothing_of_a_lot_it_is_caught_at(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    laptop, _ = await pair(account)
    refs = await filled(laptop, 4)
    await laptop.sync()
    true_list = {name: account.provider.listed(name) for name in account.provider.blobs}
    account.provider.listed = true_list.__getitem__  # type: ignore[method-assign,assignment]
    bad = refs[0][1].blob_id
    whole = account.provider.blobs[bad]
    account.provider.blobs[bad] = bytes(len(whole))
    await budget(laptop, 3 * SIZE)
    assert await evict(laptop, draw=lambda count: 0) == 0
    assert len(await here(laptop)) == 8
    assert "to save room" in caplog.text
    await laptop.sync()
    assert account.provider.blobs[bad] == whole
    assert await evict(laptop, draw=lambda count: 0) == 2


async def test_the_place_that_is_drawn_is_read(account: Account) -> None:
    laptop, _ = await pair(account)
    ref = await add_large(laptop, "large")
    await laptop.sync()
    sealed = account.provider.blobs[ref.blob_id]
    listed = account.provider.listed(ref.blob_id)
    account.provider.listed = lambda name: listed  # type: ignore[method-assign]
    account.provider.blobs[ref.blob_id] = sealed[:1_000_000] + bytes(10) + sealed[1_000_010:]
    chunk = 1_000_000 // 65_536
    await budget(laptop, 0)
    assert await evict(laptop, draw=lambda count: chunk if count > 1 else 0) == 0
    account.provider.blobs[ref.blob_id] = sealed[:1_000_000] + bytes(10) + sealed[1_000_010:]
    await laptop.store.write(lambda c: c.execute("DELETE FROM blob_unsent"))
    assert (
        await evict(laptop, draw=lambda count: 0) == 1
    )  # by luck: what is not looked at is not found
    with pytest.raises(BlobAltered):
        await laptop.store.read_blob(ref)
    assert (await laptop.engine.refresh_status()).contents_missing == 1


async def test_what_was_lost_after_it_went_is_mended_by_a_device_that_kept_it(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 2)
    await equal(laptop, phone)
    await phone.store.keep_blobs([ref for two in refs for ref in two])
    await budget(laptop, 0)
    assert await evict(laptop) == 4
    lost = refs[0][1]
    account.provider.blobs.pop(lost.blob_id)
    with pytest.raises(BlobAltered):
        await laptop.store.read_blob(lost)
    assert (await laptop.engine.refresh_status()).contents_missing == 1
    await laptop.store.write(lambda c: c.execute("UPDATE blob_lost SET attempts = 2, retry_at = 0"))
    await laptop.engine._contents._wishes.tell()
    await equal(laptop, phone)
    await phone.engine._contents._wishes.grant()
    assert await laptop.engine._transfer.fetch_batch() == 1
    laptop.store.attach(None)
    assert len(await laptop.store.read_blob(lost)) == SIZE


async def test_a_deletion_takes_what_went_with_it(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 1)
    await equal(laptop, phone)
    await budget(laptop, 0)
    await evict(laptop)

    def job(tx: Any) -> None:
        tx.delete_rows("note", ["r0"])
        tx.drop_blobs([ref.blob_id for ref in refs[0]])

    await laptop.store.transact(job)
    for n in range(3):
        await phone.put("p", v=n)
        await laptop.put("l", v=n)
        await equal(laptop, phone)
    assert account.provider.blobs == {}
    assert (
        await laptop.store.read(lambda c: c.execute("SELECT * FROM blob_evicted").fetchall()) == []
    )


async def test_a_reader_beside_the_eviction_gets_its_content(
    account: Account, tmp_path: Path
) -> None:
    laptop, _ = await pair(account)
    refs = await filled(laptop, 5)
    ref = await add_large(laptop, "large", date=1)
    await laptop.sync()
    content = await laptop.store.read_blob(ref)
    await budget(laptop, 0)

    async def read() -> None:
        for _ in range(5):
            assert await laptop.store.read_blob(ref, 100, 10) == content[100:110]
            assert b"".join([piece async for piece in laptop.store.stream_blob(ref)]) == content
            assert len(await laptop.store.read_blob(refs[0][1])) == SIZE

    async def remove() -> None:
        for _ in range(10):
            await evict(laptop)
            await asyncio.sleep(0)

    await asyncio.gather(read(), remove())


async def test_the_budget_is_kept_over_a_restart_and_counts_by_an_index(account: Account) -> None:
    laptop, _ = await pair(account)
    await budget(laptop, 123)
    await laptop.restart()
    assert laptop.store.policy == ContentsPolicy(keep_bytes=123)
    plan = await laptop.store.read(
        lambda c: c.execute("EXPLAIN QUERY PLAN SELECT sum(size) FROM blob").fetchall()
    )
    assert "COVERING INDEX blob_size" in plan[0][3]


async def test_a_provider_brought_back_from_an_old_copy_gets_what_is_here_and_asks_for_the_rest(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 2)
    await equal(laptop, phone)
    await phone.store.keep_blobs([ref for two in refs for ref in two])
    await budget(laptop, 0, always=1)
    assert await evict(laptop) == 2
    saved = dict(account.provider.blobs)
    account.provider.blobs.clear()
    await laptop.store.write(lambda c: save_setting(c, CHECK_BLOBS, 1))
    await laptop.sync()
    assert set(account.provider.blobs) == {two[0].blob_id for two in refs}
    assert (await laptop.engine.refresh_status()).contents_missing == 2  # told to the others
    await laptop.store.write(lambda c: c.execute("UPDATE blob_lost SET attempts = 2"))
    await laptop.engine._contents._wishes.tell()
    await equal(laptop, phone)
    await phone.engine._contents._wishes.grant()
    assert account.provider.blobs == saved


async def test_a_new_device_fetches_the_newest_up_to_its_budget_and_nothing_twice(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    refs = await filled(laptop, 600)  # more than one request brings
    await laptop.sync()
    await budget(phone, 100 * SIZE, always=1)
    async with running(phone):
        await until(phone, lambda s: s.last_sync is not None and s.blobs_to_fetch == 0)
        heads = {head.blob_id for head, _ in refs}
        assert heads <= await here(phone)
        async with asyncio.timeout(10):
            while await phone.store.read(size_here) > 100 * SIZE:  # noqa: ASYNC110 - the engine's own pass
                await asyncio.sleep(0.01)
        kept = await here(phone) - heads
        held = await phone.store.read(count_holdings)
        assert held.evicted.blobs + len(kept) <= 101  # all bodies that came
        assert held.absent.blobs >= 499
        newest = [body.blob_id for _, body in refs[-len(kept) :]]
        assert kept == set(newest)
        assert 80 <= len(kept) <= 90
        late = (await filled(laptop, 1, 600))[0][1]
        await laptop.sync()
        await phone.sync()
        await until(phone, lambda s: s.blobs_to_fetch == 0)
        assert await here(phone) - heads >= kept | {late.blob_id}  # what is newer still comes
        asked = phone.remote.requests.count("get_blobs")
        phone.engine._contents.wake()
        await phone.engine.refresh_status()
        assert phone.engine.status.blobs_to_fetch == 0
        assert phone.remote.requests.count("get_blobs") == asked
        assert await phone.store.read_blob(refs[0][1])  # the oldest comes when it is read


async def test_what_went_comes_back_when_everything_is_to_be_kept_again(account: Account) -> None:
    laptop, _ = await pair(account)
    refs = await filled(laptop, 5)
    await laptop.sync()
    await budget(laptop, 0, always=1)
    assert await evict(laptop) == 5
    held = await laptop.store.read(count_holdings)
    assert (held.here.blobs, held.evicted) == (5, (5, 5 * SIZE))
    assert (await laptop.engine.refresh_status()).blobs_to_fetch == 0
    await laptop.store.set_policy(ContentsPolicy(contents="on-demand", always=1))
    assert await laptop.engine._transfer.fetch_batch() == 0
    await laptop.store.set_policy(ContentsPolicy())
    assert (await laptop.engine.refresh_status()).blobs_to_fetch == 5
    while await laptop.engine._transfer.fetch_batch():
        pass
    held = await laptop.store.read(count_holdings)
    assert (held.here.blobs, held.evicted.blobs, held.absent.blobs) == (10, 0, 0)
    laptop.store.attach(None)
    assert [len(body) for body in await laptop.store.read_blobs([two[1] for two in refs])] == [
        SIZE
    ] * 5


async def test_who_decides_to_keep_everything_while_contents_go_keeps_them(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, _ = await pair(account)
    await filled(laptop, 6)
    await laptop.sync()
    await budget(laptop, 0)
    before, ask = await here(laptop), laptop.remote.find_listed

    async def decided_meanwhile(blob_ids: Any) -> Any:
        await laptop.store.set_policy(ContentsPolicy())
        return await ask(blob_ids)

    monkeypatch.setattr(laptop.remote, "find_listed", decided_meanwhile)
    assert await evict(laptop) == 0
    assert await here(laptop) == before
