"""One SMTP connection on asyncio: socket, TLS, time limits and back-pressure around `session`.

Invariants:
* Reading stops while a client is `HIGH_WATER` octets ahead of what was answered, and replies wait for
  a client that does not read them: neither can fill the memory.
* A handler that raises makes a 451. What it raised is logged by type and place, never by its text,
  which might hold mail.
* A mail handed to the handler is dealt with to its end even when the client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from leap.mail.smtp import replies
from leap.mail.smtp.body import Body
from leap.mail.smtp.contract import ScramHandler, Session, SmtpConfig, SmtpHandler
from leap.mail.smtp.events import (
    Authenticate,
    Closed,
    Event,
    FindVerifiers,
    LoginFailed,
    MailReceived,
    RecipientGiven,
    SenderGiven,
    StartTls,
)
from leap.mail.smtp.session import SmtpDialogue
from leap.mail.smtp.wire import Reply

log = logging.getLogger(__name__)

HIGH_WATER = 256 * 1024
HandlerFactory = Callable[[], SmtpHandler]


class _Gone(Exception):
    """The client is away, or took too long."""


class Place(Protocol):
    """What a connection asks of the server it belongs to."""

    @property
    def config(self) -> SmtpConfig: ...
    @property
    def handler_factory(self) -> HandlerFactory: ...
    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]: ...
    @property
    def large_mails(self) -> asyncio.Semaphore:
        """Who holds it may have a mail from a file whole in memory."""
        ...

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more connection."""
        ...

    def has_room(self) -> bool:
        """Whether there is room for one more mail."""
        ...

    def start(self, conversation: Coroutine[Any, Any, None]) -> None:
        """Runs a conversation beside the others."""
        ...

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        ...


class Connection(asyncio.Protocol):
    """One client: feeds the dialogue, asks the handler, keeps the time."""

    def __init__(self, server: Place) -> None:
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
        self._farewell: Reply | None = None  # said as soon as nothing is under way
        self._connected_at = self._loop.time()
        self._seen_commands = -1
        self._deadline_moved_at = 0.0
        self._timed: Body | None = None
        self._timed_since = 0.0
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
        self._dialogue = SmtpDialogue(self._config, session, self._server.has_room)
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
                    await self._spill(dialogue)
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

    async def _spill(self, dialogue: SmtpDialogue) -> None:
        body = dialogue.body
        if body is not None and body.is_heavy:
            await asyncio.to_thread(body.spill)

    async def _more_input(self, dialogue: SmtpDialogue) -> None:
        if self._farewell is not None and dialogue.reading_mail is None:
            return dialogue.end(self._farewell)
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
        if self.is_stranger:
            by = self._connected_at + timeouts.login
            return min(by, self._deadline_moved_at + timeouts.command)
        size = dialogue.reading_mail
        if size is None:
            return self._deadline_moved_at + timeouts.command
        if dialogue.body is not self._timed:  # many small chunks are no way to stay, either
            self._timed = dialogue.body
            self._timed_since = now
        allowed = timeouts.data + size / timeouts.data_rate
        return min(now + timeouts.data, self._timed_since + allowed)

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
        if event.agreed or self._farewell is not None or self._lost:
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
            if isinstance(event, Authenticate | FindVerifiers):
                dialogue.authentication_unavailable()
            else:
                dialogue.decide(replies.LOCAL_ERROR)

    async def _ask(self, dialogue: SmtpDialogue, handler: SmtpHandler, event: Event) -> None:
        session = dialogue.session
        if isinstance(event, Authenticate):
            credentials = event.credentials
            principal = await handler.authenticate(credentials.user, credentials.password)
            if principal is None:
                await self._slow_down(dialogue)
            dialogue.authenticated(principal)
        elif isinstance(event, FindVerifiers):
            dialogue.verifiers_found(await cast(ScramHandler, handler).find_verifiers(event.user))
        elif isinstance(event, LoginFailed):
            await self._slow_down(dialogue)
            dialogue.authenticated(None)
        elif isinstance(event, SenderGiven):
            dialogue.decide(await handler.sender(session, event.address, event.params))
        elif isinstance(event, RecipientGiven):
            dialogue.decide(await handler.recipient(session, event.address))
        elif isinstance(event, MailReceived):
            dialogue.decide(await self._hand_on(handler, session, event))

    async def _hand_on(
        self, handler: SmtpHandler, session: Session, event: MailReceived
    ) -> Reply | Sequence[Reply]:
        """A mail that is in memory goes on as it is; those from files are read one by one."""
        if not event.body.spilled:
            return await handler.message(session, event.envelope, event.body.read())
        async with self._server.large_mails:
            raw = await asyncio.to_thread(event.body.read)
            event.body.close()
            return await handler.message(session, event.envelope, raw)

    async def _slow_down(self, dialogue: SmtpDialogue) -> None:
        """A guesser waits longer each time."""
        delay = self._config.timeouts.auth_failure * (dialogue.auth_failures + 1)
        await self._server.sleep(delay)

    # -- the end --------------------------------------------------------------------------------

    def say_good_bye(self) -> None:
        """Ends the conversation as soon as no command and no mail is under way."""
        self._farewell = replies.SHUTTING_DOWN
        self._input_came.set()

    def give_way(self) -> None:
        """Ends a conversation that has not come to its log-in, for another one."""
        self._farewell = replies.TOO_MANY_CONNECTIONS
        self._input_came.set()

    @property
    def principal(self) -> str | None:
        """Who is logged in."""
        return self._dialogue.session.principal if self._dialogue is not None else None

    @property
    def is_stranger(self) -> bool:
        """Whether a log-in is required and has not taken place; not those that are going."""
        if self._config.auth != "required" or self._farewell is not None:
            return False
        return self.principal is None

    @property
    def body(self) -> Body | None:
        """The mail that comes, or is with the handler."""
        return self._dialogue.body if self._dialogue is not None else None

    def abort(self) -> None:
        """Hangs up."""
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
