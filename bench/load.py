"""A cheap HTTPS load client: ready-made requests over kept connections, so that the server is what is measured.

It needs about a fifth of the server's CPU for a request, on uvloop and without an HTTP library. It understands no more
of HTTP than what a provider answers with: a status, Content-Length, and event streams as chunks nobody looks into.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_END = b"\r\n\r\n"
_LENGTH = b"Content-Length: "


class BadReply(Exception):
    """The server said something else than 200."""


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """One request, ready to be sent."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection; each request is sent when the reply before it is here."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._transport: Any = None
        self._head = b""
        self._left = 0  # octets of a body still to come
        self.times: list[float] = []  # seconds each request took
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def start(self) -> None:
        """Sends the next request, if there is one."""
        following = next(self._requests, None)
        if following is None:
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            end = self._head.find(_END)
            if end < 0:
                return
            if not self._head.startswith(b"HTTP/1.1 200"):
                self._fail(BadReply(self._head[:400].decode(errors="replace")))
                return
            at = self._head.index(_LENGTH) + len(_LENGTH)
            length = int(self._head[at : self._head.index(b"\r\n", at)])
            self._left = length - (len(self._head) - end - len(_END))
            self._head = b""
        if self._left == 0:
            self.times.append(time.perf_counter() - self._sent)
            self.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the server closed a connection"))

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def close(self) -> None:
        self._transport.close()


class Stream(asyncio.Protocol):
    """One event stream: counts what comes, and forgets it."""

    def __init__(self, opening: bytes, opened: asyncio.Future[None]) -> None:
        self._opening = opening
        self._opened = opened
        self._transport: Any = None
        self.last = 0.0  # when something came
        self.told: list[float] | None = None  # where to write down when something comes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        if self.told is not None:
            self.told.append(time.perf_counter())
        elif not self._opened.done() and b"event: hello" in data:
            self._opened.set_result(None)
        elif not self._opened.done() and not data.startswith(b"HTTP/1.1 200"):
            self._opened.set_exception(BadReply(data[:400].decode(errors="replace")))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("the server closed a stream"))

    def close(self) -> None:
        self._transport.close()


class Target:
    """Where the load goes."""

    def __init__(self, url: str, ca: Path) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 443)
        self._tls = ssl.create_default_context(cafile=str(ca))

    async def _connect(self, protocol: Any) -> None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        await loop.create_connection(
            lambda: protocol, host, port, ssl=self._tls, server_hostname=host
        )

    async def run(self, lanes: Sequence[Sequence[bytes]]) -> Load:
        """Sends each lane's requests over a connection of its own, all lanes at once."""
        loop = asyncio.get_running_loop()
        done = [loop.create_future() for _ in lanes]
        connections = [
            Connection(iter(lane), future) for lane, future in zip(lanes, done, strict=True)
        ]
        for connection in connections:
            await self._connect(connection)
        began, cpu = time.perf_counter(), time.process_time()
        for connection in connections:
            connection.start()
        await asyncio.gather(*done)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        for connection in connections:
            connection.close()
        return Load(seconds, cpu, sorted(itertools.chain(*(one.times for one in connections))))

    async def streams(self, openings: Sequence[bytes], together: int = 50) -> list[Stream]:
        """Event streams, opened a few at a time, each answered before the next ones begin."""
        loop = asyncio.get_running_loop()
        made: list[Stream] = []
        for first in range(0, len(openings), together):
            opened = [loop.create_future() for _ in openings[first : first + together]]
            now = [
                Stream(opening, future)
                for opening, future in zip(openings[first:], opened, strict=False)
            ]
            await asyncio.gather(*map(self._connect, now))
            await asyncio.gather(*opened)
            made += now
        return made


class Load:
    """What one run of requests took."""

    def __init__(self, seconds: float, client_cpu: float, times: list[float]) -> None:
        self.seconds = seconds
        self.client_cpu = client_cpu  # seconds of this process
        self.count = len(times)
        self.rate = self.count / seconds
        self._times = times

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the requests was answered."""
        return self._times[min(self.count - 1, int(self.count * share))]


def lanes_of(requests: Sequence[bytes], lanes: int) -> list[Sequence[bytes]]:
    """The requests dealt out to so many connections."""
    return [requests[lane::lanes] for lane in range(lanes)]
