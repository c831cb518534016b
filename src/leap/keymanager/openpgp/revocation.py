"""Taking back: a whole certificate, a subkey, a user id; and the revocation made when a key is made, kept for later.

A revocation is a signature that cannot be taken back. *Hard* ones (compromised, no reason given) count from the
beginning of time, *soft* ones (superseded, retired) from their date: what was signed before stays good.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum

from leap.keymanager.openpgp.armor import PUBLIC_KEY, armor, dearmor
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.errors import Malformed, OpenPGPError
from leap.keymanager.openpgp.packets import Tag, packet, read_packets
from leap.keymanager.openpgp.parts import subkey_of, user_id_of, with_signatures
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.self_signatures import SelfSignatures
from leap.keymanager.openpgp.self_signing import Owner
from leap.keymanager.openpgp.signature import (
    Signature,
    SignatureType,
    Subpacket,
    subpacket,
)

MAX_REVOCATION = 64 * 1024  # a few hundred octets, and the primary key of version 6
_MAX_PACKETS = 64

Random = Callable[[int], bytes]


class RevocationReason(IntEnum):
    """Why (RFC 9580 5.2.3.31); the first and the third are hard."""

    NONE = 0
    SUPERSEDED = 1
    COMPROMISED = 2
    RETIRED = 3
    USER_ID_INVALID = 32


def reason_statement(reason: RevocationReason, text: str) -> bytes:
    """The statement why, with what the owner has to say to it."""
    return subpacket(Subpacket.REVOCATION_REASON, bytes([reason]) + text.encode("utf-8", "replace"))


def revoke(
    key: SecretKey,
    *,
    reason: RevocationReason,
    text: str = "",
    now: float,
    random: Random = os.urandom,
) -> SecretKey:
    """The key, revoked as a whole; it still opens mail. `text` is public. Raises NoSecretKey without the primary."""
    head = key.certificate.components[0]
    body = _revocation(key, head, SignatureType.REVOKE_KEY, reason, text, now, random)
    return key.edited(with_signatures(key.certificate, {head: [body]}))


def revoke_subkey(
    key: SecretKey,
    fingerprint: str,
    *,
    reason: RevocationReason,
    text: str = "",
    now: float,
    random: Random = os.urandom,
) -> SecretKey:
    """The key without that subkey for anything but opening old mail; raises NoSuchPart, NoSecretKey."""
    subkey = subkey_of(key.certificate, fingerprint)
    body = _revocation(key, subkey, SignatureType.REVOKE_SUBKEY, reason, text, now, random)
    return key.edited(with_signatures(key.certificate, {subkey: [body]}))


def revoke_user_id(
    key: SecretKey,
    user_id: str,
    *,
    reason: RevocationReason = RevocationReason.USER_ID_INVALID,
    text: str = "",
    now: float,
    random: Random = os.urandom,
) -> SecretKey:
    """The key without that user id (the whole text of it); raises NoSuchPart, NoSecretKey."""
    name = user_id_of(key.certificate, user_id)
    kind = SignatureType.REVOKE_CERTIFICATION
    body = _revocation(key, name, kind, reason, text, now, random)
    return key.edited(with_signatures(key.certificate, {name: [body]}))


def revocation_certificate(
    key: SecretKey,
    *,
    now: float,
    reason: RevocationReason = RevocationReason.NONE,
    text: str = "",
    random: Random = os.urandom,
) -> bytes:
    """What revokes the key once it is published, armored: to be made with the key, and kept for when it is lost.

    Whoever has it can revoke the key. `gpg --import` takes it. Raises NoSecretKey without the primary key.
    """
    head = key.certificate.components[0]
    body = _revocation(key, head, SignatureType.REVOKE_KEY, reason, text, now, random)
    parts = packet(Tag.SIGNATURE, body)
    if key.certificate.primary.version == 6:  # RFC 9580 10.1.2: with the key it revokes
        parts = packet(Tag.PUBLIC_KEY, head.body) + parts
    return armor(parts, PUBLIC_KEY, checksum=key.certificate.primary.version == 4)


def apply_revocation(certificate: Certificate, revocation: bytes) -> Certificate:
    """The certificate, revoked by a kept revocation (`revocation_certificate`, or GnuPG's file of it).

    Raises Malformed when there is none for this key in `revocation`.
    """
    if len(revocation) > MAX_REVOCATION:
        raise Malformed("a revocation certificate is not as large as that")
    if b":-----BEGIN PGP" in revocation:
        # what GnuPG stores has a colon there, so that nobody revokes a key by a mistaken click
        revocation = revocation.replace(b":-----BEGIN PGP", b"-----BEGIN PGP", 1)
    head = certificate.components[0]
    bodies = []
    for tag, body in read_packets(dearmor(revocation), limit=_MAX_PACKETS):
        if tag == Tag.SIGNATURE and _is_revocation(body):
            bodies.append(body)
    checks = SelfSignatures(certificate.primary)
    offered = head._replace(signatures=tuple(bodies))
    true = list(checks.newest(offered, {SignatureType.REVOKE_KEY}))
    if not true:
        raise Malformed("this is no revocation of this key")
    return certificate.merge(Certificate([head._replace(signatures=tuple(s.body for s in true))]))


def _is_revocation(body: bytes) -> bool:
    try:
        return Signature(body).kind == SignatureType.REVOKE_KEY
    except OpenPGPError:
        return False


def _revocation(
    key: SecretKey,
    component: Component,
    kind: SignatureType,
    reason: RevocationReason,
    text: str,
    now: float,
    random: Random,
) -> bytes:
    owner = Owner(key.certificate, key.primary_secret(), int(now), random)
    return owner.sign_on(component, kind, [reason_statement(reason, text)])
