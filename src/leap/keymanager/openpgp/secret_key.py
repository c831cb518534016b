"""A person's own keys (transferable secret keys, RFC 9580 10.2): the certificate and the secrets that go with it.

Invariants:
* Nothing secret in `repr`, `str` or an exception; `to_bytes` is the only way out.
* Reading mail is not a matter of time: `decryption_keys` has every key, expired, revoked or replaced.
* No part is lost: what cannot be opened here (another passphrase, a smart card) is kept and exported as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import SECRET_KEY, armor, dearmor
from leap.keymanager.openpgp.certificate import Certificate, read_certificates
from leap.keymanager.openpgp.component import split_keys
from leap.keymanager.openpgp.errors import (
    ExpiredCertificate,
    Malformed,
    NoSecretKey,
    NoSigningKey,
    OpenPGPError,
    Unsupported,
    WrongPassphrase,
)
from leap.keymanager.openpgp.packets import Packet, Tag, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.s2k import octets_of
from leap.keymanager.openpgp.secret_material import (
    STUB,
    SecretMaterial,
    is_stub,
    read_secret,
    write_secret,
)


class SecretKey:
    """A certificate and its secrets, unlocked. Make it with `from_bytes` or `generate`."""

    __slots__ = ("_closed", "_secrets", "certificate")

    def __init__(
        self,
        certificate: Certificate,
        secrets: Mapping[bytes, SecretMaterial],
        closed: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        """`secrets` by the fingerprint (octets) of their key; some may be missing.

        `closed`: the packets, in the same way, of those whose secret is locked still or kept elsewhere.
        """
        self.certificate = certificate
        self._secrets = dict(secrets)
        self._closed = {name: body for name, body in closed.items() if name not in secrets}

    @classmethod
    def from_bytes(cls, data: bytes, passphrase: str | bytes | None = None) -> SecretKey:
        """The one secret key in `data`, armored or not.

        Raises Malformed, Unsupported, NoSecretKey, WrongPassphrase. A locked key may take a second: off the loop.
        """
        found = read_secret_keys(data, passphrase)
        if len(found) != 1:
            raise Malformed(f"one OpenPGP secret key was expected, {len(found)} were found")
        return found[0]

    def __repr__(self) -> str:
        return f"<SecretKey {self.fingerprint}>"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _restore, (self.to_bytes(),)

    @property
    def fingerprint(self) -> str:
        """Upper hex."""
        return self.certificate.fingerprint

    def to_bytes(
        self, passphrase: str | bytes | None = None, *, argon2: bool | None = None
    ) -> bytes:
        """All of it as packets; in clear unless a passphrase is given, which raises WrongPassphrase if it is empty.

        `argon2`: lock so that guessing the passphrase needs much memory, which GnuPG cannot read; None: version 6
        alone, which it cannot read either. Locking takes a quarter of a second for each part: not on the loop.
        """
        octets = None if passphrase is None else octets_of(passphrase)
        lock = partial(write_secret, passphrase=octets, argon2=argon2)
        parts: list[bytes] = []
        for tag, body, signatures in self.certificate.components:
            parts.append(self._packet(tag, body, lock))
            parts.extend(packet(Tag.SIGNATURE, signature) for signature in signatures)
        return b"".join(parts)

    def armored(
        self, passphrase: str | bytes | None = None, *, argon2: bool | None = None
    ) -> bytes:
        """As `to_bytes`, for files and mail."""
        checksum = self.certificate.primary.version == 4
        return armor(self.to_bytes(passphrase, argon2=argon2), SECRET_KEY, checksum=checksum)

    def _packet(self, tag: int, body: bytes, lock: Callable[..., bytes]) -> bytes:
        if tag not in (Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY):
            return packet(tag, body)
        secret_tag = Tag.SECRET_KEY if tag == Tag.PUBLIC_KEY else Tag.SECRET_SUBKEY
        try:
            name = PublicKey(body).fingerprint
        except OpenPGPError:
            return packet(tag, body)
        if name in self._secrets:
            return packet(secret_tag, lock(self._secrets[name], tag=secret_tag))
        if name in self._closed:
            return packet(secret_tag, self._closed[name])
        if tag == Tag.PUBLIC_KEY and self.certificate.primary.version == 4:
            return packet(secret_tag, body + STUB)  # else GnuPG takes it for a certificate
        return packet(tag, body)

    def with_certificate(self, certificate: Certificate) -> SecretKey:
        """The same secrets with a newer certificate of the same fingerprint; raises Malformed."""
        return SecretKey(self.certificate.merge(certificate), self._secrets, self._closed)

    def edited(self, certificate: Certificate, *fresh: SecretMaterial) -> SecretKey:
        """The same with `certificate` instead of its own, just as it is, and with the secrets of new subkeys."""
        more = {secret.public.fingerprint: secret for secret in fresh}
        return SecretKey(certificate, {**self._secrets, **more}, self._closed)

    def merge(self, other: SecretKey) -> SecretKey:
        """Both in one, as `Certificate.merge`: no secret is lost; raises Malformed."""
        certificate = self.certificate.merge(other.certificate)
        mine = {name: body for name, body in self._closed.items() if not is_stub(body)}
        closed = {**self._closed, **other._closed, **mine}  # a locked secret is more than none
        return SecretKey(certificate, {**other._secrets, **self._secrets}, closed)

    def unlocked(self, passphrase: str | bytes) -> SecretKey:
        """With those parts open which this passphrase opens, too; raises WrongPassphrase when it opens none.

        For keys whose subkeys have another passphrase than the rest. Takes a second for each: not on the loop.
        """
        opened = {}
        for name, body in self._closed.items():
            tag = (
                Tag.SECRET_KEY
                if name == self.certificate.primary.fingerprint
                else Tag.SECRET_SUBKEY
            )
            try:
                opened[name] = read_secret(tag, body, octets_of(passphrase))
            except (WrongPassphrase, NoSecretKey, Unsupported):
                continue
        if not opened and self.locked:
            raise WrongPassphrase("this passphrase opens none of the parts that are locked")
        return SecretKey(self.certificate, {**self._secrets, **opened}, self._closed)

    @property
    def locked(self) -> tuple[str, ...]:
        """Fingerprints of the parts that are here but locked, by another passphrase or in a way not supported."""
        closed = (name for name, body in self._closed.items() if not is_stub(body))
        return tuple(name.hex().upper() for name in closed)

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Fingerprints of the bound parts whose secret is not here at all: on a smart card, offline, or lost."""
        locked = self.locked
        here = {name.hex().upper() for name in self._secrets}
        return tuple(f for f in self.certificate.fingerprints if f not in here and f not in locked)

    def secret_of(self, key: PublicKey) -> SecretMaterial | None:
        """The secret of one of its keys, if it is here and open."""
        return self._secrets.get(key.fingerprint)

    def decryption_keys(self) -> list[SecretMaterial]:
        """Every secret that can open mail, however old."""
        fit = algorithms.ENCRYPTING | {
            algorithms.ELGAMAL
        }  # which says why it does not open anything
        return [s for s in self._secrets.values() if s.public.algorithm in fit]

    def primary_secret(self) -> SecretMaterial:
        """The secret that changes the certificate itself; raises NoSecretKey when it is kept elsewhere."""
        try:
            return self._secrets[self.certificate.primary.fingerprint]
        except KeyError:
            raise NoSecretKey("the primary secret key is not here") from None

    def signing_key(self, at: float) -> SecretMaterial:
        """The secret to sign mail with at a time; raises ExpiredCertificate, NoSigningKey."""
        head = self.certificate.keys_at(at)[0]
        if head.is_revoked(at):
            raise NoSigningKey("the key is revoked")
        if head.has_expired(at):
            raise ExpiredCertificate("the key has expired")
        fit = [s for s in self.certificate.signing_states(at) if s.key.fingerprint in self._secrets]
        alive = [s for s in fit if s.is_alive(at) and not s.key.too_weak]
        if alive:
            # a subkey when there is one, as GnuPG does: it can be replaced without a new identity
            best = max(alive, key=lambda s: (s.key is not head.key, s.key.created))
            return self._secrets[best.key.fingerprint]
        if any(s.has_expired(at) for s in fit):
            raise ExpiredCertificate("the signing key has expired")
        raise NoSigningKey("the key has no part that may sign")


