"""Large pushes, pulls that are cut, and blobs."""

from typing import Any

import pytest

from leap.soledad.errors import (
    BlobAltered,
    Unreachable,
)
from leap.soledad.syncing.push import CHUNK_ITEMS
from tests.soledad.memory_provider import Account, Device, lost_reply, lost_request
from tests.soledad.two_devices import equal, pair

# --- large pushes, cut pulls ---


async def fill(device: Device, count: int, size: int = 10) -> None:
    def job(tx: Any) -> None:
        for n in range(count):
            tx.put(f"{device.name}{n}", {"v": "x" * size, "n": n})

    await device.store.transact(job)


async def test_push_of_thousands_is_staged_and_survives_cuts(account: Account) -> None:
    laptop, phone = await pair(account)
    await fill(laptop, 4_500)
    sent: list[tuple[str, int]] = []
    laptop.remote.faults["stage"] = [None, None, lost_reply]
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert account.provider.head_seq == 0  # all or nothing
    sent += laptop.remote.staged
    await laptop.restart()
    laptop.remote.faults["stage"] = [None, None, None, lost_request]
    with pytest.raises(Unreachable):
        await laptop.sync()
    sent += laptop.remote.staged
    await laptop.restart()
    await laptop.sync()
    sent += laptop.remote.staged
    assert len(set(sent)) == 4_500
    assert len(sent) - 4_500 <= CHUNK_ITEMS  # resumed: only the request which was lost went again
    assert account.provider.commits[0].count == 4_500
    assert not account.provider.staged
    phone.remote.faults["pull"] = [None, lost_request]
    with pytest.raises(Unreachable):
        await phone.sync()
    assert phone.engine.status.provisional
    assert (await phone.view())["docs"] == []  # nothing that is not verified shows
    await phone.put("own", v=1)
    await phone.restart()
    phone.remote.faults["pull"] = [lost_request]
    with pytest.raises(Unreachable):
        await phone.sync()
    assert "commit" not in phone.remote.requests  # provisional: it does not push
    phone.remote.requests.clear()
    await phone.sync()
    assert phone.remote.requests[:-1] == ["pull", "pull"]  # the first page was there
    assert len(await phone.store.find_docs("")) == 4_501
    await equal(laptop, phone)


async def test_slow_uploader_keeps_what_is_staged_beside_a_busy_device(account: Account) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    await fill(laptop, 3_000)
    rounds = 0

    async def phone_first() -> None:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:
            await phone.put("busy", n=rounds)
            await phone.sync()

    laptop.remote.before["commit"] = phone_first
    await laptop.sync()
    assert laptop.remote.requests.count("commit") == 4
    assert len(laptop.remote.staged) == 3_000  # items went up once
    await equal(laptop, phone)
    assert len(await phone.store.find_docs("")) == 3_001


async def test_staged_items_that_another_device_touched_are_staged_anew(account: Account) -> None:
    laptop, phone = await pair(account, merges={"": "fields"})
    await fill(laptop, 2_500)
    await equal(laptop, phone)
    await laptop.store.transact(
        lambda tx: [tx.put(f"laptop{n}", {"v": "changed", "n": n}) for n in range(2_500)] and None
    )
    await phone.store.transact(lambda tx: tx.put("laptop7", {"v": "x" * 10, "n": "seven"}))

    async def phone_first() -> None:
        laptop.remote.before.clear()
        await phone.sync()

    laptop.remote.before["commit"] = phone_first
    await laptop.sync()
    await equal(laptop, phone)
    assert await phone.content("laptop7") == {"v": "changed", "n": "seven"}


async def test_pull_cut_in_the_middle_while_the_log_moves_on(account: Account) -> None:
    laptop, phone = await pair(account, merges={"": "fields"})
    await fill(laptop, 2_500)
    await laptop.sync()
    phone.remote.faults["pull"] = [None, lost_request]
    with pytest.raises(Unreachable):
        await phone.sync()
    await laptop.store.transact(lambda tx: tx.put("laptop3", {"v": "new"}))
    await laptop.store.transact(lambda tx: tx.delete("laptop4"))
    await laptop.sync()
    await phone.restart()
    await equal(phone, laptop)
    assert await phone.content("laptop3") == {"v": "new"}


# --- blobs ---


