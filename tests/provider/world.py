"""A provider for tests, with people in it: storage alone, or served over real TLS on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from leap.provider.app import create_app
from leap.provider.contract import Delivery
from leap.provider.provider import Provider
from leap.provider.tls import self_made_context
from leap.soledad import wire
from leap.soledad.enrol import _prepare
from leap.soledad.secrets import floor_kdf_params

DOMAIN = "example.test"
PASSPHRASE = "the quick brown fox"


@lru_cache
def prepared(address: str, passphrase: str = PASSPHRASE) -> Any:
    """A sign-up ready to be sent, as leap.soledad makes it, with the weakest key derivation allowed."""
    return _prepare(address, passphrase, "laptop", floor_kdf_params(), 1_000_000, os.urandom)


class Clock:
    """A clock which stands still until it is told otherwise."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@asynccontextmanager
async def opened(
    folder: Path, *, now: Clock | None = None, **options: Any
) -> AsyncIterator[Provider]:
    provider = await Provider.open(folder, DOMAIN, now=now or Clock(), **options)
    try:
        yield provider
    finally:
        await provider.close()


async def account(provider: Provider, name: str) -> int:
    """Signs a person up; the number of the account."""
    return await provider.accounts.sign_up(prepared(f"{name}@{DOMAIN}").signup)


def item(text: str, version: int = 1, size: int = 0) -> wire.Item:
    """A log item; the same text has the same item id."""
    item_id = hashlib.sha256(text.encode()).digest()
    sealed = f"{text} {version}".encode().ljust(size, b".")
    return wire.Item(item_id=item_id, version=version, sealed=sealed)


def blob(size: int) -> wire.Blob:
    return wire.Blob(blob_id=os.urandom(16).hex(), sealed=os.urandom(size))


def delivery(account_id: str, sealed: bytes = b"sealed", submission: str | None = None) -> Delivery:
    return Delivery(
        account_id=account_id,
        key_id="key",
        sealed=sealed,
        submission=submission,
        recipient="bob@example.test",
    )


@dataclass
class Served:
    """A provider behind HTTPS, and a session which trusts only its authority."""

    provider: Provider
    url: str
    ca_file: Path
    session: aiohttp.ClientSession
    requests: list[str] = field(default_factory=list)  # method and path, as they were answered

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request; `body` is a value of the protocol or bytes. Status and body of the reply."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = wire.encode(body)
        data = None if body is None else io.BytesIO(body)
        async with self.session.request(method, self.url + path, data=data, headers=sent) as reply:
            return reply.status, await reply.read()

    async def refused(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, str, str]:
        """One request that must be refused properly: status, word and sentence."""
        status, data = await self.call(method, path, body, **options)
        assert status >= 400, (status, data)
        reply = wire.decode(data, wire.ErrorReply)
        assert reply.message
        assert "\n" not in reply.message
        assert "Traceback" not in reply.message
        return status, reply.error, reply.message

    async def device(self, name: str, device: str = "laptop") -> str:
        """Signs a person up if need be and logs a device in without the SRP work; its token."""
        number = await account(self.provider, name)
        token, _ = await self.provider.tokens.issue(number, device, device)
        return token


@asynccontextmanager
async def served(
    provider: Provider, folder: Path, *, keep_alive: float = 20.0
) -> AsyncIterator[Served]:
    context, ca_file = await asyncio.to_thread(self_made_context, folder / "tls", [DOMAIN])
    info = wire.ProviderInfo(
        domain=DOMAIN,
        api_version=1,
        submission_host="localhost",
        submission_port=1,
        max_message_bytes=wire.MAX_MESSAGE_BYTES,
        signup_open=True,
    )
    app = create_app(provider, info, keep_alive=keep_alive)
    requests: list[str] = []

    async def note(request: web.Request, reply: web.StreamResponse) -> None:
        requests.append(f"{request.method} {request.path}")

    app.on_response_prepare.append(note)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    trust = ssl.create_default_context(cafile=str(ca_file))
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False
    )
    try:
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield Served(provider, url, ca_file, session, requests)
    finally:
        provider.events.close()
        await session.close()
        await runner.cleanup()
