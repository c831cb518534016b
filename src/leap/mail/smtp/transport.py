"""The asyncio server: listens, counts its connections, and ends in good order."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from leap.mail.smtp.connection import Connection, HandlerFactory
from leap.mail.smtp.contract import SmtpConfig

Address = tuple[str, int] | str  # host and port, or the path of a unix socket


class SmtpServer:
    """A listening server. Get one from `serve_smtp`; give it back with `close`."""

    def __init__(
        self,
        handler_factory: HandlerFactory,
        config: SmtpConfig,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.handler_factory = handler_factory
        self.config = config
        self.sleep = sleep
        self.large_mails = asyncio.Semaphore(config.limits.large_mails)
        self._connections: dict[Connection, None] = {}  # in the order in which they came
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_lost = asyncio.Event()
        self._per_peer: collections.Counter[str] = collections.Counter()
        self._listener: asyncio.Server | None = None
        self._closing = False
        self._path: Path | None = None

    @property
    def address(self) -> Address:
        """Where it listens: (host, port) as bound, or the path of its unix socket."""
        if self._path is not None:
            return str(self._path)
        assert self._listener is not None
        name = self._listener.sockets[0].getsockname()
        return name if isinstance(name, str) else (str(name[0]), int(name[1]))

    async def listen(
        self, host: str, port: int, sock: socket.socket | None, path: Path | None
    ) -> None:
        loop = asyncio.get_running_loop()
        tls = self.config.tls if self.config.implicit_tls else None
        handshake = self.config.timeouts.handshake if tls is not None else None

        def connect() -> Connection:
            return Connection(self)

        if path is not None:
            self._path = path
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            mask = os.umask(0o177)  # the socket is its owner's from its first moment
            try:
                self._listener = await loop.create_unix_server(
                    connect, str(path), ssl=tls, ssl_handshake_timeout=handshake
                )
            finally:
                os.umask(mask)
        elif sock is not None:
            self._listener = await loop.create_server(
                connect, sock=sock, ssl=tls, ssl_handshake_timeout=handshake
            )
        else:
            self._listener = await loop.create_server(
                connect, host, port, ssl=tls, ssl_handshake_timeout=handshake
            )

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        limits = self.config.limits
        peer = connection.peer
        if self._closing or len(self._connections) >= limits.connections:
            return False
        if peer and self._per_peer[peer] >= limits.connections_per_peer:
            return False
        strangers = [one for one in self._connections if one.is_stranger]
        if len(strangers) >= limits.strangers:
            # A program that logs in at once is not the oldest; one that only holds a place is, soon.
            strangers[0].give_way()
        self._connections[connection] = None
        self._per_peer[peer] += 1
        return True

    def has_room(self) -> bool:
        """Whether there is room for one more mail."""
        bodies = [one.body for one in self._connections]
        held = sum(body.held for body in bodies if body is not None)
        spilled = sum(body.spilled for body in bodies if body is not None)
        limits = self.config.limits
        return held < limits.memory and spilled < limits.spool

    def start(self, conversation: Coroutine[Any, Any, None]) -> None:
        """Runs a conversation beside the others."""
        task = asyncio.get_running_loop().create_task(conversation)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        if connection in self._connections:
            del self._connections[connection]
            self._per_peer[connection.peer] -= 1
            if not self._per_peer[connection.peer]:
                del self._per_peer[connection.peer]
        if not self._connections:
            self._all_lost.set()

    def end_sessions(self, principal: str) -> None:
        """Ends the conversations of one who is logged in, each after the mail under way."""
        for connection in self._connections:
            if connection.principal == principal:
                connection.say_good_bye()

    async def close(self) -> None:
        """Stops listening, ends idle conversations with 421, and waits for mails under way."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.say_good_bye()
        if tasks := list(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=self.config.timeouts.shutdown)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._wait_until_all_lost()
        if self._listener is not None:
            await self._listener.wait_closed()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _wait_until_all_lost(self) -> None:
        if not self._connections:
            return
        self._all_lost.clear()
        try:
            async with asyncio.timeout(self.config.timeouts.shutdown):
                await self._all_lost.wait()
        except TimeoutError:  # clients that do not read their last reply
            for connection in self._connections:
                connection.abort()
            await self._all_lost.wait()


async def serve_smtp(
    handler_factory: HandlerFactory,
    config: SmtpConfig,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    sock: socket.socket | None = None,
    path: Path | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> SmtpServer:
    """Begins to listen on a port (0: any free one), on a bound socket, or on a unix socket (0600).

    `handler_factory` is called once for each connection. Raises OSError when the port is taken.
    """
    if config.implicit_tls and config.tls is None:
        raise ValueError("implicit TLS needs a TLS context")
    server = SmtpServer(handler_factory, config, sleep)
    await server.listen(host, port, sock, path)
    return server
