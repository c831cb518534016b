"""Which items are opened and stored together."""

from __future__ import annotations

from leap.mail.incoming import lots


def test_large_items_travel_alone_and_small_ones_together() -> None:
    sizes = [10, 20, lots.FEW_OCTETS + 1, 30, *([1] * lots.FEW)]
    items = [(None, lots.Item(str(at), "k", 0, bytes(size))) for at, size in enumerate(sizes)]
    made = [[len(item.sealed) for _, item in lot] for lot in lots.in_lots(items)]  # type: ignore[arg-type]
    assert [size for lot in made for size in lot] == sizes
    assert made[:2] == [[10, 20], [lots.FEW_OCTETS + 1]]
    assert all(len(lot) <= lots.FEW for lot in made)
