"""Changes of thousands of rows at once leave what the same changes leave when they are made one by one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.changes import RowsCopied, RowsDeleted, RowsMoved, SetChanged
from leap.soledad.errors import SoledadError
from leap.soledad.rows import RowExists, SetEdit
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from tests.soledad.schemas import open_store

IDS = [f"n{number}" for number in range(12)]


class Follower:
    """A projection that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def create(self, connection: Any) -> None:
        pass

    def apply(self, tx: Transaction, docs: Any, rows: Any, from_sync: bool) -> None:
        self.told += [*tx.bulk, *rows]


async def filled(path: Path, **options: Any) -> Soledad:
    """Twelve rows of three sorts of flags, one deleted, none dirty."""
    store = await open_store(path, **options)

    def fill(tx: Transaction) -> None:
        for place, row_id in enumerate(IDS):
            flags = ("", "b", "a b")[place % 3]
            tx.insert_row("note", row_id, {"folder": "in", "flags": flags, "head_id": row_id})
        tx.delete_rows("note", [IDS[4]])
        tx.connection.execute("UPDATE note SET dirty = 0")

    await store.transact(fill)
    return store


async def contents(store: Soledad) -> list[Any]:
    return await store.read(
        lambda c: c.execute("SELECT * FROM note ORDER BY folder, head_id, deleted").fetchall()
    )


@pytest.mark.parametrize(
    "value", [SetEdit(add=frozenset("b")), SetEdit(remove=frozenset("ab")), "c a a", ""]
)
async def test_a_set_changes_as_one_by_one(tmp_path: Path, value: Any) -> None:
    singly, at_once = await filled(tmp_path / "1.db"), await filled(tmp_path / "2.db")
    await singly.transact(lambda tx: tx.update_rows("note", IDS[2:], {"flags": value}))
    asked = [*IDS[2:], IDS[3], "none"]
    await at_once.transact(lambda tx: tx.change_set("note", asked, "flags", value))
    assert await contents(at_once) == await contents(singly)
    await singly.close()
    await at_once.close()


async def test_places_change_as_one_by_one(tmp_path: Path) -> None:
    singly, at_once = await filled(tmp_path / "1.db"), await filled(tmp_path / "2.db")
    await singly.transact(lambda tx: tx.update_rows("note", IDS[2:], {"folder": "out"}))
    await at_once.transact(lambda tx: tx.move_rows("note", IDS[2:], "out"))
    assert await contents(at_once) == await contents(singly)
    await singly.close()
    await at_once.close()


async def test_rows_go_as_one_by_one(tmp_path: Path) -> None:
    singly, at_once = await filled(tmp_path / "1.db"), await filled(tmp_path / "2.db")
    asked = [*IDS[2:8], IDS[3], "none"]
    await singly.transact(lambda tx: tx.delete_rows("note", asked))
    await at_once.transact(lambda tx: tx.delete_many("note", asked))
    assert await contents(at_once) == await contents(singly)
    await singly.close()
    await at_once.close()


async def test_copies_are_what_new_rows_like_them_are(tmp_path: Path) -> None:
    singly, at_once = await filled(tmp_path / "1.db"), await filled(tmp_path / "2.db")
    sources, copies = [IDS[7], IDS[2]], ["x", "y"]

    def insert(tx: Transaction) -> None:
        like = [{**row, "folder": "out"} for row in tx.rows("note", sources)]
        for row in like:
            del row["row_id"]
        tx.insert_rows("note", list(zip(copies, like, strict=True)))

    await singly.transact(insert)
    await at_once.transact(lambda tx: tx.copy_rows("note", sources, copies, "out"))
    assert await contents(at_once) == await contents(singly)
    order = await at_once.read(
        lambda c: c.execute("SELECT row_id FROM note ORDER BY rowid DESC LIMIT 2").fetchall()
    )
    assert order == [("y",), ("x",)]
    await singly.close()
    await at_once.close()


def copy(sources: list[str], copies: list[str], tx: Transaction) -> None:
    tx.copy_rows("note", sources, copies, "in")


async def test_copying_onto_a_row_or_of_none_is_refused(tmp_path: Path) -> None:
    store = await filled(tmp_path / "s.db")
    before = await contents(store)
    for sources, copies, error in (
        ([IDS[0], IDS[1]], ["x", IDS[2]], RowExists),
        ([IDS[0], IDS[4]], ["x", "y"], SoledadError),  # IDS[4] is deleted
    ):
        copying = partial(copy, sources, copies)
        with pytest.raises(error):
            await store.transact(copying)
    assert await contents(store) == before
    await store.close()


async def test_projections_and_the_feed_are_told_of_all_at_once(tmp_path: Path) -> None:
    follower = Follower()
    store = await filled(tmp_path / "s.db", projections=[follower])
    heard: list[Any] = []
    store.on_change(heard.append)
    follower.told.clear()
    edit = SetEdit(add=frozenset("b"))
    await store.transact(lambda tx: tx.change_set("note", IDS, "flags", edit))
    told = [SetChanged("note", "flags", "", "b", [IDS[0], IDS[3], IDS[6], IDS[9]])]
    assert follower.told == told
    assert [(change.bulk, change.rows) for change in heard] == [(told, [])]
    await store.transact(lambda tx: tx.copy_rows("note", IDS[:2], ["x", "y"], "out"))
    await store.transact(lambda tx: tx.delete_many("note", ["y", IDS[0]]))
    await store.transact(lambda tx: tx.move_rows("note", [IDS[2], "x", IDS[1]], "out"))
    assert [change for one in heard[1:] for change in one.bulk] == [
        RowsCopied("note", "out", 13, ["x", "y"]),
        RowsDeleted("note", ["y", IDS[0]]),
        RowsMoved("note", "out", [IDS[2], IDS[1]]),
    ]
    heard.clear()
    await store.transact(lambda tx: tx.change_set("note", IDS, "flags", edit))
    await store.transact(lambda tx: tx.delete_many("note", ["y"]))
    await store.transact(lambda tx: tx.copy_rows("note", [], [], "out"))
    assert len(heard) == 0  # nothing changed
    with pytest.raises(ValueError, match="no set"):
        await store.transact(lambda tx: tx.change_set("note", IDS, "title", "x"))
    await store.close()


async def test_after_single_changes_it_is_told_in_order(tmp_path: Path) -> None:
    follower = Follower()
    store = await filled(tmp_path / "s.db", projections=[follower])
    follower.told.clear()

    def job(tx: Transaction) -> Any:
        tx.update_rows("note", [IDS[0]], {"flags": "x"})
        changed = tx.change_set("note", IDS[:2], "flags", "y")
        tx.copy_rows("note", [IDS[1]], ["x"], "out")
        tx.delete_many("note", [IDS[1]])
        return changed

    assert await store.transact(job) == [
        SetChanged("note", "flags", "x", "y", [IDS[0]]),
        SetChanged("note", "flags", "b", "y", [IDS[1]]),
    ]
    told = [
        change.after and (change.after["folder"], change.after["flags"]) for change in follower.told
    ]
    assert told == [("in", "x"), ("in", "y"), ("in", "y"), ("out", "y"), None]
    await store.close()
