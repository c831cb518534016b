"""A line between device and provider which breaks, or stands still, after so many octets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class CutLine:
    """Forwards TCP to one address; `up` and `down` say after how many octets connections are cut, in turn.

    With `standing` it lets nothing more pass there instead, and sets `stood`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.up: list[int] = []
        self.down: list[int] = []
        self.sent_up = 0
        self.sent_down = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self.standing = False
        self.stood = asyncio.Event()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.ensure_future(self._pipe(reader, back, self.up, "sent_up"))
        down = asyncio.ensure_future(self._pipe(there, writer, self.down, "sent_down"))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in (up, down):
                pipe.cancel()
            for end in (writer, back):
                end.transport.abort()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cuts: list[int],
        counter: str,
    ) -> None:
        count = 0
        with suppress(OSError):
            while data := await reader.read(65_536):
                left = cuts[0] - count if cuts else len(data)
                writer.write(data[: max(0, left)])
                await writer.drain()
                count += len(data)
                setattr(self, counter, getattr(self, counter) + len(data))
                if left <= len(data) and cuts:
                    cuts.pop(0)
                    if self.standing:
                        self.stood.set()
                        await asyncio.Event().wait()
                    await asyncio.sleep(0.05)  # what was written gets to the other side first
                    return


@asynccontextmanager
async def cut_line(url: str) -> AsyncIterator[CutLine]:
    """Such a line to the provider at `url`; `line.url` leads to it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    line = CutLine(parts.hostname, parts.port)
    server = await asyncio.start_server(line.connected, "127.0.0.1", 0)
    line.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.close()
