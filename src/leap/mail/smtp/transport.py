"""The asyncio server: sockets, TLS, time limits and back-pressure around `session`, and the handler.

Invariants:
* Reading stops while a client is `HIGH_WATER` octets ahead of what was answered, and replies wait for
  a client that does not read them: neither can fill the memory.
* A handler that raises makes a 451. What it raised is logged by type and place, never by its text,
  which might hold mail.
* A mail handed to the handler is dealt with to its end even when the client has gone.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from leap.mail.smtp import replies
from leap.mail.smtp.contract import Session, SmtpConfig, SmtpHandler
from leap.mail.smtp.events import (
    Authenticate,
    Closed,
    Event,
    MailReceived,
    RecipientGiven,
    SenderGiven,
    StartTls,
)
from leap.mail.smtp.session import SmtpDialogue

log = logging.getLogger(__name__)

HIGH_WATER = 256 * 1024
HandlerFactory = Callable[[], SmtpHandler]
Address = tuple[str, int] | str  # host and port, or the path of a unix socket


class _Gone(Exception):
    """The client is away, or took too long."""


class _Connection(asyncio.Protocol):
    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._config = server.config
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._dialogue: SmtpDialogue | None = None
        self._input_came = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._no_more_input = False
        self._lost = False
        self._reading = True
        self._starting_tls = False
        self._after_handshake = b""
        self._stopping = False
        self._seen_commands = -1
        self._deadline_moved_at = 0.0
        self.peer = ""

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        if self._starting_tls:
            return
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._server.admit(self):
            self._transport.write(replies.TOO_MANY_CONNECTIONS.encode())
            transport.close()
            return
        session = Session(peer=self.peer, tls=_tls_version(self._transport))
        self._dialogue = SmtpDialogue(self._config, session)
        self._server.start(self._run(self._dialogue))

    def data_received(self, data: bytes) -> None:
        if self._dialogue is None:
            return
        if self._starting_tls:
            self._after_handshake += data
        else:
            self._dialogue.receive(data)
        if self._dialogue.waiting > HIGH_WATER and self._reading and self._transport:
            self._reading = False
            self._transport.pause_reading()
        self._input_came.set()

    def eof_received(self) -> bool:
        self._no_more_input = True
        self._input_came.set()
        # A client that only ends its own side still reads replies; TLS cannot be half open.
        return self._transport is not None and not _tls_version(self._transport)

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._no_more_input = True
        self._input_came.set()
        self._can_write.set()
        self._server.forget(self)

    # -- the conversation -----------------------------------------------------------------------

    async def _run(self, dialogue: SmtpDialogue) -> None:
        handler = self._server.handler_factory()
        try:
            while not self._lost:
                event = dialogue.next_event()
                if event is None:
                    await self._flush(dialogue)
                    await self._more_input(dialogue)
                elif isinstance(event, Closed):
                    await self._flush(dialogue)
                    await self._linger(event)
                    return
                elif isinstance(event, StartTls):
                    await self._start_tls(dialogue)
                else:
                    await self._decide(dialogue, handler, event)
        except _Gone:
            pass
        finally:
            if self._transport is not None:
                self._transport.close()

    async def _more_input(self, dialogue: SmtpDialogue) -> None:
        if self._stopping and dialogue.reading_mail is None:
            return dialogue.end(replies.SHUTTING_DOWN)
        if self._no_more_input and not self._input_came.is_set():
            raise _Gone
        if not self._reading and self._transport is not None and not self._lost:
            self._reading = True
            self._transport.resume_reading()
        if not self._input_came.is_set():
            try:
                async with asyncio.timeout_at(self._deadline(dialogue)):
                    await self._input_came.wait()
            except TimeoutError:
                return dialogue.end(replies.TIMED_OUT)
        self._input_came.clear()

    def _deadline(self, dialogue: SmtpDialogue) -> float:
        """Of the next octets. Only a whole command moves it on, and within a mail a fair pace."""
        timeouts = self._config.timeouts
        now = self._loop.time()
        if dialogue.commands != self._seen_commands:
            self._seen_commands = dialogue.commands
            self._deadline_moved_at = now
        size = dialogue.reading_mail
        if size is None:
            return self._deadline_moved_at + timeouts.command
        allowed = timeouts.data + size / timeouts.data_rate
        return min(now + timeouts.data, self._deadline_moved_at + allowed)

    async def _flush(self, dialogue: SmtpDialogue) -> None:
        output = dialogue.take_output()
        if output and self._transport is not None and not self._lost:
            self._transport.write(output)
        if not self._can_write.is_set():
            try:
                async with asyncio.timeout(self._config.timeouts.write):
                    await self._can_write.wait()
            except TimeoutError:
                self.abort()
                raise _Gone from None

    async def _linger(self, event: Closed) -> None:
        """Waits for a client that is cut off to hear why: closing a socket with unread octets resets the
        connection, and the last reply would be lost."""
        transport = self._transport
        if event.agreed or self._stopping or self._lost:
            return
        if transport is None or not transport.can_write_eof():
            return
        transport.write_eof()
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.timeouts.linger):
                while not self._no_more_input:
                    self._input_came.clear()
                    await self._input_came.wait()

    async def _start_tls(self, dialogue: SmtpDialogue) -> None:
        transport, config = self._transport, self._config
        assert transport is not None
        assert config.tls is not None
        if self._reading:
            self._reading = False
            transport.pause_reading()  # before the client can answer 220
        await self._flush(dialogue)
        # From here on `start_tls` hears the socket, and what comes to `data_received` was decrypted: a
        # quick client's first command may come before this coroutine goes on.
        self._starting_tls = True
        try:
            self._transport = await self._loop.start_tls(
                transport,
                self,
                config.tls,
                server_side=True,
                ssl_handshake_timeout=config.timeouts.handshake,
            )
        except (OSError, ssl.SSLError) as error:
            log.info("smtp: TLS with %s failed: %s", self.peer, type(error).__name__)
            transport.abort()
            raise _Gone from None
        finally:
            self._starting_tls = False
        if self._transport is None:
            raise _Gone
        self._reading = True
        dialogue.tls_started(_tls_version(self._transport))
        dialogue.receive(self._after_handshake)
        self._after_handshake = b""

    # -- the handler ----------------------------------------------------------------------------

    async def _decide(self, dialogue: SmtpDialogue, handler: SmtpHandler, event: Event) -> None:
        try:
            await self._ask(dialogue, handler, event)
        except Exception as error:
            log.error("smtp: %s failed: %s", type(event).__name__, _where(error))
            if isinstance(event, Authenticate):
                dialogue.authentication_unavailable()
            else:
                dialogue.decide(replies.LOCAL_ERROR)

    async def _ask(self, dialogue: SmtpDialogue, handler: SmtpHandler, event: Event) -> None:
        session = dialogue.session
        if isinstance(event, Authenticate):
            credentials = event.credentials
            principal = await handler.authenticate(credentials.user, credentials.password)
            if principal is None:  # a guesser waits longer each time
                delay = self._config.timeouts.auth_failure * (dialogue.auth_failures + 1)
                await self._server.sleep(delay)
            dialogue.authenticated(principal)
        elif isinstance(event, SenderGiven):
            dialogue.decide(await handler.sender(session, event.address, event.params))
        elif isinstance(event, RecipientGiven):
            dialogue.decide(await handler.recipient(session, event.address))
        elif isinstance(event, MailReceived):
            dialogue.decide(await handler.message(session, event.envelope, event.raw))

    # -- the end --------------------------------------------------------------------------------

    def say_good_bye(self) -> None:
        """Ends the conversation as soon as no command and no mail is under way."""
        self._stopping = True
        self._input_came.set()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _tls_version(transport: asyncio.BaseTransport) -> str:
    tls = transport.get_extra_info("ssl_object")
    return (tls.version() or "TLS") if tls is not None else ""


def _where(error: BaseException) -> str:
    """Type and place of an exception, without its text."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(error).__name__
    file = Path(place.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} at {file}:{place.tb_lineno}"


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
        self._connections: set[_Connection] = set()
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

        def connect() -> _Connection:
            return _Connection(self)

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

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for one more."""
        limits = self.config.limits
        peer = connection.peer
        if self._closing or len(self._connections) >= limits.connections:
            return False
        if peer and self._per_peer[peer] >= limits.connections_per_peer:
            return False
        self._connections.add(connection)
        self._per_peer[peer] += 1
        return True

    def start(self, conversation: Coroutine[Any, Any, None]) -> None:
        """Runs a conversation beside the others."""
        task = asyncio.get_running_loop().create_task(conversation)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._per_peer[connection.peer] -= 1
            if not self._per_peer[connection.peer]:
                del self._per_peer[connection.peer]
        if not self._connections:
            self._all_lost.set()

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
