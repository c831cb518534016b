"""The secret part of one key: reading it from a packet, locking and unlocking it, signing a digest with it.

Invariants:
* `repr` and `str` say nothing; no exception carries a secret.
* A locked packet that was changed, or opened with the wrong passphrase, raises `WrongPassphrase`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leap.keymanager.openpgp import aead as modes
from leap.keymanager.openpgp import algorithms, s2k
from leap.keymanager.openpgp.errors import (
    Malformed,
    NoSecretKey,
    OpenPGPError,
    Unsupported,
    WrongPassphrase,
)
from leap.keymanager.openpgp.packets import Cursor, Tag, mpi
from leap.keymanager.openpgp.public_key import PublicKey, curve_of, rsa_public

_SECRET_MPIS = {1: 4, 2: 4, 3: 4, 16: 1, 17: 1, 18: 1, 19: 1, 22: 1}
_Signer = Callable[[algorithms.Hash, bytes], bytes]
T = TypeVar("T")


class SecretMaterial:
    """An unlocked secret: `raw` is the packet's secret fields in clear, without checksum."""

    __slots__ = ("_fields", "_loaded", "public", "raw")

    def __init__(self, public: PublicKey, raw: bytes) -> None:
        cursor = Cursor(raw)
        if public.algorithm in _SECRET_MPIS:
            fields = tuple(cursor.mpi() for _ in range(_SECRET_MPIS[public.algorithm]))
        elif public.algorithm in algorithms.NATIVE_SECRET_SIZES:
            fields = (cursor.take(algorithms.NATIVE_SECRET_SIZES[public.algorithm]),)
        else:
            raise Unsupported(f"secret keys of algorithm {public.algorithm} are not supported")
        cursor.end()
        self.public = public
        self.raw = raw
        self._fields = fields
        self._loaded: dict[Callable[[SecretMaterial], Any], Any] = {}

    def __repr__(self) -> str:
        return f"<SecretMaterial of {self.public.fingerprint.hex().upper()}>"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return SecretMaterial, (self.public, self.raw)

    @property
    def fields(self) -> tuple[bytes, ...]:
        """The secret numbers, in the order of the packet."""
        return self._fields

    def once(self, load: Callable[[SecretMaterial], T]) -> T:
        """What `load` makes of it, made once: the primitives library takes as long to load a key as to use it."""
        try:
            return cast(T, self._loaded[load])
        except KeyError:
            return cast(T, self._loaded.setdefault(load, load(self)))

    def sign(self, hash_number: int, digest: bytes) -> bytes:
        """The algorithm's fields of a signature over `digest`; raises Unsupported, Malformed."""
        try:
            return self.once(_load_signer)(algorithms.hash_algorithm(hash_number), digest)
        except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
            raise Malformed("the numbers of a secret key are not valid") from None


def rsa_private(material: SecretMaterial) -> rsa.RSAPrivateKey:
    """The key for the primitives library; raises ValueError, Unsupported.

    That the numbers belong together is checked here in microseconds. The library would test besides whether the
    primes are prime, which takes 0.1 to 0.3 s during which no other thread runs; whoever could write other numbers
    into a key of one's own could as well write a key of theirs there.
    """
    public = rsa_public(material.public).public_numbers()
    d, p, q, _ = (int.from_bytes(field, "big") for field in material.fields)
    fit = p > 1 < q and p & q & 1 and p * q == public.n and 1 < d < public.n
    if not fit or any((public.e * d - 1) % (prime - 1) for prime in (p, q)):
        raise ValueError("the numbers of an RSA key do not belong together")
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=public,
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def ec_private(material: SecretMaterial) -> ec.EllipticCurvePrivateKey:
    """The key for the primitives library; raises ValueError, Unsupported."""
    value = int.from_bytes(material.fields[0], "big")
    return ec.derive_private_key(value, curve_of(material.public))


