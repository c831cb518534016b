"""One client's connection: octets in, octets out, and the task that answers (RFC 3501 2.1, 5.4).

Invariants: the session is given octets only when it has answered all it was given; what comes meanwhile is held, and
above `_MOST_HELD` not read, so a client that only writes is slowed down by TCP; a client that does not read holds one
window of output and is cut off after `WRITE_PATIENCE`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from leap.mail.imap.session.session import CONTINUE, Session
from leap.mail.imap.wire.framing import CommandReader, Continuation, Event, is_append
from leap.mail.imap.wire.limits import Limits

LOGIN_PATIENCE = 180.0  # seconds from the connection to the log-in, whatever is said meanwhile
IDLE_PATIENCE = 35 * 60.0  # RFC 3501 5.4 asks for 30 minutes; clients renew IDLE every 29
WRITE_PATIENCE = 600.0  # for one window of output; a suspended laptop may take that long
CLOSE_PATIENCE = 5.0
TOGETHER, TOGETHER_OCTETS = 50, 4 * 1024 * 1024  # APPENDs that share a transaction, at most
ON_ITS_WAY = 0.002  # seconds for more of a command that has begun, before those in front of it are carried out
TURN = 0.005  # seconds in which one client's commands are answered before the others have a turn
_MOST_HELD = 1 << 18
_HIGH_WATER = 1 << 18


class Connection(asyncio.Protocol):
    """The session's output, and the loop that feeds it; `run` it in a task once `opened` was called."""

    def __init__(
        self,
        make_session: Callable[[Connection], Session],
        limits: Limits,
        opened: Callable[[Connection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = opened
        self._commands = CommandReader(limits)
        self._incoming: list[bytes] = []
        self._held = 0
        self._reading_paused = False
        self._eof = False
        self._event: Event | None = None  # framed while the task waited
        self._awaits_command = False
        self._waiter: asyncio.Future[bool] | None = None
        self._wait_until = 0.0
        self._clock: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = self._loop.create_future()
        self._turn_ends = 0.0
        self._log_in_by = self._loop.time() + LOGIN_PATIENCE
        self.session = make_session(self)

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if self._awaits_command and waiter is not None and not waiter.done():
            self._commands.feed(data)
            self._frame()
            return
        self._incoming.append(data)
        self._held += len(data)
        if self._held > _MOST_HELD and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake()
        return self._transport.get_extra_info("ssl_object") is None  # the other direction stays

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = True
        if not self._closed.done():
            self._closed.set_result(None)
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- output

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        if not self._writable.is_set():
            async with asyncio.timeout(WRITE_PATIENCE):
                await self._writable.wait()
        if self._closed.done():
            raise ConnectionResetError("the connection is lost")

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """Ends it with what was not sent yet."""
        self._transport.abort()

    # -- the loop

    async def run(self) -> None:
        """Answers until the session or the connection ends."""
        session, commands = self.session, self._commands
        time = self._loop.time
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
                    elif not await self._read_more(for_command=False):
                        break
                else:
                    event = self._next_command()
                    if event is not None:
                        await session.handle_all(await self._with_more(event))
                    elif not await self._read_more(for_command=True):
                        break
                commands.authenticated = session.account is not None
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass  # the client went away or does not read; nothing is left to say
        finally:
            await session.close()
            await self._shut()

    def _next_command(self) -> Event | None:
        event, self._event = self._event, None
        return self._commands.next_command() if event is None else event

    def _frame(self) -> None:
        """The task waits for a command: it is woken when there is one. The literal of one that begins is invited at
        once, unless something is being told."""
        while True:
            event = self._commands.next_command()
            if event is None:
                return
            session = self.session
            if isinstance(event, Continuation) and not (session.ended or session.turn.locked()):
                self.write(CONTINUE)
                continue
            self._event = event
            self._wake()
            return

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
        if not self._incoming and not self._eof:
            soon = self._loop.call_later(ON_ITS_WAY, self._wake)
            try:
                await self._wait(None)
            finally:
                soon.cancel()
        return self._take_incoming()

    async def _read_more(self, *, for_command: bool) -> bool:
        until = self._log_in_by
        if self.session.account is not None:
            until = self._loop.time() + IDLE_PATIENCE
        self._awaits_command = for_command
        try:
            if not self._incoming and not self._eof and not await self._wait(until):
                said = (
                    "Nothing was said"
                    if self.session.account is not None
                    else "There was no log-in"
                )
                self.session.say_goodbye(f"{said} for too long.")
                return False
        finally:
            self._awaits_command = False
        self._turn_ends = self._loop.time() + TURN
        return self._take_incoming() or self._event is not None

    def _take_incoming(self) -> bool:
        """Frames what came; whether anything did."""
        came = bool(self._incoming)
        for data in self._incoming:
            self._commands.feed(data)
        self._incoming.clear()
        self._held = 0
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return came

    # -- waiting

    async def _wait(self, until: float | None) -> bool:
        """Until something comes or ends; False when it took too long."""
        self._waiter = self._loop.create_future()
        if until is not None:
            self._wait_until = until
            if self._clock is not None and self._clock.when() > until:
                self._clock.cancel()
                self._clock = None
            if self._clock is None:
                self._clock = self._loop.call_at(until, self._look_at_the_clock)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _wake(self, in_time: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(in_time)

    def _look_at_the_clock(self) -> None:
        """One timer for all the waiting: it comes early, and goes on when something was said meanwhile."""
        self._clock = None
        if self._waiter is None:
            return
        if self._loop.time() + 0.002 < self._wait_until:  # timers are a millisecond fine
            self._clock = self._loop.call_at(self._wait_until, self._look_at_the_clock)
        else:
            self._wake(in_time=False)

    async def _shut(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self.abort()
