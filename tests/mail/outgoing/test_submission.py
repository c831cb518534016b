"""Handing mail to a provider over real sockets: TLS that is verified, ids, and a result for each recipient."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiosmtplib import SMTP

from leap.mail.outgoing.submission import Refused, SmtpSubmission, SubmissionUnavailable
from leap.mail.smtp.contract import SmtpConfig, Timeouts
from leap.mail.smtp.transport import SmtpServer, serve_smtp
from leap.mail.smtp.wire import Reply
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.conversation import PASSWORD, DecidingHandler

ALICE = "alice@example.test"
CONFIG = SmtpConfig(
    hostname="localhost",
    max_size=100_000,
    auth="required",
    submission_ids=True,
    timeouts=Timeouts(auth_failure=0.0, shutdown=1.0),
)


@pytest.fixture
def handler() -> DecidingHandler:
    return DecidingHandler()


@pytest.fixture
async def server(handler: DecidingHandler) -> AsyncIterator[SmtpServer]:
    server = await serve_smtp(lambda: handler, replace(CONFIG, tls=contexts()[0]))
    yield server
    await server.close()


def client(server: SmtpServer, token: str | None = PASSWORD, **changes: object) -> SmtpSubmission:
    settings: dict[str, object] = {"user": ALICE, "token": lambda: token, "tls": contexts()[1]}
    return SmtpSubmission("localhost", int(server.address[1]), **{**settings, **changes})  # type: ignore[arg-type]


async def test_a_mail_arrives_with_its_id_over_tls(
    server: SmtpServer, handler: DecidingHandler
) -> None:
    submission = client(server)
    raw = b"Subject: x\r\n\r\n.dot\r\n\xff\r\n"
    for number in range(3):
        result = await submission.submit(f"id-{number}", ALICE, ["bob@x.test"], raw)
        assert result == {"bob@x.test": (250, "2.0.0 Kept.")}
    assert [envelope.submission_id for envelope in handler.envelopes] == ["id-0", "id-1", "id-2"]
    assert handler.mails == [(ALICE, ("bob@x.test",), raw)] * 3
    assert handler.sessions == ["ESMTPSA"] * 3
    await submission.close()


async def test_each_recipient_has_a_result(server: SmtpServer, handler: DecidingHandler) -> None:
    submission = client(server)
    everyone = ["bob@x.test", "no@x.test", "later@x.test"]
    result = await submission.submit("i", ALICE, everyone, b"S: x\r\n\r\nb\r\n")
    assert result == {
        "bob@x.test": (250, "2.0.0 Kept."),
        "no@x.test": (550, "5.1.1 No such user."),
        "later@x.test": (451, "4.3.0 Cannot look."),
    }
    assert handler.mails[0][1] == ("bob@x.test",)
    # Only before the message was sent it is certain that nobody has it.
    assert {one for one in everyone if isinstance(result[one], Refused)} == {
        "no@x.test",
        "later@x.test",
    }
    assert await submission.submit("j", ALICE, ["no@x.test"], b"S: x\r\n\r\nb\r\n") == {
        "no@x.test": (550, "5.1.1 No such user.")
    }
    full = await submission.submit("k", ALICE, ["full@x.test"], b"S: x\r\n\r\nb\r\n")
    assert full == {"full@x.test": (452, "4.3.1 Full.")}
    assert not isinstance(full["full@x.test"], Refused)
    await submission.close()


async def test_a_refused_sender_or_size_settles_all_recipients(server: SmtpServer) -> None:
    submission = client(server)
    result = await submission.submit("i", "no@x.test", ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert result["bob@x.test"][0] == 550
    result = await submission.submit("i", ALICE, ["bob@x.test"], b"x" * 200_000)
    assert result["bob@x.test"][0] == 552
    await submission.close()


async def test_an_unverified_server_gets_nothing(
    server: SmtpServer, handler: DecidingHandler
) -> None:
    submission = client(server, tls=ssl.create_default_context())
    with pytest.raises(SubmissionUnavailable, match="certificate"):
        await submission.submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert handler.mails == []
    assert handler.sessions == []
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        client(server, tls=careless)


async def test_a_server_without_tls_gets_nothing(handler: DecidingHandler) -> None:
    plain = await serve_smtp(lambda: handler, replace(CONFIG, auth_needs_tls=False))
    submission = client(plain)
    with pytest.raises(SubmissionUnavailable):
        await submission.submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert handler.mails == []
    await plain.close()


async def test_a_lost_login_says_what_to_do(server: SmtpServer) -> None:
    for token in ("wrong", None):
        with pytest.raises(SubmissionUnavailable, match="log in again") as refused:
            await client(server, token).submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
        assert not refused.value.may_have_arrived


async def test_an_answer_that_is_lost_after_the_message_is_not_taken_for_nothing(
    server: SmtpServer, handler: DecidingHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = client(server)
    message = handler.message

    async def then_gone(*arguments: Any) -> Any:
        await message(*arguments)
        submission._idle.clear()
        connections[0].close()
        return Reply(250, "2.0.0", "Kept.")

    connections: list[SMTP] = []
    connect = submission._connect

    async def remembered() -> SMTP:
        connections.append(await connect())
        return connections[-1]

    monkeypatch.setattr(submission, "_connect", remembered)
    monkeypatch.setattr(handler, "message", then_gone)
    with pytest.raises(SubmissionUnavailable, match="before it answered") as lost:
        await submission.submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert lost.value.may_have_arrived
    assert len(handler.mails) == 1
    await submission.close()


async def test_nobody_listening_is_unavailable(server: SmtpServer) -> None:
    submission = client(server)
    await server.close()
    with pytest.raises(SubmissionUnavailable, match="cannot be reached") as away:
        await submission.submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert not away.value.may_have_arrived


async def test_a_connection_the_server_dropped_is_replaced(handler: DecidingHandler) -> None:
    config = replace(CONFIG, tls=contexts()[0])
    server = await serve_smtp(lambda: handler, config)
    submission = client(server)
    await submission.submit("i", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    host, port = server.address[:2]
    await server.close()
    server = await serve_smtp(lambda: handler, config, str(host), int(port))
    await submission.submit("j", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
    assert [envelope.submission_id for envelope in handler.envelopes] == ["i", "j"]
    await submission.close()
    await server.close()


async def test_many_at_once_use_few_connections(
    server: SmtpServer, handler: DecidingHandler
) -> None:
    submission = client(server)
    await asyncio.gather(
        *(
            submission.submit(f"i{n}", ALICE, ["bob@x.test"], b"S: x\r\n\r\nb\r\n")
            for n in range(20)
        )
    )
    assert len(handler.mails) == 20
    assert len(submission._idle) <= 4
    await submission.close()
