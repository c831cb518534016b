"""One key vouching for another (RFC 9580 5.2.1.4 to 5.2.1.7): whether it does now, saying so, taking it back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component, address_in
from leap.keymanager.openpgp.errors import (
    Malformed,
    NoSigningKey,
    NoSuchPart,
    OpenPGPError,
    RevokedCertificate,
)
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.parts import with_signatures
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.self_signatures import has_ended, pieces_of, read_signatures_on
from leap.keymanager.openpgp.signature import (
    CERTIFICATIONS,
    Signature,
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

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
    return any(
        _is_certified(component, other, certificate, at)
        for component in certificate.components[1:]
        if component.tag == Tag.USER_ID
        and address_in(component.body) == address
        and certificate.vouches_for(component, at)
    )


def _is_certified(
    component: Component, other: Certificate, certificate: Certificate, at: float
) -> bool:
    head = other.keys_at(at)[0]
    pieces = pieces_of(certificate.primary, component, other.primary.version)
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


# --- saying so ------------------------------------------------------------------------------------


def certify(
    by: SecretKey,
    certificate: Certificate,
    address: str,
    *,
    now: float,
    expires: float | None = None,
    exportable: bool = True,
    level: SignatureType = SignatureType.CERTIFY_GENERIC,
    random: Callable[[int], bytes] = os.urandom,
) -> Certificate:
    """`certificate` with the word of `by` that it is of `address`, until `expires` (seconds since 1970; None: open).

    Not `exportable`: for one's own store alone, see `Certificate.complete`. `level`: how carefully it was checked
    (generic, persona, casual, positive). Raises NoSuchPart when the certificate does not claim the address,
    RevokedCertificate when it is revoked, NoSigningKey when `by` cannot certify now, NoSecretKey, Malformed.
    """
    if level not in CERTIFICATIONS:
        raise Malformed("a certification is generic, persona, casual or positive")
    if expires is not None and not 0 < int(expires) - int(now) < 1 << 32:
        raise Malformed("a certification cannot end before it begins, nor 136 years later")
    if certificate.revoked:
        raise RevokedCertificate("the key is revoked: there is nothing left to vouch for")
    head = by.certificate.keys_at(now)[0]
    if not (head.is_alive(now) and head.flags & _CERTIFY):
        raise NoSigningKey("your key has expired, is revoked or may not certify others")

    def statements(created: int) -> list[bytes]:
        says = []
        if expires is not None:
            span = max(1, int(expires) - created)
            says.append(subpacket(Subpacket.EXPIRES, span.to_bytes(4, "big"), critical=True))
        if not exportable:
            says.append(subpacket(Subpacket.EXPORTABLE, b"\0", critical=True))
        return says

    names = [n for n in _names_with(certificate, address) if certificate.vouches_for(n, now)]
    return _sign_names(by, certificate, address, level, names, now, statements, random)


def revoke_certification(
    by: SecretKey,
    certificate: Certificate,
    address: str,
    *,
    now: float,
    text: str = "",
    random: Callable[[int], bytes] = os.urandom,
) -> Certificate:
    """`certificate` without the word of `by` that it is of `address`; raises NoSuchPart when that was not given.

    What was never exported is taken back in the same way: for one's own store alone.
    """
    names = _names_with(certificate, address)
    given = [
        signature
        for component in names
        for signature in read_signatures_on(component)
        if signature.kind in CERTIFICATIONS and signature.may_be_by(by.certificate.primary)
    ]
    if not given:
        raise NoSuchPart("your key did not vouch for this one")
    # RFC 9580 5.2.3.31: 0 gives no reason, 32 is that a user id is no longer valid
    says = [subpacket(Subpacket.REVOCATION_REASON, b"\0" + text.encode("utf-8", "replace"))]
    if not any(signature.is_exportable for signature in given):
        says.append(subpacket(Subpacket.EXPORTABLE, b"\0", critical=True))
    kind = SignatureType.REVOKE_CERTIFICATION
    return _sign_names(by, certificate, address, kind, names, now, lambda _: says, random)


def _names_with(certificate: Certificate, address: str) -> list[Component]:
    return [
        component
        for component in certificate.components[1:]
        if component.tag == Tag.USER_ID and address_in(component.body) == canonical(address)
    ]


def _sign_names(
    by: SecretKey,
    certificate: Certificate,
    address: str,
    kind: SignatureType,
    names: Sequence[Component],
    now: float,
    statements: Callable[[int], Sequence[bytes]],
    random: Callable[[int], bytes],
) -> Certificate:
    """A signature of `by` on each of `names`, user ids of an address."""
    secret = by.primary_secret()
    fresh: dict[Component, list[bytes]] = {}
    for name in names:
        earlier = [s for s in read_signatures_on(name) if s.may_be_by(secret.public)]
        earlier.sort(key=lambda s: s.created, reverse=True)
        pieces = pieces_of(certificate.primary, name, secret.public.version)
        # what is forged with a date far ahead must not move this one there
        true = (s.created for s in earlier[:_MAX_CHECKED] if _is_true(s, pieces, by.certificate))
        created = max(int(now), *(at + 1 for at in true), 0)
        fresh[name] = [
            make_signature(
                secret, kind, pieces, created=created, statements=statements(created), random=random
            )
        ]
    if not fresh:
        raise NoSuchPart(f"the key has no user id with the address {address.lower()}")
    return with_signatures(certificate, fresh)
