"""The SOCKS proxy (Tor) through which keys are looked up: its address as people write it, and connections through it.

Invariants:
* The proxy is given names, never addresses: with a proxy nothing is asked of the local DNS (RFC 1928 4, type 3).
* To a proxy that needs no log-in, each host goes with one of its own, made up: Tor then uses a circuit for each, and
  whoever watches its exits does not see that the same person asks them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import ProxyConnector, ProxyType

# RFC 1928 6
HOST_UNREACHABLE, CONNECTION_REFUSED = 4, 5


@dataclass(frozen=True, slots=True, repr=False)
class SocksProxy:
    """A SOCKS 5 proxy. Make it with `parse`."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    @classmethod
    def parse(cls, url: str) -> SocksProxy:
        """Of socks5://[USER:PASSWORD@]HOST:PORT, or with socks5h; raises ValueError with a sentence."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme not in ("socks5", "socks5h") or not host or not port or len(url) > 1000:
            raise ValueError(
                f"{_shown(url)} is not a proxy: write socks5://HOST:PORT, as in socks5://127.0.0.1:9050 for Tor"
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("a proxy has a host and a port, and nothing behind them")
        return cls(host, port, unquote(parts.username or ""), unquote(parts.password or ""))

    def __repr__(self) -> str:
        return f"<SocksProxy {self.host}:{self.port}>"

    def connector(self) -> aiohttp.BaseConnector:
        """For the connections to one host; their names are looked up by the proxy."""
        made_up = secrets.token_hex(8)
        return ProxyConnector(
            host=self.host,
            port=self.port,
            proxy_type=ProxyType.SOCKS5,
            username=self.user or made_up,
            password=self.password or made_up,
            rdns=True,
        )


def _shown(url: str) -> str:
    """What was typed, without a password that may be in it."""
    return repr("..." + url.rpartition("@")[2] if "@" in url else url)[:80]
