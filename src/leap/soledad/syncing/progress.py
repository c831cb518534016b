"""Progress of a sync, for a bar or a line: what came and went so far, and of how much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """`items` of `total` in this sync, and their sealed octets; `total` of a pull is an upper bound."""

    kind: Literal["pull", "push", "blobs"]
    items: int
    bytes: int
    total: int


class ProgressBoard:
    """Tells those who listen."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Progress], None]] = []
        self.last: Progress | None = None
        self._items = self._bytes = 0  # blobs of this sync

    def subscribe(self, callback: Callable[[Progress], None]) -> Callable[[], None]:
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def pull(self, items: int, size: int, left: int) -> None:
        """So many items and octets came; at most `left` follow."""
        self._tell(Progress("pull", items, size, items + left))

    def push(self, items: int, size: int, total: int) -> None:
        """So many items of a commit of `total` went, with so many octets."""
        self._tell(Progress("push", items, size, total))

    def begin(self) -> None:
        """A sync begins."""
        self._items = self._bytes = 0

    def blobs(self, items: int, size: int, left: int) -> None:
        """So many more blobs went; `left` wait."""
        self._items += items
        self._bytes += size
        self._tell(Progress("blobs", self._items, self._bytes, self._items + left))

    def _tell(self, progress: Progress) -> None:
        self.last = progress
        for callback in list(self._callbacks):
            callback(progress)
