"""Runs the programs of examples/ as a person does: as processes, on a pipe or on a terminal of their own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 30.0  # seconds
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])")


class Running:
    """A program whose output is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        octets = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        return octets.decode().rstrip("\n")

    async def end(self) -> tuple[int, str]:
        """Waits until it ends by itself; its exit code, and what it still said."""
        said, _ = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def running(name: str, *arguments: str | Path, **environment: str) -> AsyncIterator[Running]:
    """The example `name` at work; it is killed in the end if it still is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        *map(str, arguments),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Terminal:
    """A program on a terminal: keys go in, and what stands on the screen since it was last cleared comes out."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._drawn = bytearray()
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            self._drawn += os.read(self._descriptor, 65_536)
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._more.set()

    @property
    def screen(self) -> str:
        text = self._drawn.decode("utf-8", "replace").rpartition("\x1b[2J")[2]
        return _ESCAPE.sub("", text)

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    async def shows(self, *words: str, absent: str = "\0") -> str:
        """The screen as soon as all of `words` stand on it, and `absent` does not."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not all(word in self.screen for word in words) or absent in self.screen:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{words} did not come; there is:\n{self.screen}") from None
        return self.screen


@asynccontextmanager
async def on_terminal(
    name: str, *arguments: str | Path, **environment: str
) -> AsyncIterator[Terminal]:
    """The example `name` on a terminal of 100 by 30 characters; it is killed in the end if it still runs.

    COLUMNS and LINES of whoever runs the tests (pytest's workers are given 80 by 24) do not count.
    """
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    outside = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        *map(str, arguments),
        env={**outside, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        yield Terminal(process, own)
    finally:
        asyncio.get_running_loop().remove_reader(own)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(own)
