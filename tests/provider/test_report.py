"""The report of the queue in the types of internationalized mail (RFC 6533)."""

from __future__ import annotations

import pytest

from leap.mail.delivery_wishes import NO_WISHES
from leap.mail.message import Message
from leap.provider.queue.report import status_report
from leap.provider.queue.storage import Outcome

BUECHER = "bücher@büro.test"


def report(*addresses: str, header: bytes = b"Subject: x") -> Message:
    raw = status_report(
        "failed",
        hostname="mx.example.test",
        domain="example.test",
        sender="alice@example.test",
        raw=header + b"\r\n\r\nbody",
        wishes=NO_WISHES,
        created=0,
        recipients={one: Outcome("permanent", "550 5.1.1 No") for one in addresses},
        now=0,
        report_id="1" * 32,
    )
    return Message(raw)


def test_an_address_that_is_not_ascii_makes_an_international_status() -> None:
    one = report("no@other.test", BUECHER)
    assert BUECHER in one.body_text
    status = one.part("2")
    assert status is not None
    assert (status.content_type, status.encoding) == ("message/global-delivery-status", "8bit")
    lines = one.content(status).decode("utf-8").split("\r\n")
    assert "Final-Recipient: rfc822; no@other.test" in lines
    assert f"Final-Recipient: utf-8; {BUECHER}" in lines


@pytest.mark.parametrize(
    ("header", "kind", "encoding"),
    [
        (b"Subject: x", "text/rfc822-headers", "7bit"),
        ("Subject: ü".encode(), "message/global-headers", "8bit"),
        (b"Subject: \xfc", "text/rfc822-headers", "8bit"),
    ],
)
def test_the_types_of_a_report_are_those_of_its_octets(
    header: bytes, kind: str, encoding: str
) -> None:
    one = report("no@other.test", header=header)
    status, original = one.root.children[1:]
    assert (status.content_type, status.encoding) == ("message/delivery-status", "7bit")
    assert (original.content_type, original.encoding) == (kind, encoding)
