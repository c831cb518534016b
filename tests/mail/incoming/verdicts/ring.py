"""What a key ring says, of keys in memory: which stand for an address, and which may have signed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.trust import Level


class Ring:
    """`bound`: the certificates that stand for an address; what a certificate calls itself says nothing."""

    def __init__(
        self, own: Sequence[SecretKey], bound: Mapping[str, Sequence[Certificate]]
    ) -> None:
        self._own = list(own)
        self._bound = {address: list(several) for address, several in bound.items()}

    async def own_keys(self) -> list[SecretKey]:
        return self._own

    async def note_signed(self, fingerprints: Mapping[str, str]) -> None:
        pass

    async def find_signers(self, issuers: Iterable[str]) -> list[Certificate]:
        wanted = set(issuers)
        known = {id(one): one for several in self._bound.values() for one in several}
        return [one for one in known.values() if wanted & {*one.key_ids, *one.fingerprints}]

    async def find_bound(
        self, address: str, *, seconds: float, issuers: Collection[str]
    ) -> list[Certificate]:
        return self._bound.get(address, [])

    async def level_of(self, address: str) -> str:
        return Level.PROVIDER_TRUST.word if address in self._bound else ""
