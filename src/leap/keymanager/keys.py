"""The key manager: an account's own keys, keys of others, and finding them. What mail asks, it asks here.

Invariants:
* Own keys are never thrown away: old ones open old mail.
* A secret leaves only through `own_keys` (to the engine) and `export(..., secret=True)` (to the person).
* A key of another is asked about again after a day, so that a revocation is learnt while the key still looks well.
* Publishing is remembered as undone until the directory took it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from leap.keymanager.discovery import Directory, Found, Source, ring, search
from leap.keymanager.discovery.directory import DirectorySource
from leap.keymanager.documents import (
    PUBLICATION,
    SECRET,
    Change,
    DocumentStore,
    DocumentTransaction,
    Evidence,
    Publication,
    SecretDocument,
    content_of,
    secret_document,
    unpack,
    value_of,
)
from leap.keymanager.errors import KeyRefused, LookupFailed, NoOwnKey, NoSuchKey
from leap.keymanager.keyring import Keyring
from leap.keymanager.openpgp import Certificate, SecretKey, offload
from leap.keymanager.trust import Decision, Level
from leap.soledad.errors import SoledadError

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
    """One account's keys. `directory` is where own keys are published and others' found; None while offline."""

    def __init__(
        self,
        store: DocumentStore,
        address: str,
        directory: Directory | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = address.lower()
        self.keyring = Keyring(store, now=now)
        self._store = store
        self._directory = directory
        self._now = now
        self._own: list[SecretKey] | None = None
        self._own_changes = 0
        self._ask_again: dict[str, float] = {}  # address -> not before
        self._unsubscribe = store.on_change(self._follow)

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self._unsubscribe()
        self.keyring.close()
        self._forget_own()

    def _follow(self, changes: object) -> None:
        docs = getattr(changes, "docs", ())
        if any(after is not None and after.get("type") == SECRET for _, _, after in docs):
            self._forget_own()

    def _forget_own(self) -> None:
        self._own = None
        self._own_changes += 1

    # --- own keys ---------------------------------------------------------------------------

    async def ensure_own_key(self, *, name: str = "") -> SecretKey:
        """The key to sign with, made now if there is none.

        To be called only on a device whose first pull is complete: an account's keys are made once.
        """
        if keys := await self.own_keys():
            return keys[0]
        key = await offload.generate(self.address, name=name, now=self._now())
        await self.add_own_key(key, source="made here")
        return (await self.own_keys())[0]

    async def add_own_key(self, key: SecretKey, *, source: str = "imported") -> None:
        """Keeps a key of one's own, beside those there are; the same key is merged."""
        document_id = self._store.row_key(f"{SECRET}:{key.fingerprint}".encode())

        def job(tx: DocumentTransaction) -> None:
            known = tx.get(document_id)
            merged = key
            if known is not None:
                old = SecretKey.from_bytes(unpack(value_of(known, SecretDocument).secret))
                merged = old.merge(key)
            document = content_of(secret_document(self.address, merged))
            if document != known:
                tx.put(document_id, document)

        await self._store.transact(job, durable=True)
        self._forget_own()
        if self.address in key.certificate.addresses:
            level = Level.KNOWN_KEY
            await self.keyring.learn(key.certificate, self.address, level, source=source)

    async def own_keys(self) -> list[SecretKey]:
        """Every key of this account, the one to sign with first, then the newest first."""
        own = self._own
        if own is None:
            changes = self._own_changes
            documents = await self._store.find_docs(SECRET)
            contents = [d.content for d in documents if d.content is not None]
            keys = [
                SecretKey.from_bytes(unpack(value_of(content, SecretDocument).secret))
                for content in contents
            ]
            keys.sort(key=self._rank, reverse=True)
            if changes == self._own_changes:  # else a key came in while these were read
                self._own = keys
            own = keys
        return list(own)

    def _rank(self, key: SecretKey) -> tuple[bool, int, str]:
        """Usable, then newest; the fingerprint makes all devices agree."""
        certificate = key.certificate
        usable = self.address in certificate.addresses and certificate.can_encrypt(self._now())
        return usable, certificate.created, certificate.fingerprint

    async def own_key(self) -> SecretKey:
        """The key to sign with; raises NoOwnKey."""
        keys = await self.own_keys()
        if not keys:
            raise NoOwnKey(f"{self.address} has no key of its own yet")
        return keys[0]

    async def own_certificate(self) -> Certificate:
        """What others encrypt to; raises NoOwnKey."""
        return (await self.own_key()).certificate

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
        return sources

    async def _take(self, found: Found, address: str) -> Found:
        """Learns what a source found; answers the key that stands for the address then. Raises LookupFailed."""
        if found.source == ring.NAME:
            return found
        try:
            await self.keyring.learn(
                found.certificate, address, found.level, source=found.source, detail=found.evidence
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
    ) -> Decision:
        """Takes in a key found on the way; says whether it now is the key of the address, and why (not).

        Raises KeyRefused when the certificate does not carry the address.
        """
        return await self.keyring.learn(certificate, address, level, source=source, detail=evidence)

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
            await self.own_key()
            keys = await self.own_keys()
            return b"".join(key.armored(passphrase) for key in keys)
        if address == self.address and (own := await self.own_keys()):
            return own[0].certificate.armored()
        bound = await self.keyring.find(address)
        if bound is None:
            raise NoSuchKey(f"no key is known for {address}")
        return bound.certificate.armored()

    # --- publishing -------------------------------------------------------------------------

    async def publish(self) -> bool:
        """Gives the directory the own certificate if it has not this one yet; False when that must be tried again.

        Why it failed is in `publication`. Raises NoOwnKey.
        """
        certificate = (await self.own_certificate()).of_address(self.address)
        digest = hashlib.sha256(certificate.binary).hexdigest()
        state = await self.publication()
        if state.published == digest:
            return True
        error = "offline: there is no directory to publish to"
        if self._directory is not None:
            try:
                await self._directory.put_certificate(certificate.binary)
            except (SoledadError, OSError) as failure:
                error = f"the key could not be published: {failure}"
            else:
                error = ""
        done = not error
        await self._save_publication(
            msgspec.structs.replace(
                state,
                published=digest if done else state.published,
                when=int(self._now()),
                attempts=0 if done else state.attempts + 1,
                error=error,
            )
        )
        return done

    async def publication(self) -> Publication:
        """Whether the directory has the own key, and what stood in the way last."""
        document = await self._store.get_doc(self._publication_id())
        if document is None or document.content is None:
            return Publication(address=self.address)
        return value_of(document.content, Publication)

    def _publication_id(self) -> str:
        return self._store.row_key(f"{PUBLICATION}:{self.address}".encode())

    async def _save_publication(self, state: Publication) -> None:
        content = content_of(state)
        document_id = self._publication_id()

        def job(tx: DocumentTransaction) -> None:
            tx.put(document_id, content)

        await self._store.transact(job)


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