def _load_signer(material: SecretMaterial) -> _Signer:
    algorithm, fields = material.public.algorithm, material.fields
    if algorithm in (1, 3):
        private = rsa_private(material)

        def sign_rsa(scheme: algorithms.Hash, digest: bytes) -> bytes:
            assert scheme.primitive is not None
            return mpi(private.sign(digest, padding.PKCS1v15(), Prehashed(scheme.primitive)))

        return sign_rsa
    if algorithm == 19:
        curve_key = ec_private(material)

        def sign_ecdsa(scheme: algorithms.Hash, digest: bytes) -> bytes:
            assert scheme.primitive is not None
            return _dss_fields(curve_key.sign(digest, ec.ECDSA(Prehashed(scheme.primitive))))

        return sign_ecdsa
    if algorithm == 17:
        dsa_key = _dsa_private(material)

        def sign_dsa(scheme: algorithms.Hash, digest: bytes) -> bytes:
            assert scheme.primitive is not None
            return _dss_fields(dsa_key.sign(digest, Prehashed(scheme.primitive)))

        return sign_dsa
    if algorithm == 22 and material.public.fields[0] == algorithms.ED25519_OID:
        ed_key = Ed25519PrivateKey.from_private_bytes(fields[0].rjust(32, b"\0"))

        def sign_legacy(_scheme: algorithms.Hash, digest: bytes) -> bytes:
            value = ed_key.sign(digest)
            return mpi(value[:32]) + mpi(value[32:])

        return sign_legacy
    if algorithm == 27:
        native = Ed25519PrivateKey.from_private_bytes(fields[0])
        return lambda _scheme, digest: native.sign(digest)
    if algorithm == 28:
        native448 = Ed448PrivateKey.from_private_bytes(fields[0])
        return lambda _scheme, digest: native448.sign(digest)
    if algorithm == 30:  # RFC 9980 5.2: Ed25519, then ML-DSA-65 made of its seed
        classic = Ed25519PrivateKey.from_private_bytes(fields[0][:32])
        lattice = mldsa.MLDSA65PrivateKey.from_seed_bytes(fields[0][32:])
        return lambda _scheme, digest: classic.sign(digest) + lattice.sign(digest)
    raise Unsupported(f"signing with algorithm {algorithm} is not supported")


def _dsa_private(material: SecretMaterial) -> dsa.DSAPrivateKey:
    p, q, g, y = (int.from_bytes(field, "big") for field in material.public.fields)
    public = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g))
    return dsa.DSAPrivateNumbers(int.from_bytes(material.fields[0], "big"), public).private_key()


