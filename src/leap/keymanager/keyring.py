"""The keyring: certificates of others and of oneself, and which address has which, as documents of the store.

Invariants:
* A certificate only grows: what is learnt of it is merged, never replaced.
* It has only what its own key signed, and only the user ids of addresses it was learnt for: the others are claims
  which nobody looked at.
* An address changes its key only when `trust.may_replace` allows it, in one transaction with the reason. An offer
  that was refused leaves its reason, too, and an alert when the person has to decide.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from leap.keymanager import binding_edits
from leap.keymanager.canonical import canonical
from leap.keymanager.contacts import Contacts
from leap.keymanager.documents import (
    BINDING,
    CERTIFICATE,
    Binding,
    CertificateDocument,
    Contact,
    DocumentStore,
    DocumentTransaction,
    Evidence,
    certificate_document,
    content_of,
    parse_certificate,
    value_of,
)
from leap.keymanager.errors import KeyRefused
from leap.keymanager.issuers import Issuers
from leap.keymanager.kept_certificate import end_of_service, fitting, grown, usable_until
from leap.keymanager.openpgp import Certificate
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.component import address_in
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.trust import BoundKey, Decision, Level, level_named, may_replace

# certificates kept with their signatures checked; whom one writes with in a day fits in
MAX_EVALUATED = 512


class Bound(NamedTuple):
    """What the ring knows of an address."""

    binding: Binding
    certificate: Certificate
    contact: Contact

    @property
    def level(self) -> Level:
        return level_named(self.binding.level)

    @property
    def blocked(self) -> bool:
        """Whether the person does not want the key used for this address."""
        return self.contact.blocks(self.certificate.fingerprint)


class _Offer(NamedTuple):
    """A certificate as it may come in, and whether it carries the address it is offered for."""

    certificate: Certificate
    carries: bool


class Keyring:
    """One account's keyring."""

    def __init__(self, store: DocumentStore, *, now: Callable[[], float] = time.time) -> None:
        self.contacts = Contacts(store)
        self._store = store
        self._now = now
        self._issuers = Issuers(store)
        self._evaluated: dict[str, tuple[str, Certificate]] = {}

    def close(self) -> None:
        """Stops listening to the store."""
        self._issuers.close()

    def _binding_id(self, address: str) -> str:
        return self._store.row_key(f"{BINDING}:{address}".encode())

    def _certificate_id(self, fingerprint: str) -> str:
        return self._store.row_key(f"{CERTIFICATE}:{fingerprint}".encode())

    async def find(self, address: str) -> Bound | None:
        """The key of an address, good or not; None when there is none."""
        address = canonical(address)
        ids = [self._binding_id(address), self.contacts.document_id(address)]
        binding, contact = None, Contact(address=address)
        # both in one go: this is asked for every mail
        for document in await self._store.get_docs(ids, False):
            if document.content is None:
                continue
            if document.content["type"] == BINDING:
                binding = value_of(document.content, Binding)
            else:
                contact = value_of(document.content, Contact)
        if binding is None:
            return None
        certificate = await self.find_certificate(binding.fingerprint)
        return None if certificate is None else Bound(binding, certificate, contact)

    async def find_binding(self, address: str) -> Binding | None:
        """Which key an address has, even if the key itself is missing here; None when it has none."""
        document = await self._store.get_doc(self._binding_id(canonical(address)))
        if document is None or document.content is None:
            return None
        return value_of(document.content, Binding)

    async def find_certificate(self, fingerprint: str) -> Certificate | None:
        """A certificate by its fingerprint (upper hex), its signatures checked."""
        document = await self._store.get_doc(self._certificate_id(fingerprint))
        if document is None or document.content is None:
            return None
        text = value_of(document.content, CertificateDocument).certificate
        held = self._evaluated.get(fingerprint)
        if held is None or held[0] != text:  # new, or changed since, here or by another device
            held = text, await asyncio.to_thread(_evaluate, text)
            self._evaluated.pop(fingerprint, None)
            self._evaluated[fingerprint] = held
            if len(self._evaluated) > MAX_EVALUATED:
                del self._evaluated[next(iter(self._evaluated))]
        return held[1]

    async def find_signers(self, issuers: Iterable[str]) -> list[Certificate]:
        """Certificates with a key of any of these fingerprints or key ids (upper hex)."""
        fingerprints = await self._issuers.find(issuers)
        found = [await self.find_certificate(fingerprint) for fingerprint in fingerprints]
        return [certificate for certificate in found if certificate is not None]

    async def list_bindings(self) -> list[Binding]:
        """Every address with a key, sorted."""
        documents = await self._store.find_docs(BINDING)
        bindings = [value_of(d.content, Binding) for d in documents if d.content is not None]
        return sorted(bindings, key=lambda binding: binding.address)

    async def learn(
        self,
        certificate: Certificate,
        address: str,
        level: Level,
        *,
        source: str,
        detail: str = "",
        url: str = "",
        mail: str = "",
        authentication: str = "",
    ) -> Decision:
        """Takes in a certificate for an address, if the rule of replacement allows it; says why or why not.

        An update of a key already known is always merged. Raises KeyRefused when the certificate does not carry the
        address, unless it is an update of the key the address has (a revocation, too, is learnt), or a person
        compared its fingerprint; and for a blocked key which a person compared.
        """
        address = canonical(address)
        moment = self._now()
        # checking is work, and how much of it the sender of the certificate decides
        offered = await asyncio.to_thread(_offer, certificate, address, moment)
        evidence = Evidence(
            source=source,
            when=int(moment),
            level=level.word,
            detail=detail,
            url=url,
            mail=mail,
            authentication=authentication,
        )

        def job(tx: DocumentTransaction) -> tuple[Decision, Certificate]:
            return self._learn(tx, offered, address, level, evidence)

        by_person = level is Level.FINGERPRINT
        decision, merged = await self._store.transact(job, durable=by_person)
        if decision.allowed:
            self._issuers.enter(certificate_document(merged))
        return decision

    def _learn(
        self,
        tx: DocumentTransaction,
        offered: _Offer,
        address: str,
        level: Level,
        evidence: Evidence,
    ) -> tuple[Decision, Certificate]:
        certificate = offered.certificate
        content = tx.get(self._binding_id(address))
        binding = None if content is None else value_of(content, Binding)
        if not offered.carries and level is not Level.FINGERPRINT:
            if binding is None or binding.fingerprint != certificate.fingerprint:
                raise KeyRefused(
                    f"the key {certificate.fingerprint} does not carry the address {address}"
                )
            # it says nothing about whose key it is
            level = Level.WEAK_CHAIN
            evidence = msgspec.structs.replace(evidence, level=level.word)
        certificate_id = self._certificate_id(certificate.fingerprint)
        known = tx.get(certificate_id)
        held = None if known is None else _read(known)
        merged = fitting(certificate) if held is None else grown(held, certificate)
        contact = self.contacts.read(tx, address)
        if level is Level.FINGERPRINT and contact.blocks(certificate.fingerprint):
            raise KeyRefused(f"you blocked the key {certificate.fingerprint} for {address}")
        decision = self._decide(tx, binding, merged, contact, level)
        if decision.inherits and binding is not None:
            level = max(level, level_named(binding.level))
            evidence = msgspec.structs.replace(evidence, level=level.word)
        updated = binding
        if decision.allowed:
            updated = binding_edits.taken(
                binding, merged.fingerprint, address, evidence, decision.reason
            )
        elif binding is not None:
            updated = binding_edits.refused(binding, merged.fingerprint, evidence, decision)
        if updated is not None and updated != binding:
            tx.put(self._binding_id(address), content_of(updated))

        wanted = updated is not None and merged.fingerprint in _certificates_of(updated)
        if held is not None and not wanted:
            # an update of somebody else's key: what it says of this address was just refused
            names = {c.body for c in held.components if c.tag == Tag.USER_ID}
            merged = grown(held, certificate.without_user_ids(lambda body: body not in names))
        if held is not None or wanted:  # who is to decide about a key must have it
            document = content_of(certificate_document(merged))
            if document != known:
                tx.put(certificate_id, document)
        return decision, merged

    def _decide(
        self,
        tx: DocumentTransaction,
        binding: Binding | None,
        new: Certificate,
        contact: Contact,
        level: Level,
    ) -> Decision:
        now = self._now()
        old: BoundKey | None = None
        certified: frozenset[str] = frozenset()
        declined: tuple[str, ...] = ()
        if binding is not None:
            content = tx.get(self._certificate_id(binding.fingerprint))
            certificate = None if content is None else _read(content)
            if certificate is not None and binding.fingerprint != new.fingerprint:
                certified = certifiers(new, [certificate], contact.address, now)
            declined = binding.declined
            old = BoundKey(
                fingerprint=binding.fingerprint,
                level=level_named(binding.level),
                expires=end_of_service(certificate, contact.address, now) if certificate else None,
                revoked=certificate.revoked if certificate else False,
                used_both_ways=binding.encrypted_to and binding.signature_seen,
                blocked=contact.blocks(binding.fingerprint),
            )
        offered = BoundKey(
            fingerprint=new.fingerprint,
            level=level,
            expires=usable_until(new),
            revoked=new.revoked,
            can_encrypt=new.can_encrypt(now),
            certified_by=certified,
            blocked=contact.blocks(new.fingerprint),
            declined=new.fingerprint in declined,
        )
        return may_replace(old, offered, now=now)

    async def edit(self, address: str, change: Callable[[Binding], Binding]) -> None:
        """Keeps durably what a decision of the person makes of an address's binding, if it has one."""
        address = canonical(address)
        await self._store.transact(lambda tx: self._edit(tx, address, change), durable=True)

    def _edit(
        self, tx: DocumentTransaction, address: str, change: Callable[[Binding], Binding]
    ) -> Binding | None:
        content = tx.get(self._binding_id(address))
        if content is None:
            return None
        binding = value_of(content, Binding)
        changed = change(binding)
        if changed != binding:
            tx.put(self._binding_id(address), content_of(changed))
        return changed

    async def decide(
        self,
        address: str,
        contact: Callable[[Contact], Contact],
        binding: Callable[[Binding], Binding],
    ) -> Contact:
        """Keeps a decision of the person, about an address and about its key if it has one, durably."""

        def job(tx: DocumentTransaction) -> Contact:
            decided = self.contacts.edit(tx, address, contact)
            self._edit(tx, address, binding)
            return decided

        return await self._store.transact(job, durable=True)

    async def forget(self, address: str, *, keep: frozenset[str]) -> None:
        """Deletes an address's binding, and the certificates that nothing else needs; not those of `keep`."""
        others = [one for one in await self.list_bindings() if one.address != address]
        needed = keep.union(*(_certificates_of(one) for one in others))

        def job(tx: DocumentTransaction) -> None:
            content = tx.get(self._binding_id(address))
            if content is None:
                return
            tx.delete(self._binding_id(address))
            for fingerprint in _certificates_of(value_of(content, Binding)) - needed:
                if tx.get(self._certificate_id(fingerprint)) is not None:
                    tx.delete(self._certificate_id(fingerprint))

        await self._store.transact(job, durable=True)

    async def note_use(
        self, address: str, *, encrypted_to: bool = False, signature_seen: bool = False
    ) -> None:
        """The same as `note_uses` for whichever key one address has."""
        await self.note_uses(
            {address: ""}, encrypted_to=encrypted_to, signature_seen=signature_seen
        )

    async def note_uses(
        self,
        keys: Mapping[str, str],
        *,
        encrypted_to: bool = False,
        signature_seen: bool = False,
    ) -> None:
        """Remembers that mail was encrypted to, or well signed by, the keys of addresses: such keys are kept harder.

        `keys` has the fingerprint by address: it is noted only if that is still the key; "" for whichever it is.
        Nothing is written when all is known already.
        """
        names = {canonical(address): fingerprint for address, fingerprint in keys.items()}
        documents = await self._store.get_docs([self._binding_id(name) for name in names], False)
        found = [value_of(d.content, Binding) for d in documents if d.content is not None]

        def note(binding: Binding) -> Binding:
            if names[binding.address] not in ("", binding.fingerprint):
                return binding
            return binding_edits.used(
                binding, encrypted_to=encrypted_to, signature_seen=signature_seen
            )

        if fresh := [binding.address for binding in found if note(binding) != binding]:

            def job(tx: DocumentTransaction) -> None:
                for address in fresh:
                    self._edit(tx, address, note)

            await self._store.transact(job)


def _offer(certificate: Certificate, address: str, at: float) -> _Offer:
    named = any(
        component.tag == Tag.USER_ID and address_in(component.body) == address
        for component in certificate.components
    )
    # whom a person vouches for may have other names on the key only: then these hold it together
    clean = (certificate.of_address(address) if named else certificate).cleaned()
    return _Offer(clean, address in clean.addresses_at(at))


def _evaluate(text: str) -> Certificate:
    certificate = parse_certificate(text)
    certificate.keys, certificate.user_ids  # noqa: B018 - computed once, and kept
    return certificate


def _read(content: dict[str, Any]) -> Certificate:
    return parse_certificate(value_of(content, CertificateDocument).certificate)


def _certificates_of(binding: Binding) -> frozenset[str]:
    offered = () if binding.alert is None else (binding.alert.fingerprint,)
    return frozenset((binding.fingerprint, *offered))
