"""Session keys and the packets that carry them to each recipient (PKESK, RFC 9580 5.1 and 11.5).

Invariants:
* A session key never shows in `repr`.
* What a wrong key unwraps is refused by key wrap, checksum or cipher number; the caller goes on with the next.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, padding
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.errors import Malformed, NoSecretKey, Unsupported
from leap.keymanager.openpgp.packets import Cursor, Tag, mpi, packet
from leap.keymanager.openpgp.public_key import PublicKey, curve_of, native_point, rsa_public
from leap.keymanager.openpgp.secret_material import SecretMaterial, ec_private, rsa_private

Random = Callable[[int], bytes]


class SessionKey:
    """The key of one message; `cipher` is None when the encrypted packet itself names it (SEIPD version 2)."""

    __slots__ = ("cipher", "key")

    def __init__(self, cipher: int | None, key: bytes) -> None:
        self.cipher = cipher
        self.key = key

    def __repr__(self) -> str:
        return "<SessionKey>"

    @property
    def stored(self) -> bytes:
        """What is kept to open the same message again."""
        return bytes([self.cipher or 0]) + self.key

    @classmethod
    def restore(cls, stored: bytes) -> SessionKey:
        """From what `stored` gave; raises Malformed."""
        if len(stored) < 17:
            raise Malformed("a session key of an impossible length")
        return cls(stored[0] or None, stored[1:])


class WrappedKey(NamedTuple):
    """A PKESK packet: `recipient` is a fingerprint (version 6) or key id (3), empty for a hidden recipient."""

    version: int
    recipient: bytes
    algorithm: int
    fields: bytes

    def may_be_for(self, key: PublicKey) -> bool:
        """Whether this was made for `key`, as far as the packet says."""
        if self.algorithm != key.algorithm and not {self.algorithm, key.algorithm} <= {1, 2}:
            return False
        if not self.recipient:
            return True
        return self.recipient in (key.fingerprint, key.key_id)


def read_wrapped_key(body: bytes) -> WrappedKey:
    """A PKESK packet's body, parsed; raises Malformed, Unsupported."""
    cursor = Cursor(body)
    version = cursor.octet()
    if version == 3:
        key_id = cursor.take(8)
        recipient = key_id if any(key_id) else b""  # RFC 9580 5.1.8: zeros hide the recipient
    elif version == 6:
        named = cursor.take(cursor.octet())
        recipient = named[1:]
        if named and (named[0], len(recipient)) not in ((4, 20), (6, 32)):
            raise Malformed("a recipient of an impossible key version")
    else:
        raise Unsupported(f"encrypted session keys of version {version} are not supported")
    return WrappedKey(version, recipient, cursor.octet(), cursor.rest())


