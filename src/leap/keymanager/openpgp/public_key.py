"""Public key packets (RFC 9580 5.5): parsing, fingerprints, and verifying a digest with one key.

Versions 4 and 6 are read; 2 and 3 rest on MD5 and are refused. What of a key is not understood is kept, so that
certificates with keys of the future can be merged and passed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.errors import Malformed, OpenPGPError, Unsupported
from leap.keymanager.openpgp.packets import Cursor

_MPI_COUNT = {1: 2, 2: 2, 3: 2, 16: 3, 17: 4}
_ON_CURVES = frozenset({18, 19, 22})  # which begin with the name of a curve and a point
_Verifier = Callable[[algorithms.Hash, bytes, Cursor], None]
T = TypeVar("T")


class PublicKey:
    """One public key or subkey.

    `fields` are the algorithm's own values in the order of the packet: numbers' octets, curve ids, points.
    """

    __slots__ = (
        "_loaded",
        "algorithm",
        "body",
        "created",
        "fields",
        "fingerprint",
        "hashed",
        "key_id",
        "version",
    )

    def __init__(self, body: bytes) -> None:
        """Reads the body of a public key packet; raises Malformed or Unsupported."""
        key, rest = self._read(body)
        if rest:
            raise Malformed("a public key packet is longer than its fields")
        self.body = key
        self.hashed = self.framed(self.version)  # RFC 9580 5.5.4
        if self.version == 4:
            self.fingerprint = hashlib.sha1(self.hashed, usedforsecurity=False).digest()
            self.key_id = self.fingerprint[-8:]
        else:
            self.fingerprint = hashlib.sha256(self.hashed).digest()
            self.key_id = self.fingerprint[:8]
        self._loaded: dict[Callable[[PublicKey], Any], Any] = {}

    def framed(self, version: int) -> bytes:
        """The key as signatures of a version hash it (RFC 9580 5.2.4)."""
        width, lead = (4, b"\x9b") if version == 6 else (2, b"\x99")
        return lead + len(self.body).to_bytes(width, "big") + self.body

    @classmethod
    def read_prefix(cls, body: bytes) -> tuple[PublicKey, bytes]:
        """The public part of a secret key packet, and what follows it; raises Malformed, Unsupported."""
        reader = cls.__new__(cls)
        key, rest = reader._read(body)
        if reader.version == 4 and not _has_known_length(reader.algorithm):
            # only version 6 says where the public part ends: all of it, the secret, too, would pass for public
            raise Unsupported(f"secret keys of algorithm {reader.algorithm} are not supported")
        return cls(key), rest

    def _read(self, body: bytes) -> tuple[bytes, bytes]:
        cursor = Cursor(body)
        self.version = cursor.octet()
        if self.version not in (4, 6):
            raise Unsupported(f"keys of version {self.version} are not supported")
        self.created = cursor.number(4)
        self.algorithm = cursor.octet()
        if self.version == 6:
            length = cursor.number(4)
            start = cursor.at
            material = Cursor(cursor.take(length))
            self.fields = _read_fields(self.algorithm, material)
            material.end()
            return body[: start + length], cursor.rest()
        self.fields = _read_fields(self.algorithm, cursor)
        return body[: cursor.at], cursor.rest()

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return PublicKey, (self.body,)

    def __repr__(self) -> str:
        return f"<PublicKey {self.fingerprint.hex().upper()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.body == self.body

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def bits(self) -> int:
        """Size of an RSA, DSA or ElGamal key in bits; 0 for curves."""
        # zeros in front, which the standard forbids, make no number longer
        return len(self.fields[0].lstrip(b"\0")) * 8 if self.algorithm in _MPI_COUNT else 0

    @property
    def too_weak(self) -> str:
        """Why this key is no longer safe to use, or an empty string."""
        if self.algorithm in algorithms.RSA_ALGORITHMS and self.bits < algorithms.MIN_RSA_BITS:
            return f"an RSA key of {self.bits} bits is too small"
        if self.algorithm == 17 and self.bits < algorithms.MIN_RSA_BITS:
            return f"a DSA key of {self.bits} bits is too small"
        return ""

    @property
    def can_wrap(self) -> bool:
        """Whether a session key can be encrypted to this key."""
        if self.algorithm not in algorithms.ENCRYPTING or self.too_weak:
            return False
        if self.algorithm == 18:
            return self.fields[0] in (algorithms.CURVE25519_OID, *algorithms.NIST_CURVES)
        return True

    def once(self, load: Callable[[PublicKey], T]) -> T:
        """What `load` makes of it, made once: the primitives library takes its time to load a key."""
        try:
            return cast(T, self._loaded[load])
        except KeyError:
            return cast(T, self._loaded.setdefault(load, load(self)))

    def verify(self, hash_number: int, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` (the algorithm's own fields of a signature packet) is over `digest`.

        Raises Unsupported for algorithms we cannot compute, Malformed for fields that are none.
        """
        scheme = algorithms.hash_algorithm(hash_number)
        try:
            self.once(_load_verifier)(scheme, digest, Cursor(signature))
        except InvalidSignature:
            return False
        except OpenPGPError:
            raise
        except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
            # the library refuses the numbers themselves: points off the curve, moduli of zero
            raise Malformed("the numbers of a key or signature are not valid") from None
        return True


