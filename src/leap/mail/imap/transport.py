"""IMAP over sockets: who may connect, and how many (RFC 3501 2.1).

Invariants: without TLS only loopback addresses are served; who is not logged in takes no place from those who are:
strangers have `LOGIN_PATIENCE` in all, and when there are too many the one that has waited longest gives way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from leap.mail.imap.connection import CLOSE_PATIENCE, Connection
from leap.mail.imap.session.announcing import Authenticator
from leap.mail.imap.session.session import Session
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 500  # of those logged in; some programs hold one a folder
MAX_STRANGERS = (
    50  # not logged in: any user of this machine can connect, and a log-in takes milliseconds
)
Listen = Callable[[Callable[[], Connection]], Awaitable[asyncio.Server]]


class ImapServer:
    """A listening server; `address` is (host, port), or the path of a unix socket."""

    def __init__(self, authenticate: Authenticator, limits: Limits, tls: bool) -> None:
        self._authenticate = authenticate
        self._limits = limits
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self.address: tuple[str, int] | str = ""

    async def start(self, listen: Listen) -> None:
        self._server = await listen(self._connection)
        name = self._server.sockets[0].getsockname()
        self.address = name if isinstance(name, str) else (name[0], name[1])

    def _connection(self) -> Connection:
        return Connection(self._make_session, self._limits, self._opened)

    def _opened(self, connection: Connection) -> None:
        if not self._has_place():
            connection.write(b"* BYE [UNAVAILABLE] Too many connections\r\n")
            connection.close()
            return
        task = asyncio.create_task(self._serve(connection), name="IMAP connection")
        self._connections[task] = connection
        task.add_done_callback(self._ended)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except asyncio.CancelledError:
            connection.abort()
            raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an IMAP connection ended by a fault: %s", type(error).__name__)

    def _has_place(self) -> bool:
        """Whether one more may come; of too many strangers the oldest goes."""
        here = [one for one in self._connections.values() if not one.session.ended]
        strangers = [one for one in here if one.session.account is None]
        if len(here) - len(strangers) >= MAX_CONNECTIONS:
            return False
        if len(strangers) >= MAX_STRANGERS:
            # A program that logs in at once is not the oldest; one that only holds a place is, soon.
            strangers[0].session.say_goodbye("Too many connections wait for a log-in.")
        return True

    def _make_session(self, output: Connection) -> Session:
        return Session(output, self._authenticate, limits=self._limits)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def end_sessions(self, account: object, reason: str) -> None:
        """Says BYE to all who are logged in to one account."""
        for connection in self._connections.values():
            if connection.session.account is account:
                connection.session.say_goodbye(reason)

    async def close(self) -> None:
        """Says BYE to everyone, and ends when all connections have."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections.values():
            connection.session.say_goodbye("The server is going down.")
        tasks = list(self._connections)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=CLOSE_PATIENCE)
            for task in left:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None


async def serve_imap(
    authenticate: Authenticator,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    path: Path | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ImapServer:
    """Listens on `host` and `port`, or on the unix socket `path` (mode 0600).

    `tls` means TLS from the first octet. Raises ValueError for an address beyond loopback without it, OSError when the
    address is taken.
    """
    if tls is None and path is None and not is_loopback(host):
        raise ValueError("IMAP beyond this machine is served with TLS only.")
    server = ImapServer(authenticate, limits, tls is not None)

    async def listen(connection: Callable[[], Connection]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if path is None:
            return await loop.create_server(connection, host, port, ssl=tls)
        mask = os.umask(0o177)  # the socket is its owner's from its first moment
        try:
            return await loop.create_unix_server(connection, path, ssl=tls)
        finally:
            os.umask(mask)

    await server.start(listen)
    return server


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
