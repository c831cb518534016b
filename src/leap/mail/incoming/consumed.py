"""The ids of inbox items this account has stored already: one document for each device, and all of them synced.

    document "inbox-consumed-<device id>"   {"type": "inbox-consumed", "ids": {item key: [stored at, acked]}}

An item key is the start of the row id: the same on all devices for the same sealed bytes. A key is written in
the transaction that stores the mail, so a redelivery after a crash neither doubles it nor brings back what
was expunged meanwhile; it leaves some time after the provider confirmed the ack, so that a device whose lease
ran out still finds it.

Invariant: every device writes only its own document, so these never conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

CONSUMED = "inbox-consumed"
KEY_LENGTH = 24  # hex digits of the row id: 96 bits, for at most thousands of items
KEPT = 600.0  # seconds after the ack: five leases
MAX_KEPT = 5_000  # acked keys; in a flood the oldest go first

Ids = dict[str, list[Any]]


class ConsumedTransaction(Protocol):
    def get(self, doc_id: str) -> dict[str, Any] | None: ...
    def put(self, doc_id: str, content: dict[str, Any]) -> Any: ...


def item_key(row_id: str) -> str:
    """The short id of an inbox item."""
    return row_id[:KEY_LENGTH]


def document_id(device_id: str) -> str:
    return f"{CONSUMED}-{device_id}"


def ids_of(content: Mapping[str, Any] | None) -> Ids:
    """The ids in a document's content; what is not of the form is left out."""
    found = (content or {}).get("ids")
    if not isinstance(found, dict):
        return {}
    return {
        key: list(value)
        for key, value in found.items()
        if isinstance(key, str) and isinstance(value, list | tuple) and len(value) == 2
    }


def note_stored(tx: ConsumedTransaction, device_id: str, row_id: str, now: float) -> None:
    """Adds an item, in the transaction that stores it."""
    doc_id = document_id(device_id)
    ids = ids_of(tx.get(doc_id))
    if item_key(row_id) not in ids:
        ids[item_key(row_id)] = [int(now), False]
        tx.put(doc_id, {"type": CONSUMED, "ids": ids})


def note_acked(tx: ConsumedTransaction, device_id: str, row_ids: Iterable[str], now: float) -> None:
    """Marks items as confirmed by the provider, and forgets those confirmed long enough ago."""
    doc_id = document_id(device_id)
    before = ids_of(tx.get(doc_id))
    ids = {key: list(value) for key, value in before.items()}
    for row_id in row_ids:
        if item_key(row_id) in ids:
            ids[item_key(row_id)] = [int(now), True]
    kept = {key: value for key, value in ids.items() if not (value[1] and now - value[0] > KEPT)}
    acked = sorted((value[0], key) for key, value in kept.items() if value[1])
    for _, key in acked[: max(0, len(acked) - MAX_KEPT)]:
        del kept[key]
    if kept != before:
        tx.put(doc_id, {"type": CONSUMED, "ids": kept})
