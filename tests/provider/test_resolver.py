"""The resolver on a real socket: what it asks, what it remembers, and what a DNS without answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from leap.provider.mx.authentication import NoAnswer, resolver
from leap.provider.mx.authentication.resolver import DnsResolver
from tests.provider.dns_server import DnsServer, dns_server

NONE: frozenset[str] = frozenset()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asking(server: DnsServer, clock: Callable[[], float] | None = None) -> DnsResolver:
    return DnsResolver([server.address], special_use=NONE, clock=clock or Clock())


async def test_each_kind_of_record_is_read() -> None:
    async with dns_server(
        else_test=[
            ("TXT", '"v=spf1 " "-all"'),
            ("TXT", '"other"'),
            ("A", "192.0.2.1"),
            ("AAAA", "2001:db8::1"),
            ("MX", "20 b.else.test."),
            ("MX", "10 a.else.test."),
        ],
        **{"1_2_0_192_in-addr_arpa": [("PTR", "host.else.test.")]},
    ) as server:
        dns = asking(server)
        assert sorted(await dns.txt("else.test")) == [b"other", b"v=spf1 -all"]
        assert await dns.addresses("Else.Test.", 4) == [ip_address("192.0.2.1")]
        assert await dns.addresses("else.test", 6) == [ip_address("2001:db8::1")]
        assert await dns.exchangers("else.test") == ["a.else.test", "b.else.test"]
        assert await dns.names_of(ip_address("192.0.2.1")) == ["host.else.test"]


async def test_what_is_not_there_is_nothing() -> None:
    async with dns_server(else_test=[("A", "192.0.2.1")]) as server:
        dns = asking(server)
        assert await dns.txt("else.test") == []
        assert await dns.txt("nobody.test") == []


@pytest.mark.parametrize(
    "name", ["", ".", "a..test", "x" * 64 + ".test", "é.test", "a." * 130, "a\\.b"]
)
async def test_what_can_be_no_name_is_not_asked_for(name: str) -> None:
    async with dns_server() as server:
        assert await asking(server).txt(name) == []
        assert server.asked == []


@pytest.mark.parametrize("name", ["a.test", "x.example", "b.localhost", "c.home.arpa", "d.onion"])
async def test_names_that_are_never_public_are_not_asked_for(name: str) -> None:
    async with dns_server() as server:
        assert await DnsResolver([server.address]).txt(name) == []
        assert server.asked == []


async def test_an_answer_is_remembered_for_its_time_within_bounds() -> None:
    clock = Clock()
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server, clock)
        for ttl, kept in ((600, 600.0), (0, resolver.MIN_TTL), (10**6, resolver.MAX_TTL)):
            server.ttl = ttl
            before = len(server.asked)
            await dns.txt("else.test")
            clock.now += kept - 1
            await dns.txt("ELSE.test")
            assert len(server.asked) == before + 1
            clock.now += 2
        await dns.txt("nobody.test")
        await dns.txt("nobody.test")
        assert server.asked.count(("nobody.test", "TXT")) == 1


async def test_equal_questions_asked_together_are_one() -> None:
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server)
        answers = await asyncio.gather(*(dns.txt("else.test") for _ in range(20)))
        assert answers == [[b"x"]] * 20
        assert len(server.asked) == 1


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server)
        first = asyncio.create_task(dns.txt("else.test"))
        second = asyncio.create_task(dns.txt("else.test"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [b"x"]


async def test_a_server_that_fails_for_a_name_is_no_answer_and_is_not_remembered() -> None:
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server)
        server.failing.add("else.test")
        with pytest.raises(NoAnswer):
            await dns.txt("else.test")
        server.failing.clear()
        assert await dns.txt("else.test") == [b"x"]


async def test_when_nobody_answers_mail_does_not_wait_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "TIMEOUT", 0.05)
    monkeypatch.setattr(resolver, "LIFETIME", 0.05)
    clock = Clock()
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server, clock)
        server.silent = True
        for number in range(resolver.SILENT_AFTER + 3):
            with pytest.raises(NoAnswer):
                await dns.txt(f"n{number}.test")
        asked = len(server.asked)
        assert ("n0.test", "TXT") in server.asked
        assert (f"n{resolver.SILENT_AFTER}.test", "TXT") not in server.asked
        server.silent = False
        with pytest.raises(NoAnswer):
            await dns.txt("else.test")
        assert len(server.asked) == asked
        clock.now += resolver.SILENT_FOR + 1
        monkeypatch.undo()
        assert await dns.txt("else.test") == [b"x"]


async def test_domains_that_do_not_answer_keep_no_other_mail_from_being_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "LIFETIME", 0.05)
    async with dns_server(else_test=[("TXT", '"x"')]) as server:
        dns = asking(server)
        server.silent_below = "evil.test"
        for number in range(3 * resolver.SILENT_AFTER):
            with pytest.raises(NoAnswer):
                await dns.txt(f"n{number}.evil.test")
        monkeypatch.undo()
        assert await dns.txt("else.test") == [b"x"]


async def test_a_system_without_resolvers_has_no_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise resolver.dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(resolver.dns.asyncresolver, "Resolver", none)
    with pytest.raises(NoAnswer):
        await DnsResolver().txt("else.org")


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_REMEMBERED", 3)
    async with dns_server() as server:
        dns = asking(server)
        for number in range(10):
            await dns.txt(f"n{number}.test")
        assert len(dns._known) == 3
