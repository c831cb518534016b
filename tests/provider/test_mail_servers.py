"""Two providers, each with MX, submission and queue, write to each other over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.provider.contract import Endpoint
from leap.provider.mail_servers import MailServers, start_mail
from leap.soledad.sqlite import Database
from tests.mail.smtp.certificate import contexts
from tests.provider.mail_drop import MemoryMailDrop

ALICE = "alice@example.test"
CAROL = "carol@other.test"
MAIL = b"From: alice@example.test\r\nSubject: x\r\n\r\n" + b"marker-of-this-mail\r\n" * 100
ANY: Endpoint = ("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def provider(
    folder: Path, *people: str, **routes: Endpoint
) -> AsyncIterator[tuple[MemoryMailDrop, MailServers]]:
    folder.mkdir()
    domain = people[0].partition("@")[2]
    db = await Database.open(folder / "provider.db", key=None)
    drop = MemoryMailDrop(db, *people)
    servers = await start_mail(
        drop,
        domain=domain,
        hostname=f"mx.{domain}",
        routes={f"{name}.test": endpoint for name, endpoint in routes.items()},
        tls=contexts()[0],
        mx=ANY,
        submission=ANY,
    )
    try:
        yield drop, servers
    finally:
        await servers.close()
        await db.close()


async def submit(drop: MemoryMailDrop, servers: MailServers, *recipients: str) -> None:
    def run() -> None:
        host, port = servers.submission_address
        with smtplib.SMTP(host, port, "laptop", timeout=10) as client:
            client.starttls(context=contexts()[1])
            client.login(ALICE, drop.token(ALICE))
            client.sendmail(ALICE, recipients, MAIL, ["X-LEAP-SUBMISSION=one"])

    await asyncio.to_thread(run)


def arrival(drop: MemoryMailDrop) -> asyncio.Event:
    event = asyncio.Event()
    drop.on_delivery = event.set
    return event


async def test_mail_goes_from_one_provider_to_the_other(tmp_path: Path) -> None:
    async with (
        provider(tmp_path / "other", CAROL) as (there, other),
        provider(tmp_path / "here", ALICE, other=other.mx_address) as (here, servers),
    ):
        arrived = arrival(there)
        await submit(here, servers, CAROL, ALICE)
        async with asyncio.timeout(5):
            await arrived.wait()
        (mail,) = there.opened(CAROL)
        assert mail.endswith(MAIL)
        trace = mail.removesuffix(MAIL).split(b"Received: ")
        assert trace[0] == b"Return-Path: <alice@example.test>\r\n"
        assert b"by mx.other.test with ESMTPS id " in trace[1]
        assert trace[2].startswith(b"by mx.example.test with ESMTPSA id ")
        assert here.opened(ALICE)[0].endswith(MAIL)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"marker-of-this-mail" not in file.read_bytes()


async def test_mail_to_nobody_over_there_comes_back_as_a_report(tmp_path: Path) -> None:
    async with (
        provider(tmp_path / "other", CAROL) as (_, other),
        provider(tmp_path / "here", ALICE, other=other.mx_address) as (here, servers),
    ):
        arrived = arrival(here)
        await submit(here, servers, "nobody@other.test")
        async with asyncio.timeout(5):
            await arrived.wait()
        (report,) = here.opened(ALICE)
    assert b"550 5.1.1 There is no such mailbox here." in report


async def test_a_taken_port_leaves_nothing_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        db = await Database.open(tmp_path / "provider.db", key=None)
        drop = MemoryMailDrop(db, ALICE)
        free = socket.create_server(("127.0.0.1", 0))
        mx = free.getsockname()
        free.close()
        with pytest.raises(OSError, match="address already in use"):
            await start_mail(
                drop,
                domain="example.test",
                hostname="mx.example.test",
                routes={},
                tls=None,
                mx=mx,
                submission=taken.getsockname(),
            )
        with socket.create_server(mx):
            pass
        await db.close()
