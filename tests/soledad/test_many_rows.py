"""Many rows come in as they were given, however many there are."""

from __future__ import annotations

import sqlite3

import pytest

from leap.soledad.many_rows import AT_ONCE, insert_rows


@pytest.mark.parametrize("count", [0, 1, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 3])
def test_all_rows_are_inserted_in_their_order(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, a BLOB, b TEXT) STRICT")
    rows = [(bytes([number]), f"\x00{number}") for number in range(count)]
    insert_rows(connection, "INSERT INTO t (a, b)", rows)
    assert connection.execute("SELECT a, b FROM t ORDER BY number").fetchall() == rows
    connection.close()


def test_rows_that_are_there_follow_the_conflict_clause() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)")
    rows = [(number % 7, 1) for number in range(AT_ONCE + 20)]
    insert_rows(
        connection, "INSERT INTO t (a, b)", rows, "ON CONFLICT (a) DO UPDATE SET b = b + excluded.b"
    )
    assert sum(b for (b,) in connection.execute("SELECT b FROM t")) == AT_ONCE + 20
    with pytest.raises(sqlite3.IntegrityError):
        insert_rows(connection, "INSERT INTO t (a, b)", rows)
    connection.close()
