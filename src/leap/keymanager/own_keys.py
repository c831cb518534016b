"""The keys of one's own: made or imported, kept for ever, and which one is in use.

Invariants:
* Own keys are never thrown away: old ones open old mail.
* Which one is in use is a choice (`own_choice`): a key that comes in later, from wherever, does not take over.
* A secret leaves only through `keys` (to the engine), `kept` (to a backup) and `export` (to the person).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from leap.keymanager import own_choice
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
from leap.keymanager.errors import KeyRefused, NoOwnKey, NoSuchKey
from leap.keymanager.keyring import Keyring
from leap.keymanager.openpgp import Certificate, OpenPGPError, SecretKey, offload
from leap.keymanager.openpgp.editing import revocation_certificate
from leap.keymanager.own_choice import CHOICE, Choice
from leap.keymanager.trust import Level

_OWN_TYPES = frozenset({SECRET, CHOICE})


class Kept(NamedTuple):
    """An own key with the revocation that was made for it, armored; "" when there is none."""

    key: SecretKey
    revocation: str

    def __repr__(self) -> str:
        return f"<Kept {self.key.fingerprint}>"


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
        self.now = now
        self._store = store
        self._keyring = keyring
        self._own: list[Kept] | None = None
        self._own_changes = 0
        self._listeners: list[Callable[[], None]] = []
        self._unsubscribe = store.on_change(self._follow)

    def close(self) -> None:
        """Stops listening to the store and forgets the secrets it held."""
        self._unsubscribe()
        self._listeners.clear()
        self._forget()

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` when an own key or the choice changed, here or by sync; answers how to end that."""
        self._listeners.append(callback)

        def unsubscribe() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return unsubscribe

    def _follow(self, changes: object) -> None:
        docs = getattr(changes, "docs", ())
        if any(after is not None and after.get("type") in _OWN_TYPES for _, _, after in docs):
            self._forget()
            for callback in list(self._listeners):
                callback()

    def _forget(self) -> None:
        self._own = None
        self._own_changes += 1

    # --- coming in --------------------------------------------------------------------------

    async def ensure(self, *, name: str = "") -> SecretKey:
        """The key in use, made now if there is none; what stores of earlier versions lack is added.

        To be called only on a device whose first pull is complete: an account's keys are made once. Raises NoOwnKey
        when another device made one that is still to come.
        """
        kept = await self.kept()
        choice = await self.choice()
        if not kept and choice is not None:
            raise NoOwnKey(f"the key {choice.fingerprint} of {self.address} has not come here yet")
        if not kept:
            key = await offload.generate(self.address, name=name, now=self.now())
            await self.add(key, source="made here", use=True)
        elif choice is None or not kept[0].revocation:
            await self.add(kept[0].key, source="kept here", use=choice is None)
        return await self.key()

    async def add(
        self, key: SecretKey, *, source: str = "imported", revocation: str = "", use: bool = False
    ) -> None:
        """Keeps a key of one's own, beside those there are; the same key is merged.

        `use`: it becomes the key in use, in the same step. Its revocation is made now if none comes along.
        """
        await self.add_all([Kept(key, revocation)], source=source, use=key if use else None)

    async def add_all(
        self, keys: Sequence[Kept], *, source: str, use: SecretKey | None = None
    ) -> None:
        """As `add`, all in one step: whatever happens, all are kept or none."""
        complete = [Kept(k.key, k.revocation or await self._revocation_of(k.key)) for k in keys]

        def job(tx: DocumentTransaction) -> None:
            for one in complete:
                self._keep(tx, one)
            if use is not None:
                self._choose(tx, use.fingerprint)

        await self._store.transact(job, durable=True)
        self._forget()
        for key, _ in complete:
            if self.address in key.certificate.addresses:
                with contextlib.suppress(KeyRefused):  # its name has ended: it is for reading only
                    await self._keyring.learn(
                        key.certificate, self.address, Level.KNOWN_KEY, source=source
                    )

    def _keep(self, tx: DocumentTransaction, one: Kept) -> None:
        document_id = self._secret_id(one.key.fingerprint)
        known = tx.get(document_id)
        merged, revocation = one
        if known is not None:
            before = value_of(known, SecretDocument)
            merged = SecretKey.from_bytes(unpack(before.secret)).merge(one.key)
            revocation = before.revocation or revocation
        document = content_of(secret_document(self.address, merged, revocation))
        if document != known:
            tx.put(document_id, document)

    async def _revocation_of(self, key: SecretKey) -> str:
        """Made now, so that a lost secret can still be taken back; "" if the primary secret is elsewhere."""
        held = await self._held(key.fingerprint)
        if key.certificate.revoked or (held is not None and held.revocation):
            return "" if held is None else held.revocation
        try:
            born = key.certificate.created
            armored = await asyncio.to_thread(revocation_certificate, key, now=born)
        except OpenPGPError:
            return ""
        return armored.decode("ascii")

    async def use(self, fingerprint: str) -> None:
        """Makes one of the own keys the one in use. Raises NoSuchKey, KeyRefused."""
        held = await self._held(fingerprint)
        if held is None:
            raise NoSuchKey(f"{self.address} has no own key {fingerprint}")
        if self.address not in held.key.certificate.addresses:
            raise KeyRefused(
                f"the key {fingerprint} does not carry {self.address}: nobody could find it by that"
            )
        await self._store.transact(lambda tx: self._choose(tx, fingerprint), durable=True)
        self._forget()

    def _choose(self, tx: DocumentTransaction, fingerprint: str) -> None:
        own_choice.choose(tx, self._choice_id(), self.address, fingerprint, at=self.now())

    def _secret_id(self, fingerprint: str) -> str:
        return self._store.row_key(f"{SECRET}:{fingerprint}".encode())

    def _choice_id(self) -> str:
        return self._store.row_key(f"{CHOICE}:{self.address}".encode())

    # --- what there is ----------------------------------------------------------------------

    async def kept(self) -> list[Kept]:
        """Every key of this account with its revocation, the one in use first, then the newest first."""
        own = self._own
        if own is None:
            changes = self._own_changes
            documents = await self._store.find_docs(SECRET)
            contents = [d.content for d in documents if d.content is not None]
            own = [_kept(value_of(content, SecretDocument)) for content in contents]
            choice = await self.choice()
            chosen = choice.fingerprint if choice is not None else ""
            own.sort(key=lambda one: self._rank(one.key, chosen), reverse=True)
            if changes == self._own_changes:  # else a key came in while these were read
                self._own = own
        return list(own)

    async def keys(self) -> list[SecretKey]:
        """Every key of this account, the one in use first, then the newest first."""
        return [one.key for one in await self.kept()]

    def _rank(self, key: SecretKey, chosen: str) -> tuple[bool, bool, int, str]:
        """Chosen, then usable, then newest; the fingerprint makes all devices agree."""
        certificate = key.certificate
        usable = self.address in certificate.addresses and certificate.can_encrypt(self.now())
        fingerprint = certificate.fingerprint
        return fingerprint == chosen, usable, certificate.created, fingerprint

    async def choice(self) -> Choice | None:
        """What was chosen last; None when nothing ever was."""
        document = await self._store.get_doc(self._choice_id())
        if document is None or document.content is None:
            return None
        return value_of(document.content, Choice)

    async def _held(self, fingerprint: str) -> Kept | None:
        return next((one for one in await self.kept() if one.key.fingerprint == fingerprint), None)

    async def find(self, name: str) -> Kept:
        """The own key with this fingerprint, or its end of at least eight letters; raises NoSuchKey."""
        wanted = name.replace(" ", "").upper().removeprefix("0X")
        own = await self.kept()
        fit = [one for one in own if one.key.fingerprint == wanted]
        if not fit and len(wanted) >= 8:
            fit = [one for one in own if one.key.fingerprint.endswith(wanted)]
        if len(fit) != 1:
            raise NoSuchKey(f"{self.address} has no own key {name}")
        return fit[0]

    async def key(self) -> SecretKey:
        """The key in use; raises NoOwnKey."""
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
        keys = await self.keys()
        parts = await asyncio.to_thread(lambda: [key.armored(passphrase) for key in keys])
        return b"".join(parts)


def _kept(document: SecretDocument) -> Kept:
    return Kept(SecretKey.from_bytes(unpack(document.secret)), document.revocation)


def unusable_because(certificate: Certificate, address: str, at: float) -> str:
    """Why nobody can encrypt to an own key at a time, in words; "" when all is well."""
    if certificate.revoked:
        return "it is revoked"
    if address not in certificate.addresses:
        return f"it does not carry {address}"
    if certificate.expires is not None and certificate.expires <= at:
        return "it has expired"
    try:
        certificate.encryption_key(at)
    except OpenPGPError as error:
        return str(error)
    return ""
