"""Kinds of keys at their edges: parameters, sizes, and those that open nothing any more."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from leap.keymanager.openpgp import (
    Malformed,
    NoSecretKey,
    OpenPGPError,
    SecretKey,
    Unsupported,
    decrypt,
    encrypt,
)
from leap.keymanager.openpgp.algorithms import NIST_CURVES
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.packets import Tag, mpi, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.seipd import seal_v1
from leap.keymanager.openpgp.session_key import SessionKey, read_wrapped_key, unwrap, wrap

from .conftest import BIRTH
from .making import rsa_material, rsa_secret_key

SESSION = SessionKey(9, bytes(range(32)))
TEXT = b"text"


def numbers(*values: int) -> bytes:
    return b"".join(mpi(v.to_bytes((v.bit_length() + 7) // 8, "big")) for v in values)


def key_body(algorithm: int, fields: bytes, version: int = 4) -> bytes:
    length = len(fields).to_bytes(4, "big") if version == 6 else b""
    return bytes([version]) + BIRTH.to_bytes(4, "big") + bytes([algorithm]) + length + fields


def ecdh(oid: bytes, kdf: bytes, version: int = 4) -> SecretMaterial:
    """An ECDH key (RFC 9580 5.5.5.6) on any curve with any parameters."""
    private = ec.generate_private_key(NIST_CURVES[oid]()).private_numbers()
    size = (private.public_numbers.curve.key_size + 7) // 8
    x, y = (n.to_bytes(size, "big") for n in (private.public_numbers.x, private.public_numbers.y))
    point = mpi(b"\x04" + x + y)
    fields = bytes([len(oid)]) + oid + point + bytes([len(kdf)]) + kdf
    value = numbers(private.private_value)
    return SecretMaterial(PublicKey(key_body(18, fields, version)), value)


def body_of(wrapped: bytes) -> bytes:
    head = 2 if wrapped[1] < 192 else 3
    return wrapped[head:]


def opened(wrapped: bytes, secret: SecretMaterial) -> bytes:
    return unwrap(read_wrapped_key(body_of(wrapped)), secret).key


@pytest.mark.parametrize("oid", NIST_CURVES, ids=[curve().name for curve in NIST_CURVES.values()])
def test_ecdh_on_each_curve_with_each_derivation(oid: bytes) -> None:
    """RFC 9580 11.5: SHA-256, 384, 512 with AES-128, 192, 256, in session key packets of both versions."""
    for hash_number in (8, 9, 10):
        for cipher in (7, 8, 9):
            secret = ecdh(oid, bytes([1, hash_number, cipher]))
            for session in (SESSION, SessionKey(7, bytes(16)), SessionKey(None, bytes(32))):
                version = 3 if session.cipher else 6
                wrapped = wrap(session, secret.public, version=version)
                assert opened(wrapped, secret) == session.key


@pytest.mark.parametrize(
    "kdf", [b"", b"\x01", b"\x01\x02\x09", b"\x01\x08\x03", b"\x02\x08\x09", b"\x01\x08\x09\x00"]
)
def test_ecdh_with_other_parameters_is_not_used(kdf: bytes) -> None:
    secret = ecdh(next(iter(NIST_CURVES)), kdf)
    with pytest.raises(Unsupported):
        wrap(SESSION, secret.public)
    other = ecdh(next(iter(NIST_CURVES)), b"\x01\x08\x09")
    with pytest.raises(Unsupported):
        opened(wrap(SESSION, other.public), secret)


def test_points_that_are_on_no_curve_open_nothing() -> None:
    secret = ecdh(next(iter(NIST_CURVES)), b"\x01\x08\x09")
    wrapped = bytearray(wrap(SESSION, secret.public))
    for at in range(14, len(wrapped), 3):
        wrapped[at] ^= 1
        with pytest.raises(OpenPGPError):
            opened(bytes(wrapped), secret)
        wrapped[at] ^= 1
    assert opened(bytes(wrapped), secret) == SESSION.key


@pytest.mark.parametrize("bits", [1024, 2048])
def test_small_rsa_keys_open_their_mail_and_get_no_new(bits: int) -> None:
    key = rsa_secret_key(bits, "rsa@example.test")
    message = wrap(SESSION, rsa_public(key)) + seal_v1(literal(TEXT), SESSION)
    assert decrypt(message, [key]).plaintext == TEXT
    assert key.certificate.can_encrypt(BIRTH + 1) == (bits >= 2048)
    with pytest.raises(NoSecretKey):
        decrypt(message, [rsa_secret_key(bits, "other@example.test")])


def rsa_public(key: SecretKey) -> PublicKey:
    return key.certificate.primary


@pytest.mark.parametrize(
    ("bits", "error"), [(8_192, None), (8_200, Unsupported), (65_528, Unsupported)]
)
def test_rsa_keys_beyond_all_measure_cost_no_time(
    bits: int, error: type[OpenPGPError] | None
) -> None:
    modulus = (1 << bits) - 12_345
    key = PublicKey(key_body(1, numbers(modulus, 65_537)))
    assert key.bits == bits
    if error is None:
        assert wrap(SESSION, key)
        return
    with pytest.raises(error, match="too large"):
        wrap(SESSION, key)
    with pytest.raises(error, match="too large"):
        key.verify(8, bytes(32), numbers(5))


@pytest.mark.parametrize("fields", [(0, 65_537), (4, 0), ((1 << 2048) - 2, 0), (1, 1)])
def test_rsa_numbers_that_are_none_are_malformed(fields: tuple[int, int]) -> None:
    key = PublicKey(key_body(1, numbers(*fields)))
    with pytest.raises(Malformed):
        wrap(SESSION, key)
    try:
        assert not key.verify(8, bytes(32), numbers(5))
    except OpenPGPError:
        pass


def test_mail_to_an_elgamal_key_says_why_it_stays_closed(bob: SecretKey) -> None:
    """The primitives library has no ElGamal: such mail is not called somebody else's."""
    public = PublicKey(key_body(16, numbers((1 << 2047) + 9, 5, 1 << 2000)))
    secret = SecretMaterial(public, numbers(1 << 300))
    key = SecretKey(bob.certificate, {public.fingerprint: secret})
    fields = b"\x03" + public.key_id + b"\x10" + numbers(1 << 2040, 1 << 2030)
    message = packet(Tag.PKESK, fields) + seal_v1(literal(TEXT), SESSION)
    with pytest.raises(Unsupported, match="ElGamal"):
        decrypt(message, [key])
    both = wrap(SESSION, bob.decryption_keys()[0].public) + message
    assert decrypt(both, [key, bob]).plaintext == TEXT
    with pytest.raises(NoSecretKey):
        decrypt(message, [bob])
    assert not public.can_wrap


def test_rsa_keys_of_different_uses_open_the_same() -> None:
    """Numbers 2 and 3 are of old programs (RFC 9580 9.1): only for encrypting, only for signing."""
    material = rsa_material(2048)
    fields = material.public.body[6:]
    only = SecretMaterial(PublicKey(key_body(2, fields)), material.raw)
    assert opened(wrap(SESSION, only.public), only) == SESSION.key
    signing = SecretMaterial(PublicKey(key_body(3, fields)), material.raw)
    value = signing.sign(8, bytes(32))
    assert signing.public.verify(8, bytes(32), value)
    with pytest.raises(Unsupported):
        only.sign(8, bytes(32))
    assert not signing.public.can_wrap


def test_an_rsa_key_of_ones_own_reads_and_signs() -> None:
    key = rsa_secret_key(3072, "rsa@example.test")
    message = encrypt(TEXT, [key.certificate], key, now=lambda: BIRTH + 1)
    assert decrypt(message, [key]).plaintext == TEXT
    assert SecretKey.from_bytes(key.to_bytes()).to_bytes() == key.to_bytes()
