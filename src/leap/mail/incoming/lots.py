"""Which items are opened by one call and stored by one durable transaction.

Invariant: lots and their items come in the order of the items' arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from leap.soledad.wire import InboxItem

FEW = 50  # items that share one transaction
FEW_OCTETS = 1024 * 1024  # sealed; a larger item goes alone


@dataclass(frozen=True, slots=True)
class Item:
    """A sealed mail to open, from the inbox or from quarantine."""

    row_id: str
    key_id: str
    received: int
    sealed: bytes = field(repr=False)


Lot = list[tuple[InboxItem, Item]]


def in_lots(items: Sequence[tuple[InboxItem, Item]]) -> Iterator[Lot]:
    """Neighbours that fit one transaction together; a large one alone."""
    lot: Lot = []
    size = 0
    for pair in items:
        octets = len(pair[1].sealed)
        if lot and (len(lot) == FEW or size + octets > FEW_OCTETS):
            yield lot
            lot, size = [], 0
        lot.append(pair)
        size += octets
    if lot:
        yield lot
