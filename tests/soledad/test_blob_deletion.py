"""Deleting blobs while others want them back: whoever comes first, whoever was away, nothing that shows is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.errors import Unreachable
from leap.soledad.syncing import orphans
from leap.soledad.syncing.deletion import DOOMED_SECONDS, STALE_SECONDS
from leap.soledad.syncing.orphans import LOOK_SECONDS, ORPHAN_SECONDS
from leap.soledad.wire import Blob, BlobsListed, ListedBlob
from tests.soledad.memory_provider import NOW, Account, Device, lost_request
from tests.soledad.two_devices import equal

DAY = 24 * 3600


class Family:
    """Some devices with one clock, which is the provider's, too."""

    def __init__(self, account: Account, devices: list[Device]) -> None:
        self.account = account
        self.provider = account.provider
        self.devices = devices

    def later(self, seconds: float) -> None:
        self.provider.now += seconds
        for device in self.devices:
            device.now = self.provider.now

    async def settle(self, *devices: Device) -> None:
        """Each device hears of what the others did, and does its background work."""
        for _ in range(3):
            for device in devices or self.devices:
                await device.sync()
                await background(device)

    def there(self, ref: BlobRef) -> bool:
        return ref.blob_id in self.provider.blobs


async def family(account: Account, *names: str) -> Family:
    def clock() -> float:
        return account.provider.now

    devices = [await account.device(name, now=clock) for name in names]
    made = Family(account, devices)
    made.later(0)
    for device in devices:
        await device.put(f"of-{device.name}", v=1)
        await device.sync()
    await made.settle()
    return made


async def background(device: Device) -> None:
    """What runs beside a sync, once."""
    while await device.engine._transfer.fetch_batch():
        pass
    await device.engine._deletion.hold()
    await device.engine._look_for_orphans()


async def copy(
    device: Device, row_id: str, refs: list[BlobRef], body: bytes | None = None
) -> BlobRef | None:
    """A second row that names the same head, and the same body or a new one."""
    new = None if body is None else await device.store.seal_blob(body)
    head, kept = refs[0], refs[1] if new is None else new.ref
    values: dict[str, Any] = {"folder": "other", "date": 0}
    for kind, ref in (("head", head), ("body", kept)):
        values |= {
            f"{kind}_id": ref.blob_id,
            f"{kind}_sha256": ref.sha256,
            f"{kind}_size": ref.size,
        }

    def job(tx: Any) -> None:
        if new is not None:
            tx.put_blob(new)
        tx.insert_row("note", row_id, values)

    await device.store.transact(job)
    return None if new is None else new.ref


async def expunge(device: Device, row_id: str, refs: list[BlobRef]) -> None:
    def job(tx: Any) -> None:
        tx.delete_rows("note", [row_id])
        tx.drop_blobs([ref.blob_id for ref in refs])

    await device.store.transact(job)


async def touch(device: Device, value: int) -> None:
    """Something to push, so that others hear how far this device is."""
    await device.put(f"of-{device.name}", v=value)


async def opened(device: Device, ref: BlobRef) -> bytes:
    return await device.store.read_blob(ref)


async def doomed(device: Device) -> int:
    count: int = await device.store.read(
        lambda c: c.execute("SELECT count(*) FROM blob_doomed").fetchone()[0]
    )
    return count


async def guarded(device: Device) -> int:
    count: int = await device.store.read(
        lambda c: c.execute("SELECT count(*) FROM blob_guarded").fetchone()[0]
    )
    return count


async def test_a_blob_goes_when_all_devices_know_and_not_before(account: Account) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    refs = await laptop.add_blobs("r", b"head", b"b" * 300_000)
    other = await laptop.store.seal_blob(b"x" * 300_000)
    await made.settle()
    await expunge(laptop, "r", refs)
    await laptop.sync()
    await laptop.sync()
    assert made.there(refs[0])
    await touch(phone, 2)
    await phone.sync()
    await laptop.sync()
    assert not made.there(refs[0])
    assert not made.there(refs[1])
    await touch(laptop, 2)
    await made.settle()
    for device in made.devices:
        assert await doomed(device) == 0
        rows = await device.store.read(lambda c: c.execute("SELECT * FROM blob").fetchall())
        assert rows == []
        folder = device.store.blobs.files.folder  # files go while it runs, too
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert other.ref.size == 300_000


