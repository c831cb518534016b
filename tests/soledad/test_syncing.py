"""Sync between devices in the plain way, and the engine that runs by itself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.errors import (
    SoledadError,
)
from leap.soledad.rows import SetEdit
from leap.soledad.syncing import SyncEngine, pull
from tests.soledad.memory_provider import Account, Device
from tests.soledad.schemas import open_store
from tests.soledad.two_devices import equal, pair

# --- the plain way ---


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


async def test_of_many_pages_new_rows_are_told_of_by_schema_and_changed_ones_by_row(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, frozenset[str], int]] = []

    class Listener:
        def create(self, connection: Any) -> None:
            pass

        def apply(self, tx: Any, docs: Any, rows: Any, from_sync: bool) -> None:
            count = tx.connection.execute("SELECT count(*) FROM note").fetchone()[0]
            seen.append((len(rows), tx.arrived, count))

    laptop = await account.device("laptop")
    phone = await account.device("phone", projections=[Listener()])
    heard: list[Any] = []
    phone.store.on_change(heard.append)
    await laptop.insert("r")
    await laptop.sync()
    await phone.sync()

    def fill(tx: Any) -> None:
        for n in range(600):
            tx.insert_row("note", f"r{n:04}", {"folder": "in"})

    await laptop.store.transact(fill)
    await laptop.update("r", flags="x")
    await laptop.sync()
    monkeypatch.setattr(pull, "MANY_PAGES", 2)
    await phone.sync()
    assert seen == [(1, frozenset(), 1), (1, frozenset({"note"}), 601)]
    assert [(len(one.rows), one.arrived) for one in heard] == [(1, frozenset()), (1, {"note"})]
    assert heard[1].rows[0].after["flags"] == "x"
    await equal(laptop, phone)


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


# --- running ---


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
    assert {state.running for state in states} == {True, False}
    assert {"hello", "head"} <= set(notices)
    end()
    end()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until_quiet(*devices: Device) -> list[int]:
    """Waits until no sync ran and no request came for a hundred reads of each store; answers how many there were."""
    quiet, counts = 0, [0]
    while quiet < 100:
        for device in devices:
            await device.store.read(lambda c: None)
        now = [len(device.remote.requests) for device in devices]
        idle = now == counts and not any(device.engine._lock.locked() for device in devices)
        quiet, counts = (quiet + 1 if idle else 0), now
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
