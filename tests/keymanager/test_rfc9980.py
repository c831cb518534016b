"""The vectors of the standard for keys that withstand quantum computers (tests/vectors/rfc9980)."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    SecretKey,
    decrypt,
    encrypt,
    sign_detached,
    verify_detached,
    verify_signatures,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "rfc9980"
TEXT = b"Testing\n"


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.asc").read_bytes()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("a1-key", "a1-message"),
        ("a2-key", "a2-message-v1"),
        ("a2-key", "a2-message-v2"),
        ("a3-key", "a3-message"),
    ],
)
def test_the_messages_open_and_their_signatures_are_good(key: str, message: str) -> None:
    secret = SecretKey.from_bytes(vector(key))
    opened = decrypt(vector(message), [secret])
    assert opened.plaintext == TEXT
    [verdict] = verify_signatures(TEXT, opened.signatures, [secret.certificate])
    assert (verdict.state, verdict.fingerprint) == ("good", secret.fingerprint)
    [bad] = verify_signatures(TEXT + b"!", opened.signatures, [secret.certificate])
    assert bad.state == "bad"


@pytest.mark.parametrize("name", ["a1", "a2"])
def test_the_certificates_are_those_of_the_keys(name: str) -> None:
    certificate = Certificate.from_bytes(vector(f"{name}-certificate"))
    assert SecretKey.from_bytes(vector(f"{name}-key")).certificate == certificate
    at = certificate.created
    assert certificate.encryption_key(at).algorithm == 35


def test_both_halves_of_a_composite_signature_count() -> None:
    secret = SecretKey.from_bytes(vector("a3-key"))
    certificates = [secret.certificate]
    [good] = verify_detached(TEXT, vector("a3-signature"), certificates)
    assert good.state == "good"
    made = sign_detached(TEXT, secret, now=lambda: secret.certificate.created + 1)
    [verdict] = verify_detached(TEXT, made, certificates)
    assert verdict.state == "good"
    [raw] = decrypt(vector("a3-message"), [secret]).signatures
    tail = 64 + 3309
    for at in (-tail, -3309, -1):
        changed = bytearray(raw.body)
        changed[at] ^= 1
        [bad] = verify_signatures(TEXT, [type(raw)(bytes(changed))], certificates)
        assert bad.state == "bad"
    message = encrypt(TEXT, certificates, secret, now=lambda: secret.certificate.created + 1)
    assert decrypt(message, [secret]).plaintext == TEXT
