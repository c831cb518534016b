"""Forged fields at whatever depth: none is left in a header that a program could show."""

from __future__ import annotations

import base64
import email
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.incoming.neutral import without_forged_anywhere
from leap.mail.incoming.opening import unopened
from leap.mail.message.scanner import scan
from leap.mail.outgoing.field_lines import header_fields, is_reserved
from tests.mail.incoming.test_opening import Ring, opened, ring
from tests.mail.travel import DOMAIN

__all__ = ["ring"]

FORGED = b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid\r\n"
RESULTS = f"Authentication-Results: {DOMAIN}; dmarc=pass\r\n".encode()
INNER = FORGED + RESULTS + b"From: alice@example.test\r\nSubject: s\r\n\r\nhello\r\n"


def attached(message: bytes, multiparts: int = 0) -> bytes:
    entity = b"Content-Type: message/rfc822\r\n\r\n" + message
    for number in range(multiparts):
        name = b"%d-%d" % (number, len(message))
        head = b'Content-Type: multipart/mixed; boundary="%s"\r\n\r\n--%s\r\n' % (name, name)
        entity = head + entity + b"\r\n--%s--\r\n" % name
    return b"From: eve@example.test\r\nMIME-Version: 1.0\r\n" + entity


def nested(messages: int, multiparts: int) -> bytes:
    message = INNER
    for _ in range(messages):
        message = attached(message, multiparts)
    return message


def forged_in(message: bytes) -> list[str]:
    """Reserved names in headers of messages in a message, as two readers find them."""
    ours = [
        one.name
        for part in scan(message).walk()
        if part.is_message and part.children
        for one in header_fields(message[part.children[0].header_start : part.children[0].end])
        if is_reserved(one.name) or (DOMAIN.encode() in one.raw and "results" in one.name)
    ]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        parts = list(email.message_from_bytes(message).walk())[1:]
    finally:
        sys.setrecursionlimit(before)
    return ours + [name for one in parts for name in one if is_reserved(name.lower())]


@pytest.mark.parametrize(
    ("messages", "multiparts"), [(1, 0), (17, 0), (40, 0), (70, 0), (8, 55), (14, 50), (1, 70)]
)
async def test_no_header_of_an_attached_message_speaks_in_our_name(
    ring: Ring, messages: int, multiparts: int
) -> None:
    raw = nested(messages, multiparts)
    assert forged_in(raw)
    try:
        one = await opened(raw, ring)
    except RecursionError:  # then it is served as `ready` does
        one = unopened(raw, DOMAIN)
    assert forged_in(one.served) == []
    assert one.original == raw


def test_neither_does_one_of_mail_that_could_not_be_opened() -> None:
    encoded = (
        b"From: eve@example.test\r\nContent-Type: message/rfc822\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(INNER)
    )
    for raw in (attached(INNER), attached(attached(INNER, 3)), encoded):
        one = unopened(raw, DOMAIN)
        assert forged_in(one.served) == []
        assert base64.encodebytes(INNER) not in one.served or b"octet-stream" in one.served
        assert one.original == raw


def test_mail_without_such_fields_stays_as_it_is() -> None:
    honest = attached(b"From: alice@example.test\r\n\r\nX-Leap-Signature: valid\r\n")
    assert without_forged_anywhere(honest, DOMAIN) is honest
    assert unopened(honest, DOMAIN).original is None


@given(
    st.lists(
        st.sampled_from(
            [*INNER.splitlines(True), b"\r\n", b"\x0b", *attached(b"").splitlines(True)]
        )
    )
)
def test_any_message_is_clean_the_second_time(lines: list[bytes]) -> None:
    once = without_forged_anywhere(b"".join(lines), DOMAIN)
    assert without_forged_anywhere(once, DOMAIN) == once
