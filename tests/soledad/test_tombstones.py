"""Purging: what everybody knows to be deleted leaves the log, and nothing that is deleted comes back."""

import random
from typing import Any

import pytest

from leap.soledad.errors import DigestMismatch, ProviderLies
from leap.soledad.head import DeviceEntry
from leap.soledad.syncing.loop import DAY
from leap.soledad.syncing.tombstones import PATIENCE
from tests.soledad.memory_provider import NOW, Account, Device
from tests.soledad.two_devices import equal, pair


async def a_day_later(*devices: Device, days: float = 1.0) -> None:
    for device in devices:
        device.now += days * DAY


async def delete(device: Device, doc_id: str) -> None:
    await device.store.transact(lambda tx: tx.delete(doc_id))


async def log_size(device: Device) -> tuple[int, int]:
    """Items that the device counts, and documents it stores, tombstones too."""
    return await device.store.read(
        lambda c: (
            c.execute("SELECT count(*) FROM log_item").fetchone()[0],
            c.execute("SELECT count(*) FROM document").fetchone()[0],
        )
    )


async def purge_seq(device: Device) -> int:
    record = (await device.engine._puller.state()).record
    assert record is not None
    return record.purge_seq


async def deleted(account: Account, *names: str) -> list[Device]:
    """Devices in step; two documents and a page of rows were made and deleted."""
    devices = [await account.device(name) for name in names or ("laptop", "phone")]
    laptop = devices[0]
    await laptop.put("kept", v=1)
    await laptop.put("gone", v=1)
    await laptop.put("gone too", v=1)
    await laptop.insert("row")
    await equal(*devices)
    await delete(laptop, "gone")
    await delete(laptop, "gone too")
    await laptop.expunge("row")
    await laptop.sync()
    return devices


async def test_tombstones_go_when_every_device_has_acknowledged_them(account: Account) -> None:
    laptop, phone = await deleted(account)
    await a_day_later(laptop, phone)
    await laptop.sync()
    assert len(account.provider.items) == 4  # the phone has not said that it knows
    assert await purge_seq(laptop) == 0
    await phone.put("kept", v=2)
    await phone.sync()
    await a_day_later(laptop, phone)
    await laptop.sync()
    assert len(account.provider.items) == 1
    assert await purge_seq(laptop) > 0
    before = list(phone.remote.requests)
    view = await equal(phone, laptop)
    assert [name for name, content, _ in view["docs"]] == ["kept"]
    assert await log_size(laptop) == await log_size(phone) == (1, 1)
    # Who knew all of it works out by itself what is gone: nothing is pulled twice.
    assert phone.remote.requests[len(before) :].count("pull") == 2
    for device in (laptop, phone):
        await device.restart()
    await laptop.put("kept", v=3)
    await equal(laptop, phone)


async def test_a_new_device_sees_the_purged_log(account: Account) -> None:
    laptop, phone = await deleted(account)
    await phone.put("kept", v=2)
    await phone.sync()
    await a_day_later(laptop, phone)
    await equal(laptop, phone)
    assert len(account.provider.items) == 1
    tablet = await account.device("tablet")
    view = await equal(tablet, laptop, phone)
    assert [name for name, _, _ in view["docs"]] == ["kept"]


async def test_after_thirty_days_a_silent_device_is_not_waited_for(account: Account) -> None:
    laptop, phone = await deleted(account)
    laptop.now = NOW + PATIENCE - 60
    await laptop.sync()
    assert len(account.provider.items) == 4
    laptop.now = NOW + PATIENCE + DAY
    await laptop.put("kept", v=2)
    await laptop.sync()
    assert len(account.provider.items) == 1
    await phone.put("own", v=1)
    view = await equal(phone, laptop)
    assert [name for name, _, _ in view["docs"]] == ["kept", "own"]
    assert view["rows"] == []


