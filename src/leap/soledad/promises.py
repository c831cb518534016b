"""Changes that are promised in one small record, and made a moment later, before anybody can look.

A change of ten thousand rows takes a tenth of a second, its record one page. So whoever asked for it is answered when
the record is committed; what the answer says of the rows comes from memory.

Invariants:
* Whoever reads or changes anything finds all promises kept: the database sees to it while it is open
  (`Database.submit_in_two`), and opening keeps those that a crash left.
* A promise is kept once: the transaction that makes the change removes its record.
* Promises are kept in the order in which they were given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from leap.soledad.sqlite import Connection

if TYPE_CHECKING:
    from leap.soledad.transaction import Transaction

# Numbers may come again once all are kept: nothing but their order counts
TABLE = """CREATE TABLE IF NOT EXISTS promise (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        given BLOB NOT NULL
    ) STRICT"""

Keep = Callable[["Transaction", bytes], None]  # makes the change that was promised


class Promise(NamedTuple):
    """A change that was not made yet: `kind` says who makes it, `given` is all they need."""

    number: int
    kind: str
    given: bytes


def promises(connection: Connection) -> list[Promise]:
    """Those that were not kept yet, in the order in which they were given."""
    found = connection.execute("SELECT number, kind, given FROM promise ORDER BY number")
    return [Promise(*values) for values in found]


def add_promise(connection: Connection, kind: str, given: bytes) -> Promise:
    number = connection.execute(
        "INSERT INTO promise (kind, given) VALUES (?, ?)", (kind, given)
    ).lastrowid
    return Promise(number, kind, given)


def remove_promise(connection: Connection, promise: Promise) -> None:
    connection.execute("DELETE FROM promise WHERE number = ?", (promise.number,))
