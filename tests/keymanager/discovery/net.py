"""A little net on loopback: one TLS server that is every host, names that exist or not, and a real SOCKS 5 proxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.proxy import SocksProxy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Content = bytes | int | web.Response | Handler

NAMES = (
    "example.org",
    "*.example.org",
    "xn--bcher-kva.example.org",
    "*.xn--bcher-kva.example.org",
    "keys.example.net",
    "files.example.net",
    "hidden.onion",
    "*.hidden.onion",
)


def no_such_name() -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Net:
    """`pages` by host and path; `names` has the address of a host, or the error that looking it up gives."""

    def __init__(self, port: int, trust: Path) -> None:
        self.port = port
        self._trust = trust
        self.pages: dict[str, Content] = {}
        self.names: dict[str, list[tuple[str, int]] | Exception] = {}
        self.asked: list[str] = []  # host and path, as the server got them
        self.requests: list[web.Request] = []
        self.resolved: list[str] = []
        self._made: list[Https] = []

    def host(self, *names: str) -> None:
        """These hosts exist, and are this server."""
        for name in names:
            self.names[name] = [("127.0.0.1", self.port)]

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        self.resolved.append(host)
        found = self.names.get(host, no_such_name())
        if isinstance(found, Exception):
            raise found
        return found

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._trust))

    def https(self, **options: Any) -> Https:
        """A client of this net."""
        made = Https(**{"resolve": self.resolve, "trust": self.trust, **options})
        self._made.append(made)
        return made

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.host.partition(":")[0] + request.path)
        self.requests.append(request)
        content = self.pages.get(self.asked[-1], 404)
        if isinstance(content, bytes):
            return web.Response(body=content, content_type="application/octet-stream")
        if isinstance(content, int):
            return web.Response(status=content)
        if isinstance(content, web.Response):
            return content
        return await content(request)

    async def close(self) -> None:
        for made in self._made:
            await made.close()


@contextlib.asynccontextmanager
async def served(context: ssl.SSLContext, trust: Path) -> AsyncIterator[Net]:
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    net: Net | None = None

    async def answer(request: web.Request) -> web.StreamResponse:
        assert net is not None
        return await net.answer(request)

    app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    net = Net(runner.addresses[0][1], trust)
    try:
        yield net
    finally:
        await net.close()
        await runner.cleanup()


class Socks:
    """A SOCKS 5 server (RFC 1928, RFC 1929) that knows the hosts of a net; notes what it is asked, and by whom."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self.asked: list[tuple[str, int, int]] = []  # kind of address, host, port
        self.users: list[str] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> SocksProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return SocksProxy.parse(f"socks5://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if 2 in methods else 0
        writer.write(bytes([5, method]))
        if method == 2:
            _, length = await reader.readexactly(2)
            self.users.append((await reader.readexactly(length)).decode())
            await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "only names go to the proxy"
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port, kind))
        found = self._net.names.get(host)
        if not isinstance(found, list):
            code = 5 if getattr(found, "errno", 0) == errno.ECONNREFUSED else 4
            writer.write(bytes([5, code, 0, 1]) + bytes(6))
            return
        writer.write(bytes([5, 0, 0, 1]) + bytes(6))
        theirs, ours = await asyncio.open_connection(*found[0])
        await asyncio.gather(_pipe(reader, ours), _pipe(theirs, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