@pytest.mark.parametrize("edited", [False, True])
async def test_a_device_behind_the_purge_resurrects_nothing_and_keeps_what_it_edited(
    account: Account, edited: bool
) -> None:
    """It was away before the deletion, and comes back after the purge."""
    laptop, phone = await deleted(account)
    if edited:
        await phone.put("gone", v="edited")
        await phone.update("row", folder="archive")  # a move beats an expunge
        await phone.put("new", v=1)
    laptop.now = NOW + PATIENCE + DAY
    await laptop.put("kept", v=2)
    await laptop.sync()
    assert len(account.provider.items) == 1
    changes: list[Any] = []
    phone.store.on_change(changes.append)
    view = await equal(phone, laptop)
    names = [name for name, content, _ in view["docs"] if content is not None]
    rows = [(row[0], row[1]) for row in view["rows"]]
    if edited:
        assert names == ["gone", "kept", "new"]
        assert rows == [("row", "archive")]
        assert await laptop.content("gone") == {"v": "edited"}
    else:
        assert names == ["kept"]
        assert rows == []
        told = {change.doc_id: change.after for c in changes for change in c.docs}
        assert told["gone"] is None
        assert {change.row_id for c in changes for change in c.rows} == {"row"}


async def test_what_is_made_again_in_the_place_of_a_tombstone_stays(account: Account) -> None:
    laptop, phone = await deleted(account)
    await phone.sync()
    await phone.put("kept", v=2)
    await phone.sync()
    await phone.put("gone", v="again")  # not pushed yet when the tombstone goes
    await a_day_later(laptop)
    await laptop.sync()
    assert len(account.provider.items) == 1
    view = await equal(phone, laptop)
    assert [name for name, _, _ in view["docs"]] == ["gone", "kept"]
    assert await laptop.content("gone") == {"v": "again"}
    assert await laptop.store.get_doc_conflicts("gone") == []


@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_a_purge_whose_outcome_is_unknown(account: Account, lost: str) -> None:
    from tests.soledad.memory_provider import lost_reply, lost_request

    laptop, phone = await deleted(account)
    await phone.put("kept", v=2)
    await phone.sync()
    await a_day_later(laptop)
    laptop.remote.faults["commit"] = [lost_request if lost == "request" else lost_reply]
    with pytest.raises(Exception, match="lost"):
        await laptop.sync()
    await laptop.restart()
    laptop.now = NOW + DAY
    view = await equal(laptop, phone)
    assert len(account.provider.items) == 1
    assert [name for name, _, _ in view["docs"]] == ["kept"]


# --- lies ---


async def test_a_provider_that_purges_by_itself_is_found(account: Account) -> None:
    laptop, phone = await deleted(account)
    await phone.sync()
    provider = account.provider
    tombstones = sorted(provider.items.values(), key=lambda item: item.seq)[-3:]
    for item in tombstones:
        del provider.items[item.item_id]
    await laptop.put("kept", v=2)
    await laptop.sync()
    tablet = await account.device("tablet")
    with pytest.raises(DigestMismatch):
        await tablet.sync()
    with pytest.raises(ProviderLies):
        await (await account.device("watch")).sync()


async def test_a_purge_that_takes_what_is_not_deleted_is_found(account: Account) -> None:
    """The ids which a commit lists are changed on the way: no device believes the provider's list."""
    laptop, phone = await deleted(account)
    await phone.put("kept", v=2)
    await phone.sync()
    await a_day_later(laptop, phone)
    provider, commit = account.provider, account.provider.commit
    kept = max(provider.items.values(), key=lambda item: item.seq)

    def hostile(request: Any) -> Any:
        reply = commit(request)
        if request.purged:
            provider.items.pop(kept.item_id)
        return reply

    provider.commit = hostile  # type: ignore[method-assign]
    await laptop.sync()
    await phone.sync()  # it has all of it, so nothing is missing for it
    assert await phone.content("kept") == {"v": 2}
    tablet = await account.device("tablet")
    with pytest.raises(DigestMismatch):
        await tablet.sync()


