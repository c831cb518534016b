"""Fetching small things by HTTPS from servers one knows nothing of: bounded in all ways, and a clear answer each time.

Invariants:
* TLS is always verified. (An onion address is itself the key of its server: there http is as good, RFC 7686 1.)
* No cookies, no credentials, nothing from the environment; compressed answers are not taken.
* Size, time, the number of redirects, of requests at once and a minute are bounded.
* A redirect stays on https and within the domain that was asked.
* "There is nothing" (`Absent`) is said only by who must know: the DNS, the host, the server behind verified TLS.
  Everything else is LookupFailed.

A private address may be asked: a company's own key directory is a good one, and behind a stranger's name no server of
one's own network gets a request, as its certificate does not have that name. Where a stranger gives the whole URL,
`outside_only` refuses such hosts: there the certificate would be the right one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from yarl import URL

from leap.keymanager.discovery.limits import Limits
from leap.keymanager.discovery.proxy import CONNECTION_REFUSED, HOST_UNREACHABLE, SocksProxy
from leap.keymanager.discovery.public_names import (
    is_literal,
    is_outside_address,
    is_outside_name,
    is_public_name,
)
from leap.keymanager.errors import LookupFailed

AT_ONCE = 8
MAX_REDIRECTS = 3
CONNECT_SECONDS, SILENCE_SECONDS, WHOLE_SECONDS = 5.0, 5.0, 8.0  # a mail program waits meanwhile
_ASK_LATER = frozenset({408, 421, 425, 429})  # RFC 9110 15.5.9, 15.5.20; RFC 8470; RFC 6585 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "leap.mail", "Accept": "*/*"}
_UNKNOWN_NAME = {  # of getaddrinfo: there is no such name, or it has no address. Not EAI_AGAIN, EAI_FAIL
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
}

Resolve = Callable[[str, int], Awaitable[list[tuple[str, int]]]]


class Absent(Enum):
    """How sure one can be that there is nothing: in all of these, quite."""

    HOST = "no such host"
    SERVER = "nobody listens there"
    PAGE = "the server says that there is no such page"
    ELSEWHERE = "the server sends elsewhere"
    UNREACHABLE = (
        "the proxy says that there is no way to the host"  # no such host, or no way: not sure
    )


class Page(NamedTuple):
    """What was fetched, and from where in the end."""

    body: bytes
    url: str


class TlsFailed(LookupFailed):
    """The server could not prove that it is the one that was meant."""


class Https:
    """Fetches pages; `proxy` is a SOCKS proxy for all of it.

    `resolve` gives the addresses of a name or raises OSError; `trust` the authorities that are believed; `clock` is
    monotonic seconds.
    """

    def __init__(
        self,
        *,
        proxy: SocksProxy | None = None,
        outside_only: bool = False,
        resolve: Resolve | None = None,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        self.proxied = proxy is not None
        self._proxy = proxy
        self._outside_only = outside_only
        self._resolve = resolve or system_resolve
        self._trust = trust
        self._limits = limits or Limits(clock)
        self._whole = whole_seconds
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def get(self, url: str, *, most: int, stays_in: str = "") -> Page | Absent:
        """A page of at most `most` octets. Redirects are followed within the domain `stays_in`.

        Raises LookupFailed, of it TlsFailed.
        """
        host = self._checked(url).hostname
        try:
            async with asyncio.timeout(self._whole), self._gate:
                return await self._follow(url, most, stays_in)
        except TimeoutError as error:
            raise LookupFailed(f"{host} does not answer in time") from error

    async def has_host(self, host: str) -> bool:
        """Whether the DNS knows a name; only without a proxy. Raises LookupFailed."""
        try:
            return bool(await self._resolve(host, 443))
        except socket.gaierror as error:
            if error.errno in _UNKNOWN_NAME:
                return False
            raise LookupFailed(f"whether there is a host {host} is not known now") from error
        except OSError as error:
            raise LookupFailed(f"whether there is a host {host} is not known now") from error

    async def close(self) -> None:
        """Closes all connections; nothing is fetched any more."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _follow(self, url: str, most: int, stays_in: str) -> Page | Absent:
        for _ in range(MAX_REDIRECTS + 1):
            parts = self._checked(url)
            assert parts.hostname is not None
            self._limits.take(parts.hostname)
            answer = await self._once(url, parts.hostname, most)
            if not isinstance(answer, str):
                return answer
            target = urlsplit(answer)
            name = (target.hostname or "").lower()
            inside = stays_in and (name == stays_in or name.endswith("." + stays_in))
            ports = (parts.port or 443, target.port or 443)
            if target.scheme != parts.scheme or not inside or ports[0] != ports[1]:
                return Absent.ELSEWHERE
            url = answer
        raise LookupFailed(f"{urlsplit(url).hostname} sends in circles")

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        onion = self.proxied and (host or "").endswith(".onion")
        if not host or parts.scheme not in (("https", "http") if onion else ("https",)):
            raise LookupFailed("keys are fetched by https only")
        if parts.username is not None or parts.password is not None or "\\" in url:
            raise LookupFailed("an address of a key has no log-in in it")
        if self._outside_only and (
            port not in (None, 443)
            or is_literal(host)
            or not is_public_name(host, proxied=self.proxied)
            or not is_outside_name(host)
        ):
            raise LookupFailed(f"{host[:80]} is not a server of the public net")
        return parts

    async def _once(self, url: str, host: str, most: int) -> Page | Absent | str:
        """The page, that there is none, or where it is said to be."""
        try:
            async with self._opened(url) as response:
                if response.status == 200:
                    return Page(await _read(response, host, most), url)
                if response.status in _REDIRECTS:
                    return _target(url, response.headers.get("Location", ""), host)
                if 400 <= response.status < 500 and response.status not in _ASK_LATER:
                    return Absent.PAGE
                raise LookupFailed(f"{host} answered with status {response.status}")
        except ProxyError as error:
            if error.error_code == HOST_UNREACHABLE:
                return Absent.UNREACHABLE
            if error.error_code == CONNECTION_REFUSED:
                return Absent.SERVER
            raise LookupFailed(f"the proxy did not reach {host}") from error
        except ProxyConnectionError as error:
            raise LookupFailed("the proxy cannot be reached") from error
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError) as e:
            raise TlsFailed(f"{host} could not prove that it is {host}") from e
        except aiohttp.ClientConnectorDNSError as error:
            if error.os_error.errno in _UNKNOWN_NAME and isinstance(
                error.os_error, socket.gaierror
            ):
                return Absent.HOST
            raise LookupFailed(f"the name {host} cannot be looked up now") from error
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno == errno.ECONNREFUSED and not self.proxied:
                return Absent.SERVER
            raise LookupFailed(f"{host} cannot be reached") from error
        except (TimeoutError, ProxyTimeoutError) as error:  # aiohttp's are kinds of it
            raise LookupFailed(f"{host} does not answer in time") from error
        except (aiohttp.ClientError, OSError, EOFError, ValueError) as error:
            if isinstance(error.__cause__, ssl.SSLError):  # behind a proxy
                raise TlsFailed(f"{host} could not prove that it is {host}") from error
            raise LookupFailed(f"{host} does not speak HTTP as it should") from error

    @asynccontextmanager
    async def _opened(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._context is None:
            self._context = await asyncio.to_thread(self._trust)  # reads all authorities from disk
            assert self._context.verify_mode is ssl.CERT_REQUIRED
            assert self._context.check_hostname
        session = self._live_session()
        try:
            # as it is: `%40` is not to become `@`
            async with session.get(
                URL(url, encoded=True), headers=_HEADERS, allow_redirects=False, ssl=self._context
            ) as response:
                yield response
        finally:
            if session is not self._session:
                await session.close()

    def _live_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise LookupFailed("where keys are looked for was changed meanwhile")
        if self._proxy is not None:
            return self._new_session(self._proxy.connector())  # a circuit for each
        if self._session is None or self._session.closed:
            resolver = _Resolver(self._resolve, self._outside_only)
            self._session = self._new_session(
                aiohttp.TCPConnector(resolver=resolver, limit=AT_ONCE, use_dns_cache=False)
            )
        return self._session

    def _new_session(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=self._whole, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
            ),
        )


