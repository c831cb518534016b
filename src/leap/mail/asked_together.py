"""What many sessions ask at the same moment, because they heard of the same change, is asked of the store once.

Invariant: an answer is given to those only who ask while nothing changed since it was begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sized
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
MOST_KEPT = 8  # questions
LARGEST_KEPT = 1_000  # rows; a larger answer is given to those who wait for it, and forgotten


class _Asked(NamedTuple):
    seen: int
    answer: asyncio.Future[Any]


class AskedTogether:
    """The last questions of one account. `seen` counts its changes: how many had been told of."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, _Asked] = {}

    async def ask(
        self, question: Hashable, *, changed: int, seen: int, ask: Callable[[], Awaitable[T]]
    ) -> T:
        """The answer, not to be altered; `changed` is the last change that it depends on. Raises what `ask` does."""
        known = self._asked.get(question)
        if known is None or known.seen < changed:
            answer = asyncio.ensure_future(_given(ask))
            known = self._asked[question] = _Asked(seen, answer)
            answer.add_done_callback(lambda done: self._answered(question, done))
            if len(self._asked) > MOST_KEPT:
                del self._asked[next(iter(self._asked))]
        found: T = await asyncio.shield(known.answer)
        return found

    def _answered(self, question: Hashable, answer: asyncio.Future[Any]) -> None:
        failed = answer.cancelled() or answer.exception() is not None
        if failed or (isinstance(answer.result(), Sized) and len(answer.result()) > LARGEST_KEPT):
            known = self._asked.get(question)
            if known is not None and known.answer is answer:
                del self._asked[question]


async def _given(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