async def test_blobs_are_there_before_the_rows_that_name_them(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("r", b"head", b"body" * 100_000)
    checked: list[bool] = []

    async def look() -> None:
        checked.append(all(ref.blob_id in account.provider.blobs for ref in refs))

    laptop.remote.before["commit"] = look
    result = await laptop.sync()
    assert checked == [True]
    assert (result.pushed, result.blobs_sent) == (1, 2)
    await phone.sync()
    assert await phone.store.read_blob(refs[1], 4, 4) == b"body"
    assert await phone.store.read_blobs(refs) == [b"head", b"body" * 100_000]
    assert phone.remote.requests.count("get_blobs") == 2
    assert laptop.engine.status.blobs_to_send == 0


async def test_flags_do_not_wait_for_blobs_that_cannot_be_sent(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("r")
    await equal(laptop, phone)
    await laptop.add_blobs("new", b"head", b"body")
    await laptop.update("r", flags="seen")
    laptop.remote.faults["put_blobs"] = [lost_reply]
    with pytest.raises(Unreachable):
        await laptop.sync()
    await phone.sync()
    assert (await phone.row("r"))["flags"] == "seen"
    assert await phone.row("new") is None
    await equal(laptop, phone)
    assert await phone.row("new") is not None


async def test_background_fetch_takes_headers_first_and_newest_first(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = {n: await laptop.add_blobs(f"r{n}", b"h%d" % n, b"b%d" % n, date=n) for n in (2, 1, 3)}
    await laptop.sync()
    await phone.sync()
    while await phone.engine._transfer.fetch_batch():
        pass
    order = [name for batch in phone.remote.fetched for name in batch]
    wanted = [refs[n][kind].blob_id for kind in (0, 1) for n in (3, 2, 1)]
    assert order == wanted
    assert (await phone.engine.refresh_status()).blobs_to_fetch == 0
    phone.store.attach(None)
    assert await phone.store.read_blob(refs[1][1]) == b"b1"


async def test_altered_and_missing_blobs_are_refused(account: Account) -> None:
    laptop, phone = await pair(account)
    first = await laptop.add_blobs("r1", b"head", b"body")
    second = await laptop.add_blobs("r2", b"head2", b"body2")
    await laptop.sync()
    await phone.sync()
    blobs = account.provider.blobs
    a, b = first[0].blob_id, second[0].blob_id
    blobs[a], blobs[b] = blobs[b], blobs[a]
    with pytest.raises(BlobAltered):
        await phone.store.read_blob(first[0])
    blobs[a] = blobs[b][:-1]
    with pytest.raises(BlobAltered):
        await phone.store.read_blob(first[0])
    assert await phone.engine._transfer.fetch_batch() == 3  # of four one was tried a moment ago
    assert await phone.engine._transfer.fetch_batch() == 0  # the good ones of the batch were kept
    assert await phone.store.read_blob(second[1]) == b"body2"
    for ref in (*first, *second):
        blobs.pop(ref.blob_id)
    with pytest.raises(BlobAltered, match="does not have"):
        await phone.store.read_blob(first[0])
    while await phone.engine._transfer.fetch_batch():
        pass
    assert phone.engine.status.alarm == ""
    assert await laptop.store.read_blob(first[0]) == b"head"


async def test_dropped_blobs_go_when_every_device_knows(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    ids = [ref.blob_id for ref in refs]
    await equal(laptop, phone)

    def drop(tx: Any) -> None:
        tx.delete_rows("note", ["r"])
        tx.drop_blobs(ids)

    await laptop.store.transact(drop)
    await laptop.sync()
    assert set(ids) <= set(account.provider.blobs)
    await phone.put("anything", v=1)
    await phone.sync()
    await laptop.sync()
    assert not set(ids) & set(account.provider.blobs)
    left = await laptop.store.read(lambda c: c.execute("SELECT * FROM blob_doomed").fetchall())
    assert left == []


async def test_blobs_of_rows_expunged_elsewhere_go_here_too(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await equal(laptop, phone)
    assert await phone.store.read_blobs(refs) == [b"head", b"body"]
    await laptop.expunge("r")
    for _ in range(2):
        await laptop.sync()
        await phone.put("anything", v=laptop.now)
        await phone.sync()
        await laptop.put("anything", v=-laptop.now)
    await equal(laptop, phone)
    assert account.provider.blobs == {}
    here = await phone.store.read(lambda c: c.execute("SELECT count(*) FROM blob").fetchone())
    assert here == (0,)


async def test_blobs_of_a_row_delivered_twice_go_and_the_other_ones_come(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("same", b"head", b"body")
    own = await phone.add_blobs("same", b"head", b"body")
    await laptop.sync()
    await equal(phone, laptop)
    for device in (laptop, phone):
        assert (await device.row("same"))["head_id"] == refs[0].blob_id
    while await phone.engine._transfer.fetch_batch():
        pass
    assert await phone.store.read_blobs(refs) == [b"head", b"body"]
    await equal(laptop, phone)
    await phone.put("x", v=1)
    await equal(phone, laptop)
    await laptop.put("x", v=2)
    await equal(laptop, phone)
    assert not {ref.blob_id for ref in own} & set(account.provider.blobs)


async def test_dropped_blobs_stay_when_another_device_moved_the_row(account: Account) -> None:
    laptop, phone = await pair(account)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await equal(laptop, phone)

    def drop(tx: Any) -> None:
        tx.delete_rows("note", ["r"])
        tx.drop_blobs([ref.blob_id for ref in refs])

    await laptop.store.transact(drop)
    await phone.update("r", folder="saved")
    await laptop.sync()
    await equal(phone, laptop)
    laptop.now += 40 * 24 * 3600
    await equal(laptop, phone)
    assert (await laptop.row("r"))["folder"] == "saved"
    assert await laptop.store.read_blobs(refs) == [b"head", b"body"]
    assert all(ref.blob_id in account.provider.blobs for ref in refs)