async def system_resolve(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a name by the system's resolver, in a thread; raises OSError."""
    # The dot at the end: without it the resolver's search list may be appended, and answer for another name.
    name = host + "." if "." in host else host
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(entry[4][0]), port) for entry in found))


class _NotOutside(OSError):
    """A name of the public net with an address that is not."""


class _Resolver(AbstractResolver):
    def __init__(self, resolve: Resolve, outside_only: bool) -> None:
        self._resolve = resolve
        self._outside_only = outside_only

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolve(host, port)
        if self._outside_only and not all(is_outside_address(address) for address, _ in found):
            raise _NotOutside(errno.EACCES, "an address of a private network")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=at,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, at in found
        ]

    async def close(self) -> None:
        return None


async def _read(response: aiohttp.ClientResponse, host: str, most: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise LookupFailed(f"{host} answered in an encoding nobody asked for")
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise LookupFailed(f"{host} answered with more than a key has")
        pieces.append(piece)
    return b"".join(pieces)


def _target(url: str, location: str, host: str) -> str:
    try:
        target = urljoin(url, location)
        urlsplit(target).port  # noqa: B018 - raises for nonsense
    except ValueError:
        raise LookupFailed(f"{host} sends to what is no address") from None
    return target if len(target) <= 2048 else "https:///"
