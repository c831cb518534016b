"""The key manager: an account's own keys, keys of others, and finding them. What mail asks, it asks here.

Invariant: a key of another is asked about again after a day, so that a revocation is learnt while the key still
looks well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from leap.keymanager.discovery import Directory, Found, Source, ring, search
from leap.keymanager.discovery.directory import DirectorySource
from leap.keymanager.documents import (
    Change,
    DocumentStore,
    Evidence,
)
from leap.keymanager.errors import KeyRefused, LookupFailed, NoSuchKey
from leap.keymanager.keyring import Keyring
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.own_changes import OwnKeyChanges
from leap.keymanager.own_keys import OwnKeys
from leap.keymanager.publishing import Publishing
from leap.keymanager.trust import Decision, Level

logger = logging.getLogger(__name__)

# Seconds. Revocations are rare, and each asking tells the provider whom one writes with.
ASK_AGAIN = 24 * 3600
ASK_AGAIN_UNANSWERED = 600  # the source could not be reached


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One key as lists show it, with why it is believed; times in seconds since 1970."""

    address: str
    fingerprint: str
    level: str
    own: bool
    created: int
    expires: int | None
    revoked: bool
    can_encrypt: bool
    user_ids: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    history: tuple[Change, ...] = ()


class KeyManager:
    """One account's keys.

    `directory` is where own keys are published and others' found; None while offline. `remote` are further places
    to look, in order, after the directory.
    """

    def __init__(
        self,
        store: DocumentStore,
        address: str,
        directory: Directory | None = None,
        *,
        remote: Sequence[Source] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = address.lower()
        self.keyring = Keyring(store, now=now)
        self.own = OwnKeys(store, self.address, self.keyring, now=now)
        self.own_changes = OwnKeyChanges(self.own)
        self.publishing = Publishing(store, self.own, directory, now=now)
        self._directory = directory
        self._remote = tuple(remote)
        self._now = now
        self._ask_again: dict[str, float] = {}  # address -> not before

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self.own.close()
        self.keyring.close()

    async def own_keys(self) -> list[SecretKey]:
        """Every key of this account, the one in use first, then the newest first."""
        return await self.own.keys()

    # --- keys of others ---------------------------------------------------------------------

    async def find_certificate(self, address: str) -> Found | None:
        """The key for an address, from the ring or wherever it can be found; None when there is none.

        The certificate may have expired or be revoked, when there is no better: encrypting to it then raises.
        Raises LookupFailed when a source could not answer and nothing good enough is at hand.
        """
        address = address.strip().lower()
        if address == self.address and (own := await self.own_keys()):
            return Found(
                certificate=own[0].certificate,
                level=Level.KNOWN_KEY,
                source="own",
                evidence="your own key",
            )

        sources = self._sources()
        at = self._now()

        async def take(found: Found) -> Found:
            return await self._take(found, address)

        def asked(source: Source, answered: bool) -> None:
            if source.name != ring.NAME:
                self._ask_again[address] = at + (ASK_AGAIN if answered else ASK_AGAIN_UNANSWERED)

        refresh = await self._is_to_be_refreshed(address, sources)
        return await search(address, sources, at=at, learn=take, refresh=refresh, asked=asked)

    async def find_bound(self, address: str, *, seconds: float) -> list[Certificate]:
        """The certificates that stand for an address, to judge its signatures: its own, or the one of the ring.

        An address without one is looked up, and what is found becomes its key; that, and asking again about an older
        one, takes at most `seconds`. What cannot be found out leaves what is known.
        """
        address = address.strip().lower()
        if address == self.address:
            return [key.certificate for key in await self.own_keys()]
        bound = await self.keyring.find(address)
        if bound is None or await self._is_to_be_refreshed(address, self._sources()):
            try:
                async with asyncio.timeout(seconds):
                    await self.find_certificate(address)
            except (LookupFailed, TimeoutError) as error:
                logger.info("a sender's key could not be looked up: %s", type(error).__name__)
            bound = await self.keyring.find(address)
        return [] if bound is None else [bound.certificate]

    async def _is_to_be_refreshed(self, address: str, sources: Sequence[Source]) -> bool:
        """Whether no source beyond the ring was asked about the key of an address for a day, here or elsewhere."""
        names = {source.name for source in sources if source.name != ring.NAME}
        bound = await self.keyring.find(address) if names else None
        if bound is None:
            return False
        heard = max((e.when for e in bound.binding.evidence if e.source in names), default=0)
        return self._now() >= max(heard + ASK_AGAIN, self._ask_again.get(address, 0))

    def _sources(self) -> list[Source]:
        sources: list[Source] = [ring.RingSource(self.keyring)]
        if self._directory is not None:
            sources.append(DirectorySource(self._directory, self.address))
        return [*sources, *self._remote]

    async def _take(self, found: Found, address: str) -> Found:
        """Learns what a source found; answers the key that stands for the address then. Raises LookupFailed."""
        if found.source == ring.NAME:
            return found
        try:
            await self.keyring.learn(
                found.certificate,
                address,
                found.level,
                source=found.source,
                detail=found.evidence,
                url=found.url,
                mail=found.mail,
                authentication=found.authentication,
            )
        except KeyRefused as error:
            raise LookupFailed(f"{found.source} gave no proper key: {error}") from error
        return await ring.RingSource(self.keyring).find(address) or found

    async def find_signers(self, issuers: Iterable[str]) -> list[Certificate]:
        """Certificates with a key of any of these fingerprints or key ids, one's own among them."""
        wanted = {issuer.upper() for issuer in issuers}
        own = [key.certificate for key in await self.own_keys()]
        mine = [c for c in own if wanted & {*c.fingerprints, *c.key_ids}]
        known = {certificate.fingerprint for certificate in mine}
        found = await self.keyring.find_signers(wanted)
        return [*mine, *(c for c in found if c.fingerprint not in known)]

    async def learn(
        self,
        certificate: Certificate,
        address: str,
        evidence: str,
        *,
        level: Level = Level.WEAK_CHAIN,
        source: str = "mail",
        mail: str = "",
        authentication: str = "",
    ) -> Decision:
        """Takes in a key found on the way; says whether it now is the key of the address, and why (not).

        Raises KeyRefused when the certificate does not carry the address.
        """
        return await self.keyring.learn(
            certificate,
            address,
            level,
            source=source,
            detail=evidence,
            mail=mail,
            authentication=authentication,
        )

    async def note_use(
        self, address: str, *, encrypted_to: bool = False, signature_seen: bool = False
    ) -> None:
        """See `Keyring.note_use`."""
        await self.keyring.note_use(
            address, encrypted_to=encrypted_to, signature_seen=signature_seen
        )

    async def list_keys(self) -> list[KeyInfo]:
        """Own keys first, then those of others by address."""
        now = self._now()
        found = [
            _info(self.address, key.certificate, Level.KNOWN_KEY.word, now, own=True)
            for key in await self.own_keys()
        ]
        own = {info.fingerprint for info in found}
        for binding in await self.keyring.list_bindings():
            certificate = await self.keyring.find_certificate(binding.fingerprint)
            if certificate is not None and binding.fingerprint not in own:
                info = _info(binding.address, certificate, binding.level, now, own=False)
                found.append(
                    msgspec.structs.replace(
                        info, evidence=binding.evidence, history=binding.history
                    )
                )
        return found

    async def export(
        self, address: str, *, secret: bool = False, passphrase: str | None = None
    ) -> bytes:
        """The armored key of an address; with `secret` all own secret keys, locked if a passphrase is given.

        Raises NoSuchKey, NoOwnKey.
        """
        address = address.strip().lower()
        if secret:
            if address != self.address:
                raise NoSuchKey(f"{address} is not this account: there is no secret key of it here")
            return await self.own.export(passphrase)
        if address == self.address and (own := await self.own_keys()):
            return own[0].certificate.armored()
        bound = await self.keyring.find(address)
        if bound is None:
            raise NoSuchKey(f"no key is known for {address}")
        return bound.certificate.armored()


def _info(address: str, certificate: Certificate, level: str, now: float, *, own: bool) -> KeyInfo:
    return KeyInfo(
        address=address,
        fingerprint=certificate.fingerprint,
        level=level,
        own=own,
        created=certificate.created,
        expires=certificate.expires,
        revoked=certificate.revoked,
        can_encrypt=certificate.can_encrypt(now),
        user_ids=certificate.user_ids,
    )
