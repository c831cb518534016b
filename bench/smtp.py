"""How many mails a second the SMTP engine takes: 30 kB mails, pipelined on one connection.

`engine` has a handler that throws mails away; `aiosmtpd`, beside it in the same run, has one too; `mx` is the real
MX, which seals each mail (HPKE) and stores it durably in the provider's inbox; `mx, checked` looks at SPF, DKIM (RSA of
2048 bits, both forms relaxed) and DMARC first, with a DNS in memory. The client is the same for all. Client and server
share one loop and one core, so each server alone is faster than the numbers, and the ratio of two servers is larger
than it looks here. "mails/CPU s" leaves out what other programs on the machine took.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from leap.mail.smtp import Envelope, Reply, Session, SmtpConfig, serve_smtp
from leap.provider.contract import MailDrop
from leap.provider.mx import MxHandler, mx_config
from leap.provider.mx.authentication import MailChecks
from leap.provider.submission.dkim_signing import DkimSigner
from tests.provider.zone import Zone

LINE = b"0123456789" * 7 + b"\r\n"
MAIL = b"Subject: bench\r\n\r\n" + LINE * (30_000 // len(LINE))
FROM = b"From: a@x.test\r\nTo: bob@example.test\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
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


def group(mail: bytes) -> bytes:
    """One transaction, pipelined."""
    return b"MAIL FROM:<a@x.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n" + mail + b".\r\n"


async def send(address: object, mails: int, mail: bytes = MAIL) -> tuple[float, float]:
    """Seconds for all of them, by the clock and of CPU."""
    sent = group(mail)
    assert isinstance(address, tuple)
    reader, writer = await asyncio.open_connection(*address)
    await reader.readline()
    writer.write(b"EHLO bench\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    started, cpu = time.perf_counter(), time.process_time()
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
        writer.write(sent)
        await writer.drain()
    await reading
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    writer.close()
    await writer.wait_closed()
    return seconds, cpu


async def engine(mails: int) -> tuple[float, float]:
    server = await serve_smtp(Discard, SmtpConfig("mx.example.test", 50_000_000))
    try:
        return await send(server.address, mails)
    finally:
        await server.close()


class DiscardBeside:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 Gone."


async def beside(mails: int) -> tuple[float, float]:
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


def signed() -> tuple[bytes, MailChecks]:
    """A mail its domain signed, and checks with a DNS that has what its domain says."""
    key = rsa.generate_private_key(65537, 2048)
    mail = FROM + MAIL
    public = base64.b64encode(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    zone = Zone(
        {
            "x.test": [("TXT", "v=spf1 ip4:127.0.0.1 -all")],
            "s._domainkey.x.test": [("TXT", b"v=DKIM1; p=" + public)],
            "_dmarc.x.test": [("TXT", "v=DMARC1; p=reject")],
        }
    )
    return DkimSigner("x.test", "s", key).signature_field(mail, time.time()) + mail, MailChecks(
        zone
    )


async def mx(
    mails: int, mail: bytes = MAIL, checks: MailChecks | None = None
) -> tuple[float, float]:
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
            lambda: MxHandler(
                drop, domain="example.test", hostname="mx.example.test", checks=checks
            ),
            mx_config("mx.example.test", None),
        )
        try:
            return await send(server.address, mails, mail)
        finally:
            await server.close()
            await provider.close()


async def checked(mails: int) -> tuple[float, float]:
    return await mx(mails, *signed())


def run(mails: int = 2_000) -> dict[str, dict[str, Any]]:
    """Mails a second: the engine alone, aiosmtpd, the whole MX, without and with checks of the sender.

    Of three rounds, taken in turn, the best of each.
    """
    best: dict[str, tuple[float, float]] = {}
    benches = (("engine", engine), ("aiosmtpd", beside), ("mx", mx), ("mx, checked", checked))
    for _ in range(3):
        for name, bench in benches:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(bench(mails))
            best[name] = min(found, best.get(name, found))
    rows: dict[str, dict[str, Any]] = {}
    for name, (seconds, cpu) in best.items():
        rows[name] = {
            "mails": mails,
            "octets": len(MAIL),
            "mails/s": round(mails / seconds),
            "mails/CPU s": round(mails / cpu),
        }
    rows["engine"]["ratio"] = round(best["aiosmtpd"][0] / best["engine"][0], 1)
    return rows


if __name__ == "__main__":
    print(run())
