"""The key manager: an account's own keys, keys of others, and finding them. What mail asks, it asks here.

Invariant: a key of another is asked about again after a day, so that a revocation is learnt while the key still
looks well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from leap.keymanager.asking import Asked, Noted
from leap.keymanager.autocrypt.account import Autocrypt
from leap.keymanager.canonical import canonical
from leap.keymanager.comparison import Comparison, compare, grouped, qr_text
from leap.keymanager.discovery import Directory, Found, Source, autocrypt, ring, search
from leap.keymanager.discovery.autocrypt import AutocryptSource
from leap.keymanager.discovery.directory import DirectorySource
from leap.keymanager.discovery.search import find_offered
from leap.keymanager.documents import DocumentStore
from leap.keymanager.errors import KeyRefused, LookupFailed, NoSuchKey
from leap.keymanager.explanation import alerts_of, words_for_blocked
from leap.keymanager.importing import Imported, import_certificates
from leap.keymanager.key_info import KeyInfo, info_of, info_of_own
from leap.keymanager.keyring import Bound, Keyring
from leap.keymanager.lesson import Lesson
from leap.keymanager.mail_material import KeyMaterial, MailKeys
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.own_changes import OwnKeyChanges
from leap.keymanager.own_keys import OwnKeys
from leap.keymanager.publishing import Publishing
from leap.keymanager.trust import Decision, Level, level_named
from leap.keymanager.verifying import Verifying

logger = logging.getLogger(__name__)

# Seconds. Revocations are rare, and each asking tells the provider whom one writes with.
ASK_AGAIN = 24 * 3600
ASK_AGAIN_UNANSWERED = 600  # the source could not be reached
LOCAL = (ring.NAME, autocrypt.NAME)  # sources that ask nobody


class KeyManager:
    """One account's keys.

    `directory` is where own keys are published and others' found; None while offline. `remote` are further places
    to look, in order, after the directory; the sequence is read anew for each search.
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
        self.address = canonical(address)
        self.keyring = Keyring(store, now=now)
        self.own = OwnKeys(store, self.address, self.keyring, now=now)
        self.own_changes = OwnKeyChanges(self.own)
        self.verifying = Verifying(
            self.keyring, self.address, self.own_keys, offered=self._offered, now=now
        )
        self.contacts = self.keyring.contacts
        self.publishing = Publishing(store, self.own, directory, now=now)
        self.autocrypt = Autocrypt(store, self.address, now=now)
        self.mail_keys: MailKeys | None = None  # who judges keys attached to mail
        self._directory = directory
        self._remote = remote
        self._now = now
        self._unanswered: set[str] = set()  # of the own provider, whose look-up failed last
        self._asked_for_signer: dict[str, float] = {}  # address -> when
        self._ask_again: dict[tuple[str, str], float] = {}  # address, sources -> not before

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self.own.close()
        self.autocrypt.close()
        self.keyring.close()

    async def own_keys(self) -> list[SecretKey]:
        """Every key of this account, the one in use first, then the newest first."""
        return await self.own.keys()

    # --- keys of others ---------------------------------------------------------------------

    async def find_certificate(self, address: str) -> Found | None:
        """The key for an address, from the ring or wherever it can be found; None when there is none.

        The certificate may have expired or be revoked, when there is no better: encrypting to it then raises.
        What the person's word forbids to use is found with the reason in `barred`. Raises LookupFailed when a source
        could not answer and nothing good enough is at hand.
        """
        address = canonical(address)
        if address == self.address and (own := await self.own_keys()):
            return Found(
                certificate=own[0].certificate,
                level=Level.KNOWN_KEY,
                source="own",
                evidence="your own key",
            )

        bound = await self.keyring.find(address)
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
            found = await ring.RingSource(self.keyring).find(address)
            if found is None or not found.barred:
                raise  # else it must not be used, whatever the sources would have said
        if found is None and await self.keyring.find_binding(address) is not None:
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
        if address == self.address:  # a key brought along for reading may be of another address
            own = [key.certificate for key in await self.own_keys()]
            return [certificate for certificate in own if address in certificate.addresses]
        bound = await self.keyring.find(address)
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
                if address.rpartition("@")[2] == self.address.rpartition("@")[2]:
                    self._unanswered.add(address)
            bound = await self.keyring.find(address)
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
        return [ring.RingSource(self.keyring, known), AutocryptSource(self.autocrypt)]

    def network_sources(self) -> list[Source]:
        """Those of the sources that ask others: the directory, then what `remote` has now."""
        return [*self._directories(), *self._remote]

    def _directories(self) -> list[Source]:
        if self._directory is None:
            return []
        return [DirectorySource(self._directory, self.address)]

    async def _offered(self, address: str, fingerprint: str) -> Certificate | None:
        sources = [AutocryptSource(self.autocrypt), *self.network_sources()]
        return await find_offered(address, fingerprint, sources)

    async def take(self, found: Found, address: str) -> Found:
        """Learns what a source found; answers the key that stands for the address then. Raises LookupFailed."""
        if found.source == ring.NAME:
            return found
        bound = await self.keyring.find(address)
        if found.source == autocrypt.NAME and autocrypt.is_in_ring(found, bound):
            return await ring.RingSource(self.keyring).find(address) or found
        try:
            for other in found.others:
                if bound is not None and bound.binding.fingerprint == other.fingerprint:
                    await self._learn_found(other, found, address)
            decision = await self._learn_found(found.certificate, found, address)
        except KeyRefused as error:
            raise LookupFailed(f"{found.source} gave no proper key: {error}") from error
        stands = await ring.RingSource(self.keyring).find(address)
        if (
            stands is None and not decision.allowed
        ):  # the search goes on, but it does not end in clear text
            word = words_for_blocked(address, found.certificate.fingerprint)
            weak = Level.WEAK_CHAIN
            return replace(found, level=weak, barred=word.reason, remedy=word.remedy)
        return stands or found

    async def _learn_found(self, certificate: Certificate, found: Found, address: str) -> Decision:
        return await self.keyring.learn(
            certificate,
            address,
            found.level,
            source=found.source,
            detail=found.evidence,
            url=found.url,
            mail=found.mail,
            authentication=found.authentication,
        )

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

    async def learn_from_mail(self, materials: Sequence[KeyMaterial]) -> Lesson | None:
        """What mails that are about to be stored say of keys; None when that is nothing new. Takes microseconds then.

        The lesson is kept in the transaction that stores them, and finished after it. Raises what the store raises.
        """
        learnt = await self.autocrypt.study(materials)
        vouched = [
            one
            for one in materials
            if one.authentication and (one.attached or one.url) and not one.is_spam
        ]
        if learnt is None and not vouched:
            return None
        return Lesson(self.autocrypt, self.keyring, self.mail_keys, learnt, vouched)

    async def autocrypt_header(self, from_address: str) -> str | None:
        """The value of the Autocrypt field for mail of this account or an alias of it; None without a usable key."""
        own = await self.own_keys()
        return await self.autocrypt.own_header(from_address, own[0].certificate) if own else None

    async def note_encrypted(self, fingerprints: Mapping[str, str]) -> None:
        """Mail was encrypted to the keys of these addresses: such keys are kept harder."""
        await self.keyring.note_uses(fingerprints, encrypted_to=True)

    async def note_signed(self, fingerprints: Mapping[str, str]) -> None:
        """Mail of these addresses came with a good signature by these keys, which stood for them."""
        await self.keyring.note_uses(fingerprints, signature_seen=True)

    async def policies(self, addresses: Iterable[str]) -> dict[str, str]:
        """See `Contacts.policies`."""
        return await self.contacts.policies(canonical(address) for address in addresses)

    # --- for people -------------------------------------------------------------------------

    async def list_keys(self) -> list[KeyInfo]:
        """Own keys first, then those of others by address."""
        now = self._now()
        found = [info_of_own(self.address, key.certificate, now) for key in await self.own_keys()]
        own = {info.fingerprint for info in found}
        return [*found, *(info_of(one, now) for one in await self._bound_keys(own))]

    async def _bound_keys(self, own: set[str]) -> list[Bound]:
        bindings = await self.keyring.list_bindings()
        names = [b.address for b in bindings if b.fingerprint not in own]
        found = [await self.keyring.find(name) for name in names]
        return [bound for bound in found if bound is not None]

    async def alerts(self) -> list[str]:
        """What the person must know or decide about keys of others, as sentences."""
        found: list[str] = []
        for binding in await self.keyring.list_bindings():
            if binding.alert is not None or level_named(binding.level) is Level.FINGERPRINT:
                bound = await self.keyring.find(binding.address)
                found += [] if bound is None else alerts_of(bound, self._now())
        return found

    async def show(self, wanted: str) -> list[KeyInfo]:
        """The keys of an address, or with a fingerprint (groups allowed); raises NoSuchKey."""
        plain = canonical(wanted)
        digits = "".join(plain.removeprefix("0x").split()).upper()
        found = [
            info
            for info in await self.list_keys()
            if info.address == plain
            or (len(digits) >= 16 and any(p.fingerprint.endswith(digits) for p in info.parts))
        ]
        if not found:
            contact = await self.contacts.find(plain)
            blocked = ", ".join(grouped(one.fingerprint) for one in contact.blocked)
            rest = f"; blocked for it: {blocked}" if blocked else ""
            rest += f"; `bitmask keys find {plain}` looks for one" if "@" in plain else ""
            raise NoSuchKey(f"no key is known for {wanted.strip()}{rest}")
        return found

    async def import_certificates(
        self, data: bytes, *, origin: str, verified: Sequence[str] = ()
    ) -> list[Imported]:
        """See `importing.import_certificates`."""
        return await import_certificates(
            self.keyring, self.address, data, origin=origin, verified=verified
        )

    async def comparison(self, address: str) -> Comparison:
        """What the person and the owner of an address's key compare. Raises NoSuchKey, NoOwnKey, KeyRefused."""
        bound = await self.verifying.bound(address)
        own = (await self.own.certificate()).fingerprint
        mine, address = (self.address, own), bound.binding.address
        alert = bound.binding.alert
        stands = await compare(mine, (address, bound.certificate.fingerprint))
        offered = None if alert is None else await compare(mine, (address, alert.fingerprint))
        return Comparison(
            address=address,
            own=own,
            own_qr=qr_text(own),
            verified=bound.level is Level.FINGERPRINT,
            key=stands,
            offered=offered,
        )

    async def export_all(self) -> bytes:
        """The armored certificates of all keys, one's own first."""
        certificates = [key.certificate for key in await self.own_keys()]
        own = {certificate.fingerprint for certificate in certificates}
        certificates += [bound.certificate for bound in await self._bound_keys(own)]
        once = {certificate.fingerprint: certificate for certificate in certificates}
        return b"".join(certificate.armored() for certificate in once.values())

    async def export(
        self, address: str, *, secret: bool = False, passphrase: str | None = None
    ) -> bytes:
        """The armored key of an address; with `secret` all own secret keys, locked if a passphrase is given.

        Raises NoSuchKey, NoOwnKey.
        """
        address = canonical(address)
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
