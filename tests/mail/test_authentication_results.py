"""The field in which the provider speaks: written in one form, read in that form only, and nobody else writes it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.authentication_results import (
    MAX_DKIM,
    POLICIES,
    RESULTS,
    read_results_field,
    results_field,
    strip_spoken_for,
)
from leap.mail.contract import DkimCheck, ProviderChecks

OWN = "example.test"
CHECKS = ProviderChecks(
    spf="pass",
    spf_domain="mail.else.test",
    dkim=(
        DkimCheck(result="pass", domain="else.test"),
        DkimCheck(result="fail", domain="list.test"),
    ),
    dmarc="pass",
    dmarc_domain="else.test",
    policy="reject",
)
FIELD = (
    b"Authentication-Results: example.test;\r\n"
    b"\tspf=pass smtp.mailfrom=mail.else.test;\r\n"
    b"\tdkim=pass header.d=else.test;\r\n"
    b"\tdkim=fail header.d=list.test;\r\n"
    b"\tdmarc=pass header.from=else.test policy.dmarc=reject\r\n"
)
SUBMITTED = b"Authentication-Results: example.test;\r\n\tauth=pass smtp.auth=alice@example.test\r\n"


def test_the_field_is_written_as_rfc_8601_has_it() -> None:
    assert results_field(OWN, CHECKS) == FIELD
    assert results_field(OWN, ProviderChecks(submitter="alice@example.test")) == SUBMITTED


def test_what_is_written_is_read() -> None:
    assert read_results_field(FIELD, OWN) == CHECKS
    assert read_results_field(SUBMITTED, OWN) == ProviderChecks(submitter="alice@example.test")


_DOMAINS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True) | st.just("")
_WORDS = st.sampled_from(sorted(RESULTS))


@given(
    checks=st.builds(
        ProviderChecks,
        spf=_WORDS,
        spf_domain=_DOMAINS,
        dkim=st.lists(st.builds(DkimCheck, result=_WORDS, domain=_DOMAINS), max_size=MAX_DKIM).map(
            tuple
        ),
        dmarc=_WORDS,
        dmarc_domain=_DOMAINS,
        policy=st.sampled_from(sorted(POLICIES)),
    )
)
def test_any_value_comes_back(checks: ProviderChecks) -> None:
    nothing = (DkimCheck(result="none"),)  # is said by no signature at all
    field = results_field(OWN, checks)
    again = read_results_field(field, OWN)
    assert again is not None
    assert again.dkim == (() if checks.dkim == nothing else checks.dkim)
    assert again == msgspec.structs.replace(checks, dkim=again.dkim)
    assert results_field(OWN, again) == field


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_gets_out_of_its_place(one: str, two: str, three: str, four: str) -> None:
    checks = ProviderChecks(
        spf=one,
        spf_domain=two,
        dkim=(DkimCheck(result=one, domain=three),),
        dmarc_domain=four,
        policy=three,
        submitter=two,
    )
    field = results_field(OWN, checks)
    assert field.isascii()
    assert field.replace(b"\r\n\t", b"").count(b"\r\n") == 1
    assert read_results_field(field, OWN) is not None


@given(st.integers(0, len(FIELD) - 1), st.binary(max_size=3))
def test_a_changed_field_says_nothing_or_is_another_whole_one(at: int, octets: bytes) -> None:
    changed = FIELD[:at] + octets + FIELD[at + 1 :]
    checks = read_results_field(changed, OWN)
    assert checks is None or results_field(OWN, checks) == changed


@given(st.binary())
def test_any_octets_can_be_read(octets: bytes) -> None:
    read_results_field(octets, OWN)
    read_results_field(b"Authentication-Results: example.test;\r\n\t" + octets + b"\r\n", OWN)


@pytest.mark.parametrize(
    "field",
    [
        FIELD.replace(b"example.test", b"else.test"),
        FIELD.replace(b"example.test", b"mx.example.test"),
        FIELD.replace(b"example.test;", b"Example.test;"),
        FIELD.replace(b"example.test;", b"example.test 1;"),
        FIELD.replace(b"\r\n\t", b" "),
        FIELD.replace(b"spf=pass", b"spf=good"),
        FIELD.replace(b"policy.dmarc=reject", b"policy.dmarc=reject reason=x"),
        FIELD.replace(b"\tdmarc=pass", b"\tdmarc=fail;\r\n\tdmarc=pass"),
        FIELD + b"X: y\r\n",
        FIELD[:-2],
        b"Authentication-Results: example.test; none\r\n",
    ],
)
def test_a_field_of_another_form_or_name_says_nothing(field: bytes) -> None:
    assert read_results_field(field, OWN) is None


FORGED = [
    b"Authentication-Results: example.test; dmarc=pass\r\n",
    b"authentication-results: EXAMPLE.test 1; dmarc=pass\r\n",
    b"Authentication-Results : example.test; dmarc=pass\r\n",
    b"Authentication-Results:\r\n\texample.test; dmarc=pass\r\n",
    b"Authentication-Results: (a (b)) example.test. (c); dmarc=pass\r\n",
    b'Authentication-Results: "example.test"; dmarc=pass\r\n',
    b'Authentication-Results: "e\\xample.test"; dmarc=pass\r\n',
    b"Authentication-Results: mx.example.test; dmarc=pass\r\n",
    b"Authentication-Results: ((((((((example.test; dmarc=pass\r\n",
    b"Authentication\r\n -Results: example.test; dmarc=pass\r\n",
    b"Authentication-Results\x00: example.test; dmarc=pass\r\n",
    b"X: y\x0bAuthentication-Results: example.test; dmarc=pass\r\n",
    b"X: y\xe2\x80\xa8Authentication-Results: example.test; dmarc=pass\r\n",
    b"X: y\rAuthentication-Results: example.test; dmarc=pass\r\n",
    b"X: y\nAuthentication-Results: example.test; dmarc=pass\r\n",
    b"no field\r\nAuthentication-Results: example.test; dmarc=pass\r\n",
    FIELD,
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("before", [b"", b"From: eve@else.test\r\n"])
def test_what_speaks_in_the_own_name_is_stripped(forged: bytes, before: bytes) -> None:
    stripped = strip_spoken_for(before + forged + b"Subject: x\r\n\r\nexample.test\r\n", OWN)
    assert b"dmarc" not in stripped
    assert stripped.startswith(before)
    assert stripped.endswith(b"Subject: x\r\n\r\nexample.test\r\n")


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: else.test; dmarc=pass\r\n",
        b"Authentication-Results: notexample.test; dmarc=pass\r\n",
        b"Authentication-Results: example.test.else.test; dmarc=pass\r\n",
        b"Authentication-Results: else.test; dmarc=pass (example.test)\r\n",
        b"X-Authentication-Results: example.test; dmarc=pass\r\n",
        b"X-Leap-Signature: valid\r\n",  # not this one's business
    ],
)
def test_what_others_say_stays_as_it_is(field: bytes) -> None:
    message = field + b"Subject: x\r\n\r\nAuthentication-Results: example.test; dmarc=pass\r\n"
    assert strip_spoken_for(message, OWN) is message


def test_a_name_in_its_own_letters_is_the_same_name() -> None:
    own = "xn--bcher-kva.example"
    field = "Authentication-Results: bücher.example; dmarc=pass\r\n".encode()
    assert strip_spoken_for(field + b"\r\n", own) == b"\r\n"
