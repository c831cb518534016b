"""What changed in one transaction, and who wants to know: the change feed and projections.

Invariants:
* A projection sees every change in the transaction that makes it, whether it came from here or from sync;
  a callback of the feed sees it after the COMMIT, in the order of the commits.
* Values in here are the plain contents; they are never logged.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from leap.soledad.sqlite import Connection

if TYPE_CHECKING:
    from leap.soledad.transaction import Transaction

Content = dict[str, Any]
Row = dict[str, Any]


class DocChange(NamedTuple):
    """A document before and after; None where it does not exist or is deleted."""

    doc_id: str
    before: Content | None
    after: Content | None


class RowChange(NamedTuple):
    """A row before and after: `row_id`, fixed values, scalars, and sets as sorted, space separated text."""

    schema: str
    row_id: str
    before: Row | None
    after: Row | None


class SetChanged(NamedTuple):
    """A set of many rows went from one text to another, the same in all of them."""

    schema: str
    column: str
    old: str
    new: str
    row_ids: Sequence[str]


class RowsMoved(NamedTuple):
    """Many rows have another place, in the order in which they were named."""

    schema: str
    place: str
    row_ids: Sequence[str]


class RowsCopied(NamedTuple):
    """Many rows came that are copies of others, but for their ids and place.

    In their order they have consecutive numbers in SQLite, from `first_rowid` on.
    """

    schema: str
    place: str
    first_rowid: int
    row_ids: Sequence[str]


class RowsDeleted(NamedTuple):
    """Many rows went; the table has them as they were, until they are purged."""

    schema: str
    row_ids: Sequence[str]


BulkChange = SetChanged | RowsMoved | RowsCopied | RowsDeleted


@dataclass(frozen=True)  # a NamedTuple without fields would equal every other one
class Rebuilt:
    """A tag of the change feed: projections were built anew, and whatever was read of them may be different."""


class ChangeSet(NamedTuple):
    """All changes of one transaction; `seq` ascends over the life of the store.

    New rows of the schemas in `arrived` are not listed: sync brought too many of them at once. Rows that were changed
    many at a time are in `bulk`, and not in `rows`.
    """

    seq: int
    docs: list[DocChange]
    rows: list[RowChange]
    from_sync: bool
    tags: set[Hashable]
    arrived: frozenset[str] = frozenset()
    bulk: Sequence[BulkChange] = ()


Callback = Callable[[ChangeSet], None]


class Projection(Protocol):
    """Local tables derived from documents and rows, in the same transaction."""

    def create(self, connection: Connection, /) -> None:
        """Makes its tables if they are missing."""

    def apply(
        self,
        tx: Transaction,
        docs: Sequence[DocChange],
        rows: Sequence[RowChange],
        from_sync: bool,
        /,
    ) -> None:
        """Follows the changes. It may change documents and rows itself; it is then called again with those.

        Of a schema in `tx.arrived` there are new rows which are not in `rows`: so many that they would not fit
        into memory. They are found in the table. What was changed many rows at a time is in `tx.bulk` instead; it
        came before what is in `rows`.
        """


@runtime_checkable
class Rebuildable(Protocol):
    """What a projection offers to maintenance as well."""

    def drop(self, connection: Connection, /) -> None:
        """Removes its tables, but for what has to outlive them; `create` builds them anew from documents and rows."""

    def faults(self, connection: Connection, /) -> list[str]:
        """What in its tables does not follow from documents and rows, in sentences."""
