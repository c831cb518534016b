"""What is asked of the blob tables for each batch and before each push is answered from indexes, however many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.naming import find_named
from leap.soledad.syncing.status import count_waiting
from leap.soledad.syncing.transfer import load_wanted
from tests.soledad.schemas import open_store


class Explained:
    """A connection that notes how each statement is answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.plan: list[str] = []

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        explained = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.plan += [row[3] for row in explained.fetchall()]
        return self._connection.execute(statement, parameters)


@contextmanager
def explained(connection: Connection) -> Iterator[Any]:
    """Fails where a table is read from one end to the other."""
    noting = Explained(connection)
    yield noting
    assert noting.plan
    scans = [step for step in noting.plan if step.startswith("SCAN")]
    assert {step for step in scans if "json_each" not in step} <= {"SCAN blob_lost"}, noting.plan


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    async with await open_store(tmp_path / "s.db") as store:
        yield store


def background(below: int) -> ContentsPolicy:
    """Fetches the blobs of priorities below this one."""
    return ContentsPolicy() if below > 8 else ContentsPolicy(contents="on-demand", always=below)


def want(connection: Connection) -> None:
    """Small and large ones of two priorities; some of them lost, one of these due again."""
    for n in range(8):
        connection.execute(
            "INSERT INTO blob_wanted (blob_id, sha256, size, priority, newest, missing)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (f"{n:032x}", f"{n:064x}", LARGE + 1 if n % 4 == 3 else n, n % 2, n, int(n == 5)),
        )
    connection.executemany(
        "INSERT INTO blob_lost (blob_id, attempts, retry_at) VALUES (?, 1, 0)",
        [(f"{n:032x}",) for n in (1, 5)],
    )


async def test_what_is_fetched_next_is_read_from_the_index_alone(store: Soledad) -> None:
    await store.write(want)

    def job(connection: Connection) -> None:
        for large, below, most, expected in (
            (False, 9, 9, [6, 4, 2, 0, 1]),  # by priority, then the newest; 5 is lost
            (False, 9, 3, [6, 4, 2]),
            (False, 1, 9, [6, 4, 2, 0, 1]),  # 1 was read before, lost, and is due again
            (False, 0, 9, [1]),
            (True, 9, 9, [7, 3]),
            (True, 1, 9, []),
        ):
            with explained(connection) as noting:
                found = load_wanted(noting, most, background(below), large=large)
            assert [int(ref.blob_id, 16) for ref in found] == expected
            assert all(ref.sha256 == f"{int(ref.blob_id, 16):064x}" for ref in found)
            assert "COVERING INDEX" in noting.plan[0]
            assert not noting.plan[0].startswith("SCAN")

    await store.read(job)


async def test_what_waits_to_be_fetched_is_counted_without_what_is_lost(store: Soledad) -> None:
    await store.write(want)
    for below, expected in ((9, 6), (1, 4), (0, 0)):
        counts = await store.read(
            lambda c, below=below: count_waiting(c, store.tables, background(below))
        )  # type: ignore[misc]
        assert counts["blobs_to_fetch"] == expected
        assert counts["contents_missing"] == 2


async def test_who_names_a_blob_is_found_by_index(store: Soledad) -> None:
    head, body = "a" * 32, "b" * 32

    def insert(tx: Any) -> None:
        values = {"head_id": head, "head_sha256": "c" * 64, "head_size": 1}
        tx.insert_row("note", "r", {"folder": "in", **values})

    await store.transact(insert)

    def job(connection: Connection) -> None:
        with explained(connection) as noting:
            named = find_named(noting, store.tables, [head, body])
        assert set(named.refs) == {head}
        assert sum("INDEX note_by_" in step for step in noting.plan) == 2

    await store.read(job)


async def test_files_without_a_row_are_found_by_index(store: Soledad) -> None:
    def job(connection: Connection) -> None:
        with explained(connection) as noting:
            assert store.blobs.find_strays(noting, ["a" * 32]) == ["a" * 32]

    await store.read(job)
