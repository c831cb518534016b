"""Trace fields."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp import Session
from leap.provider.mx.trace import hops, received, return_path

NOW = 1_795_000_000.0


def test_received_says_who_gave_it_how_and_when() -> None:
    session = Session(peer="192.0.2.7", helo="client.test", extended=True, tls="TLSv1.3")
    field = received(session, by="mx.x.test", mail_id="abc", now=NOW, recipient="bob@x.test")
    assert field == (
        b"Received: from client.test ([192.0.2.7])\r\n\tby mx.x.test with ESMTPS id abc\r\n"
        b"\tfor <bob@x.test>;\r\n\tWed, 18 Nov 2026 11:06:40 -0000\r\n"
    )


def test_the_client_of_a_submission_is_not_named() -> None:
    session = Session(peer="192.0.2.7", helo="laptop", extended=True, tls="TLSv1.3", principal="a")
    field = received(session, by="mx.x.test", mail_id="abc", now=NOW, hide_client=True)
    assert field.startswith(b"Received: by mx.x.test with ESMTPSA id abc;\r\n")
    assert b"laptop" not in field
    assert b"192" not in field


@pytest.mark.parametrize(
    ("peer", "shown"),
    [("", b"(local)"), ("::1", b"([IPv6:::1])"), ("fe80::1%eth0", b"([IPv6:fe80::1])")],
)
def test_every_kind_of_peer_has_a_form(peer: str, shown: bytes) -> None:
    assert shown in received(Session(peer=peer, helo="c"), by="m", mail_id="i", now=NOW)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_no_name_breaks_out_of_the_field(helo: str) -> None:
    field = received(Session(peer="192.0.2.7", helo=helo), by="m.test", mail_id="i", now=NOW)
    assert re.fullmatch(
        rb"Received: from [A-Za-z0-9._:\[\]-]+ \(\[192\.0\.2\.7\]\)\r\n"
        rb"\tby m\.test with SMTP id i;\r\n\t[A-Za-z0-9:, -]+\r\n",
        field,
    )


def test_smtputf8_has_its_own_word() -> None:
    session = Session(peer="", helo="c", extended=True)
    assert b" with UTF8SMTP id" in received(session, by="m", mail_id="i", now=NOW, smtputf8=True)


def test_the_null_sender_has_a_return_path() -> None:
    assert return_path("") == b"Return-Path: <>\r\n"


def test_hops_are_counted_in_the_header_only() -> None:
    header = b"received : a\r\nX: Received: no\r\nReceived:b\r\n\tReceived: folded\r\n"
    assert hops(header + b"\r\nReceived: body\r\n") == 2
    assert hops(b"\r\nReceived: body\r\n") == 0
    assert hops(header) == 2