@pytest.mark.parametrize("first", ["copy", "deletion"])
async def test_a_copy_here_and_a_deletion_there_keep_the_blob(account: Account, first: str) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await expunge(laptop, "r", refs)
    await copy(phone, "copied", refs)
    order = (phone, laptop) if first == "copy" else (laptop, phone)
    for device in order:
        await device.sync()
    await equal(laptop, phone)
    for n in range(2, 5):
        for device in made.devices:
            await touch(device, n)
        await made.settle()
    for device in made.devices:
        assert [row[0] for row in (await device.view())["rows"]] == ["copied"]
        device.store.attach(None)
        assert await opened(device, refs[0]) == b"head"
        assert await opened(device, refs[1]) == b"body"
        assert await doomed(device) == await guarded(device) == 0
    assert made.there(refs[0])
    assert made.there(refs[1])


async def test_a_copy_whose_row_is_late_is_not_lost_to_a_deletion_all_devices_know(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await copy(phone, "copied", refs, body=b"another body")
    phone.remote.always["put_blobs"] = lost_request  # so its row cannot go yet
    await expunge(laptop, "r", refs)
    await laptop.sync()
    await touch(phone, 2)
    with pytest.raises(Unreachable):
        await phone.sync()  # this tells how far the phone is, and not yet of the copy
    with pytest.raises(Unreachable):
        await phone.sync()  # by now it has looked after the blob at the head that stands
    await laptop.sync()
    assert not made.there(refs[0])  # nobody told the laptop
    del phone.remote.always["put_blobs"]
    await phone.sync()
    assert made.there(refs[0])
    await made.settle(laptop)
    laptop.store.attach(None)
    assert await opened(laptop, refs[0]) == b"head"
    laptop.store.attach(laptop.remote)
    assert not made.there(refs[1])  # which nobody wanted back
    for n in range(3, 6):
        for device in made.devices:
            await touch(device, n)
        await made.settle()
    assert await guarded(phone) == 0


async def test_a_deletion_that_comes_between_look_and_push_is_mended_by_the_next_sync(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await copy(phone, "copied", refs, body=b"another body")
    phone.remote.always["put_blobs"] = lost_request
    await expunge(laptop, "r", refs)
    await laptop.sync()
    await touch(phone, 2)
    with pytest.raises(Unreachable):
        await phone.sync()
    del phone.remote.always["put_blobs"]

    async def deleted_now() -> None:
        del phone.remote.before["put_blobs"]
        await laptop.sync()
        assert not made.there(refs[0])

    phone.remote.before["put_blobs"] = deleted_now
    await phone.sync()
    await phone.sync()
    assert made.there(refs[0])
    await made.settle()
    assert await opened(laptop, refs[0]) == b"head"


async def test_a_third_device_that_is_away_holds_a_deletion_up_for_thirty_days(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone", "tablet")
    laptop, phone, tablet = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await copy(tablet, "copied", refs)  # and then it is away
    await expunge(laptop, "r", refs)
    for n in range(2, 5):
        await touch(laptop, n)
        await touch(phone, n)
        await made.settle(laptop, phone)
    assert made.there(refs[0])
    made.later(DOOMED_SECONDS + DAY)
    await touch(phone, 9)
    await made.settle(laptop, phone)
    assert not made.there(refs[0])
    await made.settle(tablet)
    assert made.there(refs[0])  # it had it still, and sent it before its row
    await made.settle()
    for device in made.devices:
        assert [row[0] for row in (await device.view())["rows"]] == ["copied"]
        assert await opened(device, refs[0]) == b"head"
        assert await opened(device, refs[1]) == b"body"


async def test_a_third_device_that_comes_back_in_time_keeps_what_it_copied(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone", "tablet")
    laptop, phone, tablet = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await copy(tablet, "copied", refs)
    await expunge(laptop, "r", refs)
    await made.settle(laptop, phone)
    made.later(DOOMED_SECONDS - DAY)
    await made.settle(tablet)
    made.later(2 * DAY)
    for n in range(2, 5):
        for device in made.devices:
            await touch(device, n)
        await made.settle()
    assert made.there(refs[0])
    assert made.there(refs[1])
    assert await guarded(tablet) == 0


async def test_a_device_that_rescues_what_it_does_not_have_fetches_it_first(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    await phone.store.set_policy(ContentsPolicy(contents="on-demand"))
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await copy(phone, "copied", refs, body=b"another body")
    phone.remote.always["put_blobs"] = lost_request
    await expunge(laptop, "r", refs)
    await laptop.sync()
    with pytest.raises(Unreachable):
        await phone.sync()
    await background(phone)
    await touch(phone, 2)
    with pytest.raises(Unreachable):
        await phone.sync()
    await laptop.sync()
    assert not made.there(refs[0])
    del phone.remote.always["put_blobs"]
    await phone.sync()
    assert made.there(refs[0])
    await made.settle()
    assert await opened(laptop, refs[0]) == b"head"


async def test_a_row_that_comes_while_its_blob_is_being_deleted_brings_it_back(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()
    await expunge(laptop, "r", refs)
    await laptop.sync()
    await touch(phone, 2)
    await phone.sync()

    async def undeleted() -> None:
        del laptop.remote.before["delete_blobs"]
        await copy(laptop, "again", refs)

    laptop.remote.before["delete_blobs"] = undeleted
    await laptop.sync()
    assert not made.there(refs[0])
    await made.settle()
    assert made.there(refs[0])
    assert made.there(refs[1])
    assert await opened(phone, refs[0]) == b"head"


async def test_a_blob_stays_while_the_deletion_of_its_row_is_not_pushed(account: Account) -> None:
    made = await family(account, "laptop")
    (laptop,) = made.devices
    refs = await laptop.add_blobs("r", b"head", b"body")
    await made.settle()

    await expunge(laptop, "r", refs)  # as it may come between a push and what follows it
    state = await laptop.engine._puller.state()
    assert state.record is not None
    assert laptop.store.material is not None
    keyset = laptop.store.material.open_keyset()
    assert await laptop.engine._deletion.purge(state.record, keyset) == 0
    assert made.there(refs[0])
    await laptop.sync()
    assert not made.there(refs[0])


# --- orphans ---


async def orphan(made: Family) -> str:
    """What a device leaves that is destroyed between upload and commit."""
    blob = Blob(blob_id="0f" * 16, sealed=b"sealed" * 100)
    await made.devices[0].remote.put_blobs([blob])
    return blob.blob_id


async def test_an_orphan_goes_after_seven_days_and_not_before(account: Account) -> None:
    made = await family(account, "laptop", "phone")
    refs = await made.devices[0].add_blobs("r", b"head", b"body")
    await made.settle()
    blob_id = await orphan(made)
    made.later(ORPHAN_SECONDS - 1)
    await made.settle()
    assert blob_id in made.provider.blobs
    made.later(LOOK_SECONDS + 2)
    await made.settle()
    assert sorted(made.provider.blobs) == sorted(ref.blob_id for ref in refs)
    requests = made.devices[0].remote.requests
    requests.clear()
    await made.settle()
    assert "list_blobs" not in requests  # once a day


async def test_blobs_are_listed_page_by_page(account: Account) -> None:
    made = await family(account, "laptop")
    made.provider.listing = 3
    refs = [ref for n in range(5) for ref in await made.devices[0].add_blobs(f"r{n}", b"h", b"b")]
    await made.settle()
    await orphan(made)
    made.later(ORPHAN_SECONDS + DAY)
    await made.settle()
    assert sorted(made.provider.blobs) == sorted(ref.blob_id for ref in refs)


async def test_what_another_device_has_just_sent_again_is_no_orphan(account: Account) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    blob_id = await orphan(made)
    made.later(ORPHAN_SECONDS + DAY)
    assert await laptop.engine._orphans.look() == 1
    await phone.remote.put_blobs([Blob(blob_id=blob_id, sealed=made.provider.blobs[blob_id])])
    await laptop.sync()
    assert blob_id in made.provider.blobs


async def test_what_is_named_meanwhile_is_no_orphan(account: Account) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    phone.remote.faults["put_blobs"] = [None]
    blob = await phone.store.seal_blob(b"late")
    await phone.remote.put_blobs([Blob(blob_id=blob.ref.blob_id, sealed=blob.sealed)])
    made.later(ORPHAN_SECONDS + DAY)
    assert await laptop.engine._orphans.look() == 1
    values = {"head_id": blob.ref.blob_id, "head_sha256": blob.ref.sha256, "head_size": 4}
    await phone.insert("r", **values)
    await phone.sync()
    await laptop.sync()
    assert blob.ref.blob_id in made.provider.blobs


async def test_what_a_document_or_an_unknown_row_names_is_no_orphan(account: Account) -> None:
    made = await family(account, "laptop")
    (laptop,) = made.devices
    in_document, in_row = "d" * 32, "e" * 32
    await laptop.remote.put_blobs([Blob(blob_id=n, sealed=b"x") for n in (in_document, in_row)])
    await laptop.put("quarantine-1", type="quarantine", blob=[in_document, "0" * 64, 1])
    await laptop.store.write(
        lambda c: c.execute(
            "INSERT INTO unknown_page (page_id, schema, payload) VALUES ('p', 'newer', ?)",
            (b"\xd9\x20" + in_row.encode(),),
        )
    )
    made.later(ORPHAN_SECONDS + DAY)
    await background(laptop)
    record, material = (await laptop.engine._puller.state()).record, laptop.store.material
    assert material is not None
    assert await laptop.engine._orphans.remove(record, material.open_keyset()) == 0
    assert sorted(made.provider.blobs) == [in_document, in_row]


async def waiting_row(device: Device) -> BlobRef:
    """A row whose head was sent, and whose body cannot be."""
    (head, _) = await device.add_blobs("r", b"head", b"body" * 100_000)
    sealed = await device.store.read(lambda c: device.store.blobs.find(c, head.blob_id))
    assert sealed is not None
    await device.remote.put_blobs([Blob(blob_id=head.blob_id, sealed=sealed)])
    await device.store.write(lambda c: device.store.blobs.note_sent(c, [head.blob_id]))
    device.remote.always["put_blobs"] = lost_request
    return head


async def test_what_waits_for_its_row_over_a_week_is_renewed_and_no_orphan(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    head = await waiting_row(phone)
    for _ in range(12):
        made.later(DAY)
        with pytest.raises(Unreachable):
            await phone.sync()
        await made.settle(laptop)
        assert made.there(head)
    del phone.remote.always["put_blobs"]
    await phone.sync()
    await made.settle()
    assert await opened(laptop, head) == b"head"


async def test_what_went_as_an_orphan_while_its_device_was_away_is_sent_again_before_its_row(
    account: Account,
) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    head = await waiting_row(phone)
    made.later(ORPHAN_SECONDS + DAY)
    await made.settle(laptop)
    assert not made.there(head)
    assert ORPHAN_SECONDS > STALE_SECONDS
    del phone.remote.always["put_blobs"]
    await phone.sync()
    assert made.there(head)
    await made.settle()
    assert await opened(laptop, head) == b"head"


async def test_a_device_behind_an_alarm_removes_no_orphans(account: Account) -> None:
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    made.later(0)
    refs = await phone.add_blobs("r", b"head", b"body")
    await phone.sync()
    made.later(ORPHAN_SECONDS + DAY)
    assert await laptop.engine._orphans.look() == 2  # it did not pull yet, so nothing names them
    laptop.remote.faults["pull"] = [lost_request]
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert made.there(refs[0])
    await laptop.sync()
    assert made.there(refs[0])
    assert made.there(refs[1])
    assert made.provider.now > NOW


async def test_in_a_log_founded_anew_no_orphan_goes_before_every_device_wrote_in_it(
    account: Account,
) -> None:
    """The phone's row is on the phone alone, since the provider was set back; its bytes are at the provider alone."""
    made = await family(account, "laptop", "phone")
    laptop, phone = made.devices
    backup = account.provider.snapshot()
    refs = await phone.add_blobs("r", b"head", b"body" * 1000)
    await phone.sync()
    ids = [ref.blob_id for ref in refs]
    await phone.store.write(lambda c: phone.store.blobs.evict(c, ids))
    kept = dict(account.provider.blobs)
    account.provider.restore(backup)
    account.provider.blobs = {**account.provider.blobs, **kept}
    await laptop.refound()
    made.later(ORPHAN_SECONDS + DAY)
    await made.settle(laptop)
    assert all(made.there(ref) for ref in refs)
    await made.settle(phone, laptop)
    assert await opened(laptop, refs[1]) == b"body" * 1000
    blob_id = await orphan(made)
    made.later(ORPHAN_SECONDS + DAY)
    await made.settle()
    assert blob_id not in made.provider.blobs


async def test_a_list_without_end_is_read_so_far_and_no_further(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "MOST_SUSPECTS", 50)
    monkeypatch.setattr(orphans, "MOST_PAGES", 20)
    made = await family(account, "laptop")
    (laptop,) = made.devices
    made.later(DAY)
    for age, most in ((ORPHAN_SECONDS, 60), (0, 200)):
        asked = 0

        async def endless(after: str, age: int = age) -> BlobsListed:
            nonlocal asked
            asked += 1
            first = int(after or "0", 16) + 1
            ids = [f"{n:032x}" for n in range(first, first + 10)]
            listed = [ListedBlob(blob_id=n, size=1, sha256=bytes(32), age=age) for n in ids]
            return BlobsListed(blobs=listed, more=True)

        monkeypatch.setattr(laptop.remote, "list_blobs", endless)
        made.later(LOOK_SECONDS + 1)
        async with asyncio.timeout(10):
            assert await laptop.engine._orphans.look() <= most
        assert asked <= 20
        laptop.engine._orphans._suspects.clear()
