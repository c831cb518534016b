"""A bitmask daemon with a probe on its event loop: `python -m bench.lag FILE <the daemon's arguments>`.

The daemon is the production one; beside it a task asks to be woken every 5 ms, and notes by how much it was late. One
late wake-up stands for all those that would have fallen into it. SIGUSR1 writes what was seen since the last one to
FILE, as JSON, and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from leap.bitmask import daemon
from leap.bitmask.home import Home

EVERY = 0.005  # seconds


class Probe:
    """Measures the loop it runs on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._late: list[float] = []

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._write)
        while True:
            due = time.monotonic() + EVERY
            await asyncio.sleep(EVERY)
            late = time.monotonic() - due
            while late > 0:
                self._late.append(late)
                late -= EVERY

    def _write(self) -> None:
        late, self._late = sorted(self._late) or [0.0], []
        said = {
            "samples": len(late),
            "median": late[len(late) // 2],
            "p99": late[min(len(late) - 1, len(late) * 99 // 100)],
            "worst": late[-1],
        }
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(said))
        part.replace(self._file)


def read_lag(pid: int, file: Path) -> dict[str, float]:
    """What the probe in that process saw since it was asked last, in seconds."""
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 30
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the probe does not answer")
        time.sleep(0.01)
    said: dict[str, float] = json.loads(file.read_text())
    return said


def main() -> int:
    """Runs the daemon with the probe."""
    probe = Probe(Path(sys.argv[1]))
    run = daemon._run

    async def probed(home: Home, options: Namespace, passphrases: Sequence[str]) -> int:
        watching = asyncio.create_task(probe.run())
        try:
            return await run(home, options, passphrases)
        finally:
            watching.cancel()

    daemon._run = probed
    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
