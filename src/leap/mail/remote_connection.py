"""The connection to a running daemon that holds an account: calls, their answers, and feeds of changes.

Invariants:
* When the daemon goes, whatever waits for it raises AccountUnavailable with a sentence; so does every later call.
* Calls run beside each other on one connection; a large one does not hold up the others.
* A cancelled call is cancelled at the daemon too, unless its transaction has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import msgspec

from leap.mail.contract import AccountError, AccountUnavailable, Change, NotPermitted, TooLarge
from leap.mail.feed import ChangeStream
from leap.mail.rpc_frames import (
    CHANGES,
    INLINE_BODY,
    MAX_BODY,
    METHODS,
    PIECE,
    VERSION,
    Bodies,
    Call,
    Cancel,
    Changed,
    Failure,
    Hello,
    Piece,
    ProtocolError,
    ToClient,
    Welcome,
    error_named,
    pack,
    pieces,
    read_frame,
)

GONE = "The bitmask daemon has ended; start it with `bitmask start`."
CONNECT_TIMEOUT = 10.0  # seconds
MAX_ANSWERS = 8 * MAX_BODY  # of all calls together; our own daemon, but not without bound

_frames = msgspec.msgpack.Decoder(ToClient)
_greeting = msgspec.msgpack.Decoder(Welcome | Failure)


class RemoteStream(ChangeStream):
    """A change feed over the socket. It raises AccountUnavailable when the daemon goes."""

    def __init__(self, account: DaemonConnection, call_id: int) -> None:
        super().__init__()
        self.error: AccountError | None = None
        self._account = account
        self._call_id = call_id

    async def __anext__(self) -> Change:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self.error is not None:
                raise self.error from None
            raise

    async def aclose(self) -> None:
        await super().aclose()
        self._account.forget(self._call_id)


class DaemonConnection:
    """A connection for one account; made by `connect`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._address = address
        self._next = 1
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        # A stream that its reader dropped is forgotten, and the daemon told when it next has something for it.
        self._streams: weakref.WeakValueDictionary[int, RemoteStream] = (
            weakref.WeakValueDictionary()
        )
        self._bodies = Bodies(MAX_ANSWERS)
        self._closed = False
        self._gone = False
        self._listening = asyncio.create_task(self._listen(), name="account answers")

    @classmethod
    async def connect(cls, path: Path, token: str, address: str) -> Self:
        """Opens the account at the daemon that listens at `path`. Raises AccountUnavailable, NotPermitted."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(path))
                with contextlib.ExitStack() as on_failure:
                    on_failure.callback(writer.close)
                    writer.write(pack(Hello(VERSION, token, address)))
                    greeting = _greeting.decode(await read_frame(reader))
                    on_failure.pop_all()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise AccountUnavailable(
                "No bitmask daemon answers; start it with `bitmask start`."
            ) from error
        except (ProtocolError, msgspec.MsgspecError) as error:
            raise AccountUnavailable("The daemon is of another version; restart it.") from error
        if isinstance(greeting, Failure):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            raise error_named(greeting.error, greeting.text)
        return cls(reader, writer, greeting.address)

    @property
    def address(self) -> str:
        return self._address

    # -- the connection

    async def _listen(self) -> None:
        try:
            while True:
                self._dispatch(_frames.decode(await read_frame(self._reader)))
        except (OSError, asyncio.IncompleteReadError, ProtocolError, msgspec.MsgspecError):
            pass
        finally:
            self._end()

    def _dispatch(self, frame: ToClient) -> None:
        if isinstance(frame, Changed):
            stream = self._streams.get(frame.call_id)
            if stream is None:
                if frame.change is not None:
                    self._write(Cancel(frame.call_id))
            elif frame.change is None:
                stream.end()
            else:
                stream.push(frame.change)
            return
        waiting = self._waiting.get(frame.call_id)
        if isinstance(frame, Failure):
            self._bodies.drop(frame.call_id)
            error = error_named(frame.error, frame.text)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
            elif (stream := self._streams.get(frame.call_id)) is not None:
                stream.error = error
                stream.end()
            return
        if waiting is None:
            return  # it was cancelled here while its answer was on the way
        body = self._bodies.add(frame.call_id, frame.data, frame.last)
        if body is not None and not waiting.done():
            waiting.set_result(body)

    def _end(self) -> None:
        """The daemon has gone, or `close` was called: nobody waits in vain."""
        self._gone = True
        text = "The account is closed." if self._closed else GONE
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AccountUnavailable(text))
        for stream in list(self._streams.values()):
            if not self._closed:
                stream.error = AccountUnavailable(text)
            stream.end()
        self._writer.close()

    def _write(self, frame: msgspec.Struct) -> None:
        if not self._gone:
            self._writer.write(pack(frame))

    def _check(self) -> None:
        if self._closed:
            raise AccountUnavailable("The account is closed.")
        if self._gone:
            raise AccountUnavailable(GONE)

    async def _call(self, method: str, *arguments: Any, large: bool = False) -> Any:
        """Sends a call and answers its result, decoded as the contract says."""
        self._check()
        try:
            if large:
                body = await asyncio.to_thread(msgspec.msgpack.encode, arguments)
            else:
                body = msgspec.msgpack.encode(arguments)
        except (OverflowError, UnicodeEncodeError) as error:
            raise NotPermitted("A number here is too large, or a text is no Unicode.") from error
        if len(body) > MAX_BODY:
            raise TooLarge(f"One call carries at most {MAX_BODY // 1024**2} MiB; use several.")
        self._check()
        call_id, self._next = self._next, self._next + 1
        waiting = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        try:
            await self._send_body(call_id, method, body)
            data = await waiting
        except asyncio.CancelledError:
            self._write(Cancel(call_id))
            raise
        finally:
            del self._waiting[call_id]
            self._bodies.drop(call_id)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # when sending failed, nobody else asks for it
        result_type = METHODS[method].result
        try:
            if len(data) > INLINE_BODY:
                return await asyncio.to_thread(msgspec.msgpack.decode, data, type=result_type)
            return msgspec.msgpack.decode(data, type=result_type)
        except msgspec.MsgspecError as error:
            raise AccountUnavailable("The daemon is of another version; restart it.") from error

    async def _send_body(self, call_id: int, method: str, body: bytes) -> None:
        first = True
        for piece, last in pieces(body):
            if self._gone:
                return  # the waiting future says why
            data = bytes(piece)
            self._write(Call(call_id, method, data, last) if first else Piece(call_id, data, last))
            first = False
            if len(body) > PIECE:
                with contextlib.suppress(ConnectionError):
                    await self._writer.drain()

    def changes(self) -> AsyncIterator[Change]:
        """The account's changes from now on, as `AccountBackend.changes` has them."""
        call_id, self._next = self._next, self._next + 1
        stream = RemoteStream(self, call_id)
        if self._closed or self._gone:
            stream.error = AccountUnavailable("The account is closed." if self._closed else GONE)
            stream.end()
        else:
            self._streams[call_id] = stream
            self._write(Call(call_id, CHANGES, msgspec.msgpack.encode(()), True))
        return stream

    def forget(self, call_id: int) -> None:
        """Ends a change feed at the daemon."""
        if self._streams.pop(call_id, None) is not None:
            self._write(Cancel(call_id))

    async def close(self) -> None:
        """Ends the connection; the daemon keeps the account open."""
        if self._closed:
            return
        self._closed = True
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._end()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
