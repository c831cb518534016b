"""What was read of messages lately, in memory: bounded in octets, forgotten when the message goes.

Invariants: an entry says what the store says, as long as every change of rows is told to `forget`; what was read
while rows went is not kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from leap.mail.contract import RowId

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by row, the oldest of which make room for new ones."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        """`most` octets, as `size` counts them."""
        self._most = most
        self._size = size
        self._values: dict[RowId, T] = {}
        self._octets = 0
        self._forgotten = 0  # how many times something may have changed

    async def find(
        self, row_ids: Sequence[RowId], load: Callable[[Sequence[RowId]], Awaitable[list[T]]]
    ) -> list[T]:
        """The values in the order asked; those that are not here come from `load`, and what it raises is raised."""
        values = self._values
        absent = [row_id for row_id in row_ids if row_id not in values]
        if not absent:
            return [values[row_id] for row_id in row_ids]
        before = self._forgotten
        if len(absent) == len(row_ids):
            loaded = await load(row_ids)
            self._keep(row_ids, loaded, before)
            return loaded
        known = {row_id: values[row_id] for row_id in row_ids if row_id in values}
        loaded = await load(absent)
        self._keep(absent, loaded, before)
        known.update(zip(absent, loaded, strict=True))
        return [known[row_id] for row_id in row_ids]

    def _keep(self, row_ids: Sequence[RowId], loaded: Sequence[T], before: int) -> None:
        if self._forgotten != before:
            return
        values, size = self._values, self._size
        for row_id, value in zip(row_ids, loaded, strict=True):
            if row_id not in values:
                values[row_id] = value
                self._octets += size(value)
        while self._octets > self._most:
            self._octets -= size(values.pop(next(iter(values))))

    def forget(self, row_ids: Iterable[RowId]) -> None:
        """These rows went, or show another message."""
        self._forgotten += 1
        for row_id in row_ids:
            value = self._values.pop(row_id, None)
            if value is not None:
                self._octets -= self._size(value)
