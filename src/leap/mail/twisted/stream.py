"""An async iterator for Twisted: values asked for one by one, called back with, or met by `async for`.

Invariant: a value is given to one asker, in order; one whose asker was cancelled goes to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from leap.mail.twisted.bridge import find_bridge, run, wait_for

T = TypeVar("T")
S = TypeVar("S")


class StreamEnded(Exception):
    """There are no more values: the source has ended, or the stream was stopped."""


def same(value: T) -> T:
    """What needs no wrapping."""
    return value


class Stream(Generic[T]):
    """Values that come one after another. It ends by itself, by `stop`, and before the reactor stops."""

    def __init__(self, wrap: Callable[[S], T], source: AsyncIterator[S]) -> None:
        self._source = source
        self._wrap: Callable[[Any], T] = wrap
        self._turn = asyncio.Lock()
        self._coming: asyncio.Task[Any] | None = None
        self._stopped = False
        find_bridge().keep_stream(self)

    def get(self) -> Deferred[T]:
        """The next value; fails with StreamEnded, or with what the source raises. Cancelling loses no value."""
        return run(self._next())

    def each(self, callback: Callable[[T], object]) -> Deferred[None]:
        """Calls `callback` with one value after another, and fires when the stream has ended.

        A Deferred or coroutine that `callback` returns is waited for. What `callback` raises stops the stream and is
        what the Deferred fails with. Cancelling stops it too.
        """
        # Not in `_each`: a task that is cancelled before its first step does not get there.
        return run(self._each(callback)).addBoth(self._stop_then)

    def all(self) -> Deferred[list[T]]:
        """Every value until the stream ends: not for one without an end."""
        return run(self._all())

    def stop(self) -> Deferred[None]:
        """Ends the stream: whoever waits for a value gets StreamEnded."""
        return run(self.aclose())

    async def aclose(self) -> None:
        """`stop`, for coroutines of asyncio."""
        self._stopped = True
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
        close: Callable[[], Coroutine[Any, Any, None]] | None
        if (close := getattr(self._source, "aclose", None)) is not None:
            await close()

    def __aiter__(self) -> Stream[T]:
        return self

    def __anext__(self) -> Deferred[T]:
        return run(self._next_of_loop())

    async def _next_of_loop(self) -> T:
        try:
            return await self._next()
        except StreamEnded:
            raise StopAsyncIteration from None

    async def _next(self) -> T:
        async with self._turn:
            if self._stopped:
                raise StreamEnded("The stream was stopped.")
            if self._coming is None:
                self._coming = asyncio.get_running_loop().create_task(_one(self._source))
            coming = self._coming
            await asyncio.wait([coming])  # which leaves it as it is when we are cancelled
            self._coming = None
            if coming.cancelled():
                raise StreamEnded("The stream was stopped.")
            return self._wrap(coming.result())

    async def _each(self, callback: Callable[[T], object]) -> None:
        while True:
            try:
                value = await self._next()
            except StreamEnded:
                return
            await _finished(callback(value))

    def _stop_then(self, result: Any) -> Deferred[Any]:
        return self.stop().addCallback(lambda _: result)

    async def _all(self) -> list[T]:
        values: list[T] = []
        await self._each(values.append)
        return values


async def _one(source: AsyncIterator[S]) -> S:
    try:
        return await anext(source)
    except StopAsyncIteration:
        raise StreamEnded("There are no more values.") from None


async def _finished(answer: object) -> None:
    if asyncio.iscoroutine(answer):
        answer = Deferred.fromCoroutine(answer)
    if isinstance(answer, Deferred):
        await wait_for(answer)
