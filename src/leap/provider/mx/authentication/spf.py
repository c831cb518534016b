"""SPF (RFC 7208): whether a domain lets a host send mail in its name.

Invariants:
* Ten terms that ask the DNS at most, two answers that hold nothing, ten hosts of an MX (4.6.4); beyond is permerror.
* A DNS that does not answer gives temperror, never a pass and never a fail.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeVar

from leap.provider.mx.authentication.dns_contract import Address, NoAnswer, Resolver
from leap.provider.mx.authentication.spf_record import (
    BadRecord,
    Directive,
    SpfRecord,
    expand,
    is_spf,
    parse_record,
    uses_validated_name,
)

T = TypeVar("T")

MAX_TERMS = 10  # RFC 7208 4.6.4: of those which ask the DNS
MAX_VOID = 2
MAX_HOSTS = 10  # of an MX; and names of an address

_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[^.\s@\[\]]{1,63}\.)+[^.\s@\[\]]{1,63}")


async def check_host(
    resolver: Resolver, address: Address, domain: str, sender: str, helo: str
) -> str:
    """The result for a host that sends for `domain` (RFC 7208 4): none, neutral, pass, fail, softfail, temperror or
    permerror. `sender` is the MAIL FROM address; `domain` is its domain, in A-labels, or that of HELO."""
    domain = domain.rstrip(".").lower()
    if not domain.isascii() or not _DOMAIN.fullmatch(domain):  # RFC 7208 4.3
        return "none"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # RFC 7208 5
    local, at, sender_domain = sender.rpartition("@")
    if not at or not local:
        sender = f"postmaster@{sender_domain or domain}"
    try:
        return await _Check(resolver, address, sender, helo).run(domain)
    except BadRecord:
        return "permerror"
    except NoAnswer:
        return "temperror"


class _Check:
    """One evaluation, with what it has used of its limits."""

    def __init__(self, resolver: Resolver, address: Address, sender: str, helo: str) -> None:
        self._dns = resolver
        self._address = address
        self._sender = sender
        self._helo = helo
        self._terms = 0
        self._void = 0
        self._validated: list[str] | None = None

    async def run(self, domain: str) -> str:
        """Raises BadRecord for permerror, NoAnswer for temperror."""
        record = await self._record(domain)
        if record is None:
            return "none"
        for one in record.directives:
            if await self._matches(one, domain):
                return one.result
        if record.redirect is None:
            return "neutral"  # RFC 7208 4.7
        self._count()
        result = await self.run(await self._target(record.redirect, domain))
        if result == "none":  # RFC 7208 6.1
            raise BadRecord("redirect leads to no record")
        return result

    async def _record(self, domain: str) -> SpfRecord | None:
        found = [one for one in await self._dns.txt(domain) if is_spf(one)]
        if len(found) > 1:  # RFC 7208 4.5
            raise BadRecord("there are two records")
        return parse_record(found[0]) if found else None

    async def _matches(self, one: Directive, domain: str) -> bool:
        if one.mechanism == "all":
            return True
        if one.network is not None:
            return self._address.version == one.network.version and self._address in one.network
        self._count()
        target = domain if one.target is None else await self._target(one.target, domain)
        if one.mechanism == "include":
            return await self._included(target)
        if one.mechanism == "exists":  # RFC 7208 5.7: A, whatever the address is
            return bool(self._seen(await self._dns.addresses(target, 4)))
        if one.mechanism == "ptr":
            return any(_is_within(name, target) for name in await self._validated_names())
        hosts = [target]
        if one.mechanism == "mx":
            hosts = self._seen(await self._dns.exchangers(target))
            if len(hosts) > MAX_HOSTS:
                raise BadRecord("an MX has too many hosts")
        return await self._any_is_near(hosts, one)

    async def _included(self, target: str) -> bool:
        result = await self.run(target)
        if result == "none":  # RFC 7208 5.2
            raise BadRecord("include leads to no record")
        return result == "pass"

    async def _any_is_near(self, hosts: list[str], one: Directive) -> bool:
        prefix = one.prefix4 if self._address.version == 4 else one.prefix6
        for host in hosts:
            found = await self._dns.addresses(host, self._address.version)
            if one.mechanism == "a":
                self._seen(found)
            for address in found:
                if self._address in ip_network((address, prefix), strict=False):
                    return True
        return False

    async def _validated_names(self) -> list[str]:
        """Names of the address that lead back to it (RFC 7208 5.5); what does not answer is left out."""
        if self._validated is None:
            self._validated = []
            try:
                names = self._seen(await self._dns.names_of(self._address))[:MAX_HOSTS]
            except NoAnswer:
                return self._validated
            for name in names:
                try:
                    if self._address in await self._dns.addresses(name, self._address.version):
                        self._validated.append(name.rstrip(".").lower())
                except NoAnswer:
                    continue
        return self._validated

    async def _target(self, spec: str, domain: str) -> str:
        values = self._values(domain)
        if uses_validated_name(spec):
            values["p"] = await self._validated_name(domain)
        return expand(spec, values).rstrip(".")

    def _values(self, domain: str) -> dict[str, str]:
        local, _, sender_domain = self._sender.rpartition("@")
        address = self._address
        if isinstance(address, IPv4Address):
            written, kind = str(address), "in-addr"
        else:
            written, kind = ".".join(address.exploded.replace(":", "")), "ip6"
        return {
            "s": self._sender,
            "l": local,
            "o": sender_domain,
            "d": domain,
            "i": written,
            "h": self._helo,
            "v": kind,
            "p": "unknown",
        }

    async def _validated_name(self, domain: str) -> str:
        """RFC 7208 7.3, p: the domain itself, else one below it, else any."""
        names = await self._validated_names()
        if domain in names:
            return domain
        within = [name for name in names if _is_within(name, domain)]
        return (within or names or ["unknown"])[0]

    def _count(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRecord("too many terms ask the DNS")

    def _seen(self, found: list[T]) -> list[T]:
        if not found:
            self._void += 1
            if self._void > MAX_VOID:
                raise BadRecord("too many answers hold nothing")
        return found


def _is_within(name: str, domain: str) -> bool:
    domain = domain.lower()
    return name == domain or name.endswith(f".{domain}")


def peer_address(peer: str) -> Address | None:
    """The network address of a connection, or None where it has none (a unix socket)."""
    try:
        return ip_address(peer.partition("%")[0])
    except ValueError:
        return None
