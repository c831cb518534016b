"""`leap-provider serve` as a child process, told ready by its JSON line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.provider.world import DOMAIN

COMMAND = (sys.executable, "-m", "leap.provider.cli", "serve")


class Child:
    """One running provider."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(10):
            return await self.process.wait()


async def start(data: Path, *arguments: str) -> Child:
    """Starts a provider; ends when it said it is ready, or with what it wrote to standard error."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--data",
        str(data),
        "--domain",
        DOMAIN,
        "--ready-fd",
        str(writing),
        *arguments,
        pass_fds=[writing],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(log := (data.parent / f"{data.name}.log").open("ab")),
    )
    log.close()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        line = await asyncio.to_thread(pipe.readline)
    if not line:
        await process.wait()
        raise AssertionError((data.parent / f"{data.name}.log").read_text())
    return Child(process, json.loads(line))


@asynccontextmanager
async def running(data: Path, *arguments: str) -> AsyncIterator[Child]:
    child = await start(data, *arguments)
    try:
        yield child
    finally:
        await child.end(signal.SIGKILL)


async def fails(*arguments: str) -> tuple[int, str]:
    """Runs a provider that must not start: exit code and standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, errors.decode()
