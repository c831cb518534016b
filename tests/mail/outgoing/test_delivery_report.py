"""The report about mail that could not be delivered names everybody by their own name (RFC 6533)."""

from __future__ import annotations

import pytest

from leap.mail.message import Message
from leap.mail.outgoing.delivery_report import delivery_report
from leap.mail.outgoing.outbox_entries import Entry, RecipientState
from tests.mail.travel import NOW, mail

BUECHER = "bücher@büro.test"
PLAIN = "b@x.test"


def report(
    *addresses: str, message: bytes | None = None, reply: str = "5.1.1 No", subject: str = ""
) -> Message:
    failed = [RecipientState(one, "id", "failed", 550, reply) for one in addresses]
    sent = RecipientState("für@x.test", "id", "sent", 250, "ok")
    entry = Entry(
        outbox_id="o",
        sender="alice@example.test",
        subject=subject,
        message=mail() if message is None else message,
        added=(),
        message_id="<m@example.test>",
        protection="encrypted",
        policy="",
        attempts=1,
        created=NOW,
        expires=NOW,
        reason="",
        recipients=(*failed, sent),
        copies=(),
    )
    return Message(delivery_report(entry, failed, now=NOW))


def test_an_address_that_is_not_ascii_stands_in_the_report_as_it_is() -> None:
    one = report(PLAIN, BUECHER, reply="5.1.1 Kein Postfach bücher", subject="Grüße")
    assert f"    {BUECHER}\n        5.1.1 Kein Postfach bücher\n" in one.body_text
    assert "    für@x.test\n" in one.body_text
    assert one.subject == "Not delivered: Grüße"
    status = one.part("2")
    assert status is not None
    assert status.content_type == "message/global-delivery-status"
    assert status.encoding == "8bit"
    lines = one.content(status).decode("utf-8").split("\r\n")
    assert f"Final-Recipient: rfc822; {PLAIN}" in lines
    assert f"Final-Recipient: utf-8; {BUECHER}" in lines


def test_a_report_about_ascii_addresses_is_of_the_types_every_program_knows() -> None:
    one = report(PLAIN, reply="5.1.1 Kein Postfach für sie")
    assert [part.content_type for part in one.root.children] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert [part.encoding for part in one.root.children[1:]] == ["7bit", "7bit"]


@pytest.mark.parametrize(
    ("subject", "kind"),
    [(b"x", "text/rfc822-headers"), ("ü".encode(), "message/global-headers"), (b"\xfc", "text/rfc822-headers")],
)  # fmt: skip
def test_the_header_in_a_report_is_of_the_type_of_its_octets(subject: bytes, kind: str) -> None:
    header = b"From: alice@example.test\r\nSubject: " + subject + b"\r\n"
    one = report(PLAIN, message=header + b"\r\nbody")
    part = one.part("3")
    assert part is not None
    assert part.content_type == kind
    assert one.content(part) == header


@pytest.mark.parametrize(
    "evil", ["b@x.test\r\nX-Leap-Signature: valid", "b@x.test\u2028Final-Recipient: x", "\x00\x1b\x85"]
)  # fmt: skip
def test_nothing_that_a_server_or_an_address_says_ends_a_line(evil: str) -> None:
    one = report(evil, reply=evil, subject=evil)
    expected = report("x", reply="x", subject="x")
    assert [f.key for f in one.fields] == [f.key for f in expected.fields]
    status = one.part("2")
    assert status is not None
    names = [line.partition(":")[0] for line in one.content(status).decode("utf-8").splitlines()]
    assert names[:2] == ["Reporting-MTA", "Arrival-Date"]
    assert names[2:] == ["", "Final-Recipient", "Action", "Status", "Diagnostic-Code"]
