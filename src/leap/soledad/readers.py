"""A few threads that run jobs, each with a place of its own for what it keeps open.

Invariant: a job goes to the first thread that is free, and waits only while none is. So jobs that come one after the
other run in the same thread, whose pages are in memory already; the others serve what comes at the same time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Readers:
    """`count` threads, started when they are needed first; `close` lets them finish what they were given."""

    def __init__(self, count: int, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._free = list(range(count))  # their numbers, ascending
        self._inboxes: list[queue.SimpleQueue[_Job | None]] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        self._threads: dict[int, threading.Thread] = {}
        self._waiting: deque[_Job] = deque()
        self._closed = False

    def run(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """The result, on the running loop. A job that was cancelled before it began does not run.

        Raises RuntimeError after `close`.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the readers are closed")
            if self._free:
                number = self._free.pop(0)
                if number not in self._threads:
                    self._threads[number] = threading.Thread(
                        target=self._work,
                        args=(number,),
                        name=f"{self._name}_{number}",
                        daemon=True,
                    )
                    self._threads[number].start()
                self._inboxes[number].put((future, job))
            else:
                self._waiting.append((future, job))
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Returns when all jobs are done; not for the event loop."""
        with self._lock:
            self._closed = True
        for number in self._threads:
            self._inboxes[number].put(None)
        for thread in self._threads.values():
            thread.join()

    def _work(self, number: int) -> None:
        job = self._inboxes[number].get()
        while job is not None:
            tell = _run(*job)
            # free before it is told: who hears of a result and asks at once is to come here again
            job = self._next(number)
            tell()
            del tell  # else the result is held until the next job comes
            if job is None:
                job = self._inboxes[number].get()

    def _next(self, number: int) -> _Job | None:
        """The job that has waited longest; the thread is free when there is none."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free.append(number)
            self._free.sort()
        return None


_Job = tuple[Future[Any], Callable[[], Any]]


def _run(future: Future[Any], job: Callable[[], Any]) -> Callable[[], None]:
    """Runs a job; what is answered tells how it went."""
    if not future.set_running_or_notify_cancel():
        return lambda: None
    try:
        return partial(future.set_result, job())
    except BaseException as error:
        return partial(future.set_exception, error)
