"""An HTTPS server that answers what a test tells it to: for replies no honest provider gives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from leap.provider.tls import self_made_context

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HostileServer:
    """`answer` speaks raw HTTP; every request's head is kept in `requests`."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.requests: list[bytes] = []
        self.url = ""
        self.ca_file = Path()

    def says(self, head: bytes, body: bytes = b"", *, length: int | None = None) -> None:
        """The same reply to everything."""
        declared = len(body) if length is None else length

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(
                b"HTTP/1.1 "
                + head
                + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % declared
                + body
            )

        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            assert self.answer is not None
            await self.answer(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def hostile_server(folder: Path, names: tuple[str, ...] = ()) -> AsyncIterator[HostileServer]:
    context, ca_file = await asyncio.to_thread(self_made_context, folder, names)
    hostile = HostileServer()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0, ssl=context)
    hostile.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    hostile.ca_file = ca_file
    try:
        yield hostile
    finally:
        server.close()
        await server.wait_closed()
