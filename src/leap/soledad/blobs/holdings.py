"""How much content is here, and which of what is not here is fetched without being asked for.

Invariants:
* Under a budget the background brings no more than fits: it stops at the budget, and what is not newer than anything
  that had to go is left at the provider until it is read. So nothing is fetched only to go again.
* The first columns of a row schema (`ContentsPolicy.always`), and what was read before and was lost, are fetched
  whatever the budget.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import find_setting, save_setting

ANY_PRIORITY = 1_000_000  # above that of any column
EVICTED_UP_TO = (
    "soledad.contents.evicted-up-to"  # rank (`RowSchema.newest`) of the newest that went
)


class Amount(NamedTuple):
    """A number of blobs, and their octets as plaintext."""

    blobs: int
    bytes: int


class Holdings(NamedTuple):
    """`evicted` were here and went to save room, `absent` were never fetched; both are at the provider."""

    here: Amount
    evicted: Amount
    absent: Amount


def count_holdings(connection: Connection) -> Holdings:
    """What is here and what is not; reads the whole list of blobs."""
    return Holdings(*(_amount(connection, t) for t in ("blob", "blob_evicted", "blob_wanted")))


def size_here(connection: Connection) -> int:
    """Octets of content here, as plaintext."""
    return _amount(connection, "blob").bytes


def _amount(connection: Connection, table: str) -> Amount:
    found = connection.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM {table}")  # noqa: S608
    return Amount(*found.fetchone())


def wanted_unasked(connection: Connection, policy: ContentsPolicy) -> tuple[str, tuple[int, ...]]:
    """A condition on rows of `blob_wanted`, with its values: those which are fetched in the background."""
    always = "(priority < ?)"
    if policy.contents == "on-demand":
        return always, (policy.always,)
    if policy.keep_bytes is None:
        return always, (ANY_PRIORITY,)
    if size_here(connection) >= policy.keep_bytes:
        return always, (policy.always,)
    went = find_setting(connection, EVICTED_UP_TO)
    if went is None:
        return always, (ANY_PRIORITY,)
    return f"({always} OR newest > ?)", (policy.always, went)


def note_evicted(connection: Connection, newest: int) -> None:
    """Something of this rank had to go: what is not newer is not fetched in the background from now on."""
    before = find_setting(connection, EVICTED_UP_TO)
    if before is None or before < newest:
        save_setting(connection, EVICTED_UP_TO, newest)


def follow_policy(
    connection: Connection, policy: ContentsPolicy, tables: Iterable[RowTable]
) -> None:
    """What a new policy changes at once: where there is no budget any more, what had to go is wanted again."""
    save_setting(connection, EVICTED_UP_TO, None)
    if policy.contents == "on-demand" or policy.keep_bytes is not None:
        return
    for table in tables:
        schema = table.schema
        rank = f"coalesce(t.{schema.newest}, 0)" if schema.newest else "0"
        for priority, (blob_id, _, _) in enumerate(schema.blobs):
            connection.execute(
                "INSERT OR IGNORE INTO blob_wanted (blob_id, sha256, size, priority, newest)"  # noqa: S608
                f" SELECT e.blob_id, e.sha256, e.size, {priority}, CAST({rank} AS INTEGER)"
                f" FROM {schema.name} t CROSS JOIN blob_evicted e ON e.blob_id = t.{blob_id}"
            )
    connection.execute(
        "DELETE FROM blob_evicted WHERE blob_id IN (SELECT blob_id FROM blob_wanted)"
    )
