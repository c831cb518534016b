"""The documents that receiving keeps: ids of consumed items, and mail in quarantine."""

from __future__ import annotations

from typing import Any

import pytest

from leap.mail.incoming import consumed, quarantine
from leap.mail.incoming.consumed import (
    begin_batch,
    free_slot,
    ids_of,
    note_acked,
    note_stored,
    time_of,
)
from leap.mail.incoming.quarantine import item_of
from tests.mail.travel import NOW


class Documents:
    """The part of a transaction that these documents need."""

    def __init__(self) -> None:
        self.docs: dict[str, dict[str, Any]] = {}
        self.writes = 0

    def get(self, doc_id: str) -> dict[str, Any] | None:
        return self.docs.get(doc_id)

    def put(self, doc_id: str, content: dict[str, Any]) -> None:
        self.writes += 1
        self.docs[doc_id] = content


def test_slots_are_used_again_and_what_was_not_acked_never_goes() -> None:
    tx = Documents()
    rows = [f"{number:08x}" * 4 for number in range(consumed.SLOTS + 2)]
    used = []
    for number in range(consumed.SLOTS):
        slot = free_slot(tx.docs, "d", NOW + number)
        used.append(slot)
        begin_batch(tx, "d", slot, NOW + number)
        note_stored(tx, "d", slot, [rows[number]], NOW + number)
    assert used == list(range(consumed.SLOTS))
    # Nothing was confirmed: all of it stays, and new items go where nothing is emptied.
    overflow = free_slot(tx.docs, "d", NOW + 10_000)
    assert overflow == consumed.SLOTS
    begin_batch(tx, "d", overflow, NOW + 10_000)
    note_stored(tx, "d", overflow, [rows[-1]], NOW + 10_000)
    everything = {key for content in tx.docs.values() for key in ids_of(content)}
    assert len(everything) == consumed.SLOTS + 1
    # The oldest confirmed one goes in a flood, any confirmed one after a while.
    note_acked(tx, "d", range(consumed.SLOTS), [rows[7], rows[9]], NOW + 10_000)
    assert free_slot(tx.docs, "d", NOW + 10_001) == 7
    note_acked(tx, "d", range(consumed.SLOTS), rows, NOW + 10_000)
    assert free_slot(tx.docs, "d", NOW + 10_001) == 0
    assert free_slot(tx.docs, "d", NOW + 10_002 + consumed.KEPT) == 0
    assert free_slot(tx.docs, "other", NOW) == 0
    writes = tx.writes
    note_acked(tx, "d", range(consumed.SLOTS), rows, NOW + 20_000)
    note_stored(tx, "d", 0, [rows[0]], NOW + 20_000)
    assert tx.writes == writes


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"type": "inbox-quarantine"},
        {"type": "inbox-quarantine", "sealed": 5},
        {"type": "inbox-quarantine", "sealed": "%%%"},
        {"type": "inbox-quarantine", "blob": ["a"]},
        {"type": "other", "sealed": "AAAA"},
    ],
)
def test_strange_quarantine_documents_are_passed_over(content: dict[str, Any] | None) -> None:
    assert item_of(f"{quarantine.QUARANTINE}-1", content) is None


@pytest.mark.parametrize("content", [None, {}, {"ids": 3}, {"ids": {3: True}}, {"time": "x"}])
def test_strange_consumed_documents_are_passed_over(content: dict[str, Any] | None) -> None:
    assert ids_of(content) == {}
    assert time_of(content) == 0
