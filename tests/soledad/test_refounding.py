"""Founding the log anew: the others follow, nothing is lost, and what is deleted stays deleted."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from leap.soledad.errors import (
    BadKeyset,
    BeingFounded,
    ProviderLies,
    Refused,
    RolledBack,
    SoledadError,
    Unreachable,
)
from leap.soledad.keyset import check_successor, open_keyset, sign_keyset
from leap.soledad.rows import SetEdit
from leap.soledad.syncing import SyncEngine, SyncStopped, gather
from tests.soledad.memory_provider import Account, Device, lost_reply, lost_request
from tests.soledad.two_devices import equal, pair, until


async def alarmed(device: Device, kind: type[ProviderLies] = RolledBack) -> None:
    with pytest.raises(kind):
        await device.sync()
    with pytest.raises(SyncStopped):
        await device.sync()


async def restored(account: Account) -> tuple[Device, Device, Device]:
    """Laptop and phone saw what the provider forgot; the tablet was off since before the backup.

    Of "d" the laptop saw more than the backup; the phone saw most.
    """
    laptop, phone = await pair(account)
    tablet = await account.device("tablet")
    for n in range(3):
        await laptop.put(f"old{n}", v=n)
        await laptop.insert(f"row{n}", flags="old")
    await laptop.put("deleted", v=0)
    await laptop.insert("expunged")
    await equal(laptop, phone, tablet)
    backup = account.provider.snapshot()
    await laptop.put("old0", v="laptop")
    await laptop.store.transact(lambda tx: tx.delete("deleted"))
    await laptop.expunge("expunged")
    await laptop.update("row0", folder="archive")
    await laptop.put("laptop", v=1)
    await equal(laptop, phone)
    account.provider.restore(backup)
    await alarmed(laptop)
    await alarmed(phone)
    return laptop, phone, tablet


def docs(view: dict[str, Any]) -> dict[str, Any]:
    return {doc_id: content for doc_id, content, _ in view["docs"] if content is not None}


async def test_after_a_backup_was_restored_the_others_follow_who_founds_anew(
    account: Account,
) -> None:
    laptop, phone, tablet = await restored(account)
    await laptop.put("unpushed", v="laptop")
    await phone.put("edited", v="phone")
    await phone.update("row1", flags=SetEdit(add=frozenset({"seen"})))
    before = await laptop.view()
    await laptop.refound()
    assert (await laptop.view())["rows"] == before["rows"]
    view = await equal(laptop, phone, tablet)
    for device in (laptop, phone, tablet):
        assert device.engine.status.alarm == ""
    assert docs(view) == {
        "old0": '{"v":"laptop"}',
        "old1": '{"v":1}',
        "old2": '{"v":2}',
        "laptop": '{"v":1}',
        "unpushed": '{"v":"laptop"}',
        "edited": '{"v":"phone"}',
    }
    rows = {row[0]: (row[1], row[3]) for row in view["rows"]}
    assert rows == {"row0": ("archive", "old"), "row1": ("in", "old seen"), "row2": ("in", "old")}
    head = (await laptop.engine._puller.state()).record
    assert head is not None
    assert head.generation == 2


async def test_what_the_founder_never_saw_is_kept_as_edits(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("both", v=0)
    await laptop.insert("row", flags="old")
    await laptop.insert("gone")
    await laptop.put("deleted", v=0)
    await equal(laptop, phone)
    await phone.put("new", v="only the phone synced this")
    await phone.put("both", v="phone")
    await phone.update("row", flags="old phone")
    await phone.insert("second")
    await phone.sync()
    await laptop.store.transact(lambda tx: tx.delete("deleted"))
    await laptop.expunge("gone")
    await laptop.refound()  # without a look at what the phone had pushed
    assert "new" not in docs(await laptop.view())
    view = await equal(phone, laptop)
    assert docs(view)["new"] == '{"v":"only the phone synced this"}'
    found = await laptop.store.get_doc_conflicts("both")
    assert {str(c.content) for c in found} == {"{'v': 0}", "{'v': 'phone'}"}
    rows = {row[0]: row[3] for row in view["rows"]}
    # What the founder deleted comes back if it lay in a page that the phone had changed: rather that than a loss.
    assert rows == {"row": "old phone", "second": "", "gone": ""}
    assert "deleted" not in docs(view)


async def test_what_was_written_after_the_restore_is_not_lost_either(account: Account) -> None:
    """The tablet, which saw no alarm, goes on with the old log; then the laptop founds it anew."""
    laptop, phone, tablet = await restored(account)
    await tablet.put("tablet", v="on the old branch")
    await tablet.put("old1", v="tablet")
    await tablet.insert("tabletrow")
    await tablet.sync()
    await laptop.refound()
    view = await equal(tablet, laptop, phone)
    assert docs(view)["tablet"] == '{"v":"on the old branch"}'
    assert "tabletrow" in [row[0] for row in view["rows"]]
    assert docs(view)["old0"] == '{"v":"laptop"}'
    shown = {str(c.content) for c in await laptop.store.get_doc_conflicts("old1")}
    assert shown == {"{'v': 1}", "{'v': 'tablet'}"}
    assert "deleted" not in docs(view)
    assert "expunged" not in [row[0] for row in view["rows"]]


async def test_founding_by_the_device_that_saw_least_loses_nothing(account: Account) -> None:
    laptop, phone, tablet = await restored(account)
    await tablet.refound()
    view = await equal(laptop, phone, tablet)
    assert docs(view)["laptop"] == '{"v":1}'
    assert "old1" in docs(view)
    row = next(row for row in view["rows"] if row[0] == "row0")
    assert row[1] == "archive"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("fault", [lost_request, lost_reply])
async def test_founding_goes_on_after_a_cut(account: Account, fault: Any, restart: bool) -> None:
    laptop, phone, _ = await restored(account)
    before = await laptop.view()
    laptop.remote.always["commit"] = fault
    with pytest.raises(Unreachable):
        await laptop.refound()
    if restart:
        await laptop.restart()
    laptop.remote.always.clear()
    await laptop.sync()  # no passphrase any more
    assert await laptop.view() == before
    view = await equal(laptop, phone)
    assert docs(view)["laptop"] == '{"v":1}'


async def test_founding_may_be_repeated_and_another_device_may_do_it_instead(
    account: Account,
) -> None:
    laptop, phone, tablet = await restored(account)
    await laptop.put("mine", v=1)
    laptop.remote.always["commit"] = lost_request
    for _ in range(2):
        with pytest.raises(Unreachable):
            await laptop.refound()
    await account.sign_generation(laptop)  # a crash before anything was kept here
    laptop.remote.always.clear()
    await phone.refound()
    view = await equal(phone, laptop, tablet)
    assert {"mine", "laptop"} <= docs(view).keys()
    await laptop.refound()
    await laptop.refound()
    again = await equal(laptop, phone, tablet)
    assert docs(again) == docs(view)
    assert again["rows"] == view["rows"]


async def test_a_founding_commit_that_comes_again_late_deletes_nothing(account: Account) -> None:
    laptop, phone, _ = await restored(account)
    await laptop.refound()
    founding = next(c for c in reversed(account.provider.commits) if c.founding)
    await phone.put("later", v=1)
    view = await equal(phone, laptop)
    with pytest.raises(Refused):
        account.provider.commit(founding)
    assert docs(await equal(laptop, phone)) == docs(view)


async def test_a_large_log_is_brought_in_several_commits_and_others_wait_for_the_last(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, phone = await pair(account)
    await laptop.store.transact(lambda tx: [tx.put(f"d{n}", {"n": n}) for n in range(50)] and None)
    await laptop.insert("row")
    await equal(laptop, phone)
    monkeypatch.setattr(
        gather.gather,
        "__kwdefaults__",
        {
            **gather.gather.__kwdefaults__,
            "max_items": 20,
        },
    )
    laptop.remote.faults["commit"] = [None, lost_request]
    with pytest.raises(Unreachable):
        await laptop.refound()
    before = await phone.view()
    assert len(account.provider.items) == 20
    for _ in range(2):
        with pytest.raises(BeingFounded):
            await phone.sync()
    assert await phone.view() == before  # and not: all but twenty are gone
    assert phone.engine.status.alarm == ""
    tablet = await account.device("tablet")
    with pytest.raises(BeingFounded):
        await tablet.sync()
    await laptop.restart()
    await laptop.sync()
    assert len(account.provider.items) == 51
    view = await equal(laptop, phone, tablet)
    assert len(docs(view)) == 50
    assert len(view["rows"]) == 1


async def test_blobs_that_the_provider_lost_are_sent_again(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.add_blobs("r", b"head", b"body" * 1000)
    await equal(laptop, phone)
    kept = dict(account.provider.blobs)
    account.provider.blobs.clear()
    await laptop.refound()
    assert account.provider.blobs == kept


async def test_a_device_that_never_had_all_cannot_found(account: Account) -> None:
    laptop, _ = await pair(account)
    await laptop.put("d", v=1)
    await laptop.sync()
    tablet = await account.device("tablet")
    with pytest.raises(SoledadError, match="another one"):
        await tablet.refound()
    await equal(laptop, tablet)


# --- a provider that would like to found ---


async def test_a_generation_which_the_root_key_did_not_sign_is_not_accepted(
    account: Account,
) -> None:
    """One device, in bad hands, signs heads of the next generation; the keyset does not name it."""
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)

    async def unsigned() -> int:
        keyset = open_keyset(account.provider.keyset, root_public=None)
        forged = msgspec.structs.replace(keyset, generation=2)
        real = laptop.store.material
        assert real is not None

        class Forged(type(real)):  # type: ignore[misc]
            def open_keyset(self) -> Any:
                return forged

        laptop.store._material = Forged(**msgspec.structs.asdict(real))
        return 2

    account.provider.commit = _without_founding_check(account)  # type: ignore[method-assign]
    try:
        await laptop.engine.refound(unsigned)
    except ProviderLies:
        pass
    with pytest.raises(ProviderLies):
        await phone.sync()
    assert await phone.content("d") == {"v": 1}


def _without_founding_check(account: Account) -> Callable[..., Any]:
    provider, commit = account.provider, account.provider.commit

    def hostile(request: Any) -> Any:
        if request.founding is not None:
            provider.items = {}
            request = msgspec.structs.replace(request, founding=None, parent=provider.head_hash)
            provider.head_seq = request.head_seq - request.count
        return commit(request)

    return hostile


async def test_a_former_generation_is_not_shown_again(account: Account) -> None:
    laptop, phone, _ = await restored(account)
    old = account.provider.snapshot()
    await laptop.refound()
    await equal(laptop, phone)
    account.provider.restore(old)
    await alarmed(phone)


def test_a_keyset_never_goes_back_to_a_former_generation(tmp_path: Any) -> None:
    account = Account(tmp_path)
    account.enrol("laptop")
    one = open_keyset(account.provider.keyset, root_public=None)
    two = one.successor(generation=2)
    check_successor(one, two)
    with pytest.raises(BadKeyset):
        check_successor(two, two.successor(generation=1))
    other = msgspec.structs.replace(two, previous=b"x" * 32, version=two.version + 1, generation=3)
    check_successor(two, other)  # the provider had forgotten the one before
    with pytest.raises(BadKeyset):
        check_successor(two, msgspec.structs.replace(other, generation=2))
    sign_keyset(other, account.secrets.root_key)


# --- any order ---


@pytest.mark.parametrize("seed", range(4))
async def test_backups_and_foundings_in_any_order_lose_no_edit(account: Account, seed: int) -> None:
    """Documents that are only ever made: every one of them is on every device in the end."""
    chance = random.Random(seed)
    devices = [*await pair(account), await account.device("tablet")]
    for device in devices:
        await device.sync()
    made: set[str] = set()
    backups = [account.provider.snapshot()]
    steps: list[Callable[[Device], Coroutine[Any, Any, Any]]] = []

    async def make(device: Device) -> None:
        name = f"{device.name}{len(made)}"
        made.add(name)
        await device.put(name, n=len(made))
        await device.insert(name)

    async def sync(device: Device) -> None:
        try:
            await device.sync()
        except (ProviderLies, SyncStopped, Unreachable):
            pass

    async def refound(device: Device) -> None:
        try:
            await device.refound()
        except Unreachable:
            pass

    steps = [make, make, make, sync, sync, sync, sync]
    for _ in range(60):
        device = chance.choice(devices)
        place = chance.random()
        if place < 0.05:
            backups.append(account.provider.snapshot())
        elif place < 0.12:
            kept = chance.choice(backups)
            keyset = account.provider.keyset
            account.provider.restore(kept)
            account.provider.keyset = keyset  # which keysets a backup has is tested elsewhere
            account.provider.keyset_version = open_keyset(keyset, root_public=None).version
        elif place < 0.18:
            await refound(device)
        elif place < 0.25:
            device.remote.faults["commit"] = [chance.choice([lost_request, lost_reply])]
        else:
            await chance.choice(steps)(device)
    for device in devices:
        device.remote.faults.clear()
    await devices[0].refound()
    view = await equal(*devices)
    assert set(docs(view)) == made
    assert {row[0] for row in view["rows"]} == made


async def test_a_running_device_leaves_its_alarm_by_the_new_generation(account: Account) -> None:
    laptop, phone, _ = await restored(account)
    await phone.restart()
    await phone.engine.close()
    phone.engine = SyncEngine(phone.store, phone.remote, now=lambda: phone.now, gather=0, poll=0.02)
    running = asyncio.create_task(phone.engine.run())
    try:
        await until(phone, lambda status: bool(status.alarm))
        await laptop.refound()
        await until(phone, lambda status: not status.alarm and status.last_sync is not None)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await equal(laptop, phone)


async def test_a_founding_whose_reply_was_lost_and_on_which_others_built(account: Account) -> None:
    laptop, phone, tablet = await restored(account)
    laptop.remote.faults["commit"] = [lost_reply]
    with pytest.raises(Unreachable):
        await laptop.refound()
    await phone.put("built", v="on it")
    await phone.sync()
    before = await laptop.view()
    await laptop.put("more", v=1)
    view = await equal(laptop, phone, tablet)
    assert docs(view).keys() == docs(before).keys() | {"built", "more"}
    assert view["rows"] == before["rows"]


async def test_a_device_that_comes_with_the_reply_still_lost_waits_or_joins(
    account: Account,
) -> None:
    """The order of the others, days later, with deletions not pushed yet."""
    laptop, phone = await pair(account, merges={"box": "fields"})
    tablet = await account.device("tablet", merges={"box": "fields"})
    await equal(laptop, phone, tablet)
    await tablet.put("box-d1", type="box", value=1)
    for device in (laptop, phone, tablet):
        device.now += 86400
    await laptop.sync()
    await laptop.insert("r1")
    await tablet.store.transact(lambda tx: tx.delete("box-d1"))
    await tablet.put("note-d1", type="note", value=2)
    await phone.put("box-d2", type="box", value=3)
    for device in (laptop, phone, tablet):
        device.now += 32 * 86400
    tablet.remote.faults["commit"] = [lost_reply]
    with pytest.raises(Unreachable):
        await tablet.refound()
    view = await equal(laptop, phone, tablet)
    assert {"note-d1", "box-d2"} <= docs(view).keys()


async def test_a_provider_that_counts_too_far_does_not_use_up_the_numbers_of_the_new_log(
    account: Account,
) -> None:
    """A founding head lies above all that the provider counts: it may not say so much that nothing fits behind it."""
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    provider, pull = account.provider, account.provider.pull

    def counts_too_far(request: Any) -> Any:
        return msgspec.structs.replace(pull(request), head_seq=2**53 - 2_000)

    provider.pull = counts_too_far  # type: ignore[method-assign]
    with pytest.raises(SoledadError, match="counts"):
        await laptop.refound()
    provider.pull = pull  # type: ignore[method-assign]
    await equal(laptop, phone)
    assert provider.head_seq < 2**20
    await phone.put("d", v=2)
    await equal(phone, laptop)
