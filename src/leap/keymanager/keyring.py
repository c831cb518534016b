"""The keyring: certificates of others and of oneself, and which address has which, as documents of the store.

Invariants:
* A certificate only grows: what is learnt of it is merged, never replaced.
* It has only what its own key signed, and only the user ids of addresses it was learnt for: the others are claims
  which nobody looked at.
* An address changes its key only when `trust.may_replace` allows it, in one transaction with the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from leap.keymanager.documents import (
    BINDING,
    CERTIFICATE,
    MAX_EVIDENCE,
    MAX_HISTORY,
    Binding,
    CertificateDocument,
    Change,
    DocumentStore,
    DocumentTransaction,
    Evidence,
    certificate_document,
    content_of,
    parse_certificate,
    trimmed,
    value_of,
)
from leap.keymanager.errors import KeyRefused
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

    @property
    def level(self) -> Level:
        return level_named(self.binding.level)


class _Offer(NamedTuple):
    """A certificate as it may come in, and whether it carries the address it is offered for."""

    certificate: Certificate
    carries: bool


class Keyring:
    """One account's keyring."""

    def __init__(self, store: DocumentStore, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._issuers: dict[str, set[str]] = {}
        self._evaluated: dict[str, tuple[str, Certificate]] = {}
        self._loading = asyncio.Lock()
        self._unsubscribe: Callable[[], None] | None = None

    def close(self) -> None:
        """Stops listening to the store."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _binding_id(self, address: str) -> str:
        return self._store.row_key(f"{BINDING}:{address}".encode())

    def _certificate_id(self, fingerprint: str) -> str:
        return self._store.row_key(f"{CERTIFICATE}:{fingerprint}".encode())

    async def find(self, address: str) -> Bound | None:
        """The key of an address, good or not; None when there is none."""
        document = await self._store.get_doc(self._binding_id(address.lower()))
        if document is None or document.content is None:
            return None
        binding = value_of(document.content, Binding)
        certificate = await self.find_certificate(binding.fingerprint)
        return None if certificate is None else Bound(binding, certificate)

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
        index = await self._index()
        fingerprints = {f for issuer in issuers for f in index.get(issuer.upper(), ())}
        found = [await self.find_certificate(fingerprint) for fingerprint in sorted(fingerprints)]
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
        compared its fingerprint.
        """
        address = address.lower()
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

        decision, merged = await self._store.transact(job)
        if decision.allowed and self._unsubscribe is not None:
            self._enter(certificate_document(merged))
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
            level = level_named(binding.level)  # it says nothing more about whose key it is
        certificate_id = self._certificate_id(certificate.fingerprint)
        known = tx.get(certificate_id)
        held = None if known is None else _read(known)
        merged = certificate if held is None else held.merge(certificate)
        decision = self._decide(tx, binding, merged, address, level)
        if held is not None and not decision.allowed:
            # an update of somebody else's key: what it says of this address was just refused
            names = {c.body for c in held.components if c.tag == Tag.USER_ID}
            merged = held.merge(certificate.without_user_ids(lambda body: body not in names))
        if decision.allowed or held is not None:
            document = content_of(certificate_document(merged))
            if document != known:
                tx.put(certificate_id, document)
        if decision.allowed:
            updated = _updated(binding, merged.fingerprint, address, level, evidence, decision)
            if updated != binding:
                tx.put(self._binding_id(address), content_of(updated))
        return decision, merged

    def _decide(
        self,
        tx: DocumentTransaction,
        binding: Binding | None,
        new: Certificate,
        address: str,
        level: Level,
    ) -> Decision:
        now = self._now()
        old: BoundKey | None = None
        certified: frozenset[str] = frozenset()
        if binding is not None:
            content = tx.get(self._certificate_id(binding.fingerprint))
            certificate = None if content is None else _read(content)
            if certificate is not None and binding.fingerprint != new.fingerprint:
                certified = certifiers(new, [certificate], address, now)
            old = BoundKey(
                fingerprint=binding.fingerprint,
                level=level_named(binding.level),
                expires=certificate.expires if certificate else None,
                revoked=certificate.revoked if certificate else False,
                used_both_ways=binding.encrypted_to and binding.signature_seen,
            )
        offered = BoundKey(
            fingerprint=new.fingerprint,
            level=level,
            expires=new.expires,
            revoked=new.revoked,
            certified_by=certified,
        )
        return may_replace(old, offered, now=now)

    async def note_use(
        self, address: str, *, encrypted_to: bool = False, signature_seen: bool = False
    ) -> None:
        """Remembers that mail was encrypted to, or well signed by, the key of an address: such a key is kept harder."""
        address = address.lower()

        def job(tx: DocumentTransaction) -> None:
            content = tx.get(self._binding_id(address))
            if content is None:
                return
            binding = value_of(content, Binding)
            used = msgspec.structs.replace(
                binding,
                encrypted_to=binding.encrypted_to or encrypted_to,
                signature_seen=binding.signature_seen or signature_seen,
            )
            if used != binding:
                tx.put(self._binding_id(address), content_of(used))

        await self._store.transact(job)

    # --- the index of issuers: signatures name keys by fingerprint or key id -----------------

    async def _index(self) -> dict[str, set[str]]:
        async with (
            self._loading
        ):  # nobody may look into a half-read index: "unknown key" would be untrue
            if self._unsubscribe is None:
                # listening begins before reading: what syncs in meanwhile is in one of both
                self._issuers = {}
                unsubscribe = self._store.on_change(self._follow)
                try:
                    documents = await self._store.find_docs(CERTIFICATE)
                except BaseException:
                    unsubscribe()
                    raise
                for document in documents:
                    if document.content is not None:
                        self._enter(value_of(document.content, CertificateDocument))
                self._unsubscribe = unsubscribe
            return self._issuers

    def _follow(self, changes: Any) -> None:
        for _, _, after in changes.docs:
            if after is not None and after.get("type") == CERTIFICATE:
                self._enter(value_of(after, CertificateDocument))

    def _enter(self, document: CertificateDocument) -> None:
        for issuer in document.issuers:
            self._issuers.setdefault(issuer, set()).add(document.fingerprint)


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


def _updated(
    binding: Binding | None,
    fingerprint: str,
    address: str,
    level: Level,
    evidence: Evidence,
    decision: Decision,
) -> Binding:
    """The binding after an allowed change: same key, the higher level stays; another key, its own level."""
    moment = evidence.when
    change = Change(when=moment, fingerprint=fingerprint, level=level.word, reason=decision.reason)
    if binding is None or binding.fingerprint != fingerprint:
        return Binding(
            address=address,
            fingerprint=fingerprint,
            level=level.word,
            first_seen=moment,
            last_seen=moment,
            evidence=(evidence,),
            history=trimmed((*(binding.history if binding else ()), change), MAX_HISTORY),
        )
    raised = level > level_named(binding.level)
    # the same source saying the same again is no new evidence, only newer
    others = tuple(
        e for e in binding.evidence if (e.source, e.detail) != (evidence.source, evidence.detail)
    )
    return msgspec.structs.replace(
        binding,
        level=level.word if raised else binding.level,
        last_seen=max(binding.last_seen, moment),
        evidence=trimmed((*others, evidence), MAX_EVIDENCE),
        history=trimmed((*binding.history, change), MAX_HISTORY) if raised else binding.history,
    )
