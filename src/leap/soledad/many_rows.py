"""Inserts many rows with few statements.

Each row that `executemany` inserts gives up the interpreter's lock and waits for it again: as long as another thread
computes, five milliseconds a time. Here that happens once for `AT_ONCE` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leap.soledad.sqlite import Connection

AT_ONCE = 50
_MOST_VALUES = 1_000  # in one statement


def insert_rows(
    connection: Connection, into: str, rows: Sequence[Sequence[Any]], conflict: str = ""
) -> None:
    """Runs `into` ("INSERT INTO t (a, b)"), with `conflict` behind, for these rows, which are of one length.

    The same as `executemany` does: a row which is refused raises the same error.
    """
    if not rows:
        return
    width = len(rows[0])
    one = f"({', '.join('?' * width)})"
    step = min(AT_ONCE, max(1, _MOST_VALUES // width))
    whole = len(rows) - len(rows) % step
    if whole:
        many = f"{into} VALUES {', '.join([one] * step)} {conflict}"
        for first in range(0, whole, step):
            connection.execute(many, [value for row in rows[first : first + step] for value in row])
    if whole < len(rows):
        connection.executemany(f"{into} VALUES {one} {conflict}", rows[whole:])
