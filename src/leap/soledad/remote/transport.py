"""HTTPS to the provider: one session, one place where TLS, time limits and failures are dealt with.

Invariants:
* TLS is always verified, against the system's authorities or only the one given. There is no way to turn it off.
* The token goes to the configured origin only: redirects are not followed, no proxy is taken from the environment.
* Replies are read up to a limit, and compressed ones are not accepted.
* Every failure becomes Unreachable (or BadReply, BadCertificate) or Refused (or HeadMoved, KeysetMoved, AuthFailed).
"""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from leap.soledad import wire
from leap.soledad.errors import (
    AuthFailed,
    BadCertificate,
    BadReply,
    HeadMoved,
    KeysetMoved,
    Redirected,
    Refused,
    StrangeEncoding,
    TooMuch,
    TooSlow,
    Unreachable,
)

MAX_REPLY = 16 * 1024 * 1024
MAX_STREAMED = 64 * 1024 * 1024  # octets of a body in pieces, for which time is allowed
MAX_ERROR = 16 * 1024
MAX_SENTENCE = 300
ONE_PIECE = 256 * 1024

_REFUSALS: dict[str, type[Refused]] = {
    "head-moved": HeadMoved,
    "keyset-moved": KeysetMoved,
    "bad-login": AuthFailed,
    "unknown-account": AuthFailed,
    "unauthorized": AuthFailed,
}


class Patience(NamedTuple):
    """How long the provider is waited for, in seconds, and the slowest line, in octets per second."""

    connect: float = 15.0
    silence: float = 60.0  # the provider hashes and syncs before it answers, but not for a minute
    whole: float = 300.0
    slowest_line: float = 10_000  # time is added for large bodies at this speed
    stream_silence: float = 90.0  # the provider sends a comment at least every 30 s


PATIENT = Patience()


