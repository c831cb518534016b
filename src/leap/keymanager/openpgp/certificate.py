"""Certificates (transferable public keys, RFC 9580 10.1): what belongs to them by their own signatures, and until when.

Invariants:
* Immutable; holds no secret: secret key packets are reduced to their public part on reading.
* A user id, subkey, expiry or revocation counts only by a verified signature of the primary key; a signing
  subkey also needs its own signature back (RFC 9580 5.2.1.9).
* The newest valid binding decides, also for the past: an extended expiry makes old signatures good again.
* A hard revocation (compromised, or no reason) counts from the beginning of time, a soft one from its date.
* Merging never loses a user id, subkey or signature, and never takes in one that falsely names the primary key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import PUBLIC_KEY, armor, dearmor
from leap.keymanager.openpgp.component import (
    MAX_CERTIFICATE,
    Component,
    address_of,
    read_components,
    split_keys,
)
from leap.keymanager.openpgp.errors import (
    ExpiredCertificate,
    Malformed,
    NoEncryptionKey,
    OpenPGPError,
    TooLarge,
)
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.signature import CERTIFICATIONS, Signature, SignatureType

MAX_VERIFIED = 1_000  # self-signatures computed per certificate in all; real ones have a few dozen
MAX_CHECKED = 64  # self-signatures tried per component, newest first: bounds what a forger can make us compute

CERTIFY, SIGN = 0x01, 0x02
ENCRYPT = 0x04 | 0x08  # mail and storage, RFC 9580 5.2.3.29
_HARD_REASONS = frozenset({0, 2})  # none given, compromised (RFC 9580 5.2.3.31); others are soft
_SOFT_REASONS = frozenset({1, 3, 32})
_ORDER: dict[int, int] = {Tag.PUBLIC_KEY: 0, Tag.USER_ID: 1, Tag.USER_ATTRIBUTE: 2}


class KeyState(NamedTuple):
    """What a certificate says of one of its keys. `revoked` is the time from which on; 0 means always."""

    key: PublicKey
    flags: int
    expires: int | None
    revoked: int | None

    def is_alive(self, at: float) -> bool:
        return not (self.has_expired(at) or self.is_revoked(at)) and self.key.created <= at

    def has_expired(self, at: float) -> bool:
        return self.expires is not None and at >= self.expires

    def is_revoked(self, at: float) -> bool:
        return self.revoked is not None and at >= self.revoked


class Certificate:
    """A person's public keys. Make it with `from_bytes`."""

    def __init__(self, components: Sequence[Component]) -> None:
        """`components` begin with the primary key; raises Malformed, Unsupported."""
        self.components = tuple(components)
        self.primary = PublicKey(self.components[0].body)
        self._verifications = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Certificate:
        """The one certificate in `data`, armored or not; raises Malformed, also when there are several."""
        found = read_certificates(data)
        if len(found) != 1:
            raise Malformed(f"one OpenPGP certificate was expected, {len(found)} were found")
        return found[0]

    def __repr__(self) -> str:
        return f"<Certificate {self.fingerprint}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.binary == self.binary

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Certificate, (self.components,)

    @property
    def fingerprint(self) -> str:
        """Upper hex."""
        return self.primary.fingerprint.hex().upper()

    @property
    def created(self) -> int:
        return self.primary.created

    @cached_property
    def binary(self) -> bytes:
        """The whole certificate as packets, without signatures marked as not for others."""
        return b"".join(
            b"".join(
                (packet(tag, body), *(packet(Tag.SIGNATURE, s) for s in signatures if _goes_out(s)))
            )
            for tag, body, signatures in self.components
        )

    def armored(self) -> bytes:
        return armor(self.binary, PUBLIC_KEY, checksum=self.primary.version == 4)

    # --- what it says -----------------------------------------------------------------------

    @cached_property
    def user_ids(self) -> tuple[str, ...]:
        """Those it vouches for, the primary one first, then as they stand."""
        found: list[tuple[bool, int, str]] = []
        for component in self.components[1:]:
            if component.tag != Tag.USER_ID:
                continue
            binding = self._user_id_binding(component)
            if binding is not None:
                text = component.body.decode("utf-8", "replace")
                found.append((not binding.is_primary_user_id, -binding.created, text))
        first = min(found, default=None)
        rest = [entry[2] for entry in found if entry is not first]
        return (first[2], *rest) if first else ()

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Mail addresses of the user ids, in lower case."""
        found = (address_of(user_id) for user_id in self.user_ids)
        return tuple(dict.fromkeys(address for address in found if address))

    @cached_property
    def key_ids(self) -> tuple[str, ...]:
        """Key ids of primary key and subkeys, upper hex."""
        return tuple(state.key.key_id.hex().upper() for state in self.keys)

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of primary key and subkeys, upper hex."""
        return tuple(state.key.fingerprint.hex().upper() for state in self.keys)

    @property
    def expires(self) -> int | None:
        """When the primary key ends, in seconds since 1970; None means never."""
        return self.keys[0].expires

    @property
    def revoked(self) -> bool:
        return self.keys[0].revoked is not None

    @cached_property
    def keys(self) -> tuple[KeyState, ...]:
        """The primary key, then every properly bound subkey."""
        head = self._primary_state()
        subkeys = (self._subkey_state(c) for c in self.components[1:] if c.tag == Tag.PUBLIC_SUBKEY)
        return (head, *(state for state in subkeys if state is not None))

    @cached_property
    def takes_seipd_v2(self) -> bool:
        """Whether its owner's programs read AEAD (RFC 9580 5.2.3.32)."""
        binding = self._primary_binding
        return binding is not None and bool(binding.features & 0x08)

    def can_encrypt(self, at: float) -> bool:
        """Whether mail can be encrypted to it at a time."""
        try:
            self.encryption_key(at)
        except OpenPGPError:
            return False
        return True

    def encryption_key(self, at: float) -> PublicKey:
        """The key to encrypt to; raises ExpiredCertificate, NoEncryptionKey."""
        head = self.keys[0]
        if head.is_revoked(at):
            raise NoEncryptionKey("the certificate is revoked")
        if self._primary_binding is None:
            raise NoEncryptionKey(
                "the certificate does not vouch for anything: it has no valid self-signature"
            )
        if head.has_expired(at):
            raise ExpiredCertificate("the certificate has expired")
        fit = [s for s in self.keys if s.flags & ENCRYPT and s.key.can_wrap]
        alive = [s for s in fit if s.is_alive(at)]
        if alive:
            return max(alive, key=lambda s: (s.key.algorithm == 35, s.key.created)).key
        if any(s.has_expired(at) and not s.is_revoked(at) for s in fit):
            raise ExpiredCertificate("the encryption key of the certificate has expired")
        raise NoEncryptionKey("the certificate has no key one could encrypt to")

    def signing_states(self) -> list[KeyState]:
        """Keys that may sign data, dead ones too."""
        return [state for state in self.keys if state.flags & SIGN]

    # --- evaluation -------------------------------------------------------------------------

    def _pieces(self, component: Component) -> tuple[bytes, ...]:
        """What self-signatures on a component hash (RFC 9580 5.2.4)."""
        if component.tag == Tag.PUBLIC_KEY:
            return (self.primary.hashed,)
        if component.tag == Tag.PUBLIC_SUBKEY:
            return (self.primary.hashed, PublicKey(component.body).hashed)
        lead = b"\xb4" if component.tag == Tag.USER_ID else b"\xd1"
        return (self.primary.hashed, lead, len(component.body).to_bytes(4, "big"), component.body)

    def _self_signatures(self, component: Component, kinds: frozenset[int]) -> Iterator[Signature]:
        """Verified signatures of the primary key on a component, newest first."""
        candidates = []
        for body in component.signatures:
            try:
                signature = Signature(body)
            except OpenPGPError:
                continue
            if signature.kind in kinds and signature.may_be_by(self.primary):
                candidates.append(signature)
        candidates.sort(key=lambda s: s.created, reverse=True)
        for signature in candidates[:MAX_CHECKED]:
            if self._verifies(signature, component):
                yield signature

    def _verifies(self, signature: Signature, component: Component) -> bool:
        if signature.unusable or not _self_hash_is_good(signature):
            return False
        self._verifications += 1
        if self._verifications > MAX_VERIFIED:
            return False
        try:
            return signature.is_over(self._pieces(component), self.primary)
        except OpenPGPError:
            return False

    def _first(self, component: Component, kinds: frozenset[int]) -> Signature | None:
        return next(self._self_signatures(component, kinds), None)

    def _user_id_binding(self, component: Component) -> Signature | None:
        binding = self._first(component, CERTIFICATIONS)
        if binding is None:
            return None
        revocation = self._first(component, frozenset({SignatureType.REVOKE_CERTIFICATION}))
        return None if revocation and revocation.created >= binding.created else binding

    @cached_property
    def _primary_binding(self) -> Signature | None:
        """The newest self-signature that speaks of the primary key: direct, or on a user id."""
        direct = self._first(self.components[0], frozenset({SignatureType.DIRECT_KEY}))
        found = [direct] if direct else []
        if (
            self.primary.version == 4
        ):  # RFC 9580 5.2.3.10: version 6 speaks by direct signatures only
            for component in self.components[1:]:
                if component.tag == Tag.USER_ID and (b := self._user_id_binding(component)):
                    found.append(b)
        return max(found, key=lambda s: s.created, default=None)

    def _primary_state(self) -> KeyState:
        binding = self._primary_binding
        revoked = self._revoked_from(self.components[0], SignatureType.REVOKE_KEY)
        if binding is None:
            return KeyState(self.primary, 0, None, revoked)
        flags = binding.key_flags
        if flags is None:  # keys older than the flags of 2007 may do whatever their algorithm can
            flags = CERTIFY | SIGN | (ENCRYPT if self.primary.algorithm in (1, 2) else 0)
        return KeyState(self.primary, flags, binding.key_expires(self.primary), revoked)

    def _subkey_state(self, component: Component) -> KeyState | None:
        try:
            key = PublicKey(component.body)
        except OpenPGPError:
            return None
        for binding in self._self_signatures(component, frozenset({SignatureType.SUBKEY_BINDING})):
            flags = binding.key_flags
            if flags is None:
                flags = ENCRYPT if key.algorithm in algorithms.ENCRYPTING else 0
            if flags & (SIGN | CERTIFY) and not self._has_back_signature(binding, key, component):
                flags &= ~(SIGN | CERTIFY)
            revoked = self._revoked_from(component, SignatureType.REVOKE_SUBKEY)
            return KeyState(key, flags, binding.key_expires(key), revoked)
        return None

    def _has_back_signature(self, binding: Signature, key: PublicKey, component: Component) -> bool:
        for body in binding.embedded[:4]:
            try:
                back = Signature(body)
                if (
                    back.kind == SignatureType.PRIMARY_BINDING
                    and not back.unusable
                    and _self_hash_is_good(back)
                    and back.is_over(self._pieces(component), key)
                ):
                    return True
            except OpenPGPError:
                continue
        return False

    def _revoked_from(self, component: Component, kind: SignatureType) -> int | None:
        times = []
        for revocation in self._self_signatures(component, frozenset({kind})):
            code, _ = revocation.revocation_reason
            times.append(revocation.created if code in _SOFT_REASONS else 0)
        return min(times, default=None)

    def certified_by(self, others: Sequence[Certificate]) -> frozenset[str]:
        """Fingerprints of those of `others` which vouch for a user id of this one."""
        return frozenset(other.fingerprint for other in others if self._is_certified_by(other))

    def _is_certified_by(self, other: Certificate) -> bool:
        for component in self.components[1:]:
            if component.tag != Tag.USER_ID:
                continue
            for body in component.signatures[:MAX_CHECKED]:
                try:
                    signature = Signature(body)
                    if (
                        signature.kind in CERTIFICATIONS
                        and not signature.unusable
                        and not algorithms.hash_algorithm(signature.hash_number).weak
                        and signature.may_be_by(other.primary)
                        and signature.is_over(self._pieces(component), other.primary)
                    ):
                        return True
                except OpenPGPError:
                    continue
        return False

    # --- merging ----------------------------------------------------------------------------

    def merge(self, other: Certificate) -> Certificate:
        """Both in one: everything of this one, and what `other` has besides that is properly signed.

        Raises Malformed when they are not the same certificate, TooLarge.
        """
        if other.fingerprint != self.fingerprint:
            raise Malformed("certificates with different fingerprints cannot be merged")
        merged = {(c.tag, c.body): list(c.signatures) for c in self.components}
        for component in other.components:
            mine = merged.get((component.tag, component.body))
            fresh = [s for s in component.signatures if s not in (mine or ())]
            kept = [s for s in fresh if self._may_take(s, component)]
            if mine is not None:
                mine.extend(kept)
            elif any(self._is_own(s, component) for s in kept):
                merged[component.tag, component.body] = kept
        items = sorted(merged.items(), key=lambda item: _ORDER.get(item[0][0], 3))
        result = Certificate([Component(tag, body, tuple(s)) for (tag, body), s in items])
        if len(result.binary) > MAX_CERTIFICATE:
            raise TooLarge("the merged certificate is absurdly large")
        return result

    def _may_take(self, body: bytes, component: Component) -> bool:
        """Signatures of others are kept unread; one that names this primary key must be true."""
        try:
            signature = Signature(body)
        except OpenPGPError:
            return False
        if not signature.may_be_by(self.primary):
            return True
        return self._verifies(signature, component)

    def _is_own(self, body: bytes, component: Component) -> bool:
        try:
            signature = Signature(body)
        except OpenPGPError:
            return False
        return signature.may_be_by(self.primary) and self._verifies(signature, component)


def _self_hash_is_good(signature: Signature) -> bool:
    try:
        scheme = algorithms.hash_algorithm(signature.hash_number)
    except OpenPGPError:
        return False
    if not scheme.weak:
        return True
    return scheme.name == "sha1" and signature.created < algorithms.SHA1_SELF_SIGNATURES_UNTIL


def _goes_out(body: bytes) -> bool:
    try:
        return Signature(body).is_exportable
    except OpenPGPError:
        return True


def read_certificates(data: bytes) -> list[Certificate]:
    """Every certificate in `data`: one, a keyring, several armored blocks; secret keys give their public part.

    Raises Malformed, TooLarge; Unsupported when there are only certificates of unsupported versions.
    """
    found: list[Certificate] = []
    refused: OpenPGPError | None = None
    for group in split_keys(dearmor(data)):
        try:
            found.append(Certificate(read_components(group)))
        except OpenPGPError as error:
            refused = error
    if not found:
        raise refused or Malformed("there is no OpenPGP certificate here")
    return found
