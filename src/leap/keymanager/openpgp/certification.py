"""Whether the owner of one key vouches, now, for another key being of an address (RFC 9580 5.2.1.4 to 5.2.1.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.component import Component, address_in
from leap.keymanager.openpgp.errors import OpenPGPError
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.self_signatures import has_ended, pieces_of, read_signatures_on
from leap.keymanager.openpgp.signature import CERTIFICATIONS, Signature, SignatureType

if TYPE_CHECKING:
    from leap.keymanager.openpgp.certificate import Certificate

_CERTIFY = 0x01  # RFC 9580 5.2.3.29
_MAX_CHECKED = 16  # signatures of one key on one user id; a person certifies once, and renews it


def certifiers(
    certificate: Certificate, others: Sequence[Certificate], address: str, at: float
) -> frozenset[str]:
    """Fingerprints of those of `others` which vouch at a time that `certificate` is of `address`.

    What counts: an unrevoked certification within its time, on a user id of that very address which the
    certificate vouches for itself, by a primary key that is alive and may certify.
    """
    found = (other.fingerprint for other in others if _vouches(other, certificate, address, at))
    return frozenset(found)


def _vouches(other: Certificate, certificate: Certificate, address: str, at: float) -> bool:
    head = other.keys_at(at)[0]
    if not (head.flags & _CERTIFY and head.is_alive(at)) or head.key.too_weak:
        return False
    own = certificate.user_ids_at(at)
    return any(
        _is_certified(component, other, certificate, at)
        for component in certificate.components[1:]
        if component.tag == Tag.USER_ID
        and address_in(component.body) == address
        and component.body.decode("utf-8", "replace") in own
    )


def _is_certified(
    component: Component, other: Certificate, certificate: Certificate, at: float
) -> bool:
    head = other.keys_at(at)[0]
    pieces = pieces_of(certificate.primary, component)
    by_it = [s for s in read_signatures_on(component) if s.may_be_by(other.primary)]
    revocations = [s for s in by_it if s.kind == SignatureType.REVOKE_CERTIFICATION]
    if len(revocations) > _MAX_CHECKED or any(_is_true(s, pieces, other) for s in revocations):
        return False  # taken back: whether it was vouched for again after that, a person decides
    vouching = [
        signature
        for signature in by_it
        if signature.kind in CERTIFICATIONS
        and head.key.created <= signature.created <= at
        and not has_ended(signature, at)
    ]
    return any(_is_true(signature, pieces, other) for signature in vouching[:_MAX_CHECKED])


def _is_true(signature: Signature, pieces: tuple[bytes, ...], by: Certificate) -> bool:
    try:
        return (
            not signature.unusable
            and not algorithms.hash_algorithm(signature.hash_number).weak
            and signature.is_over(pieces, by.primary)
        )
    except OpenPGPError:
        return False
