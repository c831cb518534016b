"""Work on mail that may bring a program down, in a process of its own with limits on time and memory.

Invariants:
* Whatever the work does, it ends: by its result, by its end, or when its time is over. Nothing of it stays.
* Mail and keys travel through a pipe between processes of one user, never over disk.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from leap.keymanager.openpgp.worker_process import WorkerContext, end_with_the_parent

MEMORY = 3 * 1024**3  # octets of address space; a mail of 50 MiB takes some hundred million
START = 20.0  # seconds more for the process to begin, on a busy machine

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Stopped(Exception):
    """The process ended without a result; the text says how."""


def run_apart(work: Callable[[A, B], T], first: A, second: B, *, seconds: float) -> T:
    """`work(first, second)`; blocks. Raises Stopped, and MemoryError or OSError when no process can be had."""
    context = WorkerContext()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_serve, args=(sender, work, first, second, seconds), daemon=True
    )
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds + START):
            raise Stopped("it took too long")
        done: T = receiver.recv()
        return done
    except EOFError:
        raise Stopped("it brought down what opened it") from None
    finally:
        process.kill()
        process.join()
        receiver.close()


def _serve(
    sender: Connection, work: Callable[[A, B], T], first: A, second: B, seconds: float
) -> None:
    end_with_the_parent()
    # Counted in CPU time: a busy machine takes nothing away from the work.
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the mail in clear
    sender.send(work(first, second))
    sender.close()