def unwrap(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    """The session key; raises NoSecretKey when `secret` is not the right key, Malformed, Unsupported."""
    try:
        return _UNWRAP[wrapped.algorithm](wrapped, secret)
    except KeyError:
        raise Unsupported(f"encryption algorithm {wrapped.algorithm} is not supported") from None
    except (InvalidUnwrap, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise NoSecretKey("this key does not open the message") from None


def wrap(
    session: SessionKey,
    key: PublicKey,
    *,
    version: int = 3,
    hidden: bool = False,
    random: Random = os.urandom,
) -> bytes:
    """A PKESK packet of `version` for `key`; `hidden` leaves out whom it is for. Raises Unsupported, Malformed."""
    if version == 3:
        named = bytes(8) if hidden else key.key_id
    elif hidden:
        named = b"\0"
    else:
        named = bytes([1 + len(key.fingerprint), key.version]) + key.fingerprint
    try:
        fields = _WRAP[key.algorithm](session, key, version, random)
    except KeyError:
        raise Unsupported(f"encryption algorithm {key.algorithm} is not supported") from None
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise Malformed("the numbers of a public key are not valid") from None
    return packet(Tag.PKESK, bytes([version]), named, bytes([key.algorithm]), fields)


# --- the clear form inside RSA and ECDH: [v3: cipher] key checksum (RFC 9580 11.5, 5.1.3) ---------


def _pack(session: SessionKey, version: int) -> bytes:
    cipher = bytes([session.cipher or 0]) if version == 3 else b""
    return cipher + session.key + (sum(session.key) & 0xFFFF).to_bytes(2, "big")


def _unpack(clear: bytes, version: int) -> SessionKey:
    cipher, key, check = None, clear[:-2], clear[-2:]
    if version == 3:
        cipher, key = clear[:1], key[1:]
    if len(check) < 2 or sum(key) & 0xFFFF != int.from_bytes(check, "big"):
        raise NoSecretKey("this key does not open the message")
    return _checked(cipher[0] if cipher else None, key)


def _checked(cipher: int | None, key: bytes) -> SessionKey:
    if cipher is not None and algorithms.key_size(cipher) != len(key):
        raise NoSecretKey("this key does not open the message")
    return SessionKey(cipher, key)


# --- RSA (RFC 9580 5.1.3) ------------------------------------------------------------------------


def _unwrap_rsa(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    private = secret.once(rsa_private)
    cursor = Cursor(wrapped.fields)
    sealed = cursor.mpi().rjust((private.key_size + 7) // 8, b"\0")
    cursor.end()
    return _unpack(private.decrypt(sealed, padding.PKCS1v15()), wrapped.version)


def _wrap_rsa(session: SessionKey, key: PublicKey, version: int, _random: Random) -> bytes:
    return mpi(key.once(rsa_public).encrypt(_pack(session, version), padding.PKCS1v15()))


# --- ElGamal (RFC 9580 5.1.4) --------------------------------------------------------------------


def _refuse_elgamal(_wrapped: WrappedKey, _secret: SecretMaterial) -> SessionKey:
    # The primitives library has no ElGamal, and is about to drop the Diffie-Hellman it could be made of.
    raise Unsupported("the message is encrypted to an ElGamal key, which only GnuPG can still use")


# --- ECDH: Curve25519 of RFC 4880bis, NIST, Brainpool (RFC 9580 11.5) -----------------------------

_KDF_HASHES = {8, 9, 10}


def _ecdh_key(key: PublicKey, shared: bytes) -> bytes:
    oid, _, kdf = key.fields
    if len(kdf) != 3 or kdf[0] != 1 or kdf[1] not in _KDF_HASHES or kdf[2] not in (7, 8, 9):
        raise Unsupported("an ECDH key with unsupported parameters")
    parameters = b"".join(
        (bytes([len(oid)]), oid, b"\x12\x03", kdf, b"Anonymous Sender    ", key.fingerprint)
    )
    digest = hashlib.new(algorithms.hash_algorithm(kdf[1]).name, b"\0\0\0\1" + shared + parameters)
    return digest.digest()[: algorithms.AES_KEY_SIZES[kdf[2]]]


def _unwrap_ecdh(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    key = secret.public
    cursor = Cursor(wrapped.fields)
    ephemeral = cursor.mpi()
    sealed = cursor.take(cursor.octet())
    cursor.end()
    if key.fields[0] == algorithms.CURVE25519_OID:
        private = secret.once(_curve25519_private)
        shared = private.exchange(X25519PublicKey.from_public_bytes(native_point(ephemeral)))
    else:
        point = ec.EllipticCurvePublicKey.from_encoded_point(curve_of(key), ephemeral)
        shared = secret.once(ec_private).exchange(ec.ECDH(), point)
    padded = aes_key_unwrap(_ecdh_key(key, shared), sealed)
    pad = padded[-1]
    if not 1 <= pad <= len(padded) or padded[-pad:] != bytes([pad]) * pad:
        raise NoSecretKey("this key does not open the message")
    return _unpack(padded[:-pad], wrapped.version)


def _curve25519_private(secret: SecretMaterial) -> X25519PrivateKey:
    scalar = secret.fields[0].rjust(32, b"\0")[::-1]  # RFC 9580 11.2: stored big-endian
    return X25519PrivateKey.from_private_bytes(scalar)


def _curve25519_public(key: PublicKey) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(native_point(key.fields[1]))


def _wrap_ecdh(session: SessionKey, key: PublicKey, version: int, random: Random) -> bytes:
    if key.fields[0] == algorithms.CURVE25519_OID:
        private = X25519PrivateKey.from_private_bytes(random(32))
        shared = private.exchange(key.once(_curve25519_public))
        ephemeral = b"\x40" + private.public_key().public_bytes_raw()
    else:
        curve = curve_of(key)
        curve_key = ec.generate_private_key(curve)
        point = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.fields[1])
        shared = curve_key.exchange(ec.ECDH(), point)
        ephemeral = curve_key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
    clear = _pack(session, version)
    pad = 40 - len(clear) if len(clear) < 40 else 8 - len(clear) % 8  # one size for all AES keys
    sealed = aes_key_wrap(_ecdh_key(key, shared), clear + bytes([pad]) * pad)
    return mpi(ephemeral) + bytes([len(sealed)]) + sealed


# --- X25519, X448 (RFC 9580 5.1.6, 5.1.7) and ML-KEM-768+X25519 (RFC 9980) -------------------------
# fields: ephemeral [ML-KEM ciphertext] length [v3: cipher in clear] wrapped key


def _x25519_private(secret: SecretMaterial) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret.fields[0][:32])


def _x25519_public(key: PublicKey) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(key.fields[0][:32])


def _x448_private(secret: SecretMaterial) -> X448PrivateKey:
    return X448PrivateKey.from_private_bytes(secret.fields[0])


def _x448_public(key: PublicKey) -> X448PublicKey:
    return X448PublicKey.from_public_bytes(key.fields[0])


def _ml_kem_private(secret: SecretMaterial) -> mlkem.MLKEM768PrivateKey:
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(secret.fields[0][32:])


def _ml_kem_public(key: PublicKey) -> mlkem.MLKEM768PublicKey:
    return mlkem.MLKEM768PublicKey.from_public_bytes(key.fields[0][32:])


def _read_sealed(cursor: Cursor, version: int) -> tuple[int | None, bytes]:
    sealed = cursor.take(cursor.octet())
    cursor.end()
    if version != 3:
        return None, sealed
    if not sealed or sealed[0] not in algorithms.AES_KEY_SIZES:
        raise Malformed("a session key for a cipher that is not AES")  # RFC 9580 5.1.6
    return sealed[0], sealed[1:]


def _write_sealed(session: SessionKey, version: int, key: bytes) -> bytes:
    cipher = bytes([session.cipher or 0]) if version == 3 else b""
    sealed = cipher + aes_key_wrap(key, session.key)
    return bytes([len(sealed)]) + sealed


def _x25519_key(ephemeral: bytes, public: bytes, shared: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 16, None, b"OpenPGP X25519").derive(ephemeral + public + shared)


def _x448_key(ephemeral: bytes, public: bytes, shared: bytes) -> bytes:
    return HKDF(hashes.SHA512(), 32, None, b"OpenPGP X448").derive(ephemeral + public + shared)


def _unwrap_x25519(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    cursor = Cursor(wrapped.fields)
    ephemeral = cursor.take(32)
    cipher, sealed = _read_sealed(cursor, wrapped.version)
    private = secret.once(_x25519_private)
    shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    key = _x25519_key(ephemeral, secret.public.fields[0], shared)
    return _checked(cipher, aes_key_unwrap(key, sealed))


def _wrap_x25519(session: SessionKey, key: PublicKey, version: int, random: Random) -> bytes:
    private = X25519PrivateKey.from_private_bytes(random(32))
    ephemeral = private.public_key().public_bytes_raw()
    shared = private.exchange(key.once(_x25519_public))
    wrapping = _x25519_key(ephemeral, key.fields[0], shared)
    return ephemeral + _write_sealed(session, version, wrapping)


def _unwrap_x448(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    cursor = Cursor(wrapped.fields)
    ephemeral = cursor.take(56)
    cipher, sealed = _read_sealed(cursor, wrapped.version)
    private = secret.once(_x448_private)
    shared = private.exchange(X448PublicKey.from_public_bytes(ephemeral))
    key = _x448_key(ephemeral, secret.public.fields[0], shared)
    return _checked(cipher, aes_key_unwrap(key, sealed))


def _wrap_x448(session: SessionKey, key: PublicKey, version: int, random: Random) -> bytes:
    private = X448PrivateKey.from_private_bytes(random(56))
    ephemeral = private.public_key().public_bytes_raw()
    shared = private.exchange(key.once(_x448_public))
    return ephemeral + _write_sealed(session, version, _x448_key(ephemeral, key.fields[0], shared))


def _composite_key(kem: bytes, shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    domain = b"OpenPGPCompositeKDFv1"
    return hashlib.sha3_256(
        b"".join((kem, shared, ephemeral, public, b"\x23", domain, bytes([len(domain)])))
    ).digest()


def _unwrap_ml_kem(wrapped: WrappedKey, secret: SecretMaterial) -> SessionKey:
    cursor = Cursor(wrapped.fields)
    ephemeral, ciphertext = cursor.take(32), cursor.take(1088)
    cipher, sealed = _read_sealed(cursor, wrapped.version)
    private = secret.once(_x25519_private)
    shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    kem = secret.once(_ml_kem_private).decapsulate(ciphertext)
    key = _composite_key(kem, shared, ephemeral, secret.public.fields[0][:32])
    return _checked(cipher, aes_key_unwrap(key, sealed))


def _wrap_ml_kem(session: SessionKey, key: PublicKey, version: int, random: Random) -> bytes:
    x_public = key.fields[0][:32]
    private = X25519PrivateKey.from_private_bytes(random(32))
    ephemeral = private.public_key().public_bytes_raw()
    shared = private.exchange(key.once(_x25519_public))
    kem, ciphertext = key.once(_ml_kem_public).encapsulate()
    wrapping = _composite_key(kem, shared, ephemeral, x_public)
    return ephemeral + ciphertext + _write_sealed(session, version, wrapping)


_UNWRAP: dict[int, Callable[[WrappedKey, SecretMaterial], SessionKey]] = {
    1: _unwrap_rsa,
    2: _unwrap_rsa,
    algorithms.ELGAMAL: _refuse_elgamal,
    18: _unwrap_ecdh,
    25: _unwrap_x25519,
    26: _unwrap_x448,
    35: _unwrap_ml_kem,
}
_WRAP: dict[int, Callable[[SessionKey, PublicKey, int, Random], bytes]] = {
    1: _wrap_rsa,
    2: _wrap_rsa,
    18: _wrap_ecdh,
    25: _wrap_x25519,
    26: _wrap_x448,
    35: _wrap_ml_kem,
}
