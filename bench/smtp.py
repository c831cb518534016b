"""How many mails a second the SMTP engine takes: 30 kB mails, pipelined on one connection.

`engine` has a handler that throws mails away; `aiosmtpd`, beside it in the same run, has one too; `mx` is the real
MX, which seals each mail (HPKE) and stores it durably in the provider's inbox. The client is the same for all.
Client and server share one loop and one core, so each server alone is faster than the numbers, and the
ratio of two servers is larger than it looks here.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import uvloop

from leap.mail.smtp import Envelope, Reply, Session, SmtpConfig, serve_smtp
from leap.provider.contract import MailDrop
from leap.provider.mx import MxHandler, mx_config

LINE = b"0123456789" * 7 + b"\r\n"
MAIL = b"Subject: bench\r\n\r\n" + LINE * (30_000 // len(LINE))
GROUP = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n" + MAIL + b".\r\n"
IN_FLIGHT = 16  # mails sent before the reply to the first of them is awaited


class Discard:
    async def authenticate(self, user: str, password: str) -> str | None:
        return None

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None:
        return None

    async def recipient(self, session: Session, address: str) -> Reply | None:
        return None

    async def message(self, session: Session, envelope: Envelope, raw: bytes) -> Reply:
        return Reply(250, "2.0.0", "Gone.")


async def send(address: object, mails: int) -> float:
    """Seconds for all of them."""
    assert isinstance(address, tuple)
    reader, writer = await asyncio.open_connection(*address)
    await reader.readline()
    writer.write(b"EHLO bench\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    started = time.perf_counter()
    places = asyncio.Semaphore(IN_FLIGHT)

    async def read() -> None:
        for _ in range(mails):
            for wanted in (b"250", b"250", b"354", b"250"):
                line = await reader.readline()
                if not line.startswith(wanted):
                    raise SystemExit(f"the server said {line!r}")
            places.release()

    reading = asyncio.ensure_future(read())
    for _ in range(mails):
        await places.acquire()
        writer.write(GROUP)
        await writer.drain()
    await reading
    seconds = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return seconds


async def engine(mails: int) -> float:
    server = await serve_smtp(Discard, SmtpConfig("mx.example.test", 50_000_000))
    try:
        return await send(server.address, mails)
    finally:
        await server.close()


class DiscardBeside:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 Gone."


async def beside(mails: int) -> float:
    """aiosmtpd on the same loop."""

    def protocol() -> aiosmtpd.smtp.SMTP:
        return aiosmtpd.smtp.SMTP(
            DiscardBeside(), hostname="mx.example.test", data_size_limit=50_000_000
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        return await send(server.sockets[0].getsockname(), mails)
    finally:
        server.close()


async def mx(mails: int) -> float:
    from leap.provider.provider import Provider
    from leap.soledad.enrol import _prepare
    from leap.soledad.secrets import floor_kdf_params

    with tempfile.TemporaryDirectory() as folder:
        provider = await Provider.open(Path(folder), "example.test")
        prepared = _prepare(
            "bob@example.test", "passphrase", "laptop", floor_kdf_params(), time.time(), os.urandom
        )
        await provider.accounts.sign_up(prepared.signup)
        drop: MailDrop = provider
        server = await serve_smtp(
            lambda: MxHandler(drop, domain="example.test", hostname="mx.example.test"),
            mx_config("mx.example.test", None),
        )
        try:
            return await send(server.address, mails)
        finally:
            await server.close()
            await provider.close()


def run(mails: int = 2_000) -> dict[str, dict[str, Any]]:
    """Mails a second: the engine alone, aiosmtpd, the whole MX. Of three rounds, taken in turn, the best of each."""
    best: dict[str, float] = {}
    benches = (("engine", engine), ("aiosmtpd", beside), ("mx", mx))
    for _ in range(3):
        for name, bench in benches:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seconds = runner.run(bench(mails))
            best[name] = min(seconds, best.get(name, seconds))
    rows: dict[str, dict[str, Any]] = {
        name: {"mails": mails, "octets": len(MAIL), "mails/s": round(mails / best[name])}
        for name, _ in benches
    }
    rows["engine"]["ratio"] = round(best["aiosmtpd"] / best["engine"], 1)
    return rows


if __name__ == "__main__":
    print(run())
