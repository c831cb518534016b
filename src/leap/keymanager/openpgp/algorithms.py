"""Numbers of algorithms (RFC 9580 9, RFC 9980) and what we think of them: sizes, names, what is too weak when."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import (
    CAST5,
    IDEA,
    Blowfish,
    Camellia,
    TripleDES,
)
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from leap.keymanager.openpgp.errors import Unsupported

# Public keys: 1 to 3 RSA, 16 ElGamal, 17 DSA, 18 ECDH, 19 ECDSA, 22 EdDSA of old, 25 X25519, 26 X448,
# 27 Ed25519, 28 Ed448 (RFC 9580 9.1), 30 ML-DSA-65+Ed25519, 35 ML-KEM-768+X25519 (RFC 9980).
RSA_ALGORITHMS = frozenset({1, 2, 3})
ENCRYPTING = frozenset({1, 2, 18, 25, 26, 35})  # those we can wrap a session key for
ELGAMAL: Final = 16
NATIVE_SIZES = {
    25: 32,
    26: 56,
    27: 32,
    28: 57,
    30: 32 + 1952,
    35: 32 + 1184,
}  # fixed-size public keys
NATIVE_SECRET_SIZES = {25: 32, 26: 56, 27: 32, 28: 57, 30: 32 + 32, 35: 32 + 64}


class _Cipher(NamedTuple):
    key_size: int
    block_size: int
    make: type[CipherAlgorithm]


_CIPHERS: Final[dict[int, _Cipher]] = {  # RFC 9580 9.3; those but AES only for reading old mail
    1: _Cipher(16, 8, IDEA),
    2: _Cipher(24, 8, TripleDES),
    3: _Cipher(16, 8, CAST5),
    4: _Cipher(16, 8, Blowfish),
    7: _Cipher(16, 16, AES),
    8: _Cipher(24, 16, AES),
    9: _Cipher(32, 16, AES),
    11: _Cipher(16, 16, Camellia),
    12: _Cipher(24, 16, Camellia),
    13: _Cipher(32, 16, Camellia),
}
AES_KEY_SIZES = {7: 16, 8: 24, 9: 32}


def key_size(algorithm: int) -> int:
    """Octets of a key of a symmetric algorithm; raises Unsupported."""
    return _cipher(algorithm).key_size


def block_size(algorithm: int) -> int:
    """Octets of a block of a symmetric algorithm; raises Unsupported."""
    return _cipher(algorithm).block_size


def cfb(algorithm: int, key: bytes, iv: bytes) -> Cipher[CFB]:
    """The cipher in CFB mode, as OpenPGP uses it (RFC 9580 12.9 without resynchronisation)."""
    return Cipher(_cipher(algorithm).make(key), CFB(iv))  # type: ignore[call-arg]


def _cipher(algorithm: int) -> _Cipher:
    try:
        return _CIPHERS[algorithm]
    except KeyError:
        raise Unsupported(f"cipher number {algorithm} is not supported") from None


class Hash(NamedTuple):
    number: int
    name: str  # as in "pgp-sha512" (RFC 3156) and hashlib
    primitive: hashes.HashAlgorithm | None
    salt_size: int = 0  # of version 6 signatures, RFC 9580 9.5
    weak: bool = False


_HASHES: Final[dict[int, Hash]] = {
    h.number: h
    for h in (
        Hash(1, "md5", hashes.MD5(), weak=True),  # noqa: S303 - read to be called weak
        Hash(2, "sha1", hashes.SHA1(), weak=True),  # noqa: S303 - read to be called weak
        Hash(8, "sha256", hashes.SHA256(), 16),
        Hash(9, "sha384", hashes.SHA384(), 24),
        Hash(10, "sha512", hashes.SHA512(), 32),
        Hash(11, "sha224", hashes.SHA224(), 16),
        Hash(12, "sha3_256", hashes.SHA3_256(), 16),
        Hash(14, "sha3_512", hashes.SHA3_512(), 32),
    )
}
SHA256: Final = 8
SHA512: Final = 10
# What signatures inside encrypted messages hash with, by key: all who read OpenPGP must know SHA-256 (RFC 9580 9.5),
# it is as strong as these curves, and processors with instructions for it take a third of the time.
MESSAGE_HASHES: Final[dict[int, int]] = {22: SHA256, 27: SHA256}
MICALG: Final = "pgp-sha512"  # what we sign with, in the words of RFC 3156 5

# Self-signatures over SHA-1 need a second preimage to forge, and old keys have nothing else. Sequoia's
# StandardPolicy stops believing new ones here too.
SHA1_SELF_SIGNATURES_UNTIL: Final = 1_675_209_600  # 2023-02-01


def hash_algorithm(number: int) -> Hash:
    """What is known of a hash algorithm; raises Unsupported."""
    try:
        return _HASHES[number]
    except KeyError:
        raise Unsupported(f"hash number {number} is not supported") from None


def new_hash(number: int) -> hashlib._Hash:
    """A running hash."""
    return hashlib.new(hash_algorithm(number).name, usedforsecurity=False)


# Octets that keys on these curves need at least: shorter hashes must be rejected (RFC 9580 5.2.3.3 to 5.2.3.5)
_SHORTEST_HASHES: Final[dict[int, int]] = {22: 32, 27: 32, 28: 64, 30: 32}


def is_too_short(hash_number: int, key_algorithm: int) -> bool:
    """Whether signatures of a kind of key must not be made of this hash; raises Unsupported."""
    return new_hash(hash_number).digest_size < _SHORTEST_HASHES.get(key_algorithm, 0)


CURVE25519_OID: Final = bytes.fromhex("2B060104019755010501")
ED25519_OID: Final = bytes.fromhex("2B06010401DA470F01")
NIST_CURVES: Final[dict[bytes, type[ec.EllipticCurve]]] = {
    bytes.fromhex("2A8648CE3D030107"): ec.SECP256R1,
    bytes.fromhex("2B81040022"): ec.SECP384R1,
    bytes.fromhex("2B81040023"): ec.SECP521R1,
    bytes.fromhex("2B8104000A"): ec.SECP256K1,
    bytes.fromhex("2B2403030208010107"): ec.BrainpoolP256R1,
    bytes.fromhex("2B240303020801010B"): ec.BrainpoolP384R1,
    bytes.fromhex("2B240303020801010D"): ec.BrainpoolP512R1,
}
# Octets of hash that ECDSA wants on the longer curves; GnuPG refuses shorter ones, so that none are written
ECDSA_HASHES: Final[dict[bytes, int]] = {
    oid: min(64, (curve().key_size + 7) // 8) for oid, curve in NIST_CURVES.items()
}
MIN_RSA_BITS: Final = (
    2048  # smaller ones are read, never encrypted to, and their signatures are called weak
)
MAX_RSA_BITS: Final = 8_192  # GnuPG makes up to 4096; larger ones only cost the reader time
ML_KEM: Final = 35  # with X25519: the one post-quantum kind that is made here
