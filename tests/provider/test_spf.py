"""SPF against a DNS in memory: who may send, what is wrong in a record, and where evaluation stops."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.provider.mx.authentication.spf import check_host
from leap.provider.mx.authentication.spf_record import BadRecord, expand, parse_record
from tests.provider.zone import Records, Zone

HERE, ELSEWHERE, SIX = "192.0.2.1", "198.51.100.9", "2001:db8::1"


async def result(
    record: str | bytes,
    host: str = HERE,
    sender: str = "alice@else.test",
    helo: str = "mail.else.test",
    **more: Records,
) -> str:
    zone = Zone({name.replace("_", "."): found for name, found in more.items()})
    zone.add("else.test", "TXT", record)
    return await check_host(zone, ip_address(host), "else.test", sender, helo)


@pytest.mark.parametrize(
    ("record", "here", "elsewhere"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass", "fail"),
        ("v=spf1 +ip4:192.0.2.1 ~all", "pass", "softfail"),
        ("v=spf1 ip4:192.0.2.1 ?all", "pass", "neutral"),
        ("v=spf1 -ip4:192.0.2.1", "fail", "neutral"),
        ("v=spf1 ip6:::ffff:192.0.2.1 -all", "fail", "fail"),
        ("V=SPF1 IP4:192.0.2.1 -ALL", "pass", "fail"),
        ("v=spf1", "neutral", "neutral"),
        ("v=spf10 -all", "none", "none"),
        ("something else", "none", "none"),
        ("v=spf1 x-unknown=%{d} ip4:192.0.2.1 -all", "pass", "fail"),
        ("v=spf1 a -all", "pass", "fail"),
        ("v=spf1 a:host.else.test/24 -all", "pass", "fail"),
        ("v=spf1 mx -all", "pass", "fail"),
        ("v=spf1 exists:%{ir}.%{v}.list.test -all", "pass", "fail"),
        ("v=spf1 include:other.test -all", "pass", "fail"),
        ("v=spf1 redirect=other.test", "pass", "softfail"),
        ("v=spf1 ptr -all", "pass", "fail"),
    ],
)
async def test_a_record_says_who_may_send(record: str, here: str, elsewhere: str) -> None:
    zone: dict[str, Records] = {
        "else.test": [("TXT", record), ("A", HERE), ("MX", "10 host.else.test")],
        "host.else.test": [("A", HERE)],
        "1.2.0.192.in-addr.list.test": [("A", "127.0.0.2")],
        "other.test": [("TXT", "v=spf1 ip4:192.0.2.1 ~all")],
        "1.2.0.192.in-addr.arpa": [("PTR", "host.else.test")],
    }
    for host, expected in ((HERE, here), (ELSEWHERE, elsewhere)):
        checked = await check_host(Zone(zone), ip_address(host), "else.test", "a@else.test", "x")
        assert checked == expected, host


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 ip4:192.0.2.1 -all moo",  # one wrong term makes all wrong
        "v=spf1 ip4:192.0.2 -all",
        "v=spf1 ip4:192.0.2.1/33",
        "v=spf1 ip4:192.0.2.1/024",
        "v=spf1 ip6:2001:db8::%1",
        "v=spf1 a/33",
        "v=spf1 a//129",
        "v=spf1 all:else.test",
        "v=spf1 include",
        "v=spf1 exists:",
        "v=spf1 redirect=a.test redirect=b.test",
        "v=spf1 a:%{z}.test",
        "v=spf1 a:%{d0}.test",
        "v=spf1 a:%%.%.test",
        "v=spf1 a:else.test.123",
        "v=spf1 +-all",
        b"v=spf1 a:\xc3\xa9.test -all",
        "v=spf1 include:nobody.test -all",
        "v=spf1 redirect=nobody.test",
    ],
)
async def test_a_wrong_record_is_a_permanent_error(record: str | bytes) -> None:
    assert await result(record) == "permerror"


async def test_two_records_are_a_permanent_error() -> None:
    assert await result("v=spf1 -all", else_test=[("TXT", "v=spf1 +all")]) == "permerror"


async def test_a_dns_without_answer_is_a_temporary_error_and_no_pass() -> None:
    assert await result("v=spf1 a:gone.test +all", gone_test=[("FAIL", "")]) == "temperror"
    assert await result("v=spf1 include:gone.test +all", gone_test=[("FAIL", "")]) == "temperror"
    zone = Zone({"else.test": [("FAIL", "")]})
    assert await check_host(zone, ip_address(HERE), "else.test", "a@else.test", "x") == "temperror"


async def test_ten_terms_may_ask_the_dns_and_no_more() -> None:
    more: dict[str, Records] = {f"h{n}_test": [("A", ELSEWHERE)] for n in range(11)}
    ten = "v=spf1 " + " ".join(f"a:h{n}.test" for n in range(10)) + " ip4:192.0.2.1"
    assert await result(ten, **more) == "pass"
    eleven = ten.replace(" ip4", " a:h10.test ip4")
    assert await result(eleven, **more) == "permerror"


async def test_a_record_that_includes_itself_ends() -> None:
    assert await result("v=spf1 include:else.test -all") == "permerror"
    assert await result("v=spf1 redirect=else.test") == "permerror"


async def test_two_answers_may_hold_nothing_and_no_more() -> None:
    assert await result("v=spf1 a:no1.test a:no2.test ip4:192.0.2.1") == "pass"
    assert await result("v=spf1 a:no1.test a:no2.test a:no3.test ip4:192.0.2.1") == "permerror"


async def test_an_mx_with_eleven_hosts_is_a_permanent_error() -> None:
    hosts: Records = [("MX", f"{n} h{n}.test") for n in range(11)]
    assert await result("v=spf1 mx +all", else_test=hosts) == "permerror"


async def test_an_address_of_version_4_inside_6_is_one_of_version_4() -> None:
    record = "v=spf1 ip4:192.0.2.1 -all"
    assert await result(record, host="::ffff:192.0.2.1") == "pass"


async def test_version_6_has_prefixes_and_hosts_of_its_own() -> None:
    record = "v=spf1 a:h.test/8//64 -all"
    more: dict[str, Records] = {"h_test": [("A", HERE), ("AAAA", "2001:db8::ff")]}
    assert await result(record, host=SIX, **more) == "pass"
    assert await result(record, host="2001:db8:1::1", **more) == "fail"


@pytest.mark.parametrize("domain", ["localhost", "[192.0.2.1]", "a..test", "x" * 64 + ".test", ""])
async def test_what_is_no_domain_has_no_policy(domain: str) -> None:
    assert await check_host(Zone(), ip_address(HERE), domain, f"a@{domain}", "x") == "none"


MACROS = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "h": "mx.example.org",
    "v": "in-addr",
    "p": "unknown",
}


@pytest.mark.parametrize(
    ("spec", "expanded"),  # RFC 7208 7.4
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%%%_%-x", "% %20x"),
    ],
)
def test_macros_are_expanded_as_the_standard_shows(spec: str, expanded: str) -> None:
    assert expand(spec, MACROS) == expanded


def test_a_name_that_became_too_long_loses_labels_on_its_left() -> None:
    assert len(expand("%{s}." + "a." * 200 + "test", MACROS)) <= 253


@given(st.binary(max_size=300))
def test_any_record_is_read_or_refused(octets: bytes) -> None:
    try:
        parse_record(b"v=spf1 " + octets)
    except BadRecord:
        pass


@given(
    st.lists(
        st.sampled_from(
            ["a", "mx:%{d}", "/24", "-all", "%{", "include:", "ip4:1.2.3.4", "=", ".", ":"]
        )
    )
)
def test_any_mixture_of_terms_is_read_or_refused(pieces: list[str]) -> None:
    for glue in ("", " "):
        try:
            parse_record(("v=spf1 " + glue.join(pieces)).encode())
        except BadRecord:
            pass


def test_a_long_record_is_refused_in_time() -> None:
    for record in (
        b"v=spf1 a:" + b"a" * 60_000,
        b"v=spf1 a:" + b"a." * 30_000,
        b"v=spf1 " + b"a " * 30_000,
    ):
        with pytest.raises(BadRecord):
            parse_record(record)