def _restore(data: bytes) -> SecretKey:
    return SecretKey.from_bytes(data)


def read_secret_keys(data: bytes, passphrase: str | bytes | None = None) -> list[SecretKey]:
    """Every secret key in `data`, what else there is passed over; see `SecretKey.locked` and `SecretKey.elsewhere`.

    Raises Malformed, Unsupported, WrongPassphrase when nothing of a key opens, NoSecretKey when there is no secret.
    """
    phrase = None if passphrase is None else octets_of(passphrase)
    found: list[SecretKey] = []
    refused: OpenPGPError | None = None
    for group in split_keys(dearmor(data)):
        try:
            found.append(_read(group, phrase))
        except (NoSecretKey, Unsupported) as error:
            refused = refused or error
    if not found:
        raise refused or Malformed("there is no OpenPGP key here")
    return found


def _read(group: Sequence[Packet], passphrase: bytes | None) -> SecretKey:
    secrets: dict[bytes, SecretMaterial] = {}
    closed: dict[bytes, bytes] = {}
    reason: OpenPGPError = NoSecretKey("this is a certificate without its secret key")
    for tag, body in group:
        if tag not in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY):
            continue
        try:
            secret = read_secret(tag, body, passphrase)
        except (NoSecretKey, Unsupported, WrongPassphrase) as error:
            reason = error if not isinstance(reason, WrongPassphrase) else reason
            try:
                closed[PublicKey.read_prefix(body)[0].fingerprint] = body
            except Unsupported:
                continue
        else:
            secrets[secret.public.fingerprint] = secret
    if not secrets:
        raise reason
    certificate = read_certificates(b"".join(packet(tag, body) for tag, body in group))[0]
    return SecretKey(certificate, secrets, closed)
