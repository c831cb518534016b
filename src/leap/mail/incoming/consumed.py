"""The ids of inbox items this account has stored already: a few documents for each device, and all of them synced.

    document "inbox-consumed-<device id>-<slot>"   {"type": "inbox-consumed", "time", "ids": {item key: acked}}

An item key is the start of the row id: the same on all devices for the same sealed bytes. A key is written in
the transaction that stores the mail, so a redelivery after a crash neither doubles it nor brings back what
was expunged meanwhile; it stays some time after the provider confirmed the ack, so that a device whose lease
ran out still finds it. Each batch fills one slot, so that documents stay small; a slot is used again when
all of it was acked long enough ago, or, in a flood, when it is the oldest one.

Invariants:
* Every device writes only its own documents, so these never conflict.
* A key that was not acked is never forgotten, but for one that is over a month old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

CONSUMED = "inbox-consumed"
KEY_LENGTH = 24  # hex digits of the row id: 96 bits, for at most thousands of items
KEPT = 600.0  # seconds after the ack: five leases
FORGOTTEN = 30 * 24 * 3600.0  # seconds; as long as the provider remembers a submission
SLOTS = 50  # of a batch each

Ids = dict[str, bool]


class ConsumedTransaction(Protocol):
    def get(self, doc_id: str) -> dict[str, Any] | None: ...
    def put(self, doc_id: str, content: dict[str, Any]) -> Any: ...


def item_key(row_id: str) -> str:
    """The short id of an inbox item."""
    return row_id[:KEY_LENGTH]


def document_id(device_id: str, slot: int) -> str:
    return f"{CONSUMED}-{device_id}-{slot}"


def ids_of(content: Mapping[str, Any] | None) -> Ids:
    """The keys in a document's content, and whether each was acked; strange content has none."""
    found = (content or {}).get("ids")
    if not isinstance(found, dict):
        return {}
    return {key: value is True for key, value in found.items() if isinstance(key, str)}


def time_of(content: Mapping[str, Any] | None) -> float:
    """When the document was written last; 0 for strange content."""
    found = (content or {}).get("time")
    return float(found) if isinstance(found, int | float) else 0.0


def free_slot(contents: Mapping[str, Mapping[str, Any] | None], device_id: str, now: float) -> int:
    """The slot for a new batch; `contents` are the documents of the account by id."""
    oldest, reusable = 0, float("inf")
    for slot in range(SLOTS):
        content = contents.get(document_id(device_id, slot))
        if content is None:
            return slot
        ids, age = ids_of(content), now - time_of(content)
        if age > FORGOTTEN or (age > KEPT and all(ids.values())):
            return slot
        if all(ids.values()) and time_of(content) < reusable:
            oldest, reusable = slot, time_of(content)
    if reusable < float("inf"):
        return oldest
    # All slots hold something the provider did not confirm: add to the last one.
    return SLOTS


def begin_batch(tx: ConsumedTransaction, device_id: str, slot: int, now: float) -> None:
    """Empties a slot that is used again."""
    doc_id = document_id(device_id, slot)
    if slot < SLOTS and ids_of(tx.get(doc_id)):
        tx.put(doc_id, {"type": CONSUMED, "time": int(now), "ids": {}})


def note_stored(
    tx: ConsumedTransaction, device_id: str, slot: int, row_ids: Iterable[str], now: float
) -> None:
    """Adds items, in the transaction that stores them."""
    doc_id = document_id(device_id, slot)
    before = ids_of(tx.get(doc_id))
    ids = {**{item_key(row_id): False for row_id in row_ids}, **before}
    if ids != before:
        tx.put(doc_id, {"type": CONSUMED, "time": int(now), "ids": ids})


def note_acked(
    tx: ConsumedTransaction,
    device_id: str,
    slots: Iterable[int],
    row_ids: Iterable[str],
    now: float,
) -> None:
    """Marks items as confirmed by the provider, in those of this device's slots that hold them."""
    keys = {item_key(row_id) for row_id in row_ids}
    for slot in slots:
        doc_id = document_id(device_id, slot)
        before = ids_of(tx.get(doc_id))
        ids = {key: acked or key in keys for key, acked in before.items()}
        if ids != before:
            tx.put(doc_id, {"type": CONSUMED, "time": int(now), "ids": ids})
