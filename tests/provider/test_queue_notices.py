"""Delivery status notices (RFC 3461, RFC 3464): what the sender asked is passed on, and what became of it is told."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest
import sqlcipher3

from leap.mail.delivery_wishes import DeliveryNotice, DeliveryWishes, Occasion
from leap.provider.queue.report import status_report
from leap.provider.queue.schedule import Schedule
from leap.provider.queue.storage import Outcome
from leap.provider.queue.tables import create_tables
from tests.mail.smtp.conversation import config
from tests.provider.queue_world import ALICE, MAIL, Post, other

BOB, NO, LATER = "bob@other.test", "no@other.test", "later@other.test"


def wishes(*notify: Occasion, **more: Any) -> DeliveryWishes:
    notices = {one: DeliveryNotice(notify=notify) for one in (BOB, NO, LATER)}
    return DeliveryWishes(notices=notices, **more)


def reports(post: Post) -> list[EmailMessage]:
    found = []
    for raw in post.drop.opened(ALICE):
        report = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(report, EmailMessage)
        found.append(report)
    return found


def status(report: EmailMessage) -> tuple[EmailMessage, list[EmailMessage]]:
    _, part, _ = report.iter_parts()
    about_mail, *about_recipients = part.get_payload()
    return about_mail, about_recipients


async def test_what_the_sender_asked_goes_on_to_a_server_that_offers_dsn(post: Post) -> None:
    notice = DeliveryNotice(notify=("SUCCESS", "DELAY"), original="rfc822;B+x@y.test")
    asked = DeliveryWishes(returned="FULL", envelope_id="a=1", notices={BOB: notice})
    await post.add(BOB, "carol@other.test", wishes=asked)
    async with other(post, config(dsn=True)) as (_, handler):
        await post.work()
    assert handler.envelopes[0].wishes == asked
    assert handler.envelopes[0].params["ENVID"] == "a+3D1"
    assert post.drop.inbox == [], "the other server tells"


async def test_a_server_without_dsn_gets_none_and_the_sender_hears_it_was_relayed(
    post: Post,
) -> None:
    await post.add(BOB, "carol@other.test", wishes=wishes("SUCCESS", envelope_id="e1"))
    async with other(post) as (_, handler):
        await post.work()
        await post.work()
    assert len(handler.mails) == 1
    (report,) = reports(post)
    about_mail, (about_bob,) = status(report)
    assert about_mail["Original-Envelope-Id"] == "e1"
    assert about_bob["Final-Recipient"] == f"rfc822; {BOB}"
    assert about_bob["Action"] == "relayed"
    assert about_bob["Status"] == "2.0.0"
    assert await post.storage.waiting() == 0


async def test_who_wants_to_hear_nothing_hears_nothing(post: Post) -> None:
    await post.add(BOB, NO, wishes=wishes())
    async with other(post):
        await post.work()
    assert post.drop.inbox == []
    assert await post.storage.waiting() == 0


async def test_who_asks_for_success_only_hears_of_no_failure(post: Post) -> None:
    await post.add(NO, wishes=wishes("SUCCESS"))
    async with other(post):
        await post.work()
    assert post.drop.inbox == []


@pytest.mark.parametrize("asked", [DeliveryWishes(), wishes("DELAY"), wishes("FAILURE")])
async def test_a_delay_is_told_once_after_hours(post: Post, asked: DeliveryWishes) -> None:
    await post.add(LATER, wishes=asked)
    async with other(post):
        for _ in range(3):
            await post.work()
            post.clock.seconds += 3_599
        assert post.drop.inbox == []
        for _ in range(3):
            post.clock.seconds += 3_600
            await post.work()
    if asked == wishes("FAILURE"):
        assert post.drop.inbox == []
        return
    (report,) = reports(post)
    assert report["Subject"] == "Mail is delayed"
    _, (about,) = status(report)
    assert about["Action"] == "delayed"
    assert about["Status"] == "4.3.0"
    assert about["Will-Retry-Until"] is not None
    assert await post.storage.waiting() == 1, "it is tried on"


async def test_a_mail_that_waits_but_was_not_tried_is_no_delay(post: Post) -> None:
    await post.add(LATER)
    post.clock.seconds += Schedule().warning
    assert await post.storage.due_reports(post.clock.seconds) == []


async def test_the_original_comes_back_whole_when_the_sender_wants_it(post: Post) -> None:
    await post.add(NO, wishes=wishes("FAILURE", returned="FULL"))
    async with other(post):
        await post.work()
    (report,) = reports(post)
    original = list(report.iter_parts())[-1]
    assert original.get_content_type() == "message/rfc822"
    assert MAIL in post.drop.opened(ALICE)[0]


async def test_only_a_failure_gives_the_original_back(post: Post) -> None:
    await post.add(BOB, wishes=wishes("SUCCESS", returned="FULL"))
    async with other(post):
        await post.work()
    assert b"marker-of-this-mail" not in post.drop.opened(ALICE)[0]


async def test_the_recipient_whom_the_sender_wrote_is_named(post: Post) -> None:
    notice = DeliveryNotice(original="rfc822;list@lists.test")
    await post.add(NO, wishes=DeliveryWishes(notices={NO: notice}))
    async with other(post):
        await post.work()
    _, (about,) = status(reports(post)[0])
    assert about["Original-Recipient"] == "rfc822; list@lists.test"
    assert about["Final-Recipient"] == f"rfc822; {NO}"


async def test_a_crash_before_a_report_is_noted_makes_no_second_one(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.add(BOB, LATER, wishes=wishes("SUCCESS", "DELAY"))

    async def crash(report: object) -> None:
        raise OSError("power cut")

    async with other(post):
        await post.work()
        post.clock.seconds += Schedule().warning
        with monkeypatch.context() as patch:
            patch.setattr(post.storage, "reported", crash)
            await post.work()
        await post.work()
    assert sorted(str(one["Subject"]) for one in reports(post)) == [
        "Mail is delayed",
        "Mail was passed on",
    ]


def test_no_envelope_id_or_original_recipient_can_end_a_line() -> None:
    evil = "x\r\nAction: delivered\r\n\r\n"
    raw = status_report(
        "failed",
        hostname="mx.example.test",
        domain="example.test",
        sender=ALICE,
        raw=b"Subject: x\r\n\r\n",
        wishes=DeliveryWishes(
            envelope_id=evil, notices={NO: DeliveryNotice(original=f"rfc822;{evil}")}
        ),
        created=0,
        recipients={NO: Outcome("permanent", "550 No")},
        now=0,
        report_id="1" * 32,
    )
    assert b"\nAction: delivered" not in raw


def test_a_queue_of_before_is_brought_forward() -> None:
    connection = sqlcipher3.connect(":memory:", isolation_level=None)
    create_tables(connection)
    for table, column in (
        ("queue_mail", "wishes"),
        ("queue_mail", "tls"),
        ("queue_recipient", "told"),
    ):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute(
        "INSERT INTO queue_mail (mail_id, sender, submission, smtputf8, size, created, sealed)"
        " VALUES ('aa', 'a@b', 's', 0, 1, 0, x'00')"
    )
    create_tables(connection)
    create_tables(connection)
    assert connection.execute("SELECT wishes, tls FROM queue_mail").fetchall() == [("{}", "usual")]
    connection.close()
