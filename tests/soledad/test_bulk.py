"""Changes of thousands of rows at once leave what the same changes leave when they are made one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leap.soledad.changes import SetChanged
from leap.soledad.rows import SetEdit
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
    await store.transact(lambda tx: tx.change_set("note", IDS, "flags", edit))
    assert len(heard) == 1  # nothing changed
    with pytest.raises(ValueError, match="no set"):
        await store.transact(lambda tx: tx.change_set("note", IDS, "folder", "x"))
    await store.close()


async def test_after_single_changes_it_is_told_in_order(tmp_path: Path) -> None:
    follower = Follower()
    store = await filled(tmp_path / "s.db", projections=[follower])
    follower.told.clear()

    def job(tx: Transaction) -> Any:
        tx.update_rows("note", [IDS[0]], {"flags": "x"})
        return tx.change_set("note", IDS[:2], "flags", "y")

    assert await store.transact(job) == [
        SetChanged("note", "flags", "x", "y", [IDS[0]]),
        SetChanged("note", "flags", "b", "y", [IDS[1]]),
    ]
    assert [change.after["flags"] for change in follower.told] == ["x", "y", "y"]
    await store.close()
