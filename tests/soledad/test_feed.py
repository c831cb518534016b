"""The change feed: from the table and then live, without gap or doubled change, over restarts and from sync."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.soledad import feed
from leap.soledad.documents import Document
from leap.soledad.errors import InvalidGeneration
from leap.soledad.feed import Change
from leap.soledad.store import Soledad
from tests.soledad.memory_provider import Account
from tests.soledad.schemas import open_store
from tests.soledad.two_devices import equal, pair


async def take(changes: AsyncIterator[Change], count: int) -> list[tuple[int, str]]:
    found = [await asyncio.wait_for(anext(changes), 10) for _ in range(count)]
    return [(change.seq, change.document.doc_id) for change in found]


async def test_first_what_is_there_then_what_happens(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        document = await store.create_doc({"n": 1}, "a")
        await store.create_doc({}, "b")
        changes = store.changes()
        assert await take(changes, 2) == [(1, "a"), (2, "b")]
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        assert not waiting.done()
        document.content = {"n": 2}
        await store.put_doc(document)
        change = await asyncio.wait_for(waiting, 10)
        assert change == Change(3, document)
        await store.delete_doc(document)
        change = await anext(changes)
        assert (change.seq, change.document.content) == (4, None)


async def test_goes_on_after_a_restart_even_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        await store.put_many([Document.new({}, name) for name in "abcd"])
        assert await take(store.changes(), 2) == [(1, "a"), (2, "b")]
    async with await open_store(tmp_path / "s.db") as store:
        changes = store.changes(since=2)
        await store.create_doc({}, "e")
        assert await take(changes, 3) == [(3, "c"), (4, "d"), (5, "e")]
        with pytest.raises(InvalidGeneration):
            await anext(store.changes(since=6))
        with pytest.raises(InvalidGeneration):
            await anext(store.changes(since=-1))


async def test_ends_when_the_store_closes(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    await store.create_doc({}, "a")
    seen: list[str] = []
    ready = asyncio.Event()

    async def follow() -> None:
        async for change in store.changes():
            seen.append(change.document.doc_id)
            ready.set()

    tasks = [asyncio.ensure_future(follow()) for _ in range(2)]
    await asyncio.wait_for(ready.wait(), 10)
    late = store.changes()
    await store.close()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert set(seen) == {"a"}
    with pytest.raises(StopAsyncIteration):
        await anext(late)


async def test_a_cancelled_reader_loses_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        changes = store.changes()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 0.01)
        await store.create_doc({}, "a")
        assert await take(changes, 1) == [(1, "a")]


async def test_no_gap_and_no_doubled_change_beside_busy_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_DOCUMENTS", 3)  # so that pages end inside transactions
    async with await open_store(tmp_path / "s.db") as store:

        async def write(name: str) -> None:
            for n in range(40):
                await store.put_many([Document.new({"n": n}, f"{name}{n}.{k}") for k in range(4)])

        async def follow() -> list[Change]:
            found: list[Change] = []
            async for change in store.changes():
                found.append(change)
                if len(found) == 480:
                    break
            return found

        readers = [asyncio.ensure_future(follow()) for _ in range(2)]
        await asyncio.gather(*(write(name) for name in "xyz"))
        for found in await asyncio.wait_for(asyncio.gather(*readers), 30):
            assert [change.seq for change in found] == list(range(1, 481))
            assert len({change.document.doc_id for change in found}) == 480


async def test_a_reader_that_lags_gets_the_newest_state_of_each(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        changes = store.changes()
        document = await store.create_doc({"n": 0}, "a")
        for n in range(1, 50):
            document.content = {"n": n}
            await store.put_doc(document)
        await store.create_doc({}, "b")
        assert await take(changes, 2) == [(50, "a"), (51, "b")]


async def test_a_slow_reader_costs_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_CHARACTERS", 5_000)
    async with await open_store(tmp_path / "s.db") as store:
        changes = store.changes()
        await store.put_many([Document.new({"t": "x" * 1000}, f"{n:03}") for n in range(300)])
        await anext(changes)
        held = sum(len(str(change.document.content)) for change in changes._page)
        assert held <= 6_100
        monkeypatch.undo()
        for _ in range(299):
            await anext(changes)
            assert len(changes._page) < feed.PAGE_DOCUMENTS


async def test_what_comes_by_sync_is_in_it(account: Account) -> None:
    laptop, phone = await pair(account)
    changes = phone.store.changes()
    await laptop.store.put_many([Document.new({"type": "x"}, name) for name in "ab"])
    await equal(laptop, phone)
    assert [name for _, name in await take(changes, 2)] == ["a", "b"]
    document = await laptop.store.get_doc("a")
    assert document is not None
    await laptop.store.delete_doc(document)
    await equal(laptop, phone)
    change = await asyncio.wait_for(anext(changes), 10)
    assert (change.document.doc_id, change.document.content) == ("a", None)


async def test_acknowledged_edits_are_not_told_twice(account: Account) -> None:
    laptop, phone = await pair(account)
    await laptop.store.create_doc({"n": 1}, "a")
    changes = laptop.store.changes()
    assert await take(changes, 1) == [(1, "a")]
    await equal(laptop, phone)
    await laptop.store.create_doc({"n": 1}, "b")
    assert [name for _, name in await take(changes, 1)] == ["b"]


async def test_rows_are_not_in_it_but_their_callers_hear_of_them(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        heard: list[Any] = []
        store.on_change(heard.append)
        changes = store.changes()
        await store.transact(lambda tx: tx.insert_row("note", "r", {"folder": "in"}))
        await store.create_doc({}, "a")
        assert await take(changes, 1) == [(2, "a")]
        assert [change.row_id for change in itertools.chain(*(h.rows for h in heard))] == ["r"]


async def crash_between(store: Soledad, job: Any) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        await store.transact(job)


async def test_what_was_undone_is_never_told(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        changes = store.changes()

        def job(tx: Any) -> None:
            tx.put("a", {})
            raise RuntimeError("crash")

        await crash_between(store, job)
        await store.create_doc({}, "b")
        assert await take(changes, 1) == [(1, "b")]
