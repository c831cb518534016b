"""Making a new key: primary Ed25519 for certifying and signing, Curve25519 for encryption, both with an end.

Version 4 in the number scheme GnuPG knows, and without announcing SEIPD version 2: whatever is sent to such a key
can be read by any OpenPGP program its owner moves to. Version 6 has RFC 9580's own algorithms and AEAD, and with
`post_quantum` ML-KEM-768+X25519 (RFC 9980) for encryption. Ends are written on the primary key's own statement,
on the user id and on the subkey, because programs differ in which they read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.certificate import CERTIFY, ENCRYPT, SIGN, Certificate
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.errors import Malformed
from leap.keymanager.openpgp.packets import Tag, mpi
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

LIFETIME = 2 * 365 * 24 * 3600
Random = Callable[[int], bytes]


def generate(
    address: str,
    *,
    name: str = "",
    now: Callable[[], float] = time.time,
    lifetime: int = LIFETIME,
    version: int = 4,
    post_quantum: bool = False,
    random: Random = os.urandom,
) -> SecretKey:
    """A new key for an address; `lifetime` in seconds. Raises Malformed for an address no user id can hold."""
    if not _is_plain(address) or any(c in "<>\r\n\0" for c in name) or address.count("@") != 1:
        raise Malformed("this is no mail address one can make a key for")
    user_id = (f"{name} <{address}>" if name else address).encode()
    created = int(now())
    primary = _signing_key(created, version, random)
    subkey = _encryption_key(created, version, post_quantum, random)
    expiry = subpacket(Subpacket.KEY_EXPIRES, lifetime.to_bytes(4, "big"), critical=True)
    about_key = _about_key(version, expiry)

    def bind(kind: int, pieces: tuple[bytes, ...], statements: list[bytes]) -> bytes:
        return make_signature(
            primary, kind, pieces, created=created, statements=statements, random=random
        )

    own = primary.public.hashed
    uid_pieces = (own, b"\xb4", len(user_id).to_bytes(4, "big"), user_id)
    primary_uid = subpacket(Subpacket.PRIMARY_USER_ID, b"\x01")
    uid_says = [*about_key, primary_uid] if version == 4 else [primary_uid]
    sub_flags = subpacket(Subpacket.KEY_FLAGS, bytes([ENCRYPT]), critical=True)
    components = [
        Component(
            Tag.PUBLIC_KEY,
            primary.public.body,
            (bind(SignatureType.DIRECT_KEY, (own,), about_key),) if version == 6 else (),
        ),
        Component(
            Tag.USER_ID, user_id, (bind(SignatureType.CERTIFY_POSITIVE, uid_pieces, uid_says),)
        ),
        Component(
            Tag.PUBLIC_SUBKEY,
            subkey.public.body,
            (bind(SignatureType.SUBKEY_BINDING, (own, subkey.public.hashed), [sub_flags, expiry]),),
        ),
    ]
    secrets = {secret.public.fingerprint: secret for secret in (primary, subkey)}
    return SecretKey(Certificate(components), secrets)


def _is_plain(address: str) -> bool:
    return bool(address) and not any(c.isspace() or c in "<>\0" for c in address)


def _about_key(version: int, expiry: bytes) -> list[bytes]:
    """What the newest self-signature says of the key and of what its owner's programs can read."""
    statements = [
        subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY | SIGN]), critical=True),
        expiry,
        subpacket(Subpacket.SYMMETRIC, b"\x09\x08\x07"),
        subpacket(Subpacket.HASHES, b"\x0a\x09\x08"),
        subpacket(Subpacket.COMPRESSION, b"\x00"),
        subpacket(Subpacket.FEATURES, b"\x01" if version == 4 else b"\x09"),
    ]
    if version == 6:
        statements.append(subpacket(Subpacket.AEAD_SUITES, b"\x09\x02\x07\x02"))
    return statements


def _body(version: int, created: int, algorithm: int, material: bytes) -> PublicKey:
    length = len(material).to_bytes(4, "big") if version == 6 else b""
    head = bytes([version]) + created.to_bytes(4, "big") + bytes([algorithm])
    return PublicKey(head + length + material)


def _oid(oid: bytes) -> bytes:
    return bytes([len(oid)]) + oid


def _signing_key(created: int, version: int, random: Random) -> SecretMaterial:
    seed = random(32)
    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    if version == 6:
        return SecretMaterial(_body(6, created, 27, point), seed)
    material = _oid(algorithms.ED25519_OID) + mpi(b"\x40" + point)
    return SecretMaterial(_body(4, created, 22, material), mpi(seed))


def _encryption_key(
    created: int, version: int, post_quantum: bool, random: Random
) -> SecretMaterial:
    scalar = random(32)
    point = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
    if post_quantum:
        seed = random(64)
        kem = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        return SecretMaterial(_body(version, created, 35, point + kem), scalar + seed)
    if version == 6:
        return SecretMaterial(_body(6, created, 25, point), scalar)
    # GnuPG wants the clamped number in its file (RFC 9580 11.2 leaves it open)
    clamped = bytes([scalar[0] & 0xF8]) + scalar[1:31] + bytes([(scalar[31] & 0x7F) | 0x40])
    material = _oid(algorithms.CURVE25519_OID) + mpi(b"\x40" + point) + b"\x03\x01\x0a\x09"
    return SecretMaterial(_body(4, created, 18, material), mpi(clamped[::-1]))