async def test_purged_items_shown_again_are_not_taken(account: Account) -> None:
    laptop, phone = await deleted(account)
    old = dict(account.provider.items)
    laptop.now = NOW + PATIENCE + DAY
    await laptop.put("kept", v=2)
    await laptop.sync()
    account.provider.items = {**old, **account.provider.items}
    with pytest.raises(DigestMismatch):
        await phone.sync()
    assert await phone.content("gone") == {"v": 1}  # as before: an alarm changes nothing


# --- any order ---


@pytest.mark.parametrize("seed", range(5))
async def test_purges_in_any_order_bring_nothing_back(account: Account, seed: int) -> None:
    """Random edits, deletions, absences and days: all devices end equal, and what all knew deleted stays so."""
    chance = random.Random(seed)
    devices = [*await pair(account), await account.device("tablet")]
    names = [f"d{n}" for n in range(8)]
    for device in devices:
        await device.sync()
    for _ in range(80):
        device = chance.choice(devices)
        name = chance.choice(names)
        place = chance.random()
        if place < 0.25:
            await device.put(name, n=chance.random())
        elif place < 0.45:
            if await device.content(name) is not None:
                await delete(device, name)
        elif place < 0.55:
            if await device.row(name) is None:
                await device.insert(name)
            else:
                await device.expunge(name)
        elif place < 0.9:
            await device.sync()
        else:
            await a_day_later(*devices, days=chance.choice([1, 1, 5, 31]))
    await equal(*devices)
    for name in names:
        if await devices[0].content(name) is not None:
            found = await devices[0].store.get_doc_conflicts(name)
            if not found:
                await delete(devices[0], name)
    await equal(*devices)
    for _ in range(3):
        await a_day_later(*devices)
        view = await equal(*devices)
    left = {doc for doc, content, conflicts in view["docs"] if content is None and not conflicts}
    assert left == set()
    assert len({await log_size(device) for device in devices}) == 1
    record = (await devices[0].engine._puller.state()).record
    assert record is not None
    assert all(isinstance(entry, DeviceEntry) for entry in record.devices.values())


@pytest.mark.parametrize("edited", [False, True])
async def test_what_is_made_again_after_a_purge_is_news_for_who_has_not_seen_the_purge(
    account: Account, edited: bool
) -> None:
    """Its versions begin anew, below that of the tombstone which the other device still counts."""
    laptop, phone = await deleted(account)
    await phone.put("kept", v=2)
    await phone.sync()
    await a_day_later(laptop, phone)
    await laptop.sync()
    assert len(account.provider.items) == 1
    await laptop.put("gone", v="made again")
    await laptop.sync()
    if edited:
        await phone.put("gone", v="also made again")
    await equal(phone, laptop)
    assert phone.engine.status.alarm == laptop.engine.status.alarm == ""
    versions = {doc.content["v"] for doc in await laptop.store.get_doc_conflicts("gone")}
    assert (versions or {"made again"}) >= {"made again"}
    assert ("also made again" in versions) == edited


async def test_what_is_made_anew_where_a_tombstone_was_just_purged_is_no_older_version(
    account: Account,
) -> None:
    laptop, phone, tablet = [await account.device(name) for name in ("laptop", "phone", "tablet")]
    await laptop.put("anew", v=1)
    await equal(laptop, phone, tablet)
    await laptop.put("anew", v=2)
    await laptop.sync()
    await delete(laptop, "anew")
    await equal(laptop, phone, tablet)
    await laptop.put("anew", v=3)
    await a_day_later(laptop, phone, tablet, days=31)
    await tablet.sync()  # it purges the tombstone: the name is free, and begins at version 1
    await laptop.sync()
    assert await purge_seq(laptop) > 0
    await phone.sync()  # which still counts the tombstone, of version 3
    assert not phone.engine.status.alarm
    assert await phone.content("anew") == {"v": 3}
    await equal(laptop, phone, tablet)
