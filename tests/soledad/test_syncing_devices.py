"""What devices say of each other: daily heads, who is silent, fingerprints, and progress."""

from typing import Any

import msgspec
import pytest

from leap.soledad.errors import ForkJoined, ProviderLies
from leap.soledad.head import Head, HeadRecord, OwnHeads, check_successor
from leap.soledad.syncing.fingerprint import words_of
from leap.soledad.syncing.loop import SILENT_SECONDS
from leap.soledad.syncing.progress import Progress
from leap.soledad.syncing.status import STALE_SECONDS
from tests.soledad.memory_provider import NOW, Account, Device, MemoryProvider
from tests.soledad.two_devices import equal, pair


async def words(device: Device) -> dict[str, Any]:
    status = await device.engine.refresh_status()
    return {word.name: word for word in status.devices}


# --- daily heads ---


async def test_an_idle_device_signs_a_head_a_day_and_not_more(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    commits = len(account.provider.commits)
    for hours in (1, 12, 23.9):
        laptop.now = phone.now = NOW + hours * 3600
        await equal(laptop, phone)
    assert len(account.provider.commits) == commits
    laptop.now = phone.now = NOW + SILENT_SECONDS
    await equal(laptop, phone)
    assert len(account.provider.commits) == commits + 2  # each of the two, though nobody wrote
    assert account.provider.commits[-1].count == 0
    laptop.now = phone.now = NOW + 2 * SILENT_SECONDS - 10
    await equal(laptop, phone)
    assert len(account.provider.commits) == commits + 2


async def test_a_clock_that_was_set_back_does_not_silence_a_device(account: Account) -> None:
    laptop, phone = await pair(account)
    laptop.now = NOW + 10 * SILENT_SECONDS
    await laptop.put("d", v=1)
    await laptop.sync()
    laptop.now = NOW
    await laptop.sync()
    await phone.sync()
    assert (await words(phone))["laptop"].wrote == int(NOW)


async def test_a_device_without_a_word_for_three_days_is_stale(account: Account) -> None:
    laptop, phone = await pair(account)
    tablet = await account.device("tablet")
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    found = await words(laptop)
    assert {name: word.wrote for name, word in found.items()} == {
        "laptop": int(NOW),
        "phone": int(NOW),
        "tablet": None,
    }
    assert [name for name, word in found.items() if word.this] == ["laptop"]
    laptop.now = tablet.now = NOW + STALE_SECONDS + 60
    await tablet.sync()
    await laptop.sync()
    found = await words(laptop)
    assert [name for name, word in found.items() if word.stale] == ["phone"]
    assert [word.name for word in laptop.engine.status.stale] == ["phone"]
    phone.now = laptop.now
    await phone.sync()
    await laptop.sync()
    assert laptop.engine.status.stale == ()


async def test_a_frozen_provider_shows_as_stale(account: Account) -> None:
    """What the phone writes is withheld: no device has seen it, so that its silence is all there is to see."""
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    frozen = MemoryProvider()
    frozen.restore(account.provider.snapshot())
    laptop.remote.provider = frozen
    for day in range(1, 5):
        phone.now = laptop.now = NOW + day * SILENT_SECONDS
        await phone.put("d", v=day)
        await phone.sync()
        await laptop.sync()
    assert laptop.engine.status.alarm == ""
    assert [word.name for word in laptop.engine.status.stale] == ["phone"]


async def test_what_another_device_wrote_of_its_time_is_not_changed(account: Account) -> None:
    """A device in bad hands makes the phone look alive."""
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    head = (await laptop.engine._puller.state()).head
    assert head is not None
    phone_id = next(name for name in head.record.devices if name != head.record.author)
    entry = head.record.devices[phone_id]
    forged = {**head.record.devices, phone_id: msgspec.structs.replace(entry, time=entry.time + 9)}
    record = msgspec.structs.replace(head.record, devices=forged, parent=bytes(32))
    other = OwnHeads("0" * 32)
    check_successor(other, head, head)
    with pytest.raises(ForkJoined):
        check_successor(other, head, Head(record, b"x" * 32))


# --- fingerprints ---


async def test_fingerprints_are_equal_on_devices_in_step_and_only_then(account: Account) -> None:
    laptop, phone = await pair(account)
    assert (await laptop.engine.fingerprint()).words == ()
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    mine, theirs = await laptop.engine.fingerprint(), await phone.engine.fingerprint()
    assert mine == theirs
    assert len(mine.words) == 8
    assert mine.unsynced == 0
    await laptop.put("d", v=2)
    assert (await laptop.engine.fingerprint()).unsynced == 1
    assert (await laptop.engine.fingerprint()).words == mine.words
    await laptop.sync()
    assert (await laptop.engine.fingerprint()).words != theirs.words
    await equal(laptop, phone)
    assert await laptop.engine.fingerprint() == await phone.engine.fingerprint()


async def test_fingerprints_find_a_provider_that_freezes_and_one_that_forks(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    other = MemoryProvider()
    other.restore(account.provider.snapshot())
    phone.remote.provider = other
    await laptop.put("d", v=2)
    await laptop.sync()
    await phone.sync()  # frozen: it is told that there is nothing
    assert phone.engine.status.alarm == ""
    assert await laptop.engine.fingerprint() != await phone.engine.fingerprint()
    await phone.put("e", v=3)
    await phone.sync()  # forked: both go on, each in a log of its own
    mine, theirs = await laptop.engine.fingerprint(), await phone.engine.fingerprint()
    assert (mine.seq, mine.unsynced, theirs.unsynced) == (theirs.seq, 0, 0)
    assert mine.words != theirs.words
    phone.remote.provider = account.provider
    with pytest.raises(ProviderLies):  # and never joined again
        await phone.sync()


def test_words_are_as_documented() -> None:
    """A vector which an independent implementation has to meet (docs/formats/head.md)."""
    record = msgspec.convert(
        {
            "generation": 2,
            "seq": 77,
            "parent": b"",
            "digest": bytes(64),
            "keyset_version": 1,
            "keyset_hash": bytes(32),
            "devices": {},
            "purge_seq": 0,
            "time": 0,
            "author": "0" * 32,
        },
        HeadRecord,
    )
    found = " ".join(words_of(Head(record, b"\x01" * 32), "a" * 32))
    assert found == VECTOR


VECTOR = "brush attract company rose aerobic claim citizen female"

# --- progress ---


async def test_progress_tells_items_octets_and_total(account: Account) -> None:
    laptop, phone = await pair(account)
    told: list[Progress] = []
    heard: list[Progress] = []
    laptop.engine.on_progress(told.append)
    end = phone.engine.on_progress(heard.append)
    await laptop.store.transact(
        lambda tx: [tx.put(f"d{n}", {"n": n}) for n in range(3_000)] and None
    )
    await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await phone.sync()
    pushed = [p for p in told if p.kind == "push" and p.total == 3_000]
    assert [p.items for p in pushed] == sorted(p.items for p in pushed)
    assert len(pushed) > 10
    assert pushed[-1].items == 3_000
    assert pushed[-2].bytes >= 3_000 * 1_024
    assert [(p.items, p.total) for p in told if p.kind == "blobs"] == [(2, 2)]
    pulled = [p for p in heard if p.kind == "pull"]
    assert len(pulled) == 2
    assert [p.items for p in pulled] == [pulled[0].items, 3_001]
    assert all(p.total >= p.items for p in pulled)
    assert pulled[-1].total == 3_001
    end()
    heard.clear()
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    assert heard == []
