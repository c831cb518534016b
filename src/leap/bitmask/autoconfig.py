"""Tells mail programs on this machine how to reach the local servers: Thunderbird's autoconfiguration over HTTP.

    GET /mail/config-v1.1.xml?emailaddress=ADDRESS
    GET /.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ADDRESS
    GET /v1.1/DOMAIN        what a program asks whose `mailnews.auto_config_url` is http://HOST:PORT/v1.1/

Invariants: it listens on loopback only; what it says holds no password; an address or a domain without an account here
looks like a path that does not exist; a request whose Host is not this server is refused, and one that a page of a
browser made too, so that no web site can ask which addresses are here (DNS rebinding); each conversation is bounded in
time and size and carries one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, quoteattr

PATIENCE = (
    5.0  # seconds for the whole conversation; a program on this machine needs a few milliseconds
)
MAX_HEAD = 8_192  # octets of request line and fields; programs send a few hundred
MAX_CONVERSATIONS = 16
PATHS = ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml")
BY_DOMAIN = "/v1.1/"
_PAGES_SAY = {b"same-site", b"cross-site"}  # Fetch Metadata: the request was made by a web page


@dataclass(frozen=True)
class LocalServer:
    """One of the servers that mail programs talk to."""

    host: str
    port: int
    tls: bool = False


def autoconfig_xml(domain: str, imap: LocalServer, smtp: LocalServer) -> bytes:
    """The configuration for every account of a domain; the program puts the address in."""
    # Both are asked for by password: without TLS nothing leaves this machine, with TLS nothing can be read.
    servers = "".join(
        f"  <{element} type={quoteattr(kind)}>\n"
        f"   <hostname>{escape(server.host)}</hostname>\n"
        f"   <port>{server.port}</port>\n"
        f"   <socketType>{'SSL' if server.tls else 'plain'}</socketType>\n"
        "   <username>%EMAILADDRESS%</username>\n"
        "   <authentication>password-cleartext</authentication>\n"
        f"  </{element}>\n"
        for element, kind, server in (
            ("incomingServer", "imap", imap),
            ("outgoingServer", "smtp", smtp),
        )
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<clientConfig version="1.1">\n'
        f" <emailProvider id={quoteattr(domain)}>\n  <domain>{escape(domain)}</domain>\n"
        f"  <displayName>{escape(domain)} (bitmask)</displayName>\n"
        f"{servers} </emailProvider>\n</clientConfig>\n"
    ).encode()


class AutoconfigServer:
    """Serves the configuration of the accounts that `accounts` names at each request."""

    def __init__(
        self, accounts: Callable[[], list[str]], imap: LocalServer, smtp: LocalServer
    ) -> None:
        self._accounts = accounts
        self._imap = imap
        self._smtp = smtp
        self._server: asyncio.Server | None = None
        self._hosts: frozenset[bytes] = frozenset()
        self._talks: set[asyncio.Task[None]] = set()
        self.address: tuple[str, int] = ("", 0)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD)
        self.address = self._server.sockets[0].getsockname()[:2]
        names = (host, "localhost", "127.0.0.1", "[::1]")
        self._hosts = frozenset(f"{name}:{self.address[1]}".encode() for name in names)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a conversation is a task"
        self._talks.add(task)
        try:
            if len(self._talks) <= MAX_CONVERSATIONS:
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it went away, or what it says is no request
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        request, *lines = head[:-4].split(b"\r\n")
        words = request.split(b" ")
        fields = [line.partition(b":") for line in lines]
        if (
            len(words) != 3
            or not words[2].startswith(b"HTTP/1.")
            or not all(c for _, c, _ in fields)
        ):
            return _response("400 Bad Request")
        named: dict[bytes, list[bytes]] = {}
        for name, _, value in fields:
            named.setdefault(name.lower(), []).append(value.strip().lower())
        if len(hosts := named.get(b"host", [])) != 1 or hosts[0] not in self._hosts:
            return _response("403 Forbidden")
        if b"origin" in named or _PAGES_SAY.intersection(named.get(b"sec-fetch-site", [])):
            return _response("403 Forbidden")
        if words[0] not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed")
        domain = await asyncio.to_thread(self._domain_of, words[1].decode("ascii", "replace"))
        if domain is None:
            return _response("404 Not Found")
        xml = autoconfig_xml(domain, self._imap, self._smtp)
        return _response("200 OK", xml, with_body=words[0] == b"GET")

    def _domain_of(self, target: str) -> str | None:
        """The domain whose configuration is asked for, if an account of it is here."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(target)
            accounts = self._accounts()
            if parts.path in PATHS:
                asked = parse_qs(parts.query, max_num_fields=10).get("emailaddress", [])
                address = asked[0].strip().lower() if len(asked) == 1 else ""
                return address.partition("@")[2] if address in accounts else None
            if parts.path.startswith(BY_DOMAIN):
                domain = unquote(parts.path.removeprefix(BY_DOMAIN)).lower()
                return domain if any(a.partition("@")[2] == domain for a in accounts) else None
        return None


_Status = Literal[
    "200 OK", "400 Bad Request", "403 Forbidden", "404 Not Found", "405 Method Not Allowed"
]


def _response(status: _Status, body: bytes = b"", *, with_body: bool = True) -> bytes:
    fields = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    return fields + (body if with_body else b"")
