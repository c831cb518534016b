"""IMAP over sockets: one task a connection, bounded in time and memory (RFC 3501 2.1, 5.4).

Invariants: octets are read only when the session has answered all it was given, so a client that only writes is
slowed down by TCP; a client that does not read holds one window of output and is cut off after `WRITE_PATIENCE`;
without TLS only loopback addresses are served; who is not logged in takes no place from those who are: strangers have
`LOGIN_PATIENCE` in all, and when there are too many the one that has waited longest gives way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from leap.mail.imap.session.announcing import Authenticator
from leap.mail.imap.session.session import Session
from leap.mail.imap.wire.framing import CommandReader, Event, is_append
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

LOGIN_PATIENCE = 180.0  # seconds from the connection to the log-in, whatever is said meanwhile
IDLE_PATIENCE = 35 * 60.0  # RFC 3501 5.4 asks for 30 minutes; clients renew IDLE every 29
WRITE_PATIENCE = 600.0  # for one window of output; a suspended laptop may take that long
CLOSE_PATIENCE = 5.0
MAX_CONNECTIONS = 500  # of those logged in; some programs hold one a folder
MAX_STRANGERS = (
    50  # not logged in: any user of this machine can connect, and a log-in takes milliseconds
)
TOGETHER, TOGETHER_OCTETS = 50, 4 * 1024 * 1024  # APPENDs that share a transaction, at most
ON_ITS_WAY = 0.002  # seconds for more of a command that has begun, before those in front of it are carried out
TURN = 0.005  # seconds in which one client's commands are answered before the others have a turn
_READ = 1 << 17
_HIGH_WATER = 1 << 18


class _Connection:
    """One client's socket: the session's output, and the loop that feeds it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        make_session: Callable[[_Connection], Session],
        limits: Limits,
    ) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._commands = CommandReader(limits)
        self.session = make_session(self)
        self._turn_ends = 0.0
        self._log_in_by = asyncio.get_running_loop().time() + LOGIN_PATIENCE

    # -- Output

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        async with asyncio.timeout(WRITE_PATIENCE):
            await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    # -- the loop

    async def run(self) -> None:
        session, commands = self.session, self._commands
        time = asyncio.get_running_loop().time
        try:
            session.greet()
            await self.drain()
            while not session.ended:
                if time() > self._turn_ends:  # many small commands in one go wait for nothing
                    await asyncio.sleep(0)
                    self._turn_ends = time() + TURN
                if session.expected_line is not None:
                    line = commands.next_line()
                    if line is not None:
                        await session.handle_line(line)
                    elif not await self._read_more():
                        break
                else:
                    event = commands.next_command()
                    if event is not None:
                        await session.handle_all(await self._with_more(event))
                    elif not await self._read_more():
                        break
                commands.authenticated = session.account is not None
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass  # the client went away or does not read; nothing is left to say
        finally:
            await session.close()
            await self._shut()

    async def _with_more(self, event: Event) -> list[Event]:
        """An event, and when it is an APPEND of a client that does not wait, those behind it, to an end."""
        events = [event]
        octets = 0
        while self.session.account is not None and is_append(events[-1]) and len(events) < TOGETHER:
            octets += sum(map(len, events[-1].literals))
            if octets > TOGETHER_OCTETS:
                break
            more = self._commands.next_command()
            while more is None and self._commands.held and await self._read_now():
                more = self._commands.next_command()
            if more is None:
                break
            events.append(more)
        return events

    async def _read_now(self) -> bool:
        """Reads what is already on its way."""
        try:
            async with asyncio.timeout(ON_ITS_WAY):
                data = await self._reader.read(_READ)
        except TimeoutError:
            return False
        self._commands.feed(data)
        return bool(data)

    async def _read_more(self) -> bool:
        until = self._log_in_by
        if self.session.account is not None:
            until = asyncio.get_running_loop().time() + IDLE_PATIENCE
        try:
            async with asyncio.timeout_at(until):
                data = await self._reader.read(_READ)
        except TimeoutError:
            said = "Nothing was said" if self.session.account is not None else "There was no log-in"
            self.session.say_goodbye(f"{said} for too long.")
            return False
        self._commands.feed(data)
        self._turn_ends = asyncio.get_running_loop().time() + TURN
        return bool(data)

    async def _shut(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self._writer.wait_closed()
        except (OSError, TimeoutError, ssl.SSLError):
            self._writer.transport.abort()


class ImapServer:
    """A listening server; `address` is (host, port), or the path of a unix socket."""

    def __init__(self, authenticate: Authenticator, limits: Limits, tls: bool) -> None:
        self._authenticate = authenticate
        self._limits = limits
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self.address: tuple[str, int] | str = ""

    async def start(self, listen: Callable[[_Accept], Awaitable[asyncio.Server]]) -> None:
        self._server = await listen(self._accept)
        name = self._server.sockets[0].getsockname()
        self.address = name if isinstance(name, str) else (name[0], name[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served in a task")
        if not self._has_place():
            writer.write(b"* BYE [UNAVAILABLE] Too many connections\r\n")
            writer.close()
            return
        connection = _Connection(reader, writer, self._make_session, self._limits)
        self._connections[task] = connection
        try:
            await connection.run()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            del self._connections[task]

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

    def _make_session(self, output: _Connection) -> Session:
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


_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


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

    async def listen(accept: _Accept) -> asyncio.Server:
        if path is None:
            return await asyncio.start_server(accept, host, port, ssl=tls, limit=_READ)
        mask = os.umask(0o177)  # the socket is its owner's from its first moment
        try:
            return await asyncio.start_unix_server(accept, path, ssl=tls, limit=_READ)
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
