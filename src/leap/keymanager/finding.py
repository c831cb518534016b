"""Finding keys of others: the ring first, then the sources in order, and when it is time to ask them again.

Invariants:
* A key of another is asked about again after a day, so that a revocation is learnt while the key still looks well.
* To judge a mail nobody is asked but the provider's directory: its sender must not be told that it arrived.
* What is found goes through the keyring: what stands for the address after that is the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from leap.keymanager.asking import Asked, Noted
from leap.keymanager.autocrypt.account import Autocrypt
from leap.keymanager.canonical import canonical
from leap.keymanager.discovery import Directory, Found, Source, autocrypt, ring, search
from leap.keymanager.discovery.autocrypt import AutocryptSource
from leap.keymanager.discovery.directory import DirectorySource
from leap.keymanager.discovery.search import find_offered
from leap.keymanager.errors import KeyRefused, LookupFailed
from leap.keymanager.explanation import words_for_blocked
from leap.keymanager.keyring import Bound, Keyring
from leap.keymanager.openpgp import Certificate
from leap.keymanager.own_keys import OwnKeys
from leap.keymanager.trust import Decision, Level

logger = logging.getLogger(__name__)

# Seconds. Revocations are rare, and each asking tells the provider whom one writes with.
ASK_AGAIN = 24 * 3600
ASK_AGAIN_UNANSWERED = 600  # the source could not be reached
LOCAL = (ring.NAME, autocrypt.NAME)  # sources that ask nobody


class Finding:
    """The searches of one account, and what it remembers of whom it asked."""

    def __init__(
        self,
        own: OwnKeys,
        keyring: Keyring,
        peers: Autocrypt,
        directory: Directory | None,
        remote: Sequence[Source],
        *,
        now: Callable[[], float],
    ) -> None:
        """`directory` and `remote` as `KeyManager` has them."""
        self._own = own
        self._keyring = keyring
        self._peers = peers
        self._directory = directory
        self._remote = remote
        self._now = now
        self._unanswered: set[str] = set()  # of the own provider, whose look-up failed last
        self._asked_for_signer: dict[str, float] = {}  # address -> when
        self._ask_again: dict[tuple[str, str], float] = {}  # address, sources -> not before

    async def find_certificate(self, address: str) -> Found | None:
        """The key for an address, from the ring or wherever it can be found; None when there is none.

        The certificate may have expired or be revoked, when there is no better: encrypting to it then raises.
        What the person's word forbids to use is found with the reason in `barred`. Raises LookupFailed when a source
        could not answer and nothing good enough is at hand.
        """
        address = canonical(address)
        if address == self._own.address and (own := await self._own.keys()):
            return Found(
                certificate=own[0].certificate,
                level=Level.KNOWN_KEY,
                source="own",
                evidence="your own key",
            )

        bound = await self._keyring.find(address)
        sources = self.sources(bound)
        refresh = self._is_to_be_refreshed(address, bound, sources)
        return await self._search(address, sources, refresh=refresh)

    async def ask(self, address: str) -> Asked:
        """Asks the sources about an address now, whatever is known; what each answered, and what came of it."""
        address = canonical(address)
        noted = [Noted(source) for source in self.sources()]
        found, failure = None, ""
        try:
            found = await self._search(address, noted, refresh=True)
        except LookupFailed as error:
            failure = str(error)
        return Asked([source.answer for source in noted], found, failure)

    async def _search(
        self, address: str, sources: Sequence[Source], *, refresh: bool
    ) -> Found | None:
        at = self._now()
        names = ",".join(source.name for source in sources)

        async def take(found: Found) -> Found:
            return await self.take(found, address)

        def asked(source: Source, answered: bool) -> None:
            if source.name not in LOCAL:
                pause = ASK_AGAIN if answered else ASK_AGAIN_UNANSWERED
                self._ask_again[address, names] = at + pause

        try:
            found = await search(address, sources, at=at, learn=take, refresh=refresh, asked=asked)
        except LookupFailed:
            found = await ring.RingSource(self._keyring).find(address)
            if found is None or not found.barred:
                raise  # else it must not be used, whatever the sources would have said
        if found is None and await self._keyring.find_binding(address) is not None:
            # Never "none": the person may have verified it, and clear text would follow.
            raise LookupFailed(f"the key of {address} is known, but missing on this device")
        return found

    async def find_bound(
        self, address: str, *, seconds: float, issuers: Collection[str] = ()
    ) -> list[Certificate]:
        """The certificates that stand for an address, to judge its signatures: its own, or the one of the ring.

        A key which the person blocked stands for nobody. An address without one is looked up at the provider's
        directory, and what is found becomes its key; that, and asking again about an older one, or one that made none
        of the signatures (by their `issuers`), takes at most `seconds`. What cannot be found out leaves what is known;
        but a weak chain stands for nobody of one's own provider while its directory has not answered: whoever forges
        the From can send a key along. Nobody else is asked: a mail's sender must not be told by a request for his key
        that it arrived.
        """
        address = canonical(address)
        if (
            address == self._own.address
        ):  # a key brought along for reading may be of another address
            own = [key.certificate for key in await self._own.keys()]
            return [certificate for certificate in own if address in certificate.addresses]
        bound = await self._keyring.find(address)
        sources = [*self._local_sources(bound), *self._directories()]
        refresh = self._is_to_be_refreshed(address, bound, sources)
        if bound is not None and not refresh and issuers:
            refresh = self._may_have_changed(bound, issuers)
        if bound is None or refresh:
            try:
                async with asyncio.timeout(seconds):
                    await self._search(address, sources, refresh=refresh)
                self._unanswered.discard(address)
            except (LookupFailed, TimeoutError) as error:
                logger.info("a sender's key could not be looked up: %s", type(error).__name__)
                if address.rpartition("@")[2] == self._own.address.rpartition("@")[2]:
                    self._unanswered.add(address)
            bound = await self._keyring.find(address)
        if bound is None or bound.blocked:
            return []
        doubtful = bound.level is Level.WEAK_CHAIN and address in self._unanswered
        return [] if doubtful else [bound.certificate]

    def _may_have_changed(self, bound: Bound, issuers: Collection[str]) -> bool:
        """Whether signatures by another key are a reason to ask: once in ten minutes, as anybody can write them."""
        known, now = bound.certificate, self._now()
        if not {*known.fingerprints, *known.key_ids}.isdisjoint(issuers):
            return False
        address = bound.binding.address
        if now < self._asked_for_signer.get(address, 0) + ASK_AGAIN_UNANSWERED:
            return False
        self._asked_for_signer[address] = now
        return True

    def _is_to_be_refreshed(
        self, address: str, bound: Bound | None, sources: Sequence[Source]
    ) -> bool:
        """Whether no source beyond the ring was asked about the key of an address for a day, here or elsewhere."""
        names = {source.name for source in sources if source.name not in LOCAL}
        if bound is None or not names:
            return False
        asked = self._ask_again.get((address, ",".join(source.name for source in sources)), 0)
        now = self._now()
        if asked > now + ASK_AGAIN:
            asked = 0  # noted by a clock that was wrong
        if bound.blocked:  # there may be another one
            return now >= asked
        # what is dated in the future was noted by such a clock, perhaps of another device
        evidence = (e.when for e in bound.binding.evidence if e.source in names and e.when <= now)
        heard = max(evidence, default=0)
        return now >= max(heard + ASK_AGAIN, asked)

    def sources(self, known: Bound | None = None) -> list[Source]:
        """Where a key is looked for, in order; `known` is what the ring has, if it was read already."""
        return [*self._local_sources(known), *self.network_sources()]

    def _local_sources(self, known: Bound | None) -> list[Source]:
        return [ring.RingSource(self._keyring, known), AutocryptSource(self._peers)]

    def network_sources(self) -> list[Source]:
        """Those of the sources that ask others: the directory, then what `remote` has now."""
        return [*self._directories(), *self._remote]

    def _directories(self) -> list[Source]:
        if self._directory is None:
            return []
        return [DirectorySource(self._directory, self._own.address)]

    async def offered(self, address: str, fingerprint: str) -> Certificate | None:
        """The key of an address with this fingerprint, wherever somebody has it; not learnt yet."""
        sources = [AutocryptSource(self._peers), *self.network_sources()]
        return await find_offered(address, fingerprint, sources)

    async def take(self, found: Found, address: str) -> Found:
        """Learns what a source found; answers the key that stands for the address then. Raises LookupFailed."""
        if found.source == ring.NAME:
            return found
        bound = await self._keyring.find(address)
        if found.source == autocrypt.NAME and autocrypt.is_in_ring(found, bound):
            return await ring.RingSource(self._keyring).find(address) or found
        try:
            for other in found.others:
                if bound is not None and bound.binding.fingerprint == other.fingerprint:
                    await self._learn_found(other, found, address)
            decision = await self._learn_found(found.certificate, found, address)
        except KeyRefused as error:
            raise LookupFailed(f"{found.source} gave no proper key: {error}") from error
        stands = await ring.RingSource(self._keyring).find(address)
        if (
            stands is None and not decision.allowed
        ):  # the search goes on, but it does not end in clear text
            word = words_for_blocked(address, found.certificate.fingerprint)
            weak = Level.WEAK_CHAIN
            return replace(found, level=weak, barred=word.reason, remedy=word.remedy)
        return stands or found

    async def _learn_found(self, certificate: Certificate, found: Found, address: str) -> Decision:
        return await self._keyring.learn(
            certificate,
            address,
            found.level,
            source=found.source,
            detail=found.evidence,
            url=found.url,
            mail=found.mail,
            authentication=found.authentication,
        )
