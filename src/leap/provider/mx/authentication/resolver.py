"""The DNS over the network, for the checks: asked through the operator's resolvers, remembered for a while.

Invariants:
* The event loop never waits. One question takes `LIFETIME` at most; equal questions asked together are one.
* What is remembered is bounded in number and in time: what a domain says of itself is believed for an hour at most,
  and asked again after half a minute at the earliest.
* When the resolvers do not answer at all, mail does not wait for each question anew: for a while everything is
  `NoAnswer` at once. Domains that do not answer, of which anybody can have any number, are no reason: the resolvers
  are asked for the root then, which all of them know.
* Names that are never in the public DNS (RFC 6761, RFC 8375, RFC 9476) are not asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename

from leap.provider.contract import Endpoint
from leap.provider.mx.authentication.dns_contract import Address, NoAnswer

log = logging.getLogger(__name__)

TIMEOUT, LIFETIME = 1.5, 3.0  # seconds for one server, and for one question
MIN_TTL, MAX_TTL, EMPTY_TTL = 30.0, 3600.0, 300.0  # seconds
MAX_REMEMBERED = 20_000  # answers; some 10 MB of keys and policies
MAX_ASKING = 1_000  # questions on their way; each holds a socket
MAX_RECORDS = 100  # of one answer; RFC 7208 wants ten, and a name has one or two keys
SILENT_AFTER, SILENT_FOR = 5, 20.0  # questions without an answer on end; seconds

# com. is asked for, of course; these never lead to a mail domain
SPECIAL_USE = frozenset(
    {"alt", "example", "home.arpa", "internal", "invalid", "local", "localhost", "onion", "test"}
)

_Records = tuple[Any, ...]


class DnsResolver:
    """Satisfies `dns_contract.Resolver`. `servers`: whom to ask; None for those of the system."""

    def __init__(
        self,
        servers: Sequence[Endpoint] | None = None,
        *,
        special_use: frozenset[str] = SPECIAL_USE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._special_use = special_use
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, _Records]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Future[_Records]] = {}
        self._places = asyncio.Semaphore(MAX_ASKING)
        self._unanswered = 0
        self._silent_until = 0.0
        self._resolver = _resolver(servers)

    async def txt(self, name: str) -> list[bytes]:
        return [b"".join(one.strings) for one in await self._ask(name, "TXT")]

    async def addresses(self, name: str, version: int) -> list[Address]:
        kind = IPv4Address if version == 4 else IPv6Address
        records = await self._ask(name, "A" if version == 4 else "AAAA")
        return [kind(one.address) for one in records]

    async def exchangers(self, name: str) -> list[str]:
        records = await self._ask(name, "MX")
        ordered = sorted(records, key=lambda one: int(one.preference))
        return [one.exchange.to_text(omit_final_dot=True) for one in ordered]

    async def names_of(self, address: Address) -> list[str]:
        name = dns.reversename.from_address(str(address)).to_text(omit_final_dot=True)
        return [one.target.to_text(omit_final_dot=True) for one in await self._ask(name, "PTR")]

    async def _ask(self, name: str, kind: str) -> _Records:
        name = name.lower().rstrip(".")
        if not _can_be_asked(name) or self._is_special(name):
            return ()
        key = (name, kind)
        known = self._known.get(key)
        if known is not None and known[0] > self._clock():
            self._known.move_to_end(key)
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._fetch(key))
            self._asking[key] = asking
            asking.add_done_callback(lambda done: self._asked(key, done))
        # who gives up waiting does not end it for the others, nor for the next mail
        return await asyncio.shield(asking)

    def _asked(self, key: tuple[str, str], done: asyncio.Future[_Records]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # that it is seen, also when nobody waits any more

    async def _fetch(self, key: tuple[str, str]) -> _Records:
        name, kind = key
        if self._resolver is None or self._clock() < self._silent_until:
            raise NoAnswer(name)
        try:
            async with self._places:
                answer = await self._resolver.resolve(
                    name, kind, search=False, lifetime=LIFETIME, raise_on_no_answer=False
                )
        except dns.resolver.NXDOMAIN:
            records: _Records = ()
            ttl = EMPTY_TTL
        except dns.exception.Timeout:
            await self._went_unanswered()
            raise NoAnswer(name) from None
        except (dns.exception.DNSException, OSError, ValueError):
            raise NoAnswer(name) from None  # refused, broken, or a server that fails for this name
        else:
            rrset = answer.rrset
            records = () if rrset is None else tuple(rrset)[:MAX_RECORDS]
            ttl = EMPTY_TTL if rrset is None else float(rrset.ttl)
        self._unanswered = 0
        self._remember(key, records, min(max(ttl, MIN_TTL), MAX_TTL))
        return records

    async def _went_unanswered(self) -> None:
        self._unanswered += 1
        if self._unanswered < SILENT_AFTER or self._clock() < self._silent_until:
            return
        if await self._is_alive():
            self._unanswered = 0
            return
        self._silent_until = self._clock() + SILENT_FOR
        self._unanswered = SILENT_AFTER - 1  # afterwards one question is enough to know
        log.warning("the DNS does not answer: mail is taken without checks for a while")

    async def _is_alive(self) -> bool:
        """Whether the resolvers answer anything."""
        assert self._resolver is not None
        try:
            await self._resolver.resolve(
                ".", "NS", search=False, lifetime=TIMEOUT, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return True
        except dns.resolver.NoNameservers:
            return True  # they refused, or failed: that is an answer
        except (dns.exception.DNSException, OSError):
            return False
        return True

    def _remember(self, key: tuple[str, str], records: _Records, seconds: float) -> None:
        self._known[key] = self._clock() + seconds, records
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _is_special(self, name: str) -> bool:
        labels = name.split(".")
        return labels[-1] in self._special_use or ".".join(labels[-2:]) in self._special_use


def _resolver(servers: Sequence[Endpoint] | None) -> dns.asyncresolver.Resolver | None:
    """None where the system names no resolver: then there is no DNS."""
    try:
        made = dns.asyncresolver.Resolver(configure=servers is None)
    except (dns.resolver.NoResolverConfiguration, OSError):
        log.warning("this system names no DNS resolver: mail is taken without checks")
        return None
    if servers is not None:
        made.nameservers = [host for host, _ in servers]
        made.nameserver_ports = dict(servers)
    made.timeout = TIMEOUT
    made.lifetime = LIFETIME
    made.cache = None
    made.use_edns(0, 0, 1232)  # a key of 2048 bits in one datagram; DNS flag day 2020
    return made


def _can_be_asked(name: str) -> bool:
    """Whether the DNS can have the name (RFC 1035 2.3.4)."""
    if not name.isascii() or not name or len(name) > 253 or "\\" in name:
        return False
    return all(0 < len(label) <= 63 for label in name.split("."))
