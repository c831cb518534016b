"""DMARC: whose policy counts, which domains belong together, and what a mail that nobody stands behind is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.provider.mx.authentication.dmarc import Identity, Verdict, find_policy, judge
from leap.provider.mx.authentication.dmarc_record import find_record
from tests.provider.zone import Zone

NOBODY = Identity("", "none")


async def verdict(
    zone: Zone,
    author: str,
    *,
    spf: str = "",
    dkim: str = "",
    spf_result: str = "pass",
    dkim_result: str = "pass",
) -> Verdict:
    policy = await find_policy(zone, author)
    signed = [Identity(dkim, dkim_result)] if dkim else []
    sender = Identity(spf, spf_result) if spf else NOBODY
    return await judge(zone, policy, author, sender, signed)


def zone(**records: str) -> Zone:
    """Policies by name, with "_" for "."."""
    made = Zone()
    for name, record in records.items():
        made.add("_dmarc." + name.replace("_", "."), "TXT", record)
    return made


REJECT = "v=DMARC1; p=reject"


async def test_without_a_policy_nothing_is_said() -> None:
    assert await verdict(Zone(), "else.test", dkim="else.test") == Verdict("none", "else.test")


@pytest.mark.parametrize("by", ["spf", "dkim"])
async def test_either_of_the_authors_domain_is_a_pass(by: str) -> None:
    found = await verdict(zone(else_test=REJECT), "else.test", **{by: "else.test"})
    assert found == Verdict("pass", "else.test", "reject")


@pytest.mark.parametrize("by", ["spf", "dkim"])
@pytest.mark.parametrize("other", ["evil.test", "notelse.test", "test", "else.test.evil.test"])
async def test_a_pass_of_another_domain_is_none(by: str, other: str) -> None:
    found = await verdict(zone(else_test=REJECT), "else.test", **{by: other})
    assert found == Verdict("fail", "else.test", "reject")


@pytest.mark.parametrize("word", ["fail", "softfail", "neutral", "none", "policy", "permerror"])
async def test_what_did_not_pass_counts_for_nothing(word: str) -> None:
    dns = zone(else_test=REJECT)
    found = await verdict(dns, "else.test", dkim="else.test", dkim_result=word)
    assert found.result == "fail"
    assert (await verdict(dns, "else.test", spf="else.test", spf_result=word)).result == "fail"


async def test_names_of_one_organization_belong_together_unless_it_is_strict() -> None:
    relaxed = zone(else_test=REJECT)
    for author, other in (
        ("else.test", "mail.else.test"),
        ("news.else.test", "else.test"),
        ("a.else.test", "b.c.else.test"),
    ):
        assert (await verdict(relaxed, author, dkim=other)).result == "pass"
        assert (await verdict(relaxed, author, spf=other)).result == "pass"
    strict = zone(else_test=REJECT + "; adkim=s; aspf=s")
    assert (await verdict(strict, "else.test", dkim="mail.else.test")).result == "fail"
    assert (await verdict(strict, "else.test", spf="mail.else.test")).result == "fail"
    assert (await verdict(strict, "else.test", dkim="else.test")).result == "pass"


async def test_two_who_registered_under_one_suffix_are_not_one_organization() -> None:
    dns = zone(
        co_test="v=DMARC1; p=none; psd=y", bank_co_test=REJECT, evil_co_test="v=DMARC1; p=none"
    )
    assert (await verdict(dns, "bank.co.test", dkim="evil.co.test")).result == "fail"
    assert (await verdict(dns, "bank.co.test", dkim="mail.bank.co.test")).result == "pass"
    # one without a record of its own has that of the suffix, and is an organization all the same
    found = await verdict(dns, "shop.co.test", dkim="bank.co.test")
    assert found == Verdict("fail", "shop.co.test", "none")
    assert (await verdict(dns, "a.shop.co.test", dkim="b.shop.co.test")).result == "pass"


async def test_a_name_that_calls_itself_an_organization_is_one() -> None:
    dns = zone(else_test=REJECT, team_else_test="v=DMARC1; p=none; psd=n")
    assert (await verdict(dns, "team.else.test", dkim="else.test")).result == "fail"
    assert (await verdict(dns, "x.team.else.test", dkim="team.else.test")).result == "pass"


async def test_the_policy_is_that_of_the_name_or_of_its_organization() -> None:
    dns = zone(
        else_test="v=DMARC1; p=reject; sp=quarantine; np=reject",
        news_else_test="v=DMARC1; p=none",
    )
    dns.add("shop.else.test", "A", "192.0.2.1")
    assert (await verdict(dns, "else.test")).policy == "reject"
    assert (await verdict(dns, "news.else.test")).policy == "none"
    assert (await verdict(dns, "shop.else.test")).policy == "quarantine"
    assert (await verdict(dns, "made.up.else.test")).policy == "reject"  # np=: no such name


async def test_a_long_name_costs_eight_questions() -> None:
    dns = zone(else_test=REJECT)
    author = ".".join("abcdefghijklm") + ".else.test"
    assert (await verdict(dns, author, dkim="else.test")).result == "pass"
    walks = [name for name, kind in dns.asked if kind == "TXT"]
    assert len(walks) <= 8 + 2
    assert walks[0] == f"_dmarc.{author}"
    assert "_dmarc.i.j.k.l.m.else.test" in walks


async def test_a_dns_without_answer_is_a_temporary_error_and_no_pass() -> None:
    dns = zone(else_test=REJECT)
    found = await verdict(dns, "else.test", dkim="else.test", dkim_result="temperror")
    assert found == Verdict("temperror", "else.test", "reject")
    assert (
        await verdict(dns, "else.test", dkim="evil.test", dkim_result="temperror")
    ).result == "fail"
    dns.add("_dmarc.mail.else.test", "FAIL")
    assert (await verdict(dns, "else.test", dkim="mail.else.test")).result == "temperror"
    # another way to a pass is enough
    found = await verdict(dns, "else.test", spf="mail.else.test", dkim="else.test")
    assert found.result == "pass"


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("v=DMARC1; p=reject", "reject"),
        ("v=DMARC1;p=Quarantine;", "quarantine"),
        ("v = DMARC1 ; p = none ; rua=mailto:a@b.test!10m,mailto:c@d.test", "none"),
        ("v=DMARC1; p=reject; what is this; =; x", "reject"),
        ("v=DMARC1; p=reject; p=none", "reject"),
        ("v=DMARC1; p=reject; t=y", "quarantine"),
        ("v=DMARC1; p=quarantine; t=y", "none"),
        ("v=DMARC1; p=reject; pct=0", "quarantine"),
        ("v=DMARC1; p=reject; pct=50", "reject"),
        ("v=DMARC1; p=everything; rua=mailto:a@b.test", "none"),
        ("v=DMARC1; rua=mailto:a@b.test", "none"),
    ],
)
def test_a_record_says_what_is_asked_for(record: str, policy: str) -> None:
    found = find_record([b"other", record.encode()])
    assert found is not None
    assert found.policy == policy


@pytest.mark.parametrize(
    "records",
    [
        [],
        [b"v=DMARC1"],
        [b"v=DMARC1; p=everything"],
        [b"v=DMARC2; p=reject"],
        [b"v=DMARC11; p=reject"],
        [b"v=dmarc1; p=reject"],
        [b"p=reject; v=DMARC1"],
        [b" v=DMARC1; p=reject"],
        [b"v=DMARC1; p=reject", b"v=DMARC1; p=none"],
    ],
)
def test_what_is_no_record_or_two_says_nothing(records: list[bytes]) -> None:
    assert find_record(records) is None


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_any_records_can_be_read(records: list[bytes]) -> None:
    find_record([b"v=DMARC1; " + one for one in records])
    find_record(records)
