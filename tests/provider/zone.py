"""A DNS in memory for tests: what names have, and which of them do not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from leap.provider.mx.authentication.dns_contract import Address, NoAnswer

Records = Sequence[tuple[str, str | bytes]]


class Zone:
    """`records`: by name, (type, value), the types being TXT, A, AAAA, MX ("10 host"), PTR, CNAME, and FAIL.

    PTR records stand under the name in .arpa that an address has.
    """

    def __init__(self, records: Mapping[str, Records] | None = None) -> None:
        self.records = {name.lower(): list(found) for name, found in (records or {}).items()}
        self.asked: list[tuple[str, str]] = []

    def add(self, name: str, kind: str, value: str | bytes = "") -> None:
        """One more record."""
        self.records.setdefault(name.lower(), []).append((kind, value))

    def _find(self, name: str, kind: str, hops: int = 0) -> list[str | bytes]:
        self.asked.append((name, kind))
        found = self.records.get(name.lower().rstrip("."), [])
        if any(one in ("FAIL", f"FAIL {kind}") for one, _ in found):
            raise NoAnswer(name)
        for one, value in found:
            if one == "CNAME" and hops < 10:
                return self._find(str(value), kind, hops + 1)
        return [value for one, value in found if one == kind]

    async def txt(self, name: str) -> list[bytes]:
        found = self._find(name, "TXT")
        return [one if isinstance(one, bytes) else one.encode("utf-8") for one in found]

    async def addresses(self, name: str, version: int) -> list[Address]:
        kind = IPv4Address if version == 4 else IPv6Address
        return [kind(str(one)) for one in self._find(name, "A" if version == 4 else "AAAA")]

    async def exchangers(self, name: str) -> list[str]:
        found = [str(one).partition(" ") for one in self._find(name, "MX")]
        return [host for _, _, host in sorted(found, key=lambda one: int(one[0]))]

    async def names_of(self, address: Address) -> list[str]:
        return [str(one) for one in self._find(address.reverse_pointer, "PTR")]
