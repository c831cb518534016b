"""Keys that mail brought: the peer's own Autocrypt header, else what somebody gossiped inside an encrypted mail.

Invariants:
* A weak chain, whoever vouched for the mail: it does not end a search, and replaces nothing that is believed more.
* Only a key that carries the address and can be encrypted to now is an answer; a search never fails here.
"""

from __future__ import annotations

import asyncio

from leap.keymanager.autocrypt.account import Autocrypt
from leap.keymanager.discovery.contract import Found
from leap.keymanager.keyring import Bound
from leap.keymanager.openpgp import Certificate
from leap.keymanager.trust import Level

NAME = "autocrypt"


class AutocryptSource:
    """The account's Autocrypt state as a source."""

    name = NAME

    def __init__(self, autocrypt: Autocrypt) -> None:
        self._autocrypt = autocrypt

    async def find(self, address: str) -> Found | None:
        key = await self._autocrypt.find_key(address)
        if key is None or not await asyncio.to_thread(_carries, key.certificate, address):
            return None
        peer = key.peer
        if key.gossiped:
            return Found(
                certificate=key.certificate,
                level=Level.WEAK_CHAIN,
                source=NAME,
                evidence=f"an encrypted mail from {peer.gossip_from} to both of you gave it for {address}",
                mail=peer.gossip_mail,
                authentication=peer.gossip_authentication,
            )
        return Found(
            certificate=key.certificate,
            level=Level.WEAK_CHAIN,
            source=NAME,
            evidence=f"the Autocrypt header of a mail from {address}",
            mail=peer.mail,
            authentication=peer.authentication,
        )


def _carries(certificate: Certificate, address: str) -> bool:
    return address in certificate.addresses


def is_in_ring(found: Found, bound: Bound | None) -> bool:
    """Whether the ring has learnt just this: to learn it again for each mail that is sent would only write."""
    if bound is None or bound.binding.fingerprint != found.certificate.fingerprint:
        return False
    return any(one.source == NAME and one.mail == found.mail for one in bound.binding.evidence)
