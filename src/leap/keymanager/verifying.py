"""The person's word about keys of others: verified, kept, accepted, taken back, blocked, deleted.

Invariants:
* Only what the person says gives the fingerprint level, and only they end an alert.
* Each word is kept in one transaction, durably, with its date, and reaches their other devices by sync.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from leap.keymanager import binding_edits
from leap.keymanager.canonical import canonical
from leap.keymanager.comparison import grouped, read_fingerprint
from leap.keymanager.contacts import blocking, unblocking
from leap.keymanager.documents import PERSON, Binding, Block, Contact, Evidence
from leap.keymanager.errors import KeyRefused, NoSuchKey
from leap.keymanager.keyring import Bound, Keyring
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.trust import Level, level_named

COMPARED = "you compared the fingerprint"
ACCEPTED = "you accepted it without comparing the fingerprint"


class Verifying:
    """What one account's person decides about the keys of others."""

    def __init__(
        self,
        keyring: Keyring,
        own_address: str,
        own_keys: Callable[[], Awaitable[list[SecretKey]]],
        *,
        offered: Callable[[str, str], Awaitable[Certificate | None]] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`offered`: the key of an address and fingerprint which a source has, though the ring did not take it."""
        self._keyring = keyring
        self._own_address = own_address
        self._own_keys = own_keys
        self._offered = offered
        self._now = now

    async def verify(self, address: str, fingerprint: str, *, detail: str = COMPARED) -> Bound:
        """The person compared this fingerprint with the one its owner has: it is the address's key from now on.

        It may be that of the key which stands, of the one an alert offers, or of one that a source has. Raises
        NoSuchKey, and KeyRefused when it is another one, or the key is blocked, or has ended.
        """
        address = self._others(address)
        fingerprint = read_fingerprint(fingerprint)
        bound = await self._keyring.find(address)
        certificate = None if bound is None else await self._known(bound, fingerprint)
        if certificate is None and self._offered is not None:
            certificate = await self._offered(address, fingerprint)
        if certificate is None:
            bound = await self.bound(address)
            raise KeyRefused(
                f"the fingerprint {grouped(fingerprint)} is not that of the key of {address}, which is"
                f" {grouped(bound.certificate.fingerprint)}"
            )
        decision = await self._keyring.learn(
            certificate,
            address,
            Level.FINGERPRINT,
            source=PERSON,
            detail=detail,
        )
        if not decision.allowed:
            raise KeyRefused(decision.reason)
        return await self.bound(address)

    async def accept(self, address: str) -> Bound:
        """Takes the key of the alert without comparing; it is believed as far as who offered it. Raises as `verify`."""
        bound = await self.bound(address)
        alert = bound.binding.alert
        if alert is None:
            raise KeyRefused(f"no other key of {address} waits for your decision")
        certificate = await self._known(bound, alert.fingerprint)
        if certificate is None:
            raise KeyRefused(f"the key offered for {address} is missing on this device")
        if bound.contact.blocks(alert.fingerprint):
            raise KeyRefused(f"you blocked the key {grouped(alert.fingerprint)} for {address}")
        if not certificate.can_encrypt(self._now()):
            raise KeyRefused("nothing can be encrypted to the new key")
        level = min(level_named(alert.level), Level.KNOWN_KEY)
        evidence = Evidence(source=PERSON, when=int(self._now()), level=level.word, detail=ACCEPTED)

        def take(binding: Binding) -> Binding:
            if binding.alert is None or binding.alert.fingerprint != certificate.fingerprint:
                return binding  # decided elsewhere meanwhile
            return binding_edits.taken(
                binding, certificate.fingerprint, binding.address, evidence, ACCEPTED
            )

        await self._keyring.edit(address, take)
        return await self.bound(address)

    async def keep(self, address: str) -> Bound:
        """Keeps the key that stands, against the one of the alert. Raises NoSuchKey, KeyRefused."""
        bound = await self.bound(address)
        if bound.binding.alert is None:
            raise KeyRefused(f"no other key of {address} waits for your decision")
        moment = int(self._now())
        await self._keyring.edit(address, lambda b: binding_edits.kept(b, moment))
        return await self.bound(address)

    async def take_back(self, address: str) -> Bound:
        """The person takes back that they compared: the best of the other evidence counts. Raises as `keep`."""
        bound = await self.bound(address)
        if bound.level is not Level.FINGERPRINT:
            raise KeyRefused(f"you have not verified the key of {address}")
        moment = int(self._now())
        await self._keyring.edit(
            address,
            lambda b: binding_edits.unverified(b, moment, "you took back that you compared it"),
        )
        return await self.bound(address)

    async def block(self, address: str, fingerprint: str, *, reason: str = "") -> Contact:
        """This key is never used for the address again, whoever offers it. Raises KeyRefused for one's own address."""
        address = self._others(address)
        named = read_fingerprint(fingerprint)
        bound = await self._keyring.find(address)
        if bound is not None and named in bound.certificate.fingerprints:
            named = bound.certificate.fingerprint  # of a subkey: the whole key is meant
        block = Block(fingerprint=named, when=int(self._now()), reason=reason)

        def contact(before: Contact) -> Contact:
            return blocking(before, block)

        def binding(before: Binding) -> Binding:
            if before.fingerprint == block.fingerprint:
                if level_named(before.level) is Level.FINGERPRINT:
                    return binding_edits.unverified(before, block.when, "you blocked the key")
                return before
            if before.alert is not None and before.alert.fingerprint == block.fingerprint:
                return msgspec.structs.replace(before, alert=None)
            return before

        return await self._keyring.decide(address, contact, binding)

    async def unblock(self, address: str, fingerprint: str) -> Contact:
        """Lifts a block. Raises KeyRefused when there is none."""
        address = self._others(address)
        wanted = read_fingerprint(fingerprint)
        if not (await self._keyring.contacts.find(address)).blocks(wanted):
            raise KeyRefused(f"the key {grouped(wanted)} is not blocked for {address}")
        return await self._keyring.decide(address, lambda c: unblocking(c, wanted), lambda b: b)

    async def delete(self, address: str) -> str:
        """Forgets the key of an address with all evidence, on all devices; answers its fingerprint.

        What was decided about the address stays: policy and blocked keys. The key can be learnt again. Raises
        NoSuchKey, and KeyRefused for one's own.
        """
        address = self._others(address)
        binding = await self._keyring.find_binding(address)
        if binding is None:
            raise NoSuchKey(f"no key is known for {address}")
        own = frozenset(key.fingerprint for key in await self._own_keys())
        await self._keyring.forget(address, keep=own)
        return binding.fingerprint

    def _others(self, address: str) -> str:
        address = canonical(address)
        if address == self._own_address:
            raise KeyRefused(f"{address} is your own address: its keys are yours")
        return address

    async def bound(self, address: str) -> Bound:
        """The key of another that the person speaks of. Raises NoSuchKey, and KeyRefused for one's own address."""
        address = self._others(address)
        bound = await self._keyring.find(address)
        if bound is None:
            raise NoSuchKey(f"no key is known for {address}")
        return bound

    async def _known(self, bound: Bound, fingerprint: str) -> Certificate | None:
        """The certificate with this fingerprint, if it is the one that stands or that of the alert."""
        if fingerprint == bound.certificate.fingerprint:
            return bound.certificate
        alert = bound.binding.alert
        if alert is None or alert.fingerprint != fingerprint:
            return None
        return await self._keyring.find_certificate(fingerprint)
