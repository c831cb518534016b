"""The standard's own vectors (tests/vectors/rfc9580): each of appendix A.

The Argon2id of A.5 and A.12 takes 2 GiB and seconds, so here their session keys open them, as the appendix gives them;
`make soak ARGS=argon2` derives them.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    IntegrityError,
    SecretKey,
    WrongPassphrase,
    decrypt,
    decrypt_with_passphrase,
    read_cleartext,
    read_signatures,
    read_signed,
    recipients_of,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.public_key import PublicKey

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
    found = read_signed(vector("a7"))
    assert found.plaintext == SIGNED
    certificate = Certificate.from_bytes(vector("a3"))
    [verdict] = verify_signatures(found.plaintext, found.signatures, [certificate])
    assert (verdict.state, verdict.fingerprint) == ("good", FINGERPRINT)


def test_the_cleartext_signature_is_good() -> None:
    certificate = Certificate.from_bytes(vector("a3"))
    found = read_cleartext(vector("a6"))
    assert found.text == SIGNED.replace(b"\n", b"\r\n")
    [verdict] = verify_signatures(found.text, found.signatures, [certificate])
    assert (verdict.state, verdict.fingerprint) == ("good", FINGERPRINT)
    changed = read_cleartext(vector("a6").replace(b"tofu", b"beef"))
    [bad] = verify_signatures(changed.text, changed.signatures, [certificate])
    assert bad.state == "bad"
    # the same signature as that of A.7, which is over the text with its own line ends
    [inline] = verify_signatures(SIGNED, read_signatures(vector("a6")), [certificate])
    assert inline.state == "good"


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


@pytest.mark.parametrize(
    ("name", "session_key"),
    [
        ("a9", "3881bafe985412459b86c36f98cb9a5e"),  # EAX
        ("a10", "28e79ab82397d3c63de24ac217d7b791"),  # OCB
        ("a11", "1936fc8568980274bb900d8319360c77"),  # GCM
    ],
)
def test_the_messages_under_a_passphrase_open(name: str, session_key: str) -> None:
    opened = decrypt_with_passphrase(vector(name), "password")
    assert opened.plaintext == b"Hello, world!"
    assert opened.session_key.hex() == "00" + session_key
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(vector(name), "passwort")
    packets = bytearray(dearmor(vector(name)))
    packets[-1] ^= 1
    with pytest.raises(IntegrityError):
        decrypt_with_passphrase(bytes(packets), "password")


ARGON2 = {
    "a12-128": "0701fe16bbacfd1e7b78ef3b865187374f",
    "a12-192": "0827006dae68e509022ce45a14e569e91001c2955af8dfe194",
    "a12-256": "09bbeda55b9aae63dac45d4f49d89dacf4af37fefc13bab2f1f8e18fb74580d8b0",
}


@pytest.mark.parametrize("name", ARGON2)
def test_the_messages_under_argon2_open_with_their_session_keys(name: str) -> None:
    opened = decrypt(vector(name), [], session_key=bytes.fromhex(ARGON2[name]))
    assert opened.plaintext == b"Hello, world!"


def play_argon2() -> int:
    """Derives the keys of A.5 and A.12, each with 2 GiB; how many there were."""
    key = SecretKey.from_bytes(vector("a5"), "correct horse battery staple")
    assert key.to_bytes() == dearmor(vector("a4"))
    for name, session_key in ARGON2.items():
        opened = decrypt_with_passphrase(vector(name), "password")
        assert opened.plaintext == b"Hello, world!"
        assert opened.session_key.hex() == session_key
    return 1 + len(ARGON2)


def test_the_locked_key_is_locked() -> None:
    with pytest.raises(WrongPassphrase, match="locked"):
        SecretKey.from_bytes(vector("a5"))
    assert Certificate.from_bytes(vector("a5")) == Certificate.from_bytes(vector("a3"))


def test_the_version_4_legacy_key_verifies_its_signature() -> None:
    key = PublicKey(base64.b64decode(A1))
    assert key.fingerprint.hex().upper() == "C959BDBAFA32A2F89A153B678CFDE12197965A9A"
    [raw] = read_signatures(base64.b64decode(A2))
    assert raw.parsed is not None
    assert raw.parsed.is_over((b"OpenPGP",), key)
    assert not raw.parsed.is_over((b"OpenPGp",), key)
