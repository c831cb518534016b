"""What a mail program asks by DSN and REQUIRETLS, from the local server to the provider, and reports made here."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from leap.mail.delivery_wishes import DeliveryNotice, DeliveryWishes, Occasion
from leap.mail.message import Message
from leap.mail.outgoing.gateway import gateway_handler
from leap.mail.outgoing.reporting import DELAY
from leap.mail.outgoing.submission import Refused, SmtpSubmission, SubmissionUnavailable
from leap.mail.sent_fields import read_sent_fields
from leap.mail.smtp import SmtpConfig, SmtpServer, Timeouts, serve_smtp
from tests.mail.outgoing.test_gateway import Sessions
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.conversation import PASSWORD, DecidingHandler
from tests.mail.travel import DOMAIN, Person, mail

ALICE, BOB, EVE = f"alice@{DOMAIN}", f"bob@{DOMAIN}", "eve@elsewhere.test"
NO = "no@x.test"
CONFIG = SmtpConfig(
    hostname="localhost",
    max_size=1_000_000,
    auth="required",
    dsn=True,
    require_tls=True,
    timeouts=Timeouts(auth_failure=0.0, shutdown=1.0),
)


def about(address: str, *notify: Occasion, **more: object) -> DeliveryWishes:
    return DeliveryWishes(notices={address: DeliveryNotice(notify=notify)}, **more)  # type: ignore[arg-type]


async def state(alice: Person) -> str:
    (entry,) = await alice.outgoing.entries()
    return entry.state


@pytest.fixture
async def gateway(alice: Person) -> AsyncIterator[SmtpServer]:
    config = replace(CONFIG, tls=contexts()[0], implicit_tls=True, auth_needs_tls=False)
    server = await serve_smtp(lambda: gateway_handler(Sessions(alice)), config)
    yield server
    await server.close()


async def test_what_a_mail_program_asks_reaches_the_provider(
    gateway: SmtpServer, alice: Person
) -> None:
    def run() -> object:
        host, port = gateway.address
        with smtplib.SMTP_SSL(str(host), int(port), timeout=10, context=contexts()[1]) as client:
            client.login(ALICE, "right")
            return client.sendmail(
                ALICE,
                [EVE],
                mail(to=EVE),
                ["RET=HDRS", "ENVID=a+2Bb", "REQUIRETLS"],
                ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;eve@old.test"],
            )

    assert await asyncio.to_thread(run) == {}
    await alice.sender.process_due()
    (asked,) = alice.provider.wishes
    assert asked == DeliveryWishes(
        returned="HDRS",
        envelope_id="a+b",
        require_tls=True,
        notices={
            EVE: DeliveryNotice(notify=("SUCCESS", "FAILURE"), original="rfc822;eve@old.test")
        },
    )


async def test_each_copy_carries_what_was_asked_for_its_own_recipients(
    alice: Person, bob: Person
) -> None:
    notices = {BOB: DeliveryNotice(notify=()), "carol@x.test": DeliveryNotice(notify=("SUCCESS",))}
    await alice.outgoing.submit(mail(), ALICE, [BOB], None, DeliveryWishes(notices=notices))
    await alice.sender.process_due()
    assert [one.notices for one in alice.provider.wishes] == [{BOB: DeliveryNotice(notify=())}]


async def test_who_wants_to_hear_nothing_finds_no_report(alice: Person) -> None:
    alice.provider.replies = {NO: (550, "5.1.1 No")}
    await alice.outgoing.submit(mail(to=NO), ALICE, [NO], None, about(NO))
    await alice.sender.process_due()
    assert await state(alice) == "failed"
    assert await alice.messages() == []


async def test_sent_tells_of_a_failure_to_who_wants_no_report(alice: Person) -> None:
    alice.provider.replies = {NO: (550, "5.1.1 No")}
    await alice.outgoing.submit(mail(to=NO), ALICE, [NO], None, about(NO))
    await alice.sender.process_due()
    boxes = await alice.account.list_mailboxes()
    (sent,) = (one.mailbox_id for one in boxes if one.special_use == "\\Sent")
    (row,) = await alice.account.rows(sent)
    (told,) = read_sent_fields(await alice.account.read(row.row_id))
    assert (told.address, told.state) == (NO, "failed")


async def test_a_report_gives_back_what_was_asked_for(alice: Person) -> None:
    alice.provider.replies = {NO: (550, "5.1.1 No")}
    notice = DeliveryNotice(notify=("FAILURE",), original="rfc822;list@lists.test")
    asked = DeliveryWishes(returned="FULL", envelope_id="e1", notices={NO: notice})
    await alice.outgoing.submit(mail(to=NO, body=b"the body\r\n"), ALICE, [NO], None, asked)
    await alice.sender.process_due()
    (raw,) = await alice.messages()
    assert b"Original-Envelope-Id: e1\r\n" in raw
    assert b"Original-Recipient: rfc822; list@lists.test\r\nFinal-Recipient: rfc822; no@x" in raw
    original = Message(raw).root.children[2]
    assert original.content_type == "message/rfc822"
    assert b"the body" in raw


@pytest.mark.parametrize("asked", [True, False])
async def test_a_delay_is_told_once_and_only_to_who_asked(alice: Person, asked: bool) -> None:
    alice.provider.offline = True
    wishes = about(EVE, "DELAY") if asked else DeliveryWishes()
    raw = mail(to=EVE, extra=b"X-Leap-Encrypt: never\r\n")
    await alice.outgoing.submit(raw, ALICE, [EVE], None, wishes)
    for _ in range(4):
        await alice.sender.process_due()
        alice.clock.time += DELAY
    found = await alice.messages()
    if not asked:
        assert found == []
        return
    (report,) = found
    assert b"Subject: Not delivered yet: The secret plan\r\n" in report
    assert b"Action: delayed\r\nStatus: 4.0.0\r\nWill-Retry-Until: " in report
    assert await state(alice) == "sending"


async def test_the_same_mail_with_other_wishes_is_another_mail(alice: Person) -> None:
    raw = mail(to=EVE)
    first = await alice.outgoing.submit(raw, ALICE, [EVE])
    assert await alice.outgoing.submit(raw, ALICE, [EVE]) == first
    asked = DeliveryWishes(require_tls=True)
    assert await alice.outgoing.submit(raw, ALICE, [EVE], None, asked) != first


async def test_the_outside_of_an_encrypted_mail_says_what_servers_must_know(
    alice: Person, bob: Person
) -> None:
    raw = mail(extra=b"TLS-Required: No\r\n")
    await alice.outgoing.submit(raw, ALICE, [BOB])
    await alice.sender.process_due()
    outer = alice.provider.submitted[0][3].partition(b"\r\n\r\n")[0]
    assert b"\r\nTLS-Required: No" in outer
    await bob.incoming.process_once()
    assert (await bob.messages())[0].endswith(raw)


# -- over the wire to the provider -----------------------------------------------------------


def client(
    server: SmtpServer, token: str = PASSWORD, tls: ssl.SSLContext | None = None
) -> SmtpSubmission:
    return SmtpSubmission(
        "localhost",
        int(server.address[1]),
        user="alice",
        token=lambda: token,
        tls=tls or contexts()[1],
    )


@pytest.mark.parametrize(
    ("subject", "is_asked"),
    [("Grüße".encode(), True), ("Grüße".encode("latin-1"), False), (b"Greetings", False)],
)
async def test_fields_in_utf8_are_announced(subject: bytes, is_asked: bool) -> None:
    handler = DecidingHandler()
    server = await serve_smtp(lambda: handler, replace(CONFIG, tls=contexts()[0]))
    submission = client(server)
    await submission.submit("id", ALICE, ["bob@x.test"], b"Subject: " + subject + b"\r\n\r\nx\r\n")
    await submission.close()
    await server.close()
    assert [envelope.smtputf8 for envelope in handler.envelopes] == [is_asked]


async def send(
    config: SmtpConfig, wishes: DeliveryWishes, token: str = PASSWORD
) -> tuple[DecidingHandler, dict[str, tuple[int, str]]]:
    handler = DecidingHandler()
    server = await serve_smtp(lambda: handler, replace(config, tls=contexts()[0]))
    submission = client(server, token)
    try:
        result = await submission.submit("id", ALICE, ["bob@x.test"], mail(), wishes)
    finally:
        await submission.close()
        await server.close()
    return handler, result


async def test_wishes_are_said_to_a_provider_that_knows_them() -> None:
    asked = about("bob@x.test", "SUCCESS", returned="HDRS", envelope_id="a=b", require_tls=True)
    handler, _ = await send(CONFIG, asked)
    assert handler.envelopes[0].wishes == asked


async def test_a_provider_without_dsn_hears_nothing_of_it() -> None:
    handler, result = await send(replace(CONFIG, dsn=False), about("bob@x.test", "SUCCESS"))
    assert handler.envelopes[0].wishes == DeliveryWishes()
    assert result["bob@x.test"][0] == 250


async def test_mail_that_requires_tls_is_not_given_to_a_provider_that_does_not_promise_it() -> None:
    handler, result = await send(
        replace(CONFIG, require_tls=False), DeliveryWishes(require_tls=True)
    )
    assert handler.mails == []
    assert isinstance(result["bob@x.test"], Refused)
    assert result["bob@x.test"][1].startswith("5.7.30 ")


async def test_the_token_is_not_sent_where_scram_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoPlain(DecidingHandler):
        async def authenticate(self, user: str, password: str) -> str | None:
            raise AssertionError("the password was sent")

    handler = NoPlain()
    server = await serve_smtp(lambda: handler, replace(CONFIG, tls=contexts()[0], scram=True))
    submission = client(server)
    result = await submission.submit("id", "alice@x.test", ["bob@x.test"], mail())
    await submission.close()
    await server.close()
    assert result["bob@x.test"][0] == 250
    assert handler.sessions == ["ESMTPSA"]


async def test_a_wrong_token_is_a_log_in_that_failed() -> None:
    with pytest.raises(SubmissionUnavailable, match="does not accept this device's log-in"):
        await send(replace(CONFIG, scram=True), DeliveryWishes(), token="wrong")


async def test_a_server_that_does_not_know_the_token_gets_no_mail() -> None:
    """It accepts any proof, and cannot make its own."""

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")
            await writer.drain()

        await say("220 x")
        await reader.readline()
        await say("250-x\r\n250 STARTTLS")
        await reader.readline()
        await say("220 go")
        await writer.start_tls(contexts()[0])
        await reader.readline()
        await say("250-x\r\n250 AUTH SCRAM-SHA-256 PLAIN")
        first = base64.b64decode((await reader.readline()).split()[2])
        nonce = first.rpartition(b"r=")[2].decode()
        await say("334 " + base64.b64encode(f"r={nonce}x,s=AAAA,i=4096".encode()).decode())
        await reader.readline()
        await say("334 " + base64.b64encode(b"v=" + base64.b64encode(b"x" * 32)).decode())
        heard.set_result(await reader.read())
        writer.close()

    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = await asyncio.start_server(impostor, sock=sock)
        port = sock.getsockname()[1]
        submission = SmtpSubmission(
            "localhost", port, user="alice", token=lambda: PASSWORD, tls=contexts()[1]
        )
        with pytest.raises(SubmissionUnavailable, match="could not show that it knows"):
            await submission.submit("id", ALICE, ["bob@x.test"], mail())
        await submission.close()
        async with asyncio.timeout(10):
            assert await heard == b""
        server.close()
        await server.wait_closed()
