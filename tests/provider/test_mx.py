"""The MX on a real socket: who gets mail, how it lies there, and that nothing is lost or leaked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import ProviderChecks
from leap.mail.incoming.provider_checks import provider_checks
from leap.mail.smtp import SmtpServer, serve_smtp
from leap.provider.mx import MxHandler, mx_config
from leap.provider.mx.authentication import MailChecks
from leap.provider.mx.trace import MAX_HOPS
from leap.soledad.errors import BadKeyset, StoreFull
from leap.soledad.inbox_seal import InboxKey, seal_to_inbox
from leap.soledad.sqlite import Database
from leap.soledad.wire import MAX_MESSAGE_BYTES
from tests.provider.mail_drop import MemoryMailDrop
from tests.provider.zone import Zone

MAIL = b"Subject: x\r\nX-8: \xff\r\n\r\n.dot\r\nmarker-of-this-mail\r\n"


@pytest.fixture
async def drop(tmp_path: Path) -> AsyncIterator[MemoryMailDrop]:
    db = await Database.open(tmp_path / "provider.db", key=None)
    yield MemoryMailDrop(db, "alice@example.test", "bob@example.test")
    await db.close()


class Mx:
    def __init__(self, server: SmtpServer) -> None:
        self.server = server

    async def send(
        self, *recipients: str, sender: str = "eve@else.test", mail: bytes = MAIL, options: str = ""
    ) -> list[int]:
        """The codes of MAIL, each RCPT, DATA and the mail."""

        def run() -> list[int]:
            host, port = self.server.address
            with smtplib.SMTP(str(host), int(port), "client.test", timeout=10) as client:
                client.ehlo()
                codes = [client.mail(sender, [options] if options else [])[0]]
                codes += [client.rcpt(recipient)[0] for recipient in recipients]
                if any(code == 250 for code in codes[1:]):
                    codes.append(client.data(mail)[0])
                return codes

        return await asyncio.to_thread(run)


@contextlib.asynccontextmanager
async def running(drop: MemoryMailDrop, **more: object) -> AsyncIterator[Mx]:
    server = await serve_smtp(
        lambda: MxHandler(drop, domain="example.test", hostname="mx.example.test", **more),  # type: ignore[arg-type]
        mx_config("mx.example.test", None),
    )
    try:
        yield Mx(server)
    finally:
        await server.close()


async def test_mail_is_sealed_to_each_recipient_behind_its_trace_fields(
    drop: MemoryMailDrop,
) -> None:
    async with running(drop) as mx:
        assert await mx.send("Bob@Example.test", "alice@example.test") == [250, 250, 250, 250]
    for address, named in (("bob@example.test", b"Bob"), ("alice@example.test", b"alice")):
        (opened,) = drop.opened(address)
        assert re.fullmatch(
            rb"Return-Path: <eve@else\.test>\r\nReceived: from client\.test \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby mx\.example\.test with ESMTP id [0-9a-f]{16}\r\n\tfor <"
            + named
            + rb"@example\.test>;\r\n\t[^\r\n]+\r\n"
            + re.escape(MAIL),
            opened,
        ), opened
    assert all(b"marker-of-this-mail" not in one.sealed for one in drop.inbox)


@pytest.mark.parametrize(
    "address",
    [
        "bob@else.test",
        "bob@example.test.else.test",
        "bob@[127.0.0.1]",
        '"bob@else.test"@relay.test',
        "bob%else.test@relay.test",
    ],
)
async def test_nothing_is_relayed(drop: MemoryMailDrop, address: str) -> None:
    async with running(drop) as mx:
        assert await mx.send(address, sender="alice@example.test") == [250, 550]


async def test_a_source_route_does_not_relay_either(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        assert await mx.send("<@example.test:bob@else.test>") == [250, 550]


@pytest.mark.parametrize("address", ["nobody@example.test", "<postmaster>", "+tag@example.test"])
async def test_an_unknown_user_is_refused_at_rcpt(drop: MemoryMailDrop, address: str) -> None:
    async with running(drop) as mx:
        assert await mx.send(address, "bob@example.test") == [250, 550, 250, 250]
    assert len(drop.inbox) == 1


@pytest.mark.parametrize("address", ["<postmaster>", "<PostMaster>", "postmaster@example.test"])
async def test_postmaster_is_reached_where_that_account_exists(
    drop: MemoryMailDrop, address: str
) -> None:
    drop.add("postmaster@example.test")  # RFC 5321 4.5.1
    async with running(drop) as mx:
        assert await mx.send(address) == [250, 250, 250]
    assert b"\tfor <postmaster@example.test>" in drop.opened("postmaster@example.test")[0]


async def test_a_tag_is_its_owners(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        assert await mx.send("bob+lists@example.test") == [250, 250, 250]
    assert b"\tfor <bob+lists@example.test>" in drop.opened("bob@example.test")[0]


async def test_one_mail_is_delivered_once_to_a_user_named_twice(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        assert await mx.send("bob@example.test", "BOB@example.test") == [250, 250, 250, 250]
    assert len(drop.inbox) == 1


def cannot_seal(data: bytes, key: InboxKey, account: str) -> bytes:
    raise BadKeyset("marker-of-this-mail")


async def test_what_cannot_be_sealed_stays_with_the_sender(
    drop: MemoryMailDrop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with running(drop, seal=cannot_seal) as mx:
            assert await mx.send("bob@example.test") == [250, 250, 451]
    assert drop.inbox == []
    assert "BadKeyset" in caplog.text
    assert "marker-of-this-mail" not in caplog.text


async def test_one_recipient_who_cannot_be_sealed_to_keeps_the_mail_from_all(
    drop: MemoryMailDrop,
) -> None:
    def half(data: bytes, key: InboxKey, account: str) -> bytes:
        if account == "bob":
            raise BadKeyset("no key")
        return seal_to_inbox(data, key, account)

    async with running(drop, seal=half) as mx:
        assert await mx.send("alice@example.test", "bob@example.test") == [250, 250, 250, 451]
    assert drop.inbox == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(OSError("disk"), 451), (RuntimeError("x"), 451), (StoreFull("the disk is full"), 452)],
)
async def test_what_cannot_be_stored_stays_with_the_sender(
    drop: MemoryMailDrop, failure: Exception, code: int
) -> None:
    async with running(drop) as mx:
        drop.failure = failure
        assert await mx.send("bob@example.test") == [250, 250, code]
        assert drop.inbox == []
        drop.failure = None
        assert await mx.send("bob@example.test") == [250, 250, 250]


async def test_an_account_that_goes_between_rcpt_and_data_is_no_loss(drop: MemoryMailDrop) -> None:
    class Vanishing(MxHandler):
        async def message(self, *arguments: object) -> object:  # type: ignore[override]
            drop.remove("bob@example.test")
            return await super().message(*arguments)  # type: ignore[arg-type]

    handler = Vanishing(drop, domain="example.test", hostname="mx.example.test")
    server = await serve_smtp(lambda: handler, mx_config("mx.example.test", None))
    assert await Mx(server).send("bob@example.test") == [250, 250, 451]
    await server.close()


async def test_accounts_that_cannot_be_looked_up_are_no_unknown_users(
    drop: MemoryMailDrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(address: str) -> None:
        raise OSError("database")

    monkeypatch.setattr(drop, "find_account", broken)
    async with running(drop) as mx:
        assert await mx.send("bob@example.test") == [250, 451]


async def test_250_comes_after_the_delivery(drop: MemoryMailDrop) -> None:
    order: list[str] = []
    drop.on_delivery = lambda: order.append("stored")
    async with running(drop) as mx:
        await mx.send("bob@example.test")
        order.append("answered")
    assert order == ["stored", "answered"]


async def test_a_mail_in_a_loop_is_stopped(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        looped = b"Received: x\r\n" * MAX_HOPS + MAIL
        assert await mx.send("bob@example.test", mail=looped) == [250, 250, 554]
        once_less = b"Received: x\r\n" * (MAX_HOPS - 1) + MAIL
        assert await mx.send("bob@example.test", mail=once_less) == [250, 250, 250]


async def test_a_mail_over_the_limit_is_refused_at_mail(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        codes = await mx.send("bob@example.test", options=f"SIZE={MAX_MESSAGE_BYTES + 1}")
        assert codes == [552, 503]
        codes = await mx.send("bob@example.test", options=f"SIZE={MAX_MESSAGE_BYTES}")
        assert codes == [250, 250, 250]


async def test_a_large_mail_is_sealed_beside_the_loop(drop: MemoryMailDrop) -> None:
    mail = b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 20_000
    async with running(drop) as mx:
        assert await mx.send("bob@example.test", mail=mail) == [250, 250, 250]
    assert drop.opened("bob@example.test")[0].endswith(mail)


async def test_a_server_that_repeats_itself_delivers_once(drop: MemoryMailDrop) -> None:
    async with running(drop) as mx:
        for _ in range(2):
            options = "X-LEAP-SUBMISSION=one"
            assert await mx.send("bob@example.test", options=options) == [250, 250, 250]
        assert len(drop.inbox) == 1
        # Another sender with the same id is another mail.
        await mx.send("bob@example.test", sender="mallory@else.test", options=options)
    assert len(drop.inbox) == 2


async def test_junk_under_a_known_id_keeps_nothing_from_arriving(drop: MemoryMailDrop) -> None:
    real = MAIL.replace(b"Subject: x", b"Subject: real")
    for junk, true in ((MAIL, real), (b"x" * 300_000 + b"\r\n", b"y" * 300_000 + b"\r\n")):
        drop.inbox.clear()
        async with running(drop) as mx:
            for mail in (junk, true, true):
                options = "X-LEAP-SUBMISSION=one"
                sent = await mx.send("bob@example.test", mail=mail, options=options)
                assert sent == [250, 250, 250]
        assert [one.endswith(true) for one in drop.opened("bob@example.test")] == [False, True]


# --- who sent it ------------------------------------------------------------------------------

DOMAIN = "example.test"
FROM_EVE = b"From: eve@else.test\r\nSubject: x\r\n\r\nhello\r\n"


def checks() -> MailChecks:
    """else.test sends from here and nowhere else; bank.test from elsewhere."""
    return MailChecks(
        Zone(
            {
                "else.test": [("TXT", "v=spf1 ip4:127.0.0.1 -all")],
                "_dmarc.else.test": [("TXT", "v=DMARC1; p=reject")],
                "bank.test": [("TXT", "v=spf1 -all")],
                "_dmarc.bank.test": [("TXT", "v=DMARC1; p=reject")],
            }
        )
    )


async def test_what_the_mx_found_is_sealed_with_the_mail(drop: MemoryMailDrop) -> None:
    async with running(drop, checks=checks()) as mx:
        assert await mx.send("bob@example.test", mail=FROM_EVE) == [250, 250, 250]
    (opened,) = drop.opened("bob@example.test")
    assert opened.startswith(
        b"Return-Path: <eve@else.test>\r\nAuthentication-Results: example.test;\r\n"
        b"\tspf=pass smtp.mailfrom=else.test;\r\n\tdkim=none;\r\n"
        b"\tdmarc=pass header.from=else.test policy.dmarc=reject\r\nReceived: from client.test"
    )
    assert opened.endswith(b"\r\n" + FROM_EVE)
    assert provider_checks(opened, DOMAIN) == ProviderChecks(
        spf="pass",
        spf_domain="else.test",
        dmarc="pass",
        dmarc_domain="else.test",
        policy="reject",
    )


FORGED = b"Authentication-Results: example.test; dmarc=pass header.from=bank.test\r\n"
TRACE = (
    b"Return-Path: <ceo@bank.test>\r\nAuthentication-Results: example.test;\r\n"
    b"\tspf=pass smtp.mailfrom=bank.test;\r\n\tdkim=none;\r\n\tdmarc=pass header.from=bank.test\r\n"
    b"Received: from bank.test ([192.0.2.1])\r\n\tby mx.example.test with ESMTP id 1;\r\n\tnow\r\n"
)


@pytest.mark.parametrize("with_checks", [True, False])
@pytest.mark.parametrize(
    "forged",
    [
        FORGED,
        FORGED.lower(),
        FORGED.replace(b": ", b" : ("),
        FORGED.replace(b": ", b":\r\n\t"),
        FORGED.replace(b"example", b"MX.example"),
        TRACE,
        b"X: y\x0b" + FORGED,
    ],
)
async def test_what_a_sender_writes_in_our_name_is_gone(
    drop: MemoryMailDrop, forged: bytes, with_checks: bool
) -> None:
    mail = forged + b"From: ceo@bank.test\r\n\r\nhello\r\n"
    async with running(drop, **({"checks": checks()} if with_checks else {})) as mx:
        codes = await mx.send("bob@example.test", sender="ceo@bank.test", mail=mail)
        assert codes == [250, 250, 250]
    (opened,) = drop.opened("bob@example.test")
    header = opened.partition(b"\r\n\r\n")[0].lower()
    assert header.count(b"authentication-results") == with_checks
    assert b"dmarc=pass" not in header
    found = provider_checks(opened, DOMAIN)
    assert (found is not None) is with_checks
    assert found is None or (found.spf, found.dmarc) == ("fail", "fail")


async def test_a_sender_that_looks_like_fields_writes_none(drop: MemoryMailDrop) -> None:
    sender = '"x> authentication-results: example.test; dmarc=pass"@else.test'
    async with running(drop, checks=checks()) as mx:
        await mx.send("bob@example.test", sender=sender, mail=FROM_EVE)
    for opened in drop.opened("bob@example.test"):
        assert provider_checks(opened, DOMAIN) is not None


async def test_disowned_mail_is_refused_where_the_operator_wants_it(drop: MemoryMailDrop) -> None:
    mail = FROM_EVE.replace(b"eve@else", b"ceo@bank")
    async with running(drop, checks=checks(), refuse_disowned=True) as mx:
        assert await mx.send("bob@example.test", mail=mail) == [250, 250, 550]
        assert drop.inbox == []
        assert await mx.send("bob@example.test", mail=FROM_EVE) == [250, 250, 250]
    async with running(drop, checks=checks()) as mx:
        assert await mx.send("bob@example.test", mail=mail) == [250, 250, 250]


async def test_a_dns_that_does_not_answer_loses_no_mail(drop: MemoryMailDrop) -> None:
    dns = Zone({"else.test": [("FAIL", "")], "_dmarc.else.test": [("FAIL", "")]})
    async with running(drop, checks=MailChecks(dns), refuse_disowned=True) as mx:
        assert await mx.send("bob@example.test", mail=FROM_EVE) == [250, 250, 250]
    (opened,) = drop.opened("bob@example.test")
    found = provider_checks(opened, DOMAIN)
    assert found is not None
    assert (found.spf, found.dmarc) == ("temperror", "temperror")
