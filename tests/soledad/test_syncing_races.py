"""Sync when devices edit at once, replies are lost, and programs are cut off."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from leap.soledad.errors import (
    Refused,
    SoledadError,
    Unreachable,
)
from leap.soledad.rows import SetEdit
from leap.soledad.syncing.state import MAX_MARKS
from tests.soledad.memory_provider import Account, Device, lost_reply, lost_request
from tests.soledad.two_devices import equal, pair

# --- races ---


async def test_two_devices_edit_at_once_and_both_edits_live(account: Account) -> None:
    laptop, phone = await pair(account, merges={"box": "fields"})
    await laptop.put("m", type="box", name="a", sub=True)
    await laptop.insert("r", flags="old")
    await equal(laptop, phone)
    await laptop.put("m", type="box", name="b", sub=True)
    await laptop.update("r", flags="old seen")
    await phone.put("m", type="box", name="a", sub=False)
    await phone.update("r", flags="flagged")
    await phone.insert("r2")
    first = asyncio.create_task(laptop.sync())
    second = asyncio.create_task(phone.sync())
    await asyncio.gather(first, second)
    view = await equal(laptop, phone)
    assert await laptop.content("m") == {"type": "box", "name": "b", "sub": False}
    assert view["rows"][0][3] == "flagged seen"
    assert len(view["rows"]) == 2


async def test_conflicts_of_unmerged_documents_are_kept_synced_and_resolved(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=0)
    await equal(laptop, phone)
    await laptop.put("d", v="laptop")
    await phone.put("d", v="phone")
    await laptop.sync()
    await phone.sync()
    await laptop.sync()
    for device in (laptop, phone):
        found = await device.store.get_doc_conflicts("d")
        assert [c.content for c in found] == [{"v": "laptop"}, {"v": "phone"}]
        document = await device.store.get_doc("d")
        assert document is not None
        assert document.has_conflicts
        with pytest.raises(SoledadError):
            await device.store.put_doc(document)
    found = await laptop.store.get_doc_conflicts("d")
    found[0].content = {"v": "both"}
    await laptop.store.resolve_doc(found[0], [c.revision for c in found if c.revision])
    await equal(laptop, phone)
    assert await phone.store.get_doc_conflicts("d") == []
    assert await phone.content("d") == {"v": "both"}


async def test_deletion_against_edit_of_unmerged_document_keeps_the_edit(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=0)
    await equal(laptop, phone)
    await laptop.store.transact(lambda tx: tx.delete("d"))
    await phone.put("d", v="edited")
    await laptop.sync()
    await equal(phone, laptop)
    found = await laptop.store.get_doc_conflicts("d")
    assert [c.content for c in found] == [None, {"v": "edited"}]


async def test_equal_edits_do_not_conflict(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await phone.put("d", v=1)
    await equal(laptop, phone)
    assert await phone.store.get_doc_conflicts("d") == []


async def test_the_same_row_made_on_two_devices_is_one_row(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("same", flags="recent")
    await phone.insert("same", flags="recent")
    await phone.update("same", flags="recent seen")
    await laptop.sync()
    view = await equal(phone, laptop)
    assert view["rows"] == [("same", "in", None, "recent seen", None)]


async def test_rows_not_pushed_yet_survive_a_foreign_change_of_their_page(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("r1")
    await equal(laptop, phone)
    await phone.update("r1", flags="seen")
    await laptop.insert("r2")  # goes into the page which the phone is just about to commit

    async def phone_first() -> None:
        laptop.remote.before.clear()
        await phone.sync()

    laptop.remote.before["commit"] = phone_first
    laptop.remote.requests.clear()
    await laptop.sync()
    assert laptop.remote.requests.count("commit") == 2
    view = await equal(laptop, phone)
    assert [row[0] for row in view["rows"]] == ["r1", "r2"]
    assert view["rows"][0][3] == "seen"


async def test_edit_during_the_commit_is_not_lost(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("r", flags="a")
    await laptop.put("d", v=1)
    await laptop.insert("gone")

    async def meanwhile() -> None:
        laptop.remote.before.clear()
        await laptop.update("r", flags="b")
        await laptop.put("d", v=2)
        await laptop.expunge("gone")

    laptop.remote.before["commit"] = meanwhile
    await laptop.sync()
    view = await equal(laptop, phone)
    assert view["rows"] == [("r", "in", None, "b", None)]
    assert await phone.content("d") == {"v": 2}


async def test_edit_taken_back_during_the_commit_stays_taken_back(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("r", flags="a")
    await equal(laptop, phone)
    await laptop.update("r", flags="a b")

    async def meanwhile() -> None:
        laptop.remote.before.clear()
        await laptop.update("r", flags="a")

    laptop.remote.before["commit"] = meanwhile
    laptop.remote.faults["commit"] = [lost_reply]
    with pytest.raises(Unreachable):
        await laptop.sync()
    view = await equal(laptop, phone)
    assert view["rows"][0][3] == "a"


OPERATIONS: dict[str, Callable[[Device, str], Coroutine[Any, Any, None]]] = {
    "flag": lambda d, r: d.update(r, flags=SetEdit(add=frozenset({"x"}))),
    "unflag": lambda d, r: d.update(r, flags=SetEdit(remove=frozenset({"old"}))),
    "move": lambda d, r: d.update(r, folder="archive"),
    "move2": lambda d, r: d.update(r, folder="trash"),
    "expunge": lambda d, r: d.expunge(r),
    "title": lambda d, r: d.update(r, title="t"),
    "nothing": lambda d, r: asyncio.sleep(0),
}


async def test_every_pair_of_operations_converges(account: Account) -> None:
    """One row for each pair; the laptop's operations come first, so the phone's are rebased on them."""
    laptop, phone = await pair(account)
    pairs = {f"{first}/{second}": (first, second) for first in OPERATIONS for second in OPERATIONS}
    for row_id in pairs:
        await laptop.insert(row_id, flags="old")
    await equal(laptop, phone)
    for row_id, (first, second) in pairs.items():
        await OPERATIONS[first](laptop, row_id)
        await OPERATIONS[second](phone, row_id)
    await laptop.sync()
    rows = {row[0]: row for row in (await equal(phone, laptop))["rows"]}
    for row_id, (first, second) in pairs.items():
        check_outcome(rows.get(row_id), first, second)


def check_outcome(row: Any, first: str, second: str) -> None:
    done = {first, second}
    moved = done & {"move", "move2"}
    if "expunge" in done and not moved:
        assert row is None
        return
    _, folder, title, flags, _ = row
    place = {"move": "archive", "move2": "trash"}
    wanted = place[second] if second in place else place.get(first, "in")
    assert folder == wanted
    if "expunge" not in done:
        assert ("x" in flags.split()) == ("flag" in done)
        assert ("old" in flags.split()) == ("unflag" not in done)
        assert title == ("t" if "title" in done else None)


async def test_many_refusals_in_a_row_end_in_a_commit(account: Account) -> None:
    laptop, phone = await pair(account)
    await equal(laptop, phone)
    rounds = 10

    async def phone_first() -> None:
        nonlocal rounds
        if rounds:
            rounds -= 1
            await phone.put("busy", n=rounds)
            await phone.sync()

    laptop.remote.before["commit"] = phone_first
    await laptop.put("slow", v=1)
    await laptop.sync()
    assert laptop.remote.requests.count("commit") == 11
    await equal(laptop, phone)
    assert await phone.content("slow") == {"v": 1}


async def test_only_what_both_touched_is_sealed_anew(account: Account) -> None:
    laptop, phone = await pair(account, merges={"": "fields"})
    await laptop.put("both", a=1)
    await equal(laptop, phone)
    await laptop.put("both", a=2)
    await laptop.put("mine", a=1)
    await phone.put("both", b=1)
    sent: list[dict[bytes, bytes]] = []

    async def phone_first() -> None:
        pending = await laptop.store.read(
            lambda c: dict(c.execute("SELECT item_id, sealed FROM pending_item").fetchall())
        )
        sent.append(pending)
        if len(sent) == 1:
            await phone.sync()

    laptop.remote.before["commit"] = phone_first
    await laptop.sync()
    same = [sent[0][name] == sent[1][name] for name in sent[0]]
    assert sorted(same) == [False, True]
    await equal(laptop, phone)


# --- replies that are lost, crashes ---


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("fault", [lost_request, lost_reply])
async def test_commit_whose_outcome_is_unknown(
    account: Account, fault: Any, restart: bool, others: bool
) -> None:
    laptop, phone = await pair(account)
    await laptop.insert("r", flags="a")
    await laptop.put("d", v=1)
    await equal(laptop, phone)
    await laptop.update("r", flags="b")
    await laptop.put("d", v=2)
    await laptop.insert("r2")
    laptop.remote.faults["commit"] = [fault]
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert laptop.engine.status.error
    if restart:
        await laptop.restart()
    if others:
        await phone.sync()
        await phone.update("r", flags=SetEdit(add=frozenset({"c"})))
        await phone.insert("r3")
        await phone.sync()
    await laptop.update("r2", flags="later")
    commits = len(account.provider.commits)
    view = await equal(laptop, phone)
    assert view["rows"][0][3] == ("b c" if others else "b")
    assert view["rows"][1][3] == "later"
    assert await phone.content("d") == {"v": 2}
    assert await phone.store.get_doc_conflicts("d") == []
    if fault is lost_reply and not others:
        assert len(account.provider.commits) == commits + 1  # only what was changed since
    assert laptop.engine.status.error == ""


async def test_the_commit_is_on_disk_before_it_is_sent(account: Account) -> None:
    laptop, _ = await pair(account)
    seen: list[Any] = []

    async def look() -> None:
        state = await laptop.engine._puller.state()
        seen.append(state.pending)

    laptop.remote.before["commit"] = look
    await laptop.put("d", v=1)
    await laptop.sync()
    assert seen[0].head == account.provider.head


async def test_cancelled_sync_goes_on_next_time(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    stop = asyncio.Event()

    async def hang() -> None:
        stop.set()
        await asyncio.Event().wait()

    laptop.remote.before["commit"] = hang
    task = asyncio.create_task(laptop.sync())
    await stop.wait()
    await laptop.restart()
    with pytest.raises(asyncio.CancelledError):
        await task
    await equal(laptop, phone)
    assert await phone.content("d") == {"v": 1}


@pytest.mark.parametrize("status", [401, 413, 429, 507])
async def test_refused_commit_comes_through_later(account: Account, status: int) -> None:
    laptop, phone = await pair(account)

    def refuse(_: Any) -> Any:
        raise Refused("refused", "not now, or not so", status)

    def refuse_late(call: Any) -> Any:
        call()
        refuse(call)

    for fault in (refuse, refuse_late):
        await laptop.put("d", v=fault.__name__)
        laptop.remote.faults["commit"] = [fault]
        with pytest.raises(Refused):
            await laptop.sync()
        await equal(laptop, phone)
        assert await phone.content("d") == {"v": fault.__name__}
        assert await phone.store.get_doc_conflicts("d") == []


async def refused_often(device: Device, times: int, status: int) -> set[bytes]:
    """Syncs that the provider refuses; answers the heads it was shown."""
    heads: set[bytes] = set()

    async def look() -> None:
        pending = (await device.engine._puller.state()).pending
        assert pending is not None
        heads.add(pending.head)

    def refuse(_: Any) -> Any:
        raise Refused("refused", "not now, or not so", status)

    device.remote.before["commit"] = look
    device.remote.always["commit"] = refuse
    for _ in range(times):
        with pytest.raises(Refused):
            await device.sync()
    device.remote.before.clear()
    device.remote.always.clear()
    return heads


@pytest.mark.parametrize("status", [401, 429, 500, 507])
async def test_a_commit_refused_for_now_is_sent_again_as_it_was(
    account: Account, status: int
) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    assert len(await refused_often(laptop, 40, status)) == 1
    assert len((await laptop.engine._puller.state()).attempts) == 1
    await laptop.restart()
    await equal(laptop, phone)
    assert await phone.content("d") == {"v": 1}


async def test_marks_of_commits_refused_for_what_they_hold_do_not_pile_up(
    account: Account,
) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    assert len(await refused_often(laptop, 50, 413)) == 50
    state = await laptop.engine._puller.state()
    assert len(state.attempts) == MAX_MARKS
    assert [mark.counter for mark in state.attempts] == list(range(51 - MAX_MARKS, 51))
    await laptop.put("d", v="smaller")
    await equal(laptop, phone)
    assert await phone.content("d") == {"v": "smaller"}
    newest = (await laptop.engine._puller.state()).committed
    assert newest is not None
    assert newest.counter == 51  # no counter of a refused head was used again
