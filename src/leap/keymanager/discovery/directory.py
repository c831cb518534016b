"""Asking the provider's key directory.

Invariant: an answer counts only if it is a certificate with a user id of the address asked for (that it is signed,
the keyring checks); anything else is a failure to answer, not the answer "none".
"""

from __future__ import annotations

import asyncio

from leap.keymanager.canonical import canonical
from leap.keymanager.discovery.contract import Directory, Found
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import Certificate, OpenPGPError, read_certificates
from leap.keymanager.openpgp.component import address_in
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.trust import Level
from leap.soledad.errors import SoledadError

NAME = "directory"
MAX_OTHERS = 8  # certificates of one answer that are looked at besides the best


class DirectorySource:
    """The directory of one's own provider: trusted for its own addresses, a weak chain for others'."""

    name = NAME

    def __init__(self, directory: Directory, own_address: str) -> None:
        self._directory = directory
        self._domain = canonical(own_address).rpartition("@")[2]

    async def find(self, address: str) -> Found | None:
        try:
            answer = await self._directory.find_certificate(address)
        except (SoledadError, OSError) as error:
            raise LookupFailed(
                f"the provider's key directory could not be asked: {error}"
            ) from error
        if answer is None:
            return None
        # how much work checking it is, whoever published it decides
        certificate, others = await asyncio.to_thread(_choose, answer, address)
        own = address.rpartition("@")[2] == self._domain
        return Found(
            certificate=certificate,
            level=Level.PROVIDER_TRUST if own else Level.WEAK_CHAIN,
            source=NAME,
            evidence=f"the key directory of {self._domain} gave it for {address}",
            others=others,
        )


def _choose(answer: bytes, address: str) -> tuple[Certificate, tuple[Certificate, ...]]:
    """The one in use, and those published with it: former ones, which were revoked."""
    try:
        found = [c for c in read_certificates(answer) if _names(c, address)]
    except OpenPGPError as error:
        raise LookupFailed(
            f"the provider's key directory answered with no proper key for {address}: {error}"
        ) from error
    if found:
        # a name may have been revoked: news for whoever has the key already
        best = next((one for one in found if address in one.addresses), found[0])
        return best, tuple(one for one in found if one is not best)[:MAX_OTHERS]
    raise LookupFailed(f"the provider's key directory answered with a key that is not of {address}")


def _names(certificate: Certificate, address: str) -> bool:
    return any(
        component.tag == Tag.USER_ID and address_in(component.body) == address
        for component in certificate.components
    )