class Reply(NamedTuple):
    """A reply that was no error."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Transport:
    """Requests to one origin. `token` may be set and cleared at any time."""

    def __init__(
        self,
        api_url: str,
        *,
        ca_file: Path | None,
        ca_pem: bytes | None,
        token: str | None,
        patience: Patience = PATIENT,
    ) -> None:
        parts = urlsplit(api_url)
        if parts.scheme != "https" or not parts.hostname:
            raise Unreachable(
                f"{api_url!r} is not the address of a provider: it has to begin with https://"
            )
        self.origin = f"https://{parts.netloc}"
        self.host = parts.hostname
        self.ca_pem = _read_authority(ca_file) if ca_file is not None else ca_pem
        self.token = token
        self._patience = patience
        self._context = _tls_context(self.ca_pem)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterable[bytes] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_REPLY,
        repeatable: bool = True,
    ) -> Reply:
        """One request and its whole reply, of at most `limit` octets. A body in pieces can be sent only once.

        `repeatable`: doing it twice is harmless, so it is sent again when a connection kept from before turns out
        to be closed. Raises Unreachable or Refused.
        """
        if body is None or isinstance(body, bytes):
            size = len(body or b"")
        else:
            size, repeatable = MAX_STREAMED, False
        patience = self._patience
        seconds = patience.whole + (limit + size) / patience.slowest_line
        timeout = aiohttp.ClientTimeout(
            total=seconds, sock_connect=patience.connect, sock_read=patience.silence
        )
        for last in (not repeatable, True):
            try:
                async with self._open(method, path, body, params, headers, timeout) as response:
                    data = await self._read(response, limit)
                    return Reply(response.status, data, response.headers)
            except _Disconnected as error:
                if last:
                    raise Unreachable(f"{self.host} closed the connection") from error
        raise AssertionError  # the second round always returns or raises

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The pieces of a reply without end; raises Unreachable when it ends or falls silent, Refused at once."""
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self._patience.connect,
            sock_read=self._patience.stream_silence,
        )
        headers = {"Accept": "text/event-stream"}
        try:
            async with self._open("GET", path, None, None, headers, timeout) as response:
                async for piece in response.content.iter_any():
                    yield piece
        except _Disconnected as error:
            raise Unreachable(f"{self.host} closed the connection") from error
        raise Unreachable(f"{self.host} ended the stream of notices")

    async def send(
        self,
        method: str,
        path: str,
        pieces: AsyncIterator[bytes],
        size: int,
        headers: Mapping[str, str],
    ) -> Reply:
        """One request whose body of `size` octets comes piece by piece; it may take long, but not stand still.

        Raises Unreachable or Refused.
        """
        timeout = aiohttp.ClientTimeout(
            total=self._patience.whole + size / self._patience.slowest_line,
            sock_connect=self._patience.connect,
            sock_read=self._patience.silence,
        )
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience.silence) as standing:

                async def watched() -> AsyncIterator[bytes]:
                    async for piece in pieces:
                        standing.reschedule(loop.time() + self._patience.silence)
                        yield piece
                    standing.reschedule(loop.time() + self._patience.silence)

                async with self._open(method, path, watched(), None, headers, timeout) as response:
                    data = await self._read(response, MAX_REPLY)
                    return Reply(response.status, data, response.headers)
        except TimeoutError as error:
            raise TooSlow(f"{self.host} takes nothing more") from error
        except _Disconnected as error:
            raise Unreachable(f"{self.host} closed the connection") from error

    async def receive(
        self, path: str, headers: Mapping[str, str], start: int, limit: int
    ) -> AsyncIterator[bytes]:
        """The pieces of a reply of at most `limit` octets, which has to begin at octet `start` (RFC 9110 14.4)."""
        timeout = aiohttp.ClientTimeout(
            total=self._patience.whole + limit / self._patience.slowest_line,
            sock_connect=self._patience.connect,
            sock_read=self._patience.silence,
        )
        try:
            async with self._open("GET", path, None, None, headers, timeout) as response:
                told = response.headers.get("Content-Range", "")
                if start and not (response.status == 206 and told.startswith(f"bytes {start}-")):
                    raise BadReply(f"{self.host} gave another range than was asked for")
                async for piece in response.content.iter_any():
                    limit -= len(piece)
                    if limit < 0:
                        raise TooMuch(f"{self.host} answered with more than was asked for")
                    yield piece
        except _Disconnected as error:
            raise Unreachable(f"{self.host} closed the connection") from error

    async def pieces(self, path: str, body: bytes) -> AsyncGenerator[tuple[str, bytes]]:
        """The reply to one POST as it comes: its content type with each piece, the first one empty.

        Raises Unreachable, also for a reply that comes ever more slowly, and Refused.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._patience.connect, sock_read=self._patience.silence
        )
        waited, size = 0.0, 0
        try:
            async with self._open("POST", path, body, None, None, timeout) as response:
                kind = response.content_type
                yield kind, b""
                while True:
                    began = time.monotonic()
                    piece = await response.content.readany()
                    if not piece:
                        return
                    waited += time.monotonic() - began
                    size += len(piece)
                    if waited > self._patience.whole + size / self._patience.slowest_line:
                        raise TooSlow(
                            f"{self.host} does not answer in time; it is asked again later"
                        )
                    yield kind, piece
        except _Disconnected as error:
            raise Unreachable(f"{self.host} closed the connection") from error

    async def close(self) -> None:
        """Close all connections; the transport can be used again afterwards."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterable[bytes] | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", wire.CONTENT_TYPE)
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            async with self._live_session().request(
                method,
                self.origin + path,
                data=_in_pieces(body),
                params=params,
                headers=sent,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise StrangeEncoding(f"{self.host} answered in an encoding nobody asked for")
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise BadCertificate(
                f"the certificate of {self.host} is not valid: {_reason(error.certificate_error)}"
            ) from error
        except aiohttp.ServerDisconnectedError as error:
            raise _Disconnected from error
        except TimeoutError as error:  # aiohttp's time-outs are kinds of it
            raise TooSlow(
                f"{self.host} does not answer in time; it is asked again later"
            ) from error
        except aiohttp.ClientConnectorDNSError as error:
            raise Unreachable(f"the name {self.host} is not known") from error
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(
                f"{self.host} cannot be reached: {_reason(error.os_error)}"
            ) from error
        except aiohttp.ClientResponseError as error:
            raise BadReply(f"{self.host} does not speak HTTP as it should") from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise Unreachable(f"the connection to {self.host} broke") from error

    def _live_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, limit=16),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=256 * 1024,
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        if (response.content_length or 0) > limit:
            raise TooMuch(f"{self.host} answered with more than was asked for")
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                raise TooMuch(f"{self.host} answered with more than was asked for")
            pieces.append(piece)
        return b"".join(pieces)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        status = response.status
        if status < 400:
            return Redirected(
                f"{self.host} wants to send this device elsewhere, which is not followed"
            )
        try:
            body = wire.decode(await self._read(response, MAX_ERROR), wire.ErrorReply)
        except (wire.WireError, BadReply):
            if status in (401, 403):
                return AuthFailed("unauthorized", f"{self.host} asks for another log-in", status)
            return BadReply(f"{self.host} answered with status {status} instead of a reply")
        kind = _REFUSALS.get(body.error, AuthFailed if status == 401 else Refused)
        return kind(printable(body.error)[:40], printable(body.message), status)


def _in_pieces(
    body: bytes | AsyncIterable[bytes] | None,
) -> bytes | io.BytesIO | AsyncIterable[bytes] | None:
    """A large body as a file, which aiohttp sends piece by piece instead of all at once on the loop."""
    return io.BytesIO(body) if isinstance(body, bytes) and len(body) > ONE_PIECE else body


class _Disconnected(Exception):
    """The other side closed a connection before it answered."""


def printable(text: str) -> str:
    """A provider's words, safe to show: one line, no control characters, not too long."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:MAX_SENTENCE]).strip()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(error.verify_message)
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    return printable(str(error))


def _read_authority(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(
            f"the authority file {path} cannot be read: {error.strerror}"
        ) from error


def _tls_context(ca_pem: bytes | None) -> ssl.SSLContext:
    """Verifies chain and name, TLS 1.2 or newer; with `ca_pem`, only that authority counts."""
    if ca_pem is None:
        context = ssl.create_default_context()
    else:
        # Not create_default_context(cadata=...): given an empty file, that trusts the system's authorities.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError, ValueError):
            raise BadCertificate("the authority file holds no certificate in PEM form") from None
        if not context.cert_store_stats()["x509_ca"]:
            raise BadCertificate("the authority file holds no certificate of an authority")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return context
