"""The keys of one's own: made or imported, kept for ever, and which one to sign with.

Invariants:
* Own keys are never thrown away: old ones open old mail.
* A secret leaves only through `keys` (to the engine) and `export` (to the person).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from leap.keymanager.documents import (
    SECRET,
    DocumentStore,
    DocumentTransaction,
    SecretDocument,
    content_of,
    secret_document,
    unpack,
    value_of,
)
from leap.keymanager.errors import NoOwnKey
from leap.keymanager.keyring import Keyring
from leap.keymanager.openpgp import Certificate, SecretKey, offload
from leap.keymanager.trust import Level


class OwnKeys:
    """One account's own keys."""

    def __init__(
        self,
        store: DocumentStore,
        address: str,
        keyring: Keyring,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.address = address
        self._store = store
        self._keyring = keyring
        self._now = now
        self._own: list[SecretKey] | None = None
        self._own_changes = 0
        self._unsubscribe = store.on_change(self._follow)

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self._unsubscribe()
        self._forget()

    def _follow(self, changes: object) -> None:
        docs = getattr(changes, "docs", ())
        if any(after is not None and after.get("type") == SECRET for _, _, after in docs):
            self._forget()

    def _forget(self) -> None:
        self._own = None
        self._own_changes += 1

    async def ensure(self, *, name: str = "") -> SecretKey:
        """The key to sign with, made now if there is none.

        To be called only on a device whose first pull is complete: an account's keys are made once.
        """
        if keys := await self.keys():
            return keys[0]
        key = await offload.generate(self.address, name=name, now=self._now())
        await self.add(key, source="made here")
        return (await self.keys())[0]

    async def add(self, key: SecretKey, *, source: str = "imported") -> None:
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
        self._forget()
        if self.address in key.certificate.addresses:
            level = Level.KNOWN_KEY
            await self._keyring.learn(key.certificate, self.address, level, source=source)

    async def keys(self) -> list[SecretKey]:
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

    async def key(self) -> SecretKey:
        """The key to sign with; raises NoOwnKey."""
        keys = await self.keys()
        if not keys:
            raise NoOwnKey(f"{self.address} has no key of its own yet")
        return keys[0]

    async def certificate(self) -> Certificate:
        """What others encrypt to; raises NoOwnKey."""
        return (await self.key()).certificate

    async def export(self, passphrase: str | None = None) -> bytes:
        """All own secret keys, armored, locked if a passphrase is given. Raises NoOwnKey."""
        await self.key()
        return b"".join(key.armored(passphrase) for key in await self.keys())
