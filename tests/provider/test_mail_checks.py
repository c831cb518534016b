"""A whole mail checked: what comes together, whose From is judged, and that no mail waits or is lost for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.contract import DkimCheck, ProviderChecks
from leap.provider.mx.authentication import MailChecks, Resolver
from leap.provider.mx.authentication.checks import MAX_HEADER
from leap.provider.mx.authentication.dns_contract import Address
from tests.provider.test_dkim import DOMAIN, NOW, sign, zone
from tests.provider.zone import Zone

PEER = "192.0.2.1"
SENDER = "eve@else.test"


def world() -> Zone:
    """A domain that signs, says who may send, and asks for what it did not send to be refused."""
    dns = zone()
    dns.add(DOMAIN, "TXT", "v=spf1 ip4:192.0.2.1 -all")
    dns.add(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject")
    return dns


async def check(
    raw: bytes,
    dns: Resolver | None = None,
    *,
    peer: str = PEER,
    sender: str = SENDER,
    helo: str = "mx.else.test",
    seconds: float = 4.0,
) -> ProviderChecks:
    checks = MailChecks(dns or world(), seconds=seconds, now=lambda: NOW)
    return await checks.check(peer=peer, helo=helo, sender=sender, raw=raw)


async def test_all_three_are_told() -> None:
    assert await check(sign()) == ProviderChecks(
        spf="pass",
        spf_domain=DOMAIN,
        dkim=(DkimCheck(result="pass", domain=DOMAIN),),
        dmarc="pass",
        dmarc_domain=DOMAIN,
        policy="reject",
    )


async def test_a_mail_that_was_passed_on_unchanged_is_still_its_domains() -> None:
    found = await check(sign(), peer="198.51.100.9")
    assert (found.spf, found.dmarc) == ("fail", "pass")


async def test_a_mail_in_somebodys_name_is_disowned() -> None:
    forged = sign().replace(b"hello", b"send me money")
    found = await check(forged, peer="198.51.100.9")
    assert (found.spf, found.dkim[0].result, found.dmarc) == ("fail", "fail", "fail")
    assert found.policy == "reject"


async def test_another_domains_pass_does_not_help() -> None:
    dns = world()
    dns.add("evil.test", "TXT", "v=spf1 +all")
    unsigned = b"From: eve@else.test\r\n\r\nx\r\n"
    found = await check(unsigned, dns, sender="eve@evil.test", peer="198.51.100.9")
    assert (found.spf, found.spf_domain, found.dmarc) == ("pass", "evil.test", "fail")


async def test_of_a_null_sender_the_name_in_helo_is_looked_at() -> None:
    dns = world()
    dns.add("mx.else.test", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    found = await check(b"From: x@else.test\r\n\r\n", dns, sender="")
    assert (found.spf, found.spf_domain, found.dmarc) == ("pass", "mx.else.test", "pass")
    assert (await check(sign(), helo="[192.0.2.1]", sender="")).spf == "none"


async def test_a_domain_in_its_own_letters_is_asked_for_in_those_of_the_dns() -> None:
    dns = Zone({"xn--bcher-kva.test": [("TXT", "v=spf1 ip4:192.0.2.1 -all")]})
    dns.add("_dmarc.xn--bcher-kva.test", "TXT", "v=DMARC1; p=none")
    found = await check("From: a@bücher.test\r\n\r\n".encode(), dns, sender="a@bücher.test")
    assert (found.spf, found.dmarc) == ("pass", "pass")
    assert found.dmarc_domain == "xn--bcher-kva.test"


NO_ONE = [
    b"From: eve@else.test, bob@else.test\r\n",
    b"From: eve@else.test\r\nFrom: eve@else.test\r\n",
    b"from: eve@else.test\r\nFROM : bank@bank.test\r\n",
    b"From: Friends: eve@else.test;\r\n",
    b"From: eve@else.test\r\nX: y\rFrom: bank@bank.test\r\n",
    b"From: eve@else.test\r\n x <bank@bank.test>\r\n",
    b'From: "bank@bank.test" <eve@else.test> <bank@bank.test>\r\n',
    b"From: eve@[192.0.2.1]\r\n",
    b"From: eve@localhost\r\n",
    b"From: \r\n",
    b"Subject: no From\r\n",
    b"",
]


@pytest.mark.parametrize("fields", NO_ONE)
async def test_a_from_that_two_could_read_differently_is_nobodys(fields: bytes) -> None:
    found = await check(fields + b"To: x\r\n\r\nhello\r\n")
    assert (found.dmarc, found.dmarc_domain) == ("permerror", "")


async def test_a_header_made_to_be_long_is_not_looked_at() -> None:
    began = time.perf_counter()
    found = await check(b"From: eve@else.test\r\n" + b"X: y\r\n" * (MAX_HEADER // 5) + b"\r\n")
    assert found == ProviderChecks(dmarc="permerror")
    assert time.perf_counter() - began < 1.0


async def test_without_a_network_address_there_is_no_spf() -> None:
    found = await check(sign(), peer="")
    assert (found.spf, found.dmarc) == ("none", "pass")


class Silent:
    """A DNS that never answers."""

    async def txt(self, name: str) -> list[bytes]:
        await asyncio.Event().wait()
        raise AssertionError

    async def addresses(self, name: str, version: int) -> list[Address]:
        raise AssertionError

    async def exchangers(self, name: str) -> list[str]:
        raise AssertionError

    async def names_of(self, address: Address) -> list[str]:
        raise AssertionError


async def test_a_dns_that_is_silent_keeps_no_mail_and_passes_none() -> None:
    began = time.perf_counter()
    found = await check(sign(), Silent(), seconds=0.2)
    assert time.perf_counter() - began < 1.0
    assert found == ProviderChecks(
        spf="temperror",
        spf_domain=DOMAIN,
        dkim=(DkimCheck(result="temperror", domain=DOMAIN),),
        dmarc="temperror",
        dmarc_domain=DOMAIN,
    )


class Broken(Zone):
    """A fault of ours."""

    async def txt(self, name: str) -> list[bytes]:
        raise RuntimeError(name)


async def test_a_fault_of_ours_keeps_no_mail_and_passes_none() -> None:
    found = await check(sign(), Broken())
    assert (found.spf, found.dkim, found.dmarc) == ("temperror", (), "temperror")


@given(st.binary(max_size=300))
async def test_any_mail_can_be_checked(raw: bytes) -> None:
    found = await check(raw)
    assert found.dmarc != "pass"


async def test_a_large_mail_is_hashed_beside_the_loop() -> None:
    mail = sign(b"From: eve@else.test\r\n\r\n" + (b"x" * 70 + b" \r\n") * 30_000)
    assert len(mail) > 2_000_000
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(turn())
    assert (await check(mail)).dmarc == "pass"
    beside.cancel()
    assert turns > 5
