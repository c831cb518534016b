"""Fresh keys: the numbers of one new primary key or subkey, of the kinds this program makes."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.errors import Malformed
from leap.keymanager.openpgp.packets import mpi
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial

Random = Callable[[int], bytes]


def make_signing_key(created: int, version: int, random: Random) -> SecretMaterial:
    """Ed25519, in the form GnuPG knows for version 4."""
    seed = random(32)
    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    if version == 6:
        return SecretMaterial(_body(6, created, 27, point), seed)
    material = _oid(algorithms.ED25519_OID) + mpi(b"\x40" + point)
    return SecretMaterial(_body(4, created, 22, material), mpi(seed))


def make_encryption_key(created: int, version: int, random: Random) -> SecretMaterial:
    """X25519, in the form GnuPG knows for version 4."""
    scalar = random(32)
    point = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
    if version == 6:
        return SecretMaterial(_body(6, created, 25, point), scalar)
    # GnuPG wants the clamped number in its file (RFC 9580 11.2 leaves it open)
    clamped = bytes([scalar[0] & 0xF8]) + scalar[1:31] + bytes([(scalar[31] & 0x7F) | 0x40])
    material = _oid(algorithms.CURVE25519_OID) + mpi(b"\x40" + point) + b"\x03\x01\x0a\x09"
    return SecretMaterial(_body(4, created, 18, material), mpi(clamped[::-1]))


def make_post_quantum_key(created: int, version: int, random: Random) -> SecretMaterial:
    """ML-KEM-768+X25519, which version 4 allows as a subkey, and no other post-quantum kind (RFC 9980 3.5)."""
    scalar, seed = random(32), random(64)
    point = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
    kem = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    return SecretMaterial(_body(version, created, algorithms.ML_KEM, point + kem), scalar + seed)


def _body(version: int, created: int, algorithm: int, material: bytes) -> PublicKey:
    length = len(material).to_bytes(4, "big") if version == 6 else b""
    if not 0 <= created < 1 << 32:
        raise Malformed("a key cannot be dated before 1970 or after 2106")
    head = bytes([version]) + created.to_bytes(4, "big") + bytes([algorithm])
    return PublicKey(head + length + material)


def _oid(oid: bytes) -> bytes:
    return bytes([len(oid)]) + oid
