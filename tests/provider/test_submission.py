"""Submission on a real socket: who may send what to whom, and what is durable when 250 comes."""

from __future__ import annotations

import asyncio
import os
import re
import smtplib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from leap.mail.contract import ProviderChecks
from leap.mail.delivery_wishes import DeliveryNotice
from leap.mail.incoming.provider_checks import provider_checks
from leap.mail.smtp import SmtpServer, serve_smtp
from leap.mail.smtp.scram import ScramClient
from leap.provider.contract import Delivery
from leap.provider.queue import QueueStorage, Routes
from leap.provider.submission import SubmissionHandler, submission_config
from leap.provider.submission import handler as handler_module
from leap.soledad.errors import StoreFull
from leap.soledad.sqlite import Database
from tests.mail.smtp.certificate import contexts
from tests.provider.mail_drop import MemoryMailDrop

ALICE = "alice@example.test"
BOB = "bob@example.test"
CAROL = "carol@other.test"
MAIL = b"From: Alice <alice@example.test>\r\nSubject: x\r\n\r\nmarker-of-this-mail\r\n"


class Desk:
    def __init__(self, drop: MemoryMailDrop, queue: QueueStorage, server: SmtpServer) -> None:
        self.drop = drop
        self.queue = queue
        self.server = server
        self.encrypted = True

    async def talk(self, job: Callable[[smtplib.SMTP], object], user: str = ALICE) -> object:
        """Holds a conversation as a user who is logged in."""

        def run() -> object:
            host, port = self.server.address
            with smtplib.SMTP(str(host), int(port), "laptop.home", timeout=10) as client:
                if self.encrypted:
                    client.starttls(context=contexts()[1])
                    client.login(user, self.drop.token(ALICE))
                else:
                    client.ehlo()
                return job(client)

        return await asyncio.to_thread(run)

    async def send(
        self, *recipients: str, sender: str = ALICE, submission: str = "", mail: bytes = MAIL
    ) -> list[int]:
        def job(client: smtplib.SMTP) -> list[int]:
            options = [f"X-LEAP-SUBMISSION={submission}"] if submission else []
            codes = [client.mail(sender, options)[0]]
            codes += [client.rcpt(recipient)[0] for recipient in recipients]
            if any(code == 250 for code in codes[1:]):
                codes.append(client.data(mail)[0])
            return codes

        codes = await self.talk(job)
        assert isinstance(codes, list)
        return codes


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    db = await Database.open(tmp_path / "provider.db", key=None)
    drop = MemoryMailDrop(db, ALICE, BOB)
    queue = await QueueStorage.open(db)

    def handler() -> SubmissionHandler:
        return SubmissionHandler(
            drop,
            queue,
            domain="example.test",
            hostname="mx.example.test",
            routes=Routes({"Other.test": ("127.0.0.1", 1)}),
        )

    settings = submission_config("mx.example.test", contexts()[0])
    settings = replace(settings, timeouts=replace(settings.timeouts, auth_failure=0))
    server = await serve_smtp(handler, settings)
    yield Desk(drop, queue, server)
    await server.close()
    await db.close()


async def test_mail_between_users_arrives_sealed_and_names_no_client(desk: Desk) -> None:
    assert await desk.send(BOB) == [250, 250, 250]
    (opened,) = desk.drop.opened(BOB)
    assert re.fullmatch(
        rb"Return-Path: <alice@example\.test>\r\n"
        rb"Authentication-Results: example\.test;\r\n\tauth=pass smtp\.auth=alice@example\.test\r\n"
        rb"Received: by mx\.example\.test with ESMTPSA id [0-9a-f]{16};\r\n\t[^\r\n]+\r\n"
        + re.escape(MAIL),
        opened,
    ), opened
    assert await desk.queue.waiting() == 0


async def test_what_a_user_writes_in_the_providers_name_is_gone(desk: Desk) -> None:
    forged = (
        b"Authentication-Results: example.test; auth=pass smtp.auth=bob@example.test\r\n" + MAIL
    )
    assert await desk.send(BOB, mail=forged) == [250, 250, 250]
    (opened,) = desk.drop.opened(BOB)
    assert opened.count(b"Authentication-Results") == 1
    assert opened.endswith(b"\r\n" + MAIL)
    found = provider_checks(opened, "example.test")
    assert found == ProviderChecks(submitter=ALICE)


