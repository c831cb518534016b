"""What the checks ask of the DNS. `resolver.DnsResolver` asks the network; tests have a zone in memory.

An answer that holds nothing and a name that does not exist are both an empty list. Names that are none (an empty
label, or a long one) have no records. Nothing but `NoAnswer` is raised: then nobody knows.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

Address = IPv4Address | IPv6Address


class NoAnswer(Exception):
    """The DNS did not answer, or said that it cannot: another time it may (RFC 7208 2.6.6, temperror)."""


class Resolver(Protocol):
    """Names are ASCII, without a dot at the end, in any case of letters."""

    async def txt(self, name: str) -> list[bytes]:
        """Text records, the strings of each joined (RFC 7208 3.3, RFC 6376 3.6.2.2)."""
        ...

    async def addresses(self, name: str, version: int) -> list[Address]:
        """A records for version 4, AAAA records for 6."""
        ...

    async def exchangers(self, name: str) -> list[str]:
        """The hosts of MX records, the most preferred first."""
        ...

    async def names_of(self, address: Address) -> list[str]:
        """The names of PTR records."""
        ...
