"""How a process for long work is started: without the program's own main module.

The standard library's "spawn" runs the main module again in each new process. A program that is not written for that
(no `if __name__ == "__main__":`, as short scripts are) would do all it does a second time there, and fail here. The
work that is sent over never lies in the main module, so that the new process has no use for it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType

_MAIN = "__main__"
_starting = threading.Lock()


class WorkerProcess(SpawnProcess):
    """A process that knows nothing of the program which started it."""

    def start(self) -> None:
        """Starts it; the main module is out of sight meanwhile, which takes about 2 ms."""
        with _starting:
            main = sys.modules[_MAIN]
            sys.modules[_MAIN] = ModuleType(_MAIN)
            try:
                super().start()
            finally:
                sys.modules[_MAIN] = main


class WorkerContext(SpawnContext):
    """For `ProcessPoolExecutor`. Forking a program with threads and an open database would invite dead locks."""

    Process = WorkerProcess


def end_with_the_parent() -> None:
    """Ends this process when the one that made it is killed: it waits for work at a pipe that nobody closes then."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that was started here runs this"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="waits for the parent's end", daemon=True).start()
