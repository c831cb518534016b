"""Coroutines as Deferreds, on the event loop under Twisted's asyncio reactor.

Invariants:
* A Deferred fires when its task has ended, also after `cancel`: nothing goes on behind it.
* Before the reactor stops, streams are stopped, tasks get `STOP_PATIENCE` to end, and what is open is closed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast

from twisted.internet import asyncioreactor, defer
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.python.failure import Failure

STOP_PATIENCE = 15.0  # seconds; a sync that somebody waits for takes at most 10

_log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


class WrongReactor(RuntimeError):
    """Twisted does not run on asyncio; the text says how it can. It is raised, not put into a Deferred."""


class Stoppable(Protocol):
    """What ends by itself when the reactor stops."""

    async def aclose(self) -> None: ...


def install(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Puts Twisted on asyncio, on `loop` or on a new one.

    Call it before anything imports `twisted.internet.reactor`; afterwards it raises Twisted's
    ReactorAlreadyInstalledError.
    """
    if loop is not None:
        asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)


def find_reactor() -> AsyncioSelectorReactor:
    """The installed reactor, without installing one. Raises WrongReactor."""
    reactor = sys.modules.get("twisted.internet.reactor")
    if isinstance(reactor, AsyncioSelectorReactor):
        return reactor
    found = "no reactor is installed" if reactor is None else f"this is {type(reactor).__name__}"
    raise WrongReactor(
        f"leap.mail needs Twisted's asyncio reactor, and {found}: start the program with `twist --reactor asyncio` or"
        " `trial --reactor asyncio`, or call leap.mail.twisted.install() before twisted.internet.reactor is imported."
    )


class Bridge:
    """What runs on one reactor through this package."""

    def __init__(self, reactor: AsyncioSelectorReactor) -> None:
        self.loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._streams: weakref.WeakSet[Stoppable] = weakref.WeakSet()
        self._open: dict[object, Callable[[], Coroutine[Any, Any, object]]] = {}
        # "before" is the only phase whose Deferreds the reactor waits for.
        cast(Any, reactor).addSystemEventTrigger("before", "shutdown", self._before_shutdown)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> defer.Deferred[T]:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)  # before the Deferred's own callbacks
        return defer.Deferred.fromFuture(task).addErrback(_translate)

    def keep_stream(self, stream: Stoppable) -> None:
        self._streams.add(stream)

    def keep_open(self, what: object, close: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """`close` is called before the reactor stops, unless `forget_open` was."""
        self._open[what] = close

    def forget_open(self, what: object) -> None:
        self._open.pop(what, None)

    def _before_shutdown(self) -> defer.Deferred[None]:
        return defer.Deferred.fromFuture(self.loop.create_task(self._finish()))

    async def _finish(self) -> None:
        for stream in list(self._streams):
            await stream.aclose()
        deadline = self.loop.time() + STOP_PATIENCE
        while self._tasks:  # what ends may begin something new, in its Deferred's callbacks
            left = deadline - self.loop.time()
            _, late = await asyncio.wait(set(self._tasks), timeout=max(0.0, left))
            if late and left <= 0:
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
        closing = [close() for close in self._open.values()]
        self._open.clear()
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):
                _log.error("closing before the reactor stops failed", exc_info=result)


_bridges: weakref.WeakKeyDictionary[AsyncioSelectorReactor, Bridge] = weakref.WeakKeyDictionary()


def find_bridge() -> Bridge:
    """The bridge of the installed reactor. Raises WrongReactor."""
    reactor = find_reactor()
    bridge = _bridges.get(reactor)
    if bridge is None:
        bridge = _bridges[reactor] = Bridge(reactor)
    return bridge


def run(coroutine: Coroutine[Any, Any, T]) -> defer.Deferred[T]:
    """Runs a coroutine of asyncio; cancelling the Deferred cancels it.

    The Deferred fails with what the coroutine raises, and with Twisted's CancelledError when it was cancelled.
    Raises WrongReactor.
    """
    try:
        bridge = find_bridge()
    except WrongReactor:
        coroutine.close()
        raise
    return bridge.run(coroutine)


def run_as(wrap: Callable[[T], R], coroutine: Coroutine[Any, Any, T]) -> defer.Deferred[R]:
    """The same, its result wrapped."""
    return run(coroutine).addCallback(wrap)


def wait_for(deferred: defer.Deferred[T]) -> asyncio.Future[T]:
    """A Deferred as something that coroutines of asyncio can await; cancelling it cancels the Deferred."""
    return deferred.asFuture(find_bridge().loop)


def _translate(failure: Failure) -> Failure:
    if failure.check(asyncio.CancelledError):
        return Failure(defer.CancelledError())
    return failure
