"""Certificates as their owners, or others, may make them: more names, certifications, revocations, floods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import rsa

from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag, mpi
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.self_signatures import pieces_of
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

from .conftest import BIRTH

CERTIFY_AND_SIGN = subpacket(Subpacket.KEY_FLAGS, b"\x03", critical=True)
COMPROMISED = subpacket(Subpacket.REVOCATION_REASON, b"\x02")


def sign_on(
    component: Component,
    of: Certificate,
    by: SecretKey,
    kind: int,
    *,
    at: int = BIRTH + 5,
    says: Sequence[bytes] = (),
) -> bytes:
    """A signature of `by` on a component of a certificate."""
    pieces = pieces_of(of.primary, component)
    return make_signature(by.primary_secret(), kind, pieces, created=at, statements=says)


def with_user_id(
    key: SecretKey, user_id: str, *, at: int = BIRTH + 1, says: Sequence[bytes] = ()
) -> SecretKey:
    """The same key calling itself something else, too."""
    bare = Component(Tag.USER_ID, user_id.encode(), ())
    says = [CERTIFY_AND_SIGN, *says]
    kind = SignatureType.CERTIFY_POSITIVE
    body = sign_on(bare, key.certificate, key, kind, at=at, says=says)
    return changed(key, Certificate([*key.certificate.components, with_more(bare, [body])]))


def with_more(component: Component, signatures: Iterable[bytes]) -> Component:
    return component._replace(signatures=(*component.signatures, *signatures))


def replaced(certificate: Certificate, old: Component, new: Component) -> Certificate:
    """The certificate with another component in the place of one of its own."""
    return Certificate([new if c is old else c for c in certificate.components])


def changed(key: SecretKey, certificate: Certificate) -> SecretKey:
    """The secrets with another certificate, just as it is."""
    return SecretKey(certificate, key._secrets)


def user_id_of(certificate: Certificate, address: str) -> Component:
    return next(
        c
        for c in certificate.components
        if c.tag == Tag.USER_ID and address.encode() in c.body.lower()
    )


def revoked(key: SecretKey, *, at: int = BIRTH + 1_000) -> Certificate:
    """The certificate, which its owner calls compromised."""
    head = key.certificate.components[0]
    body = sign_on(head, key.certificate, key, SignatureType.REVOKE_KEY, at=at, says=[COMPROMISED])
    return replaced(key.certificate, head, with_more(head, [body]))


def forged_revocations(key: SecretKey, count: int, *, first: int = 0) -> list[bytes]:
    """Revocations that look like the owner's until the last step of checking them."""
    head = key.certificate.components[0]
    made = []
    for number in range(first, first + count):
        kind = SignatureType.REVOKE_KEY
        body = bytearray(sign_on(head, key.certificate, key, kind, at=BIRTH + 10_000 + number))
        body[-1] ^= 1
        made.append(bytes(body))
    return made


def rsa_material(bits: int, *, at: int = BIRTH) -> SecretMaterial:
    """A version 4 RSA key, which the engine itself makes none of."""
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    public = numbers.public_numbers

    def number(value: int) -> bytes:
        return mpi(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    body = b"\x04" + at.to_bytes(4, "big") + b"\x01" + number(public.n) + number(public.e)
    inverse = pow(numbers.p, -1, numbers.q)
    secret = b"".join(number(value) for value in (numbers.d, numbers.p, numbers.q, inverse))
    return SecretMaterial(PublicKey(body), secret)


def rsa_secret_key(bits: int, address: str, *, at: int = BIRTH) -> SecretKey:
    """One RSA key for everything, as the first programs made them."""
    material = rsa_material(bits, at=at)
    public = material.public
    name = Component(Tag.USER_ID, address.encode(), ())
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x0f", critical=True)]
    body = make_signature(
        material,
        SignatureType.CERTIFY_POSITIVE,
        pieces_of(public, name),
        created=at,
        statements=says,
    )
    head = Component(Tag.PUBLIC_KEY, public.body, ())
    certificate = Certificate([head, with_more(name, [body])])
    return SecretKey(certificate, {public.fingerprint: material})