def _has_known_length(algorithm: int) -> bool:
    known = algorithm in _MPI_COUNT or algorithm in algorithms.NATIVE_SIZES
    return known or algorithm in _ON_CURVES


def _read_fields(algorithm: int, cursor: Cursor) -> tuple[bytes, ...]:
    if algorithm in _MPI_COUNT:
        return tuple(cursor.mpi() for _ in range(_MPI_COUNT[algorithm]))
    if algorithm in _ON_CURVES:
        oid, point = cursor.take(cursor.octet()), cursor.mpi()
        return (oid, point, cursor.take(cursor.octet())) if algorithm == 18 else (oid, point)
    if algorithm in algorithms.NATIVE_SIZES:
        return (cursor.take(algorithms.NATIVE_SIZES[algorithm]),)
    return (cursor.rest(),)


def rsa_public(key: PublicKey) -> rsa.RSAPublicKey:
    """The key for the primitives library; raises ValueError, Unsupported."""
    if key.bits > algorithms.MAX_RSA_BITS:
        raise Unsupported(f"an RSA key of {key.bits} bits is too large")
    modulus, exponent = (int.from_bytes(field, "big") for field in key.fields)
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def curve_of(key: PublicKey) -> ec.EllipticCurve:
    """The NIST or Brainpool curve of a key; raises Unsupported."""
    try:
        return algorithms.NIST_CURVES[key.fields[0]]()
    except KeyError:
        raise Unsupported("a key on a curve that is not supported") from None


def native_point(point: bytes) -> bytes:
    """A Curve25519 or Ed25519 point without the prefix 0x40 of RFC 9580 11.2.2."""
    if len(point) != 33 or point[0] != 0x40:
        raise Malformed("a point on Curve25519 has the wrong form")
    return point[1:]


def _load_verifier(key: PublicKey) -> _Verifier:
    algorithm = key.algorithm
    if algorithm in (1, 3):
        return _rsa_verifier(rsa_public(key))
    if algorithm == 17:
        return _dsa_verifier(key)
    if algorithm == 19:
        return _ecdsa_verifier(
            ec.EllipticCurvePublicKey.from_encoded_point(curve_of(key), key.fields[1])
        )
    if algorithm == 22:
        if key.fields[0] != algorithms.ED25519_OID:
            raise Unsupported("an EdDSA key on a curve that is not supported")
        return _eddsa_legacy_verifier(
            Ed25519PublicKey.from_public_bytes(native_point(key.fields[1]))
        )
    if algorithm == 27:
        return _native_verifier(Ed25519PublicKey.from_public_bytes(key.fields[0]), 64)
    if algorithm == 28:
        return _native_verifier(Ed448PublicKey.from_public_bytes(key.fields[0]), 114)
    if algorithm == 30:
        return _composite_verifier(key.fields[0])
    raise Unsupported(f"signatures of algorithm {algorithm} are not supported")


def _rsa_verifier(key: rsa.RSAPublicKey) -> _Verifier:
    size = (key.key_size + 7) // 8

    def verify(scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        value = fields.mpi().rjust(size, b"\0")
        fields.end()
        assert scheme.primitive is not None
        key.verify(value, digest, padding.PKCS1v15(), Prehashed(scheme.primitive))

    return verify


def _dsa_verifier(key: PublicKey) -> _Verifier:
    p, q, g, y = (int.from_bytes(field, "big") for field in key.fields)
    if key.bits > 4096:
        raise Unsupported("a DSA key of this size is not supported")
    public = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()

    def verify(scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        assert scheme.primitive is not None
        public.verify(_dss(fields), digest, Prehashed(scheme.primitive))

    return verify


def _ecdsa_verifier(key: ec.EllipticCurvePublicKey) -> _Verifier:
    def verify(scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        assert scheme.primitive is not None
        key.verify(_dss(fields), digest, ec.ECDSA(Prehashed(scheme.primitive)))

    return verify


def _dss(fields: Cursor) -> bytes:
    r, s = fields.mpi(), fields.mpi()
    fields.end()
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _eddsa_legacy_verifier(key: Ed25519PublicKey) -> _Verifier:
    def verify(_scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        r, s = fields.mpi(), fields.mpi()
        fields.end()
        if len(r) > 32 or len(s) > 32:
            raise InvalidSignature
        key.verify(r.rjust(32, b"\0") + s.rjust(32, b"\0"), digest)

    return verify


def _native_verifier(key: Ed25519PublicKey | Ed448PublicKey, size: int) -> _Verifier:
    def verify(_scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        value = fields.take(size)
        fields.end()
        key.verify(value, digest)

    return verify


def _composite_verifier(fields: bytes) -> _Verifier:
    """ML-DSA-65 and Ed25519 (RFC 9980 5.2): both must be right."""
    classic = Ed25519PublicKey.from_public_bytes(fields[:32])
    lattice = mldsa.MLDSA65PublicKey.from_public_bytes(fields[32:])

    def verify(_scheme: algorithms.Hash, digest: bytes, fields: Cursor) -> None:
        classic.verify(fields.take(64), digest)
        lattice.verify(fields.take(3309), digest)
        fields.end()

    return verify
