"""The standard's own vectors (tests/vectors/rfc9580)."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    IntegrityError,
    SecretKey,
    decrypt,
    read_signatures,
    recipients_of,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.contents import read_contents
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.verdict import RawSignature

VECTORS = Path(__file__).parent.parent / "vectors" / "rfc9580"
FINGERPRINT = "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"  # RFC 9580 A.3
SUBKEY = "12C83F1E706F6308FE151A417743A1F033790E93E9978488D1DB378DA9930885"
SIGNED = b"What we need from the grocery store:\n\n- tofu\n- vegetables\n- noodles\n"
A1 = "BFPzXwsWCSsGAQQB2kcPAQEHQD8JiZS92RbtQFMZeTTkqHyAczoSgNYvgBCZLkPuOyQG"
A2 = (
    "iF4EABYIAAYFAlX5X5UACgkQjP3hIZeWWpr2IgD/VvkMypjiECY3vZg/2xbBMd/S"
    "ftgr9N3lYG4NdWrtM2YBANCcT6EVJ/A44PV/IgHYLy6iyQMyZfps60iehUuuYbQE"
)


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.asc").read_bytes()


def test_the_version_6_certificate_is_read_and_written_alike() -> None:
    certificate = Certificate.from_bytes(vector("a3"))
    assert certificate.fingerprint == FINGERPRINT
    assert certificate.fingerprints == (FINGERPRINT, SUBKEY)
    assert certificate.takes_seipd_v2
    assert certificate.can_encrypt(certificate.created)
    assert certificate.binary == dearmor(vector("a3"))
    key = SecretKey.from_bytes(vector("a4"))
    assert key.certificate == certificate
    assert key.to_bytes() == dearmor(vector("a4"))
    assert SecretKey.from_bytes(key.to_bytes("x"), "x").to_bytes() == key.to_bytes()


def test_the_inline_signature_is_good() -> None:
    found = read_contents(dearmor(vector("a7")), max_size=1000)
    assert found.data == SIGNED
    signatures = [RawSignature(body) for body in found.signatures]
    certificate = Certificate.from_bytes(vector("a3"))
    [verdict] = verify_signatures(found.data, signatures, [certificate])
    assert (verdict.state, verdict.fingerprint) == ("good", FINGERPRINT)


def test_the_cleartext_signature_is_the_same_over_text() -> None:
    certificate = Certificate.from_bytes(vector("a3"))
    signatures = read_signatures(vector("a6"))
    # RFC 9580 7.2: the line end before the signature is not part of the text
    [verdict] = verify_signatures(SIGNED, signatures, [certificate])
    assert verdict.state == "good"
    [bad] = verify_signatures(SIGNED.replace(b"tofu", b"beef"), signatures, [certificate])
    assert bad.state == "bad"


def test_the_encrypted_message_opens_and_its_changes_are_noticed() -> None:
    key = SecretKey.from_bytes(vector("a4"))
    assert recipients_of(vector("a8")) == (SUBKEY,)
    assert decrypt(vector("a8"), [key]).plaintext == b"Hello, world!"
    packets = bytearray(dearmor(vector("a8")))
    for at in range(-60, 0):
        packets[at] ^= 1
        with pytest.raises(IntegrityError):
            decrypt(bytes(packets), [key])
        packets[at] ^= 1


def test_the_version_4_legacy_key_verifies_its_signature() -> None:
    key = PublicKey(base64.b64decode(A1))
    assert key.fingerprint.hex().upper() == "C959BDBAFA32A2F89A153B678CFDE12197965A9A"
    [raw] = read_signatures(base64.b64decode(A2))
    assert raw.parsed is not None
    assert raw.parsed.is_over((b"OpenPGP",), key)
    assert not raw.parsed.is_over((b"OpenPGp",), key)
