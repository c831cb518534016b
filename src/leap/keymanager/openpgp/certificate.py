"""Certificates (transferable public keys, RFC 9580 10.1): what belongs to them by their own signatures, and until when.

Invariants:
* Immutable; holds no secret: secret key packets are reduced to their public part on reading.
* A user id, subkey, expiry or revocation counts only by a verified signature of the primary key; a signing
  subkey also needs its own signature back (RFC 9580 5.2.1.9).
* The newest valid binding decides, also for the past: an extended expiry makes old signatures good again.
* A hard revocation (compromised, or no reason) counts from the beginning of time, a soft one from its date.
* A self-signature past its own end does not count: `..._at` evaluate the certificate at a time.
* Merging never loses a user id, subkey or signature, and never takes in one that falsely names the primary key.
* What is evaluated costs a bounded number of verifications, once (`self_signatures`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import PUBLIC_KEY, armor, dearmor
from leap.keymanager.openpgp.component import (
    MAX_CERTIFICATE,
    Component,
    address_in,
    address_of,
    read_components,
    readable,
    split_keys,
)
from leap.keymanager.openpgp.errors import (
    ExpiredCertificate,
    Malformed,
    NoEncryptionKey,
    OpenPGPError,
    TooLarge,
)
from leap.keymanager.openpgp.excerpt import current_components, minimal_components
from leap.keymanager.openpgp.key_state import (
    CERTIFY,
    ENCRYPT,
    SIGN,
    KeyState,
    end_by,
    revoked_by,
)
from leap.keymanager.openpgp.merging import clean_components, merge_components
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.self_signatures import (
    SelfSignatures,
    read_signatures_on,
)
from leap.keymanager.openpgp.signature import CERTIFICATIONS, Signature, SignatureType


class Certificate:
    """A person's public keys. Make it with `from_bytes`."""

    def __init__(self, components: Sequence[Component]) -> None:
        """`components` begin with the primary key; raises Malformed, Unsupported."""
        self.components = tuple(components)
        self.primary = PublicKey(self.components[0].body)
        self._own = SelfSignatures(self.primary)

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
        return b"".join(_octets(component, _goes_out) for component in self.components)

    @cached_property
    def complete(self) -> bytes:
        """The same with signatures that are not for others: for one's own store alone (RFC 9580 5.2.3.19)."""
        return b"".join(_octets(component, lambda _: True) for component in self.components)

    def armored(self) -> bytes:
        return armor(self.binary, PUBLIC_KEY, checksum=self.primary.version == 4)

    # --- what it says -----------------------------------------------------------------------

    @cached_property
    def user_ids(self) -> tuple[str, ...]:
        """Those it ever vouched for and did not take back, the primary one first, then as they stand."""
        return self._read_user_ids(None)

    def user_ids_at(self, at: float) -> tuple[str, ...]:
        """Those it vouches for at a time."""
        return self._read_user_ids(at) if self._has_ends else self.user_ids

    def _read_user_ids(self, at: float | None) -> tuple[str, ...]:
        found: list[tuple[bool, int, str]] = []
        for component in self.components[1:]:
            if component.tag != Tag.USER_ID:
                continue
            binding = self._user_id_binding(component, at)
            if binding is not None:
                text = readable(component.body)
                found.append((not binding.is_primary_user_id, -binding.created, text))
        first = min(found, default=None)
        rest = [entry[2] for entry in found if entry is not first]
        return (first[2], *rest) if first else ()

    def vouches_for(self, component: Component, at: float | None = None) -> bool:
        """Whether a user id of it is its own and was not taken back; at a time, if one is given."""
        return self._user_id_binding(component, at) is not None

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Mail addresses of the user ids, in lower case. Claims: whose key it is, the key ring says."""
        return _addresses(self.user_ids)

    def addresses_at(self, at: float) -> tuple[str, ...]:
        """Mail addresses of the user ids it vouches for at a time, in lower case."""
        return _addresses(self.user_ids_at(at))

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
        return self._read_keys(None)

    def keys_at(self, at: float) -> tuple[KeyState, ...]:
        """The same, by the self-signatures that count at a time."""
        return self._read_keys(at) if self._has_ends else self.keys

    def _read_keys(self, at: float | None) -> tuple[KeyState, ...]:
        head = self._primary_state(at)
        subkeys = (
            self._subkey_state(c, at) for c in self.components[1:] if c.tag == Tag.PUBLIC_SUBKEY
        )
        return (head, *(state for state in subkeys if state is not None))

    @cached_property
    def _has_ends(self) -> bool:
        """Whether any signature on it has an end of its own; almost no certificate has."""
        return any(s.expires is not None for c in self.components for s in read_signatures_on(c))

    @cached_property
    def takes_seipd_v2(self) -> bool:
        """Whether its owner's programs read AEAD (RFC 9580 5.2.3.32)."""
        binding = self._primary_binding(None)
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
        states = self.keys_at(at)
        head = states[0]
        if head.is_revoked(at):
            raise NoEncryptionKey("the certificate is revoked")
        if self._primary_binding(at) is None:
            raise NoEncryptionKey(
                "the certificate does not vouch for anything: it has no valid self-signature"
            )
        if head.has_expired(at):
            raise ExpiredCertificate("the certificate has expired")
        fit = [s for s in states if s.flags & ENCRYPT and s.key.can_wrap]
        alive = [s for s in fit if s.is_alive(at)]
        if alive:
            return max(
                alive, key=lambda s: (s.key.algorithm == algorithms.ML_KEM, s.key.created)
            ).key
        if any(s.has_expired(at) and not s.is_revoked(at) for s in fit):
            raise ExpiredCertificate("the encryption key of the certificate has expired")
        raise NoEncryptionKey("the certificate has no key one could encrypt to")

    def signing_states(self, at: float) -> list[KeyState]:
        """Keys that may sign data, dead ones too."""
        return [state for state in self.keys_at(at) if state.flags & SIGN]

    # --- evaluation -------------------------------------------------------------------------

    def _first(
        self, component: Component, kinds: frozenset[int], at: float | None
    ) -> Signature | None:
        return next(self._own.newest(component, kinds, at), None)

    def self_signatures(
        self, component: Component, kinds: Iterable[int], at: float | None = None
    ) -> Iterator[Signature]:
        """What the owner signed on a component, newest first; at a time, without what has ended by then."""
        return self._own.newest(component, kinds, at)

    def statement(self, at: float | None = None) -> Signature | None:
        """The owner's newest signature on what the primary key is for and when it ends."""
        return self._primary_binding(at)

    def _user_id_binding(self, component: Component, at: float | None) -> Signature | None:
        binding = self._first(component, CERTIFICATIONS, at)
        if binding is None:
            return None
        revocation = self._first(component, frozenset({SignatureType.REVOKE_CERTIFICATION}), at)
        return None if revocation and revocation.created >= binding.created else binding

    def _primary_binding(self, at: float | None) -> Signature | None:
        """The newest self-signature that speaks of the primary key: direct, or on a user id."""
        return next(iter(self._primary_bindings(at)), None)

    def _primary_bindings(self, at: float | None) -> tuple[Signature, ...]:
        """The newest of each part that speaks of the primary key, those that say something of it first."""
        counts_always = at is None or not self._has_ends
        return self._all_bindings if counts_always else self._read_primary_bindings(at)

    @cached_property
    def _all_bindings(self) -> tuple[Signature, ...]:
        return self._read_primary_bindings(None)

    def _read_primary_bindings(self, at: float | None) -> tuple[Signature, ...]:
        direct = self._first(self.components[0], frozenset({SignatureType.DIRECT_KEY}), at)
        found = [direct] if direct and (self.primary.version == 6 or direct.is_about_key) else []
        if (
            self.primary.version == 4
        ):  # RFC 9580 5.2.3.10: version 6 speaks by direct signatures only
            for component in self.components[1:]:
                if component.tag == Tag.USER_ID and (b := self._user_id_binding(component, at)):
                    found.append(b)
        return tuple(sorted(found, key=lambda s: (s.is_about_key, s.created), reverse=True))

    def _primary_state(self, at: float | None) -> KeyState:
        bindings = self._primary_bindings(at)
        revoked = revoked_by(
            self._own.newest(self.components[0], frozenset({SignatureType.REVOKE_KEY}))
        )
        if not bindings:
            return KeyState(self.primary, 0, None, revoked)
        # What the newest leaves open, the end for example, another one may say: silence takes nothing back.
        flags = next((f for b in bindings if (f := b.key_flags) is not None), None)
        if flags is None:  # keys older than the flags of 2007 may do whatever their algorithm can
            flags = CERTIFY | SIGN | (ENCRYPT if self.primary.algorithm in (1, 2) else 0)
        speaks = next((b for b in bindings if b.says_when_key_ends), bindings[0])
        ends = (speaks.key_expires(self.primary), bindings[0].expires)
        return KeyState(self.primary, flags, min(filter(None, ends), default=None), revoked)

    def _subkey_state(self, component: Component, at: float | None) -> KeyState | None:
        try:
            key = PublicKey(component.body)
        except OpenPGPError:
            return None
        if key.version != self.primary.version:  # RFC 9580 10.1: never mixed
            return None
        binding = self._first(component, frozenset({SignatureType.SUBKEY_BINDING}), at)
        if binding is None:
            return None
        flags = binding.key_flags
        if flags is None:
            flags = ENCRYPT if key.algorithm in algorithms.ENCRYPTING else 0
        if flags & (SIGN | CERTIFY) and not self._own.is_agreed(binding, component, at):
            flags &= ~(SIGN | CERTIFY)
        revoked = revoked_by(self._own.newest(component, frozenset({SignatureType.REVOKE_SUBKEY})))
        return KeyState(key, flags, end_by(binding, key), revoked)

    # --- merging and parting ------------------------------------------------------------------

    def merge(self, other: Certificate) -> Certificate:
        """Both in one: everything of this one, and what `other` has besides that is properly signed.

        Raises Malformed when they are not the same certificate, TooLarge.
        """
        if other.fingerprint != self.fingerprint:
            raise Malformed("certificates with different fingerprints cannot be merged")
        result = Certificate(merge_components(self.components, other.components, self.primary))
        if len(result.complete) > MAX_CERTIFICATE:
            raise TooLarge("the merged certificate is absurdly large")
        return result

    def cleaned(self) -> Certificate:
        """Without what falsely names the primary key, what is not bound to it, and floods of others' signatures.

        What comes from outside is kept only so: a forged signature in the ring could use up the limit that a true
        revocation, which comes later, needs.
        """
        return Certificate(clean_components(self.components, self._own))

    def without_others(self) -> Certificate:
        """Only what the owner signed: as a certificate is published where nobody looked at what others add to it."""
        return Certificate(clean_components(self.components, self._own, most_others=0))

    def current(self) -> Certificate:
        """What the owner says now, and all revocations: for publishing a key that was extended many times.

        It says of every key and name what the whole says, in less space, and costs its readers less to check.
        """
        return Certificate(current_components(self))

    def minimal(self, address: str, at: float | None = None) -> Certificate:
        """As an Autocrypt header carries it: one user id, one encryption key (see `excerpt`).

        `at`: by what counts and lives at a time. Raises NoSuchPart without a user id of `address`, NoEncryptionKey.
        """
        return Certificate(minimal_components(self, address, at))

    def of_address(self, address: str) -> Certificate:
        """Without the user ids of other addresses: nobody looked whether these are its owner's, too."""
        return self.without_user_ids(lambda body: address_in(body) not in ("", address))

    def without_user_ids(self, unwanted: Callable[[bytes], bool]) -> Certificate:
        """Without those user ids whose octets are `unwanted`."""
        return Certificate(
            [c for c in self.components if c.tag != Tag.USER_ID or not unwanted(c.body)]
        )


def _addresses(user_ids: Iterable[str]) -> tuple[str, ...]:
    found = (address_of(user_id) for user_id in user_ids)
    return tuple(dict.fromkeys(address for address in found if address))


def _octets(component: Component, wanted: Callable[[bytes], bool]) -> bytes:
    tag, body, signatures = component
    signed = (packet(Tag.SIGNATURE, signature) for signature in signatures if wanted(signature))
    return b"".join((packet(tag, body), *signed))


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
