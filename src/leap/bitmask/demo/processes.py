"""The two processes of the demo, started and ended as a person would: by their commands and signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

START_TIMEOUT = 60.0  # seconds
MIN_FREE = 1_000_000  # octets; below it nothing can start
END_TIMEOUT = 6.0  # seconds from SIGTERM to SIGKILL; both processes end within three


class DemoFailure(Exception):
    """A step did not hold; the text says which and why."""


class Child:
    """One process: it says one JSON line when it is ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log

    @classmethod
    async def start(
        cls, name: str, arguments: list[str], log: Path
    ) -> tuple[Child, dict[str, Any]]:
        """Starts `python -m arguments… --ready-fd N`; answers it and what it said."""
        reading, writing = os.pipe()
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                "--ready-fd",
                str(writing),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writing,),
            )
        os.close(writing)
        child = cls(name, process, log)
        async with contextlib.AsyncExitStack() as undoing:
            undoing.push_async_callback(child.end)
            line = await asyncio.wait_for(asyncio.to_thread(_first_line, reading), START_TIMEOUT)
            said = child._understood(line)
            undoing.pop_all()
        return child, said

    def _understood(self, line: bytes) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            if shutil.disk_usage(self._log.parent).free < MIN_FREE:
                raise DemoFailure(
                    f"{self.name} did not start: the disk of {self._log.parent} is full."
                ) from None
            raise DemoFailure(f"{self.name} did not start: {self.last_words()}") from None
        if said.get("ready") is False:
            raise DemoFailure(f"{self.name} did not start: {said.get('message')}")
        return said

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
        return f"it said nothing; it ended with code {self.process.returncode}"

    async def end(self) -> None:
        """SIGTERM, and SIGKILL to one that does not listen."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), END_TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def _first_line(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.readline()
