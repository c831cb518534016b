"""Sync between devices: pushing, pulling, races, lost replies, cuts, and what a hostile provider shows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leap.soledad.errors import (
    BlobAltered,
    DigestMismatch,
    ForgedEnvelope,
    ForgedHead,
    ForkJoined,
    ProviderLies,
    Refused,
    RolledBack,
    SoledadError,
    Unreachable,
)
from leap.soledad.rows import SetEdit
from leap.soledad.syncing import SyncEngine, SyncStopped
from leap.soledad.wire import LoggedItem
from tests.soledad.memory_provider import Account, Device, lost_reply, lost_request
from tests.soledad.schemas import open_store


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[Account]:
    account = Account(tmp_path)
    yield account
    await account.close()


async def pair(account: Account, **options: Any) -> tuple[Device, Device]:
    laptop = await account.device("laptop", **options)
    phone = await account.device("phone", **options)
    return laptop, phone


async def equal(*devices: Device) -> dict[str, Any]:
    for _ in range(2):
        for device in devices:
            await device.sync()
    views = [await device.view() for device in devices]
    assert all(view == views[0] for view in views)
    return views[0]


# --- the plain way ---------------------------------------------------------------------------------


async def test_documents_and_rows_reach_the_other_device(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d1", type="a", n=1)
    await laptop.insert("r1", flags="seen", title="é")
    assert phone.engine.status.provisional
    assert (await laptop.sync()).pushed == 2
    assert (await phone.sync()).pulled == 2
    assert not phone.engine.status.provisional
    assert await phone.content("d1") == {"type": "a", "n": 1}
    assert (await phone.row("r1"))["flags"] == "seen"
    await phone.store.transact(lambda tx: tx.delete("d1"))
    await phone.update("r1", flags="seen done")
    await phone.insert("r2")
    view = await equal(phone, laptop)
    assert [row[:2] for row in view["rows"]] == [("r1", "in"), ("r2", "in")]
    assert await laptop.content("d1") is None
    await phone.expunge("r1")
    await phone.expunge("r2")
    assert (await equal(phone, laptop))["rows"] == []
    kept = await laptop.store.read(lambda c: c.execute("SELECT count(*) FROM note").fetchone())
    assert kept == (0,)


async def test_nothing_readable_reaches_the_provider(account: Account) -> None:
    laptop, _ = await pair(account)
    await laptop.put("secret-name-4711", text="secret-text-4711")
    await laptop.insert("secret-row-4711", title="secret-title-4711")
    await laptop.add_blobs("b", b"secret-head-4711", b"secret-body-4711")
    await laptop.sync()
    provider = account.provider
    seen = [item.sealed for item in provider.items.values()]
    seen += [provider.head, *provider.blobs.values(), *provider.items]
    assert not any(b"4711" in data for data in seen)


async def test_a_thousand_documents_in_three_round_trips(account: Account) -> None:
    laptop, phone = await pair(account)

    def fill(tx: Any) -> None:
        for n in range(1000):
            tx.put(f"d{n}", {"n": n})

    await laptop.store.transact(fill)
    await laptop.sync()
    assert len(laptop.remote.requests) <= 3
    await phone.sync()
    assert len(phone.remote.requests) <= 3
    assert len(await phone.store.find_docs("")) == 1000


async def test_change_feed_and_projection_hear_of_sync_once(account: Account) -> None:
    applied: list[tuple[list[Any], list[Any], bool]] = []

    class Listener:
        def create(self, connection: Any) -> None:
            pass

        def apply(self, tx: Any, docs: Any, rows: Any, from_sync: bool) -> None:
            assert tx.setting("sync.state") is None or from_sync
            applied.append((list(docs), list(rows), from_sync))

    laptop = await account.device("laptop")
    phone = await account.device("phone", projections=[Listener()])
    heard: list[Any] = []
    phone.store.on_change(heard.append)
    await laptop.put("d", n=1)
    await laptop.insert("r")
    await laptop.sync()
    await phone.sync()
    await phone.sync()
    assert [(len(d), len(r), s) for d, r, s in applied] == [(1, 1, True)]
    assert [(h.from_sync, len(h.docs), len(h.rows)) for h in heard] == [(True, 1, 1)]
    assert heard[0].rows[0].before is None
    assert heard[0].docs[0].after == {"n": 1}
    await laptop.update("r", flags="x")
    await laptop.sync()
    await phone.sync()
    change = heard[1].rows[0]
    assert (change.before["flags"], change.after["flags"]) == ("", "x")


async def test_pages_hold_256_rows_and_one_flag_is_one_item(account: Account) -> None:
    laptop, phone = await pair(account)

    def fill(tx: Any) -> None:
        for n in range(600):
            tx.insert_row("note", f"r{n:04}", {"folder": "in"})

    await laptop.store.transact(fill)
    assert (await laptop.sync()).pushed == 3
    await laptop.update("r0300", flags="seen")
    assert (await laptop.sync()).pushed == 1
    await phone.sync()
    await phone.insert("mine")
    await phone.sync()  # into a page of its own
    await laptop.insert("more")
    await equal(laptop, phone)
    pages = await laptop.store.read(
        lambda c: c.execute("SELECT count(*) FROM note GROUP BY page_id ORDER BY 1").fetchall()
    )
    assert pages == [(1,), (89,), (256,), (256,)]


async def test_flags_of_everything_are_a_few_items(account: Account) -> None:
    laptop, phone = await pair(account)
    ids = [f"r{n:05}" for n in range(5_000)]
    await laptop.store.transact(
        lambda tx: [tx.insert_row("note", i, {"folder": "in"}) for i in ids] and None
    )
    await laptop.sync()
    edit = SetEdit(add=frozenset({"seen"}))
    await laptop.store.transact(lambda tx: tx.update_rows("note", ids, {"flags": edit}))
    assert (await laptop.sync()).pushed == 20
    await equal(laptop, phone)
    assert (await phone.row("r04999"))["flags"] == "seen"


# --- races -----------------------------------------------------------------------------------------


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


# --- replies that are lost, crashes -----------------------------------------------------------------


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


async def test_refused_commit_is_made_anew(account: Account) -> None:
    laptop, phone = await pair(account)

    def refuse(_: Any) -> Any:
        raise Refused("storage-full", "the provider's disk is full", 507)

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


# --- large pushes, cut pulls ------------------------------------------------------------------------


async def fill(device: Device, count: int, size: int = 10) -> None:
    def job(tx: Any) -> None:
        for n in range(count):
            tx.put(f"{device.name}{n}", {"v": "x" * size, "n": n})

    await device.store.transact(job)


async def test_push_of_thousands_is_staged_and_survives_cuts(account: Account) -> None:
    laptop, phone = await pair(account)
    await fill(laptop, 4_500)
    laptop.remote.faults["stage"] = [None, None, lost_reply]
    with pytest.raises(Unreachable):
        await laptop.sync()
    assert account.provider.head_seq == 0  # all or nothing
    await laptop.restart()
    laptop.remote.faults["stage"] = [None, lost_request]
    with pytest.raises(Unreachable):
        await laptop.sync()
    await laptop.restart()
    await laptop.sync()
    assert laptop.remote.requests.count("stage") <= 3  # resumed, not begun anew
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
    staged = laptop.remote.requests.count("stage")
    assert laptop.remote.requests.count("commit") == 4
    assert staged <= 3 + 3  # items went up once; afterwards only the question how many are there
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


# --- blobs ------------------------------------------------------------------------------------------


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
    with pytest.raises(BlobAltered):
        await phone.engine._transfer.fetch_batch()
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


# --- a provider that lies ---------------------------------------------------------------------------


async def lie(device: Device, kind: type[ProviderLies]) -> None:
    """Sync must refuse with `kind`, set an alarm and lose nothing local; it stays stopped."""
    await device.put("local", v="kept")
    before = await device.view()
    with pytest.raises(kind):
        await device.sync()
    assert device.engine.status.alarm
    assert await device.view() == before
    with pytest.raises(SyncStopped):
        await device.sync()
    await device.restart()
    with pytest.raises(SyncStopped):
        await device.sync()
    assert await device.view() == before


async def prepared(account: Account) -> tuple[Device, Device]:
    laptop, phone = await pair(account)
    for n in range(3):
        await laptop.put(f"d{n}", v=n)
        await laptop.sync()
    await equal(laptop, phone)
    await laptop.put("d1", v="news")
    await laptop.put("d2", v="news")
    return laptop, phone


async def test_withheld_item(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    newest = max(account.provider.items.values(), key=lambda item: item.seq)
    del account.provider.items[newest.item_id]
    await lie(phone, DigestMismatch)
    account.provider.items[newest.item_id] = newest
    await phone.engine.clear_alarm()
    await equal(phone, laptop)


async def test_withheld_item_from_a_new_device(account: Account) -> None:
    laptop, _ = await prepared(account)
    await laptop.sync()
    tablet = await account.device("tablet")
    account.provider.items.popitem()
    await lie(tablet, DigestMismatch)
    assert tablet.engine.status.provisional


async def test_old_item_beside_the_new_head(account: Account) -> None:
    laptop, phone = await prepared(account)
    old = dict(account.provider.items)
    await laptop.sync()
    for item_id, item in account.provider.items.items():
        if item.version > old[item_id].version:
            account.provider.items[item_id] = LoggedItem(
                seq=item.seq,
                item_id=item_id,
                version=old[item_id].version,
                sealed=old[item_id].sealed,
            )
    await lie(phone, DigestMismatch)


async def test_altered_item_version(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    for item in list(account.provider.items.values()):
        account.provider.items[item.item_id] = LoggedItem(
            seq=item.seq, item_id=item.item_id, version=item.version + 1, sealed=item.sealed
        )
    await lie(phone, ForgedEnvelope)


async def test_swapped_items(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    items = account.provider.items
    a, b = sorted(items.values(), key=lambda item: item.seq)[-2:]
    for one, other in ((a, b), (b, a)):
        items[one.item_id] = LoggedItem(
            seq=one.seq, item_id=one.item_id, version=one.version, sealed=other.sealed
        )
    await lie(phone, ForgedEnvelope)


async def test_plaintext_item(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    newest = max(account.provider.items.values(), key=lambda item: item.seq)
    account.provider.items[newest.item_id] = LoggedItem(
        seq=newest.seq, item_id=newest.item_id, version=newest.version, sealed=b'{"v": "evil"}' * 20
    )
    await lie(phone, ProviderLies)


async def test_rolled_back_head(account: Account) -> None:
    laptop, _ = await prepared(account)
    provider = account.provider
    head, seq, items = provider.head, provider.head_seq, dict(provider.items)
    await laptop.sync()
    provider.head, provider.head_seq, provider.items = head, seq, items
    await lie(laptop, RolledBack)


async def test_empty_log_after_a_full_one(account: Account) -> None:
    laptop, _ = await prepared(account)
    provider = account.provider
    provider.head, provider.head_seq, provider.items = b"", 0, {}
    await lie(laptop, RolledBack)


async def test_head_at_another_seq(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    account.provider.head_seq += 5
    await lie(phone, ForgedHead)


async def test_altered_head(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    head = bytearray(account.provider.head)
    head[-1] ^= 1
    account.provider.head = bytes(head)
    await lie(phone, ProviderLies)


async def test_refused_push_that_is_served_after_all(account: Account) -> None:
    """The provider answers 409 to the laptop, shows it the phone's head, and later the laptop's own refused one."""
    laptop, phone = await prepared(account)
    await laptop.sync()
    await phone.sync()
    provider = account.provider
    before = (provider.head, provider.head_seq, dict(provider.items))
    await laptop.put("d0", v="refused")
    forked: list[Any] = []

    async def phone_first() -> None:
        laptop.remote.before.clear()
        await phone.put("d1", v="phone")
        await phone.sync()

    def note(call: Any) -> Any:
        pending.append(laptop.store)
        return call()

    pending: list[Any] = []
    laptop.remote.before["commit"] = phone_first

    def capture(call: Any) -> Any:
        after = (provider.head, provider.head_seq, dict(provider.items))
        provider.head, provider.head_seq, provider.items = before[0], before[1], dict(before[2])
        call()  # kept in secret
        forked.append((provider.head, provider.head_seq, dict(provider.items)))
        provider.head, provider.head_seq, provider.items = after
        return call()

    laptop.remote.faults["commit"] = [capture]
    await laptop.sync()
    provider.head, provider.head_seq, provider.items = forked[0]
    await lie(laptop, RolledBack)
    await phone.put("x", v=1)
    with pytest.raises((RolledBack, ForkJoined)):
        await phone.sync()


async def test_forked_devices_cannot_be_joined(account: Account) -> None:
    laptop, phone = await prepared(account)
    provider = account.provider
    before = (provider.head, provider.head_seq, dict(provider.items))
    await laptop.sync()
    mine = (provider.head, provider.head_seq, dict(provider.items))
    provider.head, provider.head_seq, provider.items = before[0], before[1], dict(before[2])
    await phone.put("d0", v="other world")
    await phone.sync()
    await phone.put("d0", v="other world 2")
    await phone.sync()
    await lie(laptop, ProviderLies)  # shown the phone's world
    provider.head, provider.head_seq, provider.items = mine
    await lie(phone, ProviderLies)


async def test_items_out_of_order_are_not_taken(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()

    def shuffle(call: Any) -> Any:
        page = call()
        return msgspec.structs.replace(page, items=page.items[::-1])

    def behind(call: Any) -> Any:
        return msgspec.structs.replace(call(), head_seq=0)

    def more(call: Any) -> Any:
        return msgspec.structs.replace(call(), items=[], more=True)

    for fault in (shuffle, behind, more):
        phone.remote.faults["pull"] = [fault]
        with pytest.raises(SoledadError):
            await phone.sync()
    await equal(phone, laptop)


async def test_a_keyset_of_a_new_device_is_fetched_and_checked(account: Account) -> None:
    laptop, phone = await pair(account)  # the laptop's keyset does not list the phone
    await phone.put("d", v=1)
    await phone.sync()
    laptop.remote.requests.clear()
    await laptop.sync()
    assert "secrets" in laptop.remote.requests
    assert await laptop.content("d") == {"v": 1}
    await laptop.sync()
    assert laptop.remote.requests.count("secrets") == 1


async def test_commit_by_a_device_nobody_listed(account: Account) -> None:
    laptop, _ = await pair(account)
    await equal(laptop)
    keyset = account.provider.keyset
    stranger = await account.device("stranger")
    await stranger.put("evil", v=1)
    await stranger.sync()
    account.provider.keyset = keyset
    await lie(laptop, ForgedHead)


# --- running ----------------------------------------------------------------------------------------


async def test_running_engines_bring_changes_over_without_asking(account: Account) -> None:
    laptop, phone = await pair(account)
    arrived = asyncio.Event()
    phone.store.on_change(lambda changes: arrived.set() if changes.from_sync else None)
    states: list[Any] = []
    end = phone.engine.on_status(states.append)
    notices: list[str] = []
    phone.engine.on_notice(lambda kind, _: notices.append(kind))
    tasks = [asyncio.create_task(device.engine.run()) for device in (laptop, phone)]
    await asyncio.wait_for(phone.engine.pulled.wait(), 5)
    refs = await laptop.add_blobs("r", b"head", b"body")
    await asyncio.wait_for(arrived.wait(), 5)
    assert await phone.row("r") is not None
    assert await phone.store.read_blob(refs[0]) == b"head"
    assert states[-1].online
    assert {"hello", "head"} <= set(notices)
    end()
    end()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until_quiet(*devices: Device) -> list[int]:
    """Waits until no request came for a hundred reads of each store; answers how many there were."""
    quiet, counts = 0, [0]
    while quiet < 100:
        for device in devices:
            await device.store.read(lambda c: None)
        now = [len(device.remote.requests) for device in devices]
        quiet, counts = (quiet + 1 if now == counts else 0), now
    return counts


async def test_idle_engine_asks_nothing(account: Account) -> None:
    laptop, phone = await pair(account)
    tasks = [asyncio.create_task(device.engine.run()) for device in (laptop, phone)]
    await laptop.engine.pulled.wait()
    await phone.engine.pulled.wait()
    await laptop.put("d", v=1)
    await laptop.sync()
    await until_quiet(laptop, phone)
    assert await phone.content("d") == {"v": 1}
    counts = [len(device.remote.requests) for device in (laptop, phone)]
    assert max(counts) < 12
    assert await until_quiet(laptop, phone) == counts
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_running_engine_stops_at_an_alarm(account: Account) -> None:
    laptop, _ = await prepared(account)
    provider = account.provider
    provider.head, provider.head_seq, provider.items = b"", 0, {}
    await asyncio.wait_for(laptop.engine.run(), 5)
    assert laptop.engine.status.alarm


async def test_many_callers_share_a_sync(account: Account) -> None:
    laptop, _ = await pair(account)
    await laptop.put("d", v=1)
    results = await asyncio.gather(*(laptop.sync() for _ in range(20)))
    assert len(results) == 20
    assert laptop.remote.requests.count("pull") <= 2


async def test_a_device_that_only_reads_says_so_once_a_day(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.put("d", v=1)
    await laptop.sync()
    await phone.sync()
    commits = len(account.provider.commits)  # the phone's first head: it had never written one
    await laptop.put("d", v=2)
    await laptop.sync()
    await phone.sync()
    assert len(account.provider.commits) == commits + 1
    phone.now += 25 * 3600
    await phone.sync()
    assert account.provider.commits[-1].count == 0
    await phone.sync()
    await laptop.sync()
    assert len(account.provider.commits) == commits + 2
    await equal(laptop, phone)


async def test_engine_needs_an_account(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "x.db") as store:
        with pytest.raises(SoledadError):
            SyncEngine(store, Account(tmp_path).provider)  # type: ignore[arg-type]
