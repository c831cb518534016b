"""REQUIRETLS and "TLS-Required: No" (RFC 8689) on the way out."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest

from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.smtp import SmtpConfig
from leap.provider.queue import handover
from leap.provider.queue.storage import tls_of
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.conversation import config
from tests.provider.queue_world import ALICE, MAIL, Post, other

REQUIRED = DeliveryWishes(require_tls=True)
RELAXED = b"TLS-Required: No\r\n" + MAIL


def settings(**changes: object) -> SmtpConfig:
    return replace(config(tls=contexts()[0]), **changes)  # type: ignore[arg-type]


async def test_it_goes_to_a_server_whose_name_is_right_and_which_promises_the_same(
    post: Post,
) -> None:
    await post.add("bob@other.test", wishes=REQUIRED)
    async with other(post, settings(require_tls=True)) as (_, handler):
        await post.work(verify={"other.test": contexts()[1]})
    assert handler.sessions == ["ESMTPS"]
    assert handler.envelopes[0].wishes.require_tls


async def test_a_server_that_does_not_promise_it_gets_nothing(post: Post) -> None:
    await post.add("bob@other.test", wishes=REQUIRED)
    async with other(post, settings()) as (_, handler):
        await post.work(verify={"other.test": contexts()[1]})
    assert handler.mails == []
    (report,) = post.drop.opened(ALICE)
    assert b"Status: 5.7.30\r\n" in report


async def test_a_server_without_tls_gets_nothing(post: Post) -> None:
    await post.add("bob@other.test", wishes=REQUIRED)
    async with other(post, config(require_tls=True)) as (_, handler):
        await post.work()
    assert handler.mails == []
    assert await post.storage.waiting() == 1


async def test_a_server_nobody_vouches_for_gets_nothing(post: Post) -> None:
    """No context was given for the domain: then the certificate must be right all the same."""
    await post.add("bob@other.test", wishes=REQUIRED)
    async with other(post, settings(require_tls=True)) as (_, handler):
        await post.work()
    assert handler.mails == []
    assert await post.storage.waiting() == 1


async def test_the_wish_outlives_the_process_and_others_go_beside_it(post: Post) -> None:
    await post.add("bob@other.test", mail_id="aa", wishes=REQUIRED)
    await post.add("bob@other.test", mail_id="bb")
    async with other(post, settings()) as (_, handler):
        await post.work()
    assert len(handler.mails) == 1
    assert await post.storage.waiting() == 1
    post.clock.seconds += 3_600
    (kept,) = await post.storage.due("other.test", 10)
    assert (kept.mail_id, kept.tls) == ("aa", "required")


async def test_a_mail_that_says_no_goes_whatever_the_certificate(post: Post) -> None:
    await post.add("bob@other.test", mail_id="aa", raw=RELAXED)
    await post.add("bob@other.test", mail_id="bb")
    async with other(post, settings()) as (_, handler):
        await post.work(verify={"other.test": ssl.create_default_context()})
    assert [mail[2] for mail in handler.mails] == [RELAXED]
    assert handler.sessions == ["ESMTPS"], "but it is encrypted where that can be"
    assert await post.storage.waiting() == 1


async def test_a_mail_that_says_no_goes_where_tls_breaks(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_old() -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    new_only = contexts()[0]
    monkeypatch.setattr(new_only, "minimum_version", ssl.TLSVersion.TLSv1_3)
    monkeypatch.setattr(handover, "opportunistic_tls", only_old)
    await post.add("bob@other.test", mail_id="aa", raw=RELAXED)
    await post.add("bob@other.test", mail_id="bb")
    async with other(post, config(tls=new_only)) as (_, handler):
        await post.work()
    assert handler.sessions == ["ESMTP"]
    assert [mail[2] for mail in handler.mails] == [RELAXED], "the other one waits"


@pytest.mark.parametrize(
    ("field", "tls"),
    [
        (b"TLS-Required: No", "optional"),
        (b"tls-required:\tnO ", "optional"),
        (b"TLS-Required: Yes", "usual"),
        (b"TLS-Required: No\r\nTLS-Required: No", "usual"),
        (b"X: y\r\n\r\nTLS-Required: No", "usual"),
        (b"X-TLS-Required: No", "usual"),
    ],
)
def test_only_the_field_itself_counts(field: bytes, tls: str) -> None:
    assert tls_of(field + b"\r\n" + MAIL, DeliveryWishes()) == tls
    assert tls_of(field + b"\r\n" + MAIL, REQUIRED) == "required"
