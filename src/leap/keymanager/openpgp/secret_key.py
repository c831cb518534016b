"""A person's own keys (transferable secret keys, RFC 9580 10.2): the certificate and the secrets that go with it.

Invariants:
* Nothing secret in `repr`, `str` or an exception; `to_bytes` is the only way out.
* Reading mail is not a matter of time: `decryption_keys` has every key, expired, revoked or replaced.
"""

from __future__ import annotations

from collections.abc import Mapping

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
)
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.secret_material import SecretMaterial, read_secret, write_secret


class SecretKey:
    """A certificate and its secrets, unlocked. Make it with `from_bytes` or `generate`."""

    __slots__ = ("_secrets", "certificate")

    def __init__(self, certificate: Certificate, secrets: Mapping[bytes, SecretMaterial]) -> None:
        """`secrets` by the fingerprint (octets) of their key; some may be missing."""
        self.certificate = certificate
        self._secrets = dict(secrets)

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

    def to_bytes(self, passphrase: str | bytes | None = None) -> bytes:
        """All of it as packets; in clear unless a passphrase is given."""
        secret_phrase = _octets(passphrase)
        parts: list[bytes] = []
        for tag, body, signatures in self.certificate.components:
            parts.append(self._packet(tag, body, secret_phrase))
            parts.extend(packet(Tag.SIGNATURE, signature) for signature in signatures)
        return b"".join(parts)

    def armored(self, passphrase: str | bytes | None = None) -> bytes:
        """As `to_bytes`, for files and mail."""
        checksum = self.certificate.primary.version == 4
        return armor(self.to_bytes(passphrase), SECRET_KEY, checksum=checksum)

    def _packet(self, tag: int, body: bytes, passphrase: bytes | None) -> bytes:
        if tag not in (Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY):
            return packet(tag, body)
        for secret in self._secrets.values():
            if secret.public.body == body:
                secret_tag = Tag.SECRET_KEY if tag == Tag.PUBLIC_KEY else Tag.SECRET_SUBKEY
                return packet(secret_tag, write_secret(secret, passphrase, tag=secret_tag))
        return packet(tag, body)

    def with_certificate(self, certificate: Certificate) -> SecretKey:
        """The same secrets with a newer certificate of the same fingerprint; raises Malformed."""
        return SecretKey(self.certificate.merge(certificate), self._secrets)

    def merge(self, other: SecretKey) -> SecretKey:
        """Both in one, as `Certificate.merge`: no secret is lost; raises Malformed."""
        certificate = self.certificate.merge(other.certificate)
        return SecretKey(certificate, {**other._secrets, **self._secrets})

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


def _octets(passphrase: str | bytes | None) -> bytes | None:
    return passphrase.encode() if isinstance(passphrase, str) else passphrase


def read_secret_keys(data: bytes, passphrase: str | bytes | None = None) -> list[SecretKey]:
    """Every secret key in `data`; parts whose secret is kept elsewhere (GnuPG's stubs) have none here.

    Raises Malformed, Unsupported, WrongPassphrase; NoSecretKey when there is not one secret.
    """
    phrase = _octets(passphrase)
    found: list[SecretKey] = []
    for group in split_keys(dearmor(data)):
        secrets: dict[bytes, SecretMaterial] = {}
        reason: OpenPGPError = NoSecretKey("this is a certificate without its secret key")
        for tag, body in group:
            if tag not in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY):
                continue
            try:
                secret = read_secret(tag, body, phrase)
            except (NoSecretKey, Unsupported) as error:
                reason = error
                continue
            secrets[secret.public.fingerprint] = secret
        if not secrets:
            raise reason
        certificate = read_certificates(b"".join(packet(tag, body) for tag, body in group))[0]
        found.append(SecretKey(certificate, secrets))
    if not found:
        raise Malformed("there is no OpenPGP key here")
    return found
