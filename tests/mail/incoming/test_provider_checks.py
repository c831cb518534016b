"""What the provider says is read from one place only, which no sender can write to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.authentication_results import results_field
from leap.mail.contract import DkimCheck, ProviderChecks, SecurityStatus
from leap.mail.incoming.provider_checks import is_disowned, provider_checks, vouches_for
from leap.mail.incoming.security_fields import with_security_fields, without_forged

OWN = "example.test"
PATH = b"Return-Path: <eve@else.test>\r\n"
RECEIVED = (
    b"Received: from else.test ([192.0.2.1])\r\n\tby example.test with ESMTP id 1;\r\n\tnow\r\n"
)
MAIL = b"From: eve@else.test\r\nSubject: x\r\n\r\nhello\r\n"
PASS = ProviderChecks(
    spf="fail",
    dkim=(DkimCheck(result="pass", domain="else.test"),),
    dmarc="pass",
    dmarc_domain="else.test",
    policy="reject",
)
FORGED = ProviderChecks(dmarc="pass", dmarc_domain="bank.test")


def test_the_word_of_the_provider_is_found_on_top() -> None:
    raw = PATH + results_field(OWN, PASS) + RECEIVED + MAIL
    assert provider_checks(raw, OWN) == PASS


@pytest.mark.parametrize(
    "raw",
    [
        # below the trace block of a provider that writes no results
        PATH + RECEIVED + results_field(OWN, FORGED) + MAIL,
        PATH + RECEIVED + PATH + results_field(OWN, FORGED) + RECEIVED + MAIL,
        # a mail that begins with a trace block of its own, without the provider's
        results_field(OWN, FORGED) + RECEIVED + MAIL,
        b"\r\n" + PATH + results_field(OWN, FORGED) + RECEIVED + MAIL,
        # no Received behind it: not the MX's block
        PATH + results_field(OWN, FORGED) + MAIL,
        # in another provider's name
        PATH + results_field("else.test", FORGED) + RECEIVED + MAIL,
        # with line ends the MX does not write
        (PATH + results_field(OWN, FORGED) + RECEIVED).replace(b"\r\n", b"\n") + MAIL,
        MAIL + PATH + results_field(OWN, FORGED) + RECEIVED,
        b"",
    ],
)
def test_nothing_else_in_a_mail_is_the_providers_word(raw: bytes) -> None:
    assert provider_checks(raw, OWN) is None


def test_without_a_domain_nobody_speaks() -> None:
    assert provider_checks(PATH + results_field(OWN, PASS) + RECEIVED + MAIL, "") is None


def test_a_field_without_end_is_not_read() -> None:
    raw = PATH + b"Authentication-Results: example.test;\r\n" + b"\tspf=none;\r\n" * 100_000
    assert provider_checks(raw, OWN) is None


@given(st.binary(max_size=200))
def test_what_is_sent_changes_nothing(sent: bytes) -> None:
    assert provider_checks(PATH + results_field(OWN, PASS) + RECEIVED + sent, OWN) == PASS
    assert provider_checks(PATH + RECEIVED + sent, OWN) is None


def test_served_is_one_field_of_the_provider_on_top_and_forged_ones_are_gone() -> None:
    raw = PATH + results_field(OWN, PASS) + RECEIVED + results_field(OWN, FORGED) + MAIL
    status = SecurityStatus(encryption="provider", provider=provider_checks(raw, OWN))
    served = with_security_fields(status, without_forged(raw, OWN), OWN)
    assert served == (
        b"X-Leap-Encryption: provider\r\nX-Leap-Signature: none\r\n"
        + results_field(OWN, PASS)
        + PATH
        + RECEIVED
        + MAIL
    )


def test_a_domain_that_stands_behind_the_mail_vouches_for_its_own_addresses() -> None:
    assert vouches_for(PASS, "eve@else.test")
    assert not vouches_for(PASS, "eve@sub.else.test")
    assert not vouches_for(PASS, "alice@example.test")
    assert not vouches_for(None, "eve@else.test")
    dkim_of_a_stranger = ProviderChecks(
        dkim=(DkimCheck(result="pass", domain="eve.test"),), dmarc="fail", dmarc_domain="else.test"
    )
    assert not vouches_for(dkim_of_a_stranger, "eve@else.test")


def test_an_account_that_logged_in_vouches_for_itself_and_its_tags_only() -> None:
    checks = ProviderChecks(submitter="alice@example.test")
    assert vouches_for(checks, "alice@example.test")
    assert vouches_for(checks, "alice+tag@example.test")
    assert not vouches_for(checks, "bob@example.test")
    # whatever else the field says, it was not checked for a mail submitted here
    both = ProviderChecks(submitter="alice@example.test", dmarc="pass", dmarc_domain="example.test")
    assert not vouches_for(both, "bob@example.test")


@pytest.mark.parametrize(
    ("dmarc", "policy", "disowned"),
    [
        ("fail", "reject", True),
        ("fail", "quarantine", True),
        ("fail", "none", False),
        ("temperror", "reject", False),
        ("none", "", False),
        ("pass", "reject", False),
    ],
)
def test_a_mail_is_disowned_when_its_domain_asks_for_it(
    dmarc: str, policy: str, disowned: bool
) -> None:
    assert is_disowned(ProviderChecks(dmarc=dmarc, policy=policy)) is disowned
    assert not is_disowned(None)