def _dss_fields(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return b"".join(mpi(n.to_bytes((n.bit_length() + 7) // 8, "big")) for n in (r, s))


# --- packets -------------------------------------------------------------------------------------
# Secret key packet (RFC 9580 5.5.3), after the public part:
#   usage: 0 clear | 253 AEAD | 254 CFB with SHA-1 | 255 CFB with checksum | n: cipher n, MD5 (refused)
#   [v6 and usage != 0: length of the following parameters]
#   cipher, [AEAD algorithm], [v6: length of the specifier], specifier, IV or nonce
#   secret fields [+ SHA-1 or checksum] [+ AEAD tag]


# GnuPG's mark for a secret that is not in this file (its mode 1); programs that know nothing of it see a lock
STUB = b"\xff\x00" + bytes([s2k.GNU_STUB]) + b"\x00GNU\x01"


class _Lock(NamedTuple):
    usage: int
    cipher: int
    aead: int
    specifier: bytes
    iv: bytes


def read_secret(tag: int, body: bytes, passphrase: bytes | None) -> SecretMaterial:
    """The secret of a secret key packet.

    Raises WrongPassphrase (also when one is needed and `passphrase` is None), NoSecretKey for GnuPG's stubs,
    Unsupported, Malformed.
    """
    public, rest = PublicKey.read_prefix(body)
    cursor = Cursor(rest)
    usage = cursor.number(1)
    if usage == 0:
        secret = cursor.rest()
        if public.version == 4:
            secret = _without_checksum(secret)
        return SecretMaterial(public, secret)
    lock = _read_lock(cursor, usage, public.version)
    if passphrase is None:
        raise WrongPassphrase("this secret key is locked with a passphrase")
    key = s2k.derive(passphrase, lock.specifier, algorithms.key_size(lock.cipher))
    return SecretMaterial(public, _unlock(tag, public, lock, key, cursor.rest()))


def is_stub(body: bytes) -> bool:
    """Whether the body of a secret key packet says that the secret is kept elsewhere."""
    try:
        public, rest = PublicKey.read_prefix(body)
        cursor = Cursor(rest)
        if usage := cursor.number(1):
            _read_lock(cursor, usage, public.version)
    except NoSecretKey:
        return True
    except OpenPGPError:
        pass
    return False


def _read_lock(cursor: Cursor, usage: int, version: int) -> _Lock:
    if usage not in (253, 254, 255):
        raise Unsupported("this secret key is locked by a method of the 1990s")
    if version == 6:
        cursor.number(1)
    cipher = cursor.number(1)
    aead = cursor.number(1) if usage == 253 else 0
    if version == 6:
        cursor.number(1)
    specifier = s2k.read_specifier(cursor)
    if specifier[0] == s2k.GNU_STUB:
        raise NoSecretKey(
            "the secret part of this key is kept elsewhere (a smart card, or offline)"
        )
    if usage == 253 and (aead not in modes.NONCE_SIZES or cipher not in algorithms.AES_KEY_SIZES):
        raise Unsupported("this secret key is locked by an unsupported cipher")
    size = modes.NONCE_SIZES[aead] if usage == 253 else algorithms.block_size(cipher)
    return _Lock(usage, cipher, aead, specifier, cursor.take(size))


def _unlock(tag: int, public: PublicKey, lock: _Lock, key: bytes, sealed: bytes) -> bytes:
    if lock.usage == 253:
        opener = modes.opener(lock.aead, _aead_key(tag, public, lock, key))
        try:
            return opener.decrypt(lock.iv, sealed, _lock_data(tag, public))
        except (InvalidTag, ValueError):
            raise WrongPassphrase("the passphrase of this secret key is wrong") from None
    decryptor = algorithms.cfb(lock.cipher, key, lock.iv).decryptor()
    clear = decryptor.update(sealed) + decryptor.finalize()
    if lock.usage == 254:
        secret, check = clear[:-20], clear[-20:]
        if len(clear) >= 20 and hmac.compare_digest(
            hashlib.sha1(secret, usedforsecurity=False).digest(), check
        ):
            return secret
    else:
        try:
            return _without_checksum(clear)
        except Malformed:
            pass
    raise WrongPassphrase("the passphrase of this secret key is wrong")


def _without_checksum(secret: bytes) -> bytes:
    if len(secret) < 2 or sum(secret[:-2]) & 0xFFFF != int.from_bytes(secret[-2:], "big"):
        raise Malformed("a secret key is damaged: its checksum is wrong")
    return secret[:-2]


def _lock_data(tag: int, public: PublicKey) -> bytes:
    return bytes([0xC0 | tag]) + public.body  # RFC 9580 5.5.3


def _aead_key(tag: int, public: PublicKey, lock: _Lock, key: bytes) -> bytes:
    info = bytes([0xC0 | tag, public.version, lock.cipher, lock.aead])
    return HKDF(hashes.SHA256(), algorithms.key_size(lock.cipher), None, info).derive(key)


def write_secret(
    material: SecretMaterial,
    passphrase: bytes | None = None,
    *,
    tag: int = Tag.SECRET_KEY,
    argon2: bool | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The body of a secret key packet; with a passphrase locked so that GnuPG and old programs can open it.

    Iterated SHA-256 at its highest count and AES-256 (RFC 9580 3.7.1.3) for version 4, Argon2id with OCB for 6, or
    as `argon2` says. Raises WrongPassphrase for an empty one.
    """
    public = material.public
    if passphrase is None:
        checksum = (sum(material.raw) & 0xFFFF).to_bytes(2, "big") if public.version == 4 else b""
        return public.body + b"\0" + material.raw + checksum
    if not passphrase:
        raise WrongPassphrase("an empty passphrase locks nothing: choose one")
    if argon2 if argon2 is not None else public.version == 6:
        specifier = b"\x04" + random(16) + bytes([3, 4, 16])  # RFC 9106's second choice: 64 MiB
        lock = _Lock(253, 9, 2, specifier, random(15))
        key = s2k.derive(passphrase, specifier, 32)
        cipher = AESOCB3(_aead_key(tag, public, lock, key))
        sealed = cipher.encrypt(lock.iv, material.raw, _lock_data(tag, public))
        return public.body + _lock_head(lock, public.version) + sealed
    specifier, iv = b"\x03\x08" + random(8) + b"\xff", random(16)
    encryptor = algorithms.cfb(9, s2k.derive(passphrase, specifier, 32), iv).encryptor()
    clear = material.raw + hashlib.sha1(material.raw, usedforsecurity=False).digest()
    sealed = encryptor.update(clear) + encryptor.finalize()
    return public.body + _lock_head(_Lock(254, 9, 0, specifier, iv), public.version) + sealed


def _lock_head(lock: _Lock, version: int) -> bytes:
    """What stands before the locked secret; version 6 says the lengths besides."""
    ciphers = bytes([lock.cipher, lock.aead] if lock.usage == 253 else [lock.cipher])
    if version == 4:
        return bytes([lock.usage]) + ciphers + lock.specifier + lock.iv
    parameters = ciphers + bytes([len(lock.specifier)]) + lock.specifier + lock.iv
    return bytes([lock.usage, len(parameters)]) + parameters
