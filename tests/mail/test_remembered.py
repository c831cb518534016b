"""What was read of messages lately, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.contract import RowId
from leap.mail.remembered import Remembered


class Store:
    """Loads values, and says what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def load(self, row_ids: Sequence[RowId]) -> list[bytes]:
        self.asked.append(list(row_ids))
        return [row_id.encode() for row_id in row_ids]


def ids(text: str) -> list[RowId]:
    return [RowId(one) for one in text.split()]


async def test_only_what_is_not_here_is_loaded() -> None:
    store, kept = Store(), Remembered[bytes](100, len)
    assert await kept.find(ids("a b"), store.load) == [b"a", b"b"]
    assert await kept.find(ids("b c a b"), store.load) == [b"b", b"c", b"a", b"b"]
    assert await kept.find(ids("c a"), store.load) == [b"c", b"a"]
    assert store.asked == [["a", "b"], ["c"]]


async def test_the_oldest_make_room() -> None:
    store, kept = Store(), Remembered[bytes](3, len)
    assert await kept.find(ids("a b c d e"), store.load) == [b"a", b"b", b"c", b"d", b"e"]
    assert await kept.find(ids("e d c"), store.load) == [b"e", b"d", b"c"]
    assert await kept.find(ids("b e"), store.load) == [b"b", b"e"]
    assert store.asked[1:] == [["b"]]


async def test_what_went_while_it_was_read_is_not_kept() -> None:
    store, kept = Store(), Remembered[bytes](100, len)

    async def late(row_ids: Sequence[RowId]) -> list[bytes]:
        kept.forget(ids("x"))
        return await store.load(row_ids)

    assert await kept.find(ids("a"), late) == [b"a"]
    assert await kept.find(ids("a"), store.load) == [b"a"]
    kept.forget(ids("a"))
    await kept.find(ids("a"), store.load)
    assert store.asked == [["a"], ["a"], ["a"]]
