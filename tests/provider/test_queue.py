"""The queue: handing over to real servers, trying again, giving up, and telling the sender."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import socket
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.delivery_wishes import NO_WISHES
from leap.mail.smtp import Envelope, Reply
from leap.provider.contract import SUBMISSION_MEMORY
from leap.provider.queue import QueueStorage
from leap.provider.queue.report import status_of, status_report
from leap.provider.queue.schedule import Schedule
from leap.provider.queue.storage import DueReport, Outcome, load_key
from leap.soledad.errors import ForgedEnvelope, StoreFull
from leap.soledad.sqlite import Database
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.conversation import DecidingHandler, config
from tests.provider.mail_drop import MemoryMailDrop
from tests.provider.queue_world import ALICE, MAIL, Clock, Post, other


async def test_a_mail_is_handed_over_byte_for_byte_and_forgotten(post: Post) -> None:
    await post.add("bob@other.test", "carol@other.test")
    async with other(post, config(submission_ids=True)) as (_, handler):
        await post.work()
    assert handler.mails == [(ALICE, ("bob@other.test", "carol@other.test"), MAIL)]
    assert handler.envelopes[0].params["SIZE"] == str(len(MAIL))
    assert await post.storage.waiting() == 0
    with pytest.raises(ForgedEnvelope):
        await post.storage.unseal("00ff")


async def test_a_mail_is_handed_over_under_an_id_that_no_header_shows(post: Post) -> None:
    post.routes["third.test"] = ("127.0.0.1", 1)
    await post.add("bob@other.test", "later@other.test", "carol@third.test")
    async with other(post, config(submission_ids=True)) as (server, handler):
        assert isinstance(server.address, tuple)
        post.routes["third.test"] = server.address
        await post.work()
        post.clock.seconds += Schedule().first
        (again,) = await post.storage.due("other.test", 10)
        given = {mail[1]: one for mail, one in zip(handler.mails, handler.envelopes, strict=True)}
    ids = [given[who,].submission_id for who in ("bob@other.test", "carol@third.test")]
    assert again.handover_id == ids[0], "a repetition has the same id"
    assert ids[0] != ids[1], "one destination knows nothing of the other's"
    for one in ids:
        assert one is not None
        assert re.fullmatch("[0-9a-f]{32}", one)
        assert one != again.mail_id


async def test_the_handover_id_cannot_be_told_without_the_queues_key(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "provider.db", key=None)
    ids = set()
    for key in (bytes(32), bytes([1]) * 32):
        storage = await QueueStorage.open(db, key)
        post = Post(MemoryMailDrop(db, ALICE), storage, Clock(), {})
        if not ids:
            await post.add("bob@other.test")
        ids.add((await storage.due("other.test", 1))[0].handover_id)
    await db.close()
    assert len(ids) == 2


async def test_starttls_is_used_when_it_is_offered(post: Post) -> None:
    await post.add("bob@other.test")
    async with other(post, config(tls=contexts()[0])) as (_, handler):
        await post.work()
    assert handler.sessions == ["ESMTPS"]


async def test_a_certificate_that_must_be_right_and_is_not_keeps_the_mail(post: Post) -> None:
    await post.add("bob@other.test")
    async with other(post, config(tls=contexts()[0])) as (_, handler):
        await post.work(verify={"other.test": ssl.create_default_context()})
        assert handler.mails == []
        assert await post.storage.waiting() == 1
        post.clock.seconds += 3_600
        await post.work(verify={"other.test": contexts()[1]})
    assert handler.sessions == ["ESMTPS"]


async def test_a_server_without_tls_gets_nothing_where_tls_must_be(post: Post) -> None:
    await post.add("bob@other.test")
    async with other(post) as (_, handler):
        await post.work(verify={"other.test": contexts()[1]})
    assert handler.mails == []
    assert await post.storage.waiting() == 1


async def test_each_recipient_has_its_own_fate(post: Post) -> None:
    await post.add("bob@other.test", "no@other.test", "later@other.test")
    async with other(post) as (_, handler):
        await post.work()
        assert [mail[1] for mail in handler.mails] == [("bob@other.test",)]
        (report,) = post.drop.opened(ALICE)
        assert b"no@other.test" in report
        assert b"later@other.test" not in report
        assert await post.storage.waiting() == 1
        await post.work()
        assert len(handler.mails) == 1, "it was not due yet"
        post.clock.seconds += Schedule().first
        (again,) = await post.storage.due("other.test", 10)
        assert again.recipients == {"later@other.test": 1}


async def test_a_server_that_is_away_is_tried_again_later_each_time(post: Post) -> None:
    post.routes["other.test"] = ("127.0.0.1", 1)
    await post.add("bob@other.test")
    schedule = Schedule(first=10, longest=35, lifetime=1_000)
    for pause in (10, 20, 35, 35):
        await post.work(schedule=schedule)
        assert await post.storage.next_time() == post.clock.seconds + pause
        post.clock.seconds += pause
    async with other(post) as (_, handler):
        await post.work(schedule=schedule)
    assert len(handler.mails) == 1
    assert post.drop.inbox == []


async def test_what_expires_is_reported(post: Post) -> None:
    post.routes["other.test"] = ("127.0.0.1", 1)
    await post.add("bob@other.test")
    post.clock.seconds += Schedule().lifetime
    await post.work()
    (report,) = post.drop.opened(ALICE)
    assert b"Given up after 1 attempts. The other server could not be reached:" in report
    assert await post.storage.waiting() == 0


async def test_a_route_that_is_gone_is_reported(post: Post) -> None:
    await post.add("bob@other.test")
    await post.work()
    (report,) = post.drop.opened(ALICE)
    assert b"Status: 5.4.4\r\n" in report


async def test_a_mail_over_the_others_limit_is_reported_unsent(post: Post) -> None:
    await post.add("bob@other.test")
    async with other(post, config(max_size=10)) as (_, handler):
        await post.work()
    assert handler.mails == []
    assert b"Status: 5.3.4\r\n" in post.drop.opened(ALICE)[0]


async def test_a_report_is_what_mail_programs_understand(post: Post) -> None:
    await post.add("no@other.test")
    async with other(post):
        await post.work()
    (raw,) = post.drop.opened(ALICE)
    assert raw.startswith(b"Return-Path: <>\r\n")
    report = email.message_from_bytes(raw, policy=email.policy.default)
    assert report["To"] == ALICE
    assert report["In-Reply-To"] == "<one@laptop>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    words, status, original = report.iter_parts()
    assert "no@other.test\r\n    550 5.1.1 No such user." in words.get_content()
    about_mail, about_recipient = status.get_payload()
    assert about_mail["Original-Envelope-Id"] is None, "the sender gave none"
    assert about_mail["Reporting-MTA"] == "dns; mx.example.test"
    assert about_recipient["Final-Recipient"] == "rfc822; no@other.test"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert about_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user."
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload().split() == ["Message-ID:", "<one@laptop>", "Subject:", "x"]
    assert b"marker-of-this-mail" not in raw


async def test_a_report_that_cannot_be_stored_is_not_lost(post: Post) -> None:
    await post.add("no@other.test")
    async with other(post) as (_, handler):
        post.drop.failure = StoreFull("the disk is full")
        await post.work()
        assert await post.storage.waiting() == 1
        post.drop.failure = None
        await post.work()
    assert len(post.drop.opened(ALICE)) == 1
    assert await post.storage.waiting() == 0
    assert handler.mails == []


async def test_a_crash_between_report_and_its_record_makes_no_second_report(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.add("no@other.test")

    async def crash(report: DueReport) -> None:
        raise OSError("power cut")

    async with other(post):
        with monkeypatch.context() as patch:
            patch.setattr(post.storage, "reported", crash)
            await post.work()
        await post.work()
    assert len(post.drop.opened(ALICE)) == 1
    assert await post.storage.waiting() == 0


async def test_a_deleted_account_gets_no_report(post: Post) -> None:
    await post.add("no@other.test")
    post.drop.remove(ALICE)
    async with other(post):
        await post.work()
    assert post.drop.inbox == []
    assert await post.storage.waiting() == 0


async def test_a_full_disk_does_not_send_the_same_mail_again_and_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.add("bob@other.test")
    settle = post.storage.settle
    attempts = 0

    async def full(mail_id: str, outcomes: dict[str, Outcome]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise StoreFull("the disk is full")
        await settle(mail_id, outcomes)

    monkeypatch.setattr(post.storage, "settle", full)
    async with other(post) as (_, handler):
        worker = post.worker()
        for _ in range(5):
            await worker.work_off()
        await worker.close()
    assert len(handler.mails) == 1
    assert await post.storage.waiting() == 0


async def test_the_queue_outlives_its_process(tmp_path: Path) -> None:
    clock = Clock()
    db = await Database.open(tmp_path / "provider.db", key=None)
    post = Post(MemoryMailDrop(db, ALICE), await QueueStorage.open(db, now=clock), clock, {})
    await post.add("bob@other.test")
    await db.close()
    db = await Database.open(tmp_path / "provider.db", key=None)
    post = Post(MemoryMailDrop(db, ALICE), await QueueStorage.open(db, now=clock), clock, {})
    async with other(post) as (_, handler):
        await post.work()
    assert [mail[2] for mail in handler.mails] == [MAIL]
    await db.close()


async def test_a_queue_with_another_key_waits_for_the_right_one(tmp_path: Path) -> None:
    clock = Clock()
    db = await Database.open(tmp_path / "provider.db", key=None)
    post = Post(MemoryMailDrop(db, ALICE), await QueueStorage.open(db, now=clock), clock, {})
    await post.add("bob@other.test")
    async with other(post) as (_, handler):
        wrong = Post(post.drop, await QueueStorage.open(db, bytes(32), clock), clock, post.routes)
        await wrong.work()
        assert handler.mails == []
        clock.seconds += 3_600
        await post.work()
        assert len(handler.mails) == 1
    await db.close()


async def test_many_mails_share_a_few_connections(post: Post) -> None:
    for number in range(50):
        await post.add("bob@other.test", mail_id=f"{number:04x}")
    async with other(post) as (_, handler):
        await post.work()
        assert len(handler.mails) == 50
        assert await post.storage.waiting() == 0


async def test_a_dead_domain_does_not_hold_up_another(post: Post) -> None:
    arrived = asyncio.Event()

    class Telling(DecidingHandler):
        def decide_mail(self, envelope: Envelope, raw: bytes) -> Reply | list[Reply]:
            arrived.set()
            return super().decide_mail(envelope, raw)

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        post.routes["silent.test"] = silent.getsockname()
        await post.add("x@silent.test", mail_id="aa")
        await post.add("bob@other.test", mail_id="bb")
        async with other(post, handler=Telling()):
            worker = post.worker()
            worker.start()
            async with asyncio.timeout(4):
                await arrived.wait()
            await worker.close()
    assert [mail.mail_id for mail in await post.storage.due("silent.test", 10)] == ["aa"]


async def test_mail_added_later_wakes_the_worker(post: Post) -> None:
    arrived = asyncio.Event()

    class Telling(DecidingHandler):
        def decide_mail(self, envelope: Envelope, raw: bytes) -> Reply | list[Reply]:
            arrived.set()
            return super().decide_mail(envelope, raw)

    async with other(post, handler=Telling()):
        worker = post.worker()
        worker.start()
        for number in range(3):
            arrived.clear()
            await post.add("bob@other.test", mail_id=f"{number:02x}")
            worker.wake()
            async with asyncio.timeout(4):
                await arrived.wait()
        await worker.close()


async def test_a_submission_id_is_forgotten_after_thirty_days(post: Post) -> None:
    await post.add("bob@other.test")
    async with other(post) as (_, handler):
        await post.work()
        await post.add("bob@other.test")
        await post.work()
        assert len(handler.mails) == 1
        post.clock.seconds += SUBMISSION_MEMORY + 1
        await post.add("bob@other.test")
        await post.work()
        assert len(handler.mails) == 2


def test_a_key_file_that_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "queue.key"
    key = load_key(path)
    assert load_key(path) == key
    path.write_bytes(key[:5])
    with pytest.raises(ValueError, match="32 octets"):
        load_key(path)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_never_short_nor_endless(attempts: int, chance: float) -> None:
    schedule = Schedule()
    pause = schedule.delay(attempts, lambda: chance)
    assert schedule.first <= pause <= schedule.longest * 1.5


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("550 5.1.1 No", "5.1.1"),
        ("550 5.1.1", "5.1.1"),
        ("421 4.3.2 Later", "5.3.2"),
        ("550 No", "5.0.0"),
        ("Given up after 3 attempts.", "5.0.0"),
    ],
)
def test_the_status_is_always_a_permanent_one(answer: str, status: str) -> None:
    assert status_of(answer) == status


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_no_original_breaks_a_report(header: bytes) -> None:
    raw = status_report(
        "failed",
        hostname="mx.example.test",
        domain="example.test",
        sender=ALICE,
        raw=header + b"\r\n\r\nbody",
        wishes=NO_WISHES,
        created=0,
        recipients={"no@other.test": Outcome("permanent", "550 No")},
        now=0,
        report_id="1" * 32,
    )
    boundary = re.escape(b"--=_report_" + b"1" * 32)
    assert len(re.findall(rb"(?m)^" + boundary + rb"(?:--)?\r$", raw)) == 4