async def test_nothing_goes_without_encryption(desk: Desk) -> None:
    desk.encrypted = False

    def job(client: smtplib.SMTP) -> tuple[int, int]:
        assert not client.has_extn("auth")
        return client.docmd("AUTH", "PLAIN AGEAYg==")[0], client.mail(ALICE)[0]

    assert await desk.talk(job) == (538, 530)


async def test_a_wrong_token_logs_nobody_in(desk: Desk) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await desk.talk(lambda client: None, user=BOB)


async def test_the_user_name_may_have_any_case(desk: Desk) -> None:
    assert await desk.talk(lambda client: client.mail(ALICE)[0], user="Alice@Example.TEST") == 250


@pytest.mark.parametrize(
    "sender", [BOB, "alice@else.test", "", "alice+x@else.test", "+a@example.test"]
)
async def test_only_the_own_address_can_send(desk: Desk, sender: str) -> None:
    assert (await desk.send(BOB, sender=sender))[0] == 550
    assert desk.drop.inbox == []


@pytest.mark.parametrize("sender", ["ALICE@example.test", "alice+lists@example.test"])
async def test_the_own_address_has_several_forms(desk: Desk, sender: str) -> None:
    assert await desk.send(BOB, sender=sender) == [250, 250, 250]


@pytest.mark.parametrize(
    "header",
    [
        b"From: The Boss <boss@example.test>\r\n",
        b"From: alice@example.test\r\nFrom: boss@example.test\r\n",
        b"From: alice@example.test, boss@example.test\r\n",
        b"From: alice@example.test <boss@example.test>\r\n",
        b"From: alice@else.test\r\n",
        b"From : boss@example.test\r\nX-From: alice@example.test\r\n",
        b"From: alice@example.test\r\n\xffFrom: boss@example.test\r\n",
        b"From:\r\n",
        b"Sender: alice@example.test\r\n",
        b"\r\nFrom: alice@example.test\r\n",
        b"From: boss@example.test\r\nX-Long: " + b"x" * 300_000 + b"\r\n",
    ],
)
async def test_nobody_sends_under_anothers_name(desk: Desk, header: bytes) -> None:
    mail = header + b"Subject: x\r\n\r\nhi\r\n"
    assert await desk.send(BOB, CAROL, mail=mail) == [250, 250, 250, 550]
    assert desk.drop.inbox == []
    assert await desk.queue.waiting() == 0


@pytest.mark.parametrize(
    "header",
    [
        b"From: alice@example.test\r\n",
        b'From: "Alice, of A" <Alice+Lists@Example.TEST> (me)\r\n',
        b"Sender: root@laptop\r\nResent-From: boss@example.test\r\nFrom: alice@example.test\r\n",
    ],
)
async def test_the_own_name_may_be_written_in_several_ways(desk: Desk, header: bytes) -> None:
    assert await desk.send(BOB, mail=header + b"\r\nhi\r\n") == [250, 250, 250]


async def test_unknown_users_and_unknown_routes_are_refused_at_rcpt(desk: Desk) -> None:
    codes = await desk.send("nobody@example.test", "dave@nowhere.test", BOB)
    assert codes == [250, 550, 550, 250, 250]

    def job(client: smtplib.SMTP) -> bytes:
        client.mail(ALICE)
        return client.rcpt("dave@nowhere.test")[1]

    said = await desk.talk(job)
    assert isinstance(said, bytes)
    assert said.startswith(b"5.4.4 ")


async def test_foreign_mail_lies_sealed_in_the_queue(desk: Desk, tmp_path: Path) -> None:
    assert await desk.send(CAROL, BOB) == [250, 250, 250, 250]
    (mail,) = await desk.queue.due("other.test", 10)
    assert list(mail.recipients) == [CAROL]
    raw = await desk.queue.unseal(mail.mail_id)
    assert raw.startswith(b"Received: by mx.example.test with ESMTPSA id ")
    assert raw.endswith(MAIL)
    for file in tmp_path.iterdir():
        assert b"marker-of-this-mail" not in file.read_bytes()
    assert (tmp_path / "queue.key").stat().st_mode & 0o777 == 0o600


async def test_a_submission_repeated_is_one_mail(desk: Desk) -> None:
    for _ in range(3):
        assert await desk.send(CAROL, BOB, submission="abc") == [250, 250, 250, 250]
    assert len(desk.drop.inbox) == 1
    assert await desk.queue.waiting() == 1
    await desk.send(BOB, submission="abd")
    assert len(desk.drop.inbox) == 2


