"""Speaks IMAP to a server that mail is imported from: reads only, one command at a time.

Why our own, beside the standard library's `imaplib`: it blocks, cannot be cancelled in its thread, has no bound for a
literal, and cuts lines at 1 MB. What is asked is so little that it fits one page.

* TLS from the first octet, verified (RFC 8314), or with STARTTLS before anything is said; without TLS on this machine
  only. What a server said in clear before STARTTLS counts for nothing, and nothing may follow its answer in clear.
* EXAMINE and BODY.PEEK: nothing changes at the server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from leap.mail.contract import AccountUnavailable
from leap.mail.imap.transport import is_loopback
from leap.mail.imap.wire.responses import quoted
from leap.mail.porting.imap_replies import LITERAL, Atom, BadReply, Value, parse_reply

PATIENCE = 60.0  # seconds between two lines of a server
LINE = 1024 * 1024
OVERHEAD = 1024 * 1024  # a literal may be so much larger than a message we take
LOST = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ssl.SSLError, BadReply)


class ServerRefused(AccountUnavailable):
    """The server said NO or BAD; the text has its words."""


@dataclass(frozen=True)
class ImapServerAddress:
    """Where an account is, and who logs in. `tls` None: none, on this machine only; `starttls`: it begins in clear."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    starttls: bool = False


class ImapConnection:
    """One connection, logged in. Methods raise ServerRefused, and those of `LOST` when it is of no more use."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limit = limit + OVERHEAD
        self._tag = 0
        self.capabilities: frozenset[bytes] = frozenset()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: ImapServerAddress, limit: int) -> AsyncIterator[Self]:
        """Connects and logs in. Literals above `limit` octets are not taken."""
        if server.tls is None and not is_loopback(server.host):
            raise AccountUnavailable("Without TLS mail is imported from this machine only.")
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                server.host, server.port, ssl=None if server.starttls else server.tls, limit=LINE
            )
        connection = cls(reader, writer, limit)
        try:
            await connection._log_in(server)
            yield connection
        finally:
            writer.transport.abort()

    async def _log_in(self, server: ImapServerAddress) -> None:
        greeting = await self._reply()
        word = _word(greeting, 1)
        if word not in (b"OK", b"PREAUTH"):
            raise AccountUnavailable(f"{server.host} does not talk to us: {_words(greeting)}")
        if server.starttls and server.tls is not None:
            await self._start_tls(server.host, server.tls, logged_in=word == b"PREAUTH")
        if word == b"OK":
            await self._ask_capabilities()
            plain = base64.b64encode(f"\0{server.user}\0{server.password}".encode())
            try:
                if {b"AUTH=PLAIN", b"SASL-IR"} <= self.capabilities:
                    await self.run(b"AUTHENTICATE PLAIN " + plain)
                elif b"AUTH=PLAIN" in self.capabilities:
                    await self.run(b"AUTHENTICATE PLAIN", plain)
                else:
                    user, password = server.user.encode(), server.password.encode()
                    await self.run(b"LOGIN " + quoted_only(user) + b" " + quoted_only(password))
            except ServerRefused as error:
                raise AccountUnavailable(f"{server.host} refused the log-in: {error}") from error
        await self._ask_capabilities()

    async def _start_tls(self, host: str, tls: ssl.SSLContext, *, logged_in: bool) -> None:
        if (
            logged_in
        ):  # whoever stands between may say so to keep TLS from beginning (RFC 9051 11.3)
            raise AccountUnavailable(f"{host} is logged in before TLS began: that is not used.")
        try:
            await self.run(b"STARTTLS")
        except ServerRefused as error:
            raise AccountUnavailable(f"{host} does not begin TLS: {error}") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise BadReply("The server went on in clear after it had agreed to TLS.")
        await self._writer.start_tls(tls, server_hostname=host)

    async def _ask_capabilities(self) -> None:
        for reply in await self.run(b"CAPABILITY"):
            if _word(reply, 1) == b"CAPABILITY":
                words = [one.upper() for one in reply[2:] if isinstance(one, bytes)]
                self.capabilities = frozenset(words)

    async def run(self, command: bytes, continuation: bytes | None = None) -> list[list[Value]]:
        """All untagged answers to a command."""
        return [reply async for reply in self.each(command, continuation)]

    async def each(
        self, command: bytes, continuation: bytes | None = None
    ) -> AsyncIterator[list[Value]]:
        """The untagged answers as they come, and the end's own as the last. Raises ServerRefused for NO and BAD."""
        self._tag += 1
        tag = b"A%d" % self._tag
        self._writer.write(tag + b" " + command + b"\r\n")
        await self._writer.drain()
        while True:
            reply = await self._reply()
            first = reply[0] if reply else None
            if first == b"+" and continuation is not None:
                self._writer.write(continuation + b"\r\n")
                await self._writer.drain()
                continuation = None
            elif first == b"+":
                self._writer.write(
                    b"*\r\n"
                )  # RFC 3501 6.2.2: ends an exchange we cannot go on with
            elif first == tag:
                if _word(reply, 1) != b"OK":
                    raise ServerRefused(_words(reply))
                yield reply
                return
            elif _word(reply, 1) == b"BYE":
                raise EOFError("The server ended the connection.")
            else:
                yield reply

    async def _reply(self) -> list[Value]:
        """One answer with its literals."""
        pieces: list[bytes] = []
        octets = 0
        while True:
            async with asyncio.timeout(PATIENCE):
                line = await self._reader.readuntil(b"\n")
            pieces.append(line)
            octets += len(line)
            found = LITERAL.search(line)
            if found is None or (len(pieces) == 1 and _is_text(line)):
                break
            octets += int(found[1])
            if octets > self._limit:
                raise BadReply("The server sends more than it was asked for.")
            pieces.append(await self._literal(int(found[1])))
        if _is_text(pieces[0]):
            return [Atom(one) for one in pieces[0].split()]
        return parse_reply(pieces)

    async def _literal(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            async with asyncio.timeout(PATIENCE):
                part = await self._reader.read(min(size - len(data), LINE))
            if not part:
                raise EOFError("The server ended the connection.")
            data += part
        return bytes(data)


# Answers which end in words for people, where brackets and quotes mean nothing
_TEXT = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)


def _is_text(line: bytes) -> bool:
    return not line.startswith(b"* ") or _TEXT.match(line) is not None


def quoted_only(value: bytes) -> bytes:
    """A quoted string (RFC 3501 9). Raises AccountUnavailable for what none can hold."""
    written = quoted(value)
    if not written.startswith(b'"'):
        raise AccountUnavailable("This name or password cannot be sent to a server without PLAIN.")
    return written


def _word(reply: list[Value], at: int) -> bytes:
    value = reply[at] if len(reply) > at else None
    return value.upper() if isinstance(value, bytes) else b""


def _words(reply: list[Value]) -> str:
    said = b" ".join(one for one in reply[1:] if isinstance(one, bytes))
    text = "".join(c for c in said.decode("utf-8", "replace") if c.isprintable())
    return text[:200] or "nothing"
