"""Postfix as the world outside: mail from it over TLS, mail to it with delivery notices, and its own notices."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from leap.mail.delivery_wishes import DeliveryNotice, DeliveryWishes
from leap.mail.smtp import SmtpServer, serve_smtp
from leap.provider.mx import MxHandler, mx_config
from tests.mail.smtp.certificate import contexts
from tests.mail.smtp.postfix import Postfix, needs_postfix, postfix, until
from tests.provider.queue_world import ALICE, MAIL, Post

BOB = "bob@other.test"


@pytest.fixture
async def mx(post: Post) -> AsyncIterator[SmtpServer]:
    """The MX of example.test; Postfix does not trust a server that is not localhost's."""
    needs_postfix()
    server = await serve_smtp(
        lambda: MxHandler(post.drop, domain="example.test", hostname="localhost"),
        mx_config("localhost", contexts()[0]),
    )
    yield server
    await server.close()


@pytest.fixture
async def peer(post: Post, mx: SmtpServer, tmp_path: Path) -> AsyncIterator[Postfix]:
    host, port = mx.address
    routes = {"example.test": ("smtp", str(host), int(port))}
    async with postfix(tmp_path, "other.test", routes, "bob") as running:
        post.routes["other.test"] = ("localhost", running.port)
        yield running


async def inject(peer: Postfix, job: Callable[[smtplib.SMTP], object]) -> None:
    def run() -> None:
        with smtplib.SMTP("127.0.0.1", peer.port, "client.test", timeout=20) as client:
            job(client)

    await asyncio.to_thread(run)


async def wait_for_inbox(post: Post, mails: int) -> list[bytes]:
    await until(lambda: len(post.drop.inbox) >= mails)
    return post.drop.opened(ALICE)


async def test_mail_from_postfix_comes_over_tls_byte_for_byte(post: Post, peer: Postfix) -> None:
    body = b"Subject: x\r\n\r\n.dot\r\n..\r\n" + b"\xe4\xf6 0123456789" * 5 + b"\r\n"
    body += (b"x" * 70 + b"\r\n") * 50_000  # over the size from which a mail waits in a file

    await inject(peer, lambda c: c.sendmail(BOB, [ALICE], body, ["BODY=8BITMIME"]))
    (raw,) = await wait_for_inbox(post, 1)
    assert raw.endswith(body.partition(b"\r\n\r\n")[2])
    assert re.search(rb"Received: from postfix\.other\.test [^;]*with ESMTPS", raw)
    assert re.search(r"Verified TLS connection established to .*TLSv1\.3", peer.log())


async def test_many_mails_from_postfix_share_pipelined_connections(
    post: Post, peer: Postfix
) -> None:
    def job(client: smtplib.SMTP) -> None:
        for number in range(30):
            client.sendmail(BOB, [ALICE], b"Subject: %d\r\n\r\nx\r\n" % number)

    await inject(peer, job)
    raws = await wait_for_inbox(post, 30)
    found = {int(match[1]) for raw in raws if (match := re.search(rb"Subject: (\d+)", raw))}
    assert found == set(range(30))


async def test_an_unknown_user_is_told_by_postfix_not_by_us(post: Post, peer: Postfix) -> None:
    await inject(
        peer, lambda c: c.sendmail(BOB, ["nobody@example.test"], b"Subject: x\r\n\r\nx\r\n")
    )
    report = await peer.wait_for_mail("bob")
    assert b"Status: 5.1.1" in report
    assert b"There is no such mailbox here." in report


async def test_a_sender_outside_who_asks_for_success_hears_relayed_from_his_own_server(
    post: Post, peer: Postfix
) -> None:
    """The MX offers no DSN: whoever sends spam in bob's name has us send nothing to him."""
    await inject(
        peer, lambda c: c.sendmail(BOB, [ALICE], b"Subject: x\r\n\r\nx\r\n", [], ["NOTIFY=SUCCESS"])
    )
    report = await peer.wait_for_mail("bob")
    assert b"Action: relayed" in report
    assert len(post.drop.inbox) == 1


async def test_the_queue_hands_over_to_postfix_over_tls(post: Post, peer: Postfix) -> None:
    await post.add(BOB)
    await post.work(verify={"other.test": contexts()[1]})
    raw = await peer.wait_for_mail("bob")
    assert raw.replace(b"\n", b"\r\n").endswith(MAIL.partition(b"\r\n\r\n")[2])
    assert re.search(rb"Received: from mx\.example\.test [^;]*with ESMTPS", raw, re.DOTALL)
    assert post.drop.inbox == []


async def test_postfix_says_that_it_delivered_and_names_what_we_passed_on(
    post: Post, peer: Postfix
) -> None:
    notice = DeliveryNotice(notify=("SUCCESS",), original="rfc822;bob+old@lists.test")
    asked = DeliveryWishes(returned="HDRS", envelope_id="id=+1", notices={BOB: notice})
    await post.add(BOB, wishes=asked)
    await post.work()
    (report,) = await wait_for_inbox(post, 1)
    assert b"\r\nOriginal-Envelope-Id: id=+1\r\n" in report
    assert b"\r\nOriginal-Recipient: rfc822;bob+old@lists.test\r\n" in report
    assert b"\r\nAction: delivered\r\n" in report
    assert b"marker-of-this-mail" not in report


async def test_postfix_refuses_at_once_and_we_tell_the_sender(post: Post, peer: Postfix) -> None:
    await post.add("no@other.test")
    await post.work()
    (report,) = post.drop.opened(ALICE)
    assert b"Action: failed\r\nStatus: 5.1.1\r\n" in report


async def test_nothing_that_requires_tls_goes_to_postfix_which_does_not_promise_it(
    post: Post, peer: Postfix
) -> None:
    await post.add(BOB, wishes=DeliveryWishes(require_tls=True))
    await post.work(verify={"other.test": contexts()[1]})
    assert b"Status: 5.7.30\r\n" in post.drop.opened(ALICE)[0]
    assert peer.mails("bob") == []


async def test_postfix_hands_over_by_lmtp_with_a_fate_for_each_recipient(
    post: Post, tmp_path: Path
) -> None:
    """The MX as the last step behind an operator's own Postfix."""
    post.drop.add("carol@example.test")
    server = await serve_smtp(
        lambda: MxHandler(post.drop, domain="example.test", hostname="localhost"),
        mx_config("localhost", contexts()[0], lmtp=True),
    )
    host, port = server.address
    routes = {"example.test": ("lmtp", str(host), int(port))}
    everyone = [ALICE, "nobody@example.test", "carol@example.test"]
    async with postfix(tmp_path, "other.test", routes, "bob") as peer:
        await inject(peer, lambda c: c.sendmail(BOB, everyone, b"Subject: x\r\n\r\nx\r\n"))
        (raw,) = await wait_for_inbox(post, 2)
        report = await peer.wait_for_mail("bob")
    await server.close()
    assert b"with LMTP" in raw
    assert b"nobody@example.test" in report
    assert b"Final-Recipient: rfc822; alice@example.test" not in report
