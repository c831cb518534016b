"""Serves the accounts of a daemon on a unix socket, so that other programs of the person share them.

Invariants:
* The socket is 0600, and nothing is read of a connection beyond its first small frame before the token was right.
* A connection is about one account, named with the token; it can reach no other.
* Whatever a call does, the answer is a frame; unforeseen errors are logged without arguments and told in general.
* Calls of one connection run beside each other; their answers come piece by piece, in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from leap.mail.contract import (
    AccountBackend,
    AccountError,
    AccountUnavailable,
    NotPermitted,
    Stored,
)
from leap.mail.rpc_frames import (
    CHANGES,
    INLINE_BODY,
    MAX_BODY,
    MAX_CALLS,
    MAX_HELLO,
    METHODS,
    VERSION,
    Bodies,
    Call,
    Cancel,
    Changed,
    Failure,
    Hello,
    Method,
    Piece,
    ProtocolError,
    ToServer,
    Welcome,
    error_name,
    pack,
    pieces,
    read_frame,
)

FindAccount = Callable[[str], AccountBackend | None]
HELLO_TIMEOUT = 10.0  # seconds

_log = logging.getLogger(__name__)
_frames = msgspec.msgpack.Decoder(ToServer)
_hello = msgspec.msgpack.Decoder(Hello)
_ENDED = (
    ConnectionError,
    asyncio.IncompleteReadError,
    ProtocolError,
    msgspec.MsgspecError,
    TimeoutError,
)


class AccountServer:
    """A listening socket; made by `serve_accounts`."""

    def __init__(self, path: Path, token: str, find: FindAccount) -> None:
        self.path = path
        self._token = token.encode()
        self._find = find
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(self.path))
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Ends every connection; the accounts stay open."""
        if self._server is not None:
            self._server.close()
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
        try:
            await self._talk(reader, writer)
        except _ENDED as error:
            _log.debug("a connection to the accounts ended: %s", type(error).__name__)
        except asyncio.CancelledError:
            pass  # the server closes; nobody waits for this task
        finally:
            if task is not None:
                self._talks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HELLO_TIMEOUT):
            hello = _hello.decode(await read_frame(reader, MAX_HELLO))
        refusal = self._refusal(hello)
        if refusal is not None:
            writer.write(pack(Failure(0, error_name(refusal), str(refusal))))
            await writer.drain()
            return
        writer.write(pack(Welcome(hello.address)))
        connection = _Connection(reader, writer, lambda: self._find(hello.address))
        try:
            await connection.run()
        finally:
            await connection.end()

    def _refusal(self, hello: Hello) -> AccountError | None:
        if not hmac.compare_digest(hello.token.encode("utf-8", "replace"), self._token):
            return NotPermitted("The token is not that of the running daemon.")
        if hello.version != VERSION:
            return AccountUnavailable(
                "The daemon is of another version; restart it with `bitmask stop`."
            )
        if self._find(hello.address) is None:
            return AccountUnavailable(f"{hello.address} is not unlocked in the running daemon.")
        return None


class _Connection:
    """One program that talks to one account."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        find: Callable[[], AccountBackend | None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._find = find
        self._bodies = Bodies(MAX_BODY)
        self._methods: dict[int, str] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        while True:
            frame = _frames.decode(await read_frame(self._reader))
            if isinstance(frame, Cancel):
                self._methods.pop(frame.call_id, None)
                self._bodies.drop(frame.call_id)
                if task := self._running.get(frame.call_id):
                    task.cancel()
                continue
            if isinstance(frame, Call):
                if frame.call_id in self._methods or frame.call_id in self._running:
                    raise ProtocolError("a call's number is in use")
                if len(self._methods) + len(self._running) >= MAX_CALLS:
                    raise ProtocolError("too many calls at once")
                self._methods[frame.call_id] = frame.method
            elif frame.call_id not in self._methods:
                continue  # the rest of a call that was cancelled
            body = self._bodies.add(frame.call_id, frame.data, frame.last)
            if body is not None:
                self._start(frame.call_id, self._methods.pop(frame.call_id), body)

    def _start(self, call_id: int, method: str, body: bytes) -> None:
        work = self._changes(call_id) if method == CHANGES else self._answer(call_id, method, body)
        task = self._running[call_id] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._running.pop(call_id, None))

    async def end(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _account(self) -> AccountBackend:
        account = self._find()
        if account is None:
            raise AccountUnavailable("The account was locked or logged out.")
        return account

    async def _answer(self, call_id: int, name: str, body: bytes) -> None:
        try:
            method = METHODS.get(name)
            if method is None:
                raise AccountError("The daemon does not know this call; is it of another version?")
            arguments = await _decode(body, method)
            result = await _call(self._account(), name, arguments)
            data = await _encode(result)
        except AccountError as error:
            await self._send(Failure(call_id, error_name(error), str(error)))
            return
        except msgspec.MsgspecError:
            await self._send(
                Failure(call_id, "AccountError", "The daemon does not understand this call.")
            )
            return
        except Exception:
            _log.exception("the call %s of an account failed", name)
            await self._send(
                Failure(call_id, "AccountError", "The daemon failed; its log says where.")
            )
            return
        for piece, last in pieces(data):
            await self._send(Piece(call_id, bytes(piece), last))

    def _changes(self, call_id: int) -> Any:
        """Subscribes at once, so that a call which comes behind is announced."""
        try:
            stream = self._account().changes()
        except AccountError as error:
            return self._send(Failure(call_id, error_name(error), str(error)))

        async def follow() -> None:
            try:
                async for change in stream:
                    await self._send(Changed(call_id, change))
                await self._send(Changed(call_id, None))
            finally:
                close = getattr(stream, "aclose", None)
                if close is not None:
                    await close()

        return follow()

    async def _send(self, frame: msgspec.Struct) -> None:
        with contextlib.suppress(ConnectionError):  # run() hears of it too
            self._writer.write(pack(frame))
            await self._writer.drain()


async def _decode(body: bytes, method: Method) -> tuple[Any, ...]:
    if len(body) <= INLINE_BODY:
        found: tuple[Any, ...] = msgspec.msgpack.decode(body, type=method.arguments)
        return found
    return await asyncio.to_thread(msgspec.msgpack.decode, body, type=method.arguments)


async def _encode(result: Any) -> bytes:
    listed = result.rows if isinstance(result, Stored) else result
    if isinstance(listed, list | tuple) and len(listed) > 200:
        return await asyncio.to_thread(msgspec.msgpack.encode, result)
    return msgspec.msgpack.encode(result)


async def _call(account: AccountBackend, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "rows":  # the one method with keyword arguments
        mailbox_id, first, last, changed_since = arguments
        return await account.rows(mailbox_id, first=first, last=last, changed_since=changed_since)
    return await getattr(account, name)(*arguments)


async def serve_accounts(path: Path, token: str, find: FindAccount) -> AccountServer:
    """Listens on a unix socket at `path` (0600); `find` answers an open account by its address, or None."""
    server = AccountServer(path, token, find)
    await server.start()
    return server