async def test_a_submission_that_failed_half_way_is_completed_by_repeating_it(desk: Desk) -> None:
    desk.drop.failure = StoreFull("the disk is full")
    assert await desk.send(CAROL, BOB, submission="abc") == [250, 250, 250, 452]
    desk.drop.failure = None
    assert await desk.send(CAROL, BOB, submission="abc") == [250, 250, 250, 250]
    assert len(desk.drop.inbox) == 1
    assert await desk.queue.waiting() == 1


async def test_a_queue_that_cannot_be_written_is_a_451(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(**mail: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(desk.queue, "add", broken)
    assert await desk.send(CAROL, BOB) == [250, 250, 250, 451]
    assert desk.drop.inbox == []


def scram(client: smtplib.SMTP, user: str, token: str) -> ScramClient:
    """Logs in by SCRAM-SHA-256 with smtplib."""
    exchange = ScramClient(user, token, os.urandom)
    said: list[bytes] = []

    def answer(challenge: bytes | None = None) -> str:
        if challenge is None:
            return exchange.first().decode()
        said.append(challenge)
        if len(said) == 1:
            return exchange.final(challenge).decode()
        exchange.check(challenge)
        return ""

    client.auth("SCRAM-SHA-256", answer)  # type: ignore[arg-type]
    return exchange


async def test_a_device_logs_in_without_sending_its_token(desk: Desk) -> None:
    desk.encrypted = False

    def job(client: smtplib.SMTP) -> int:
        client.starttls(context=contexts()[1])
        client.ehlo()
        assert "SCRAM-SHA-256" in client.esmtp_features["auth"]
        scram(client, "Alice@example.test", desk.drop.token(ALICE))
        return client.mail(ALICE)[0]

    assert await desk.talk(job) == 250


@pytest.mark.parametrize("user", [BOB, "nobody@example.test"])
async def test_a_token_of_another_proves_nothing(desk: Desk, user: str) -> None:
    desk.encrypted = False

    def job(client: smtplib.SMTP) -> None:
        client.starttls(context=contexts()[1])
        client.ehlo()
        scram(client, user, desk.drop.token(ALICE))

    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        await desk.talk(job)
    assert caught.value.smtp_code == 535


async def test_who_asks_hears_of_delivery_here_and_elsewhere_it_is_kept_for_the_queue(
    desk: Desk,
) -> None:
    def job(client: smtplib.SMTP) -> object:
        assert client.has_extn("dsn")
        for _ in range(2):  # a repetition after a lost answer
            refused = client.sendmail(
                ALICE,
                [BOB, CAROL],
                MAIL,
                ["ENVID=one", "X-LEAP-SUBMISSION=same"],
                ["NOTIFY=SUCCESS"],
            )
        return refused

    assert await desk.talk(job) == {}
    (report,) = desk.drop.opened(ALICE)
    assert b"Original-Envelope-Id: one\r\n" in report
    assert b"Final-Recipient: rfc822; bob@example.test\r\nAction: delivered\r\n" in report
    assert CAROL.encode() not in report
    (queued,) = await desk.queue.due("other.test", 10)
    assert queued.wishes.notices == {CAROL: DeliveryNotice(notify=("SUCCESS",))}


async def test_mail_that_requires_tls_is_kept_so(desk: Desk) -> None:
    def job(client: smtplib.SMTP) -> object:
        assert client.has_extn("requiretls")
        return client.sendmail(ALICE, [CAROL], MAIL, ["REQUIRETLS"])

    assert await desk.talk(job) == {}
    (queued,) = await desk.queue.due("other.test", 10)
    assert queued.tls == "required"


async def test_a_large_mail_to_many_is_sealed_for_a_few_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [f"user{number}@example.test" for number in range(5)]
    for one in others:
        desk.drop.add(one)
    monkeypatch.setattr(handler_module, "COPIES", 2 * len(MAIL))
    batches: list[int] = []
    deliver = desk.drop.deliver

    async def counted(deliveries: Sequence[Delivery]) -> None:
        batches.append(len(deliveries))
        await deliver(deliveries)

    monkeypatch.setattr(desk.drop, "deliver", counted)
    assert set(await desk.send(*others)) == {250}
    assert batches == [2, 2, 1]
    assert all(len(desk.drop.opened(one)) == 1 for one in others)
