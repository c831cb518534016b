"""Both ways with OpenPGP.js 6, and 5, which most programs in browsers still have."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    IntegrityError,
    RawSignature,
    SecretKey,
    WrongPassphrase,
    decrypt,
    decrypt_with_passphrase,
    encrypt,
    encrypt_with_passphrase,
    generate,
    read_cleartext,
    read_signed,
    recipients_of,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.packets import Tag, read_packets

from .openpgpjs import OpenPGPJS, Refused, started

TEXT = "Grüße,\r\nwhat does the browser say?\r\n".encode() * 40
LINES = "Grüße,\nwhat does the browser say?\n- a dash\nblanks \t\n".encode()
EAX, OCB, GCM = 1, 2, 3
QUICK = {"s2kIterationCountByte": 96}  # passphrases hashed as little as is allowed


@pytest.fixture(scope="module")
def js() -> Iterator[OpenPGPJS]:
    with started() as peer:
        yield peer


@dataclass
class Theirs:
    """A key that OpenPGP.js made, as armored text and as we read it."""

    secret: str
    certificate: str
    key: SecretKey


# name: version of the library, its options, its configuration
KINDS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "v6 Curve25519": (6, {"type": "curve25519"}, {"v6Keys": True}),
    "v6 Curve448": (6, {"type": "curve448"}, {"v6Keys": True}),
    "v6 NIST P-384": (6, {"type": "ecc", "curve": "nistP384"}, {"v6Keys": True}),
    "v6 RSA": (6, {"type": "rsa", "rsaBits": 2048}, {"v6Keys": True}),
    "v4 Curve25519": (6, {"type": "curve25519"}, {}),
    "v4 Curve448": (6, {"type": "curve448"}, {}),
    "v4 legacy Curve25519": (6, {"type": "ecc", "curve": "curve25519Legacy"}, {}),
    "v4 NIST P-256": (6, {"type": "ecc", "curve": "nistP256"}, {}),
    "v4 NIST P-521": (6, {"type": "ecc", "curve": "nistP521"}, {}),
    "v4 Curve25519 by 5": (5, {"type": "ecc", "curve": "curve25519"}, {}),
}


@pytest.fixture(scope="module", params=KINDS)
def theirs(js: OpenPGPJS, request: pytest.FixtureRequest) -> Theirs:
    return made_by(js, *KINDS[request.param])


def made_by(js: OpenPGPJS, library: int, options: dict[str, Any], config: dict[str, Any]) -> Theirs:
    options = {"userIDs": [{"email": "js@example.test"}], **options}
    made = js.ask("generate", library=library, options=options, config=config)
    key = SecretKey.from_bytes(made["secret"].encode())
    assert key.certificate == Certificate.from_bytes(made["certificate"].encode())
    return Theirs(made["secret"], made["certificate"], key)


def a_minute_ago() -> float:
    return time.time() - 60


@pytest.fixture(scope="module")
def ours() -> dict[int, SecretKey]:
    return {
        version: generate(f"v{version}@example.test", now=a_minute_ago, version=version)
        for version in (4, 6)
    }


def armored(key: SecretKey) -> dict[str, str]:
    return {"secret": key.armored().decode(), "certificate": key.certificate.armored().decode()}


def states(
    data: bytes, signatures: tuple[RawSignature, ...], *certificates: Certificate
) -> list[str]:
    return [v.state for v in verify_signatures(data, signatures, certificates)]


def test_each_reads_and_verifies_what_the_other_writes(
    js: OpenPGPJS, theirs: Theirs, ours: dict[int, SecretKey]
) -> None:
    for key in ours.values():
        mine = armored(key)
        message = js.ask(
            "encrypt", data=TEXT, recipients=[mine["certificate"]], signers=[theirs.secret]
        ).encode()
        opened = decrypt(message, [key])
        assert opened.plaintext == TEXT
        assert states(TEXT, opened.signatures, theirs.key.certificate) == ["good"]
        # ours, with a hidden copy, signed once by our key and once by theirs that was imported
        for signer, verifier in ((key, mine["certificate"]), (theirs.key, theirs.certificate)):
            to = [theirs.key.certificate]
            message = encrypt(TEXT, to, signer, hidden=[key.certificate])
            found = js.ask("decrypt", message=message, keys=[theirs.secret], verifiers=[verifier])
            assert base64.b64decode(found["data"]) == TEXT
            assert found["signatures"] == ["good"]
            assert decrypt(message, [theirs.key]).plaintext == TEXT
            assert decrypt(message, [key]).plaintext == TEXT


def test_detached_and_cleartext_signatures_both_ways(js: OpenPGPJS, theirs: Theirs) -> None:
    certificate = theirs.key.certificate
    mine = sign_detached(TEXT, theirs.key).decode()
    verify = {"signature": mine, "verifiers": [theirs.certificate]}
    assert js.ask("verify", data=TEXT, **verify) == ["good"]
    assert js.ask("verify", data=TEXT + b"!", **verify) != ["good"]
    for form in ("detached", "text"):
        made = js.ask("sign", data=TEXT, signers=[theirs.secret], form=form).encode()
        assert [v.state for v in verify_detached(TEXT, made, [certificate])] == ["good"]
        assert [v.state for v in verify_detached(TEXT + b"!", made, [certificate])] == ["bad"]
    made = js.ask("sign", data=LINES, signers=[theirs.secret], form="cleartext").encode()
    found = read_cleartext(made)
    assert found.text.splitlines() == [line.rstrip() for line in LINES.splitlines()]
    assert states(found.text, found.signatures, certificate) == ["good"]
    made = js.ask("sign", data=TEXT, signers=[theirs.secret], form="inline").encode()
    signed = read_signed(made)
    assert signed.plaintext == TEXT
    assert states(TEXT, signed.signatures, certificate) == ["good"]


def test_several_signers_and_hidden_recipients(js: OpenPGPJS, ours: dict[int, SecretKey]) -> None:
    both = [armored(key) for key in ours.values()]
    message = js.ask(
        "encrypt",
        data=TEXT,
        recipients=[key["certificate"] for key in both],
        signers=[key["secret"] for key in both],
        hidden=True,
    ).encode()
    assert recipients_of(message) == ("", "")
    for key in ours.values():
        opened = decrypt(message, [key])
        certificates = [one.certificate for one in ours.values()]
        assert states(opened.plaintext, opened.signatures, *certificates) == ["good", "good"]


@pytest.mark.parametrize("mode", [EAX, OCB, GCM])
def test_every_mode_of_aead_is_read_by_key_and_by_passphrase(js: OpenPGPJS, mode: int) -> None:
    config = {"v6Keys": True, "aeadProtect": True, "preferredAEADAlgorithm": mode, **QUICK}
    key = made_by(js, 6, {"type": "curve25519"}, config)
    message = js.ask("encrypt", data=TEXT, recipients=[key.certificate], config=config).encode()
    assert container(message)[:3] == bytes([2, 9, mode])
    assert decrypt(message, [key.key]).plaintext == TEXT
    message = js.ask("encrypt", data=TEXT, passwords=["x"], config=config).encode()
    assert container(message)[:3] == bytes([2, 9, mode])
    assert decrypt_with_passphrase(message, "x").plaintext == TEXT
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, "y")
    locked = js.ask(
        "generate",
        options={"userIDs": [{"email": "js@example.test"}], "passphrase": "x"},
        config=config,
    )
    assert SecretKey.from_bytes(locked["secret"].encode(), "x").decryption_keys()


@pytest.mark.parametrize("mode", [EAX, OCB])
def test_the_aead_before_the_standard_is_read(js: OpenPGPJS, mode: int) -> None:
    """OpenPGP.js 5 writes what GnuPG 2.3 does, for keys that announce it, and for passphrases."""
    config = {"aeadProtect": True, "preferredAEADAlgorithm": mode, **QUICK}
    key = made_by(js, 5, {"type": "ecc"}, config)
    data = TEXT * 10
    for chunk in (2, 6, 12):
        config["aeadChunkSizeByte"] = chunk
        message = js.ask(
            "encrypt", library=5, data=data, recipients=[key.certificate], config=config
        ).encode()
        assert container(message, Tag.OCB)[:4] == bytes([1, 9, mode, chunk])
        assert decrypt(message, [key.key]).plaintext == data
        message = js.ask("encrypt", library=5, data=data, passwords=["x"], config=config).encode()
        assert container(message, Tag.OCB)[2] == mode
        assert decrypt_with_passphrase(message, "x").plaintext == data
        with pytest.raises(WrongPassphrase):
            decrypt_with_passphrase(message, "y")


def container(message: bytes, tag: int = Tag.SEIPD) -> bytes:
    [body] = [item.body for item in read_packets(dearmor(message)) if item.tag == tag]
    return body


@pytest.mark.parametrize("library", [5, 6])
def test_messages_under_a_passphrase_both_ways(js: OpenPGPJS, library: int) -> None:
    message = encrypt_with_passphrase(TEXT, "x")
    found = js.ask("decrypt", library=library, message=message, passwords=["x"])
    assert base64.b64decode(found["data"]) == TEXT
    with pytest.raises(Refused):
        js.ask("decrypt", library=library, message=message, passwords=["y"])
    message = js.ask(
        "encrypt", library=library, data=TEXT, passwords=["x", "z"], config=QUICK
    ).encode()
    for phrase in "xz":
        assert decrypt_with_passphrase(message, phrase).plaintext == TEXT


def test_passphrases_hashed_with_argon2_are_read(js: OpenPGPJS) -> None:
    config = {
        "s2kType": 4,
        "s2kArgon2Params": {"passes": 1, "parallelism": 1, "memoryExponent": 10},
        "aeadProtect": True,
    }
    message = js.ask("encrypt", data=TEXT, passwords=["x"], config=config).encode()
    assert container(message, Tag.SKESK)[5] == 4
    assert decrypt_with_passphrase(message, "x").plaintext == TEXT


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_packed_mail_is_read(js: OpenPGPJS, ours: dict[int, SecretKey], compression: int) -> None:
    config = {"preferredCompressionAlgorithm": compression}
    key = made_by(js, 6, {"type": "curve25519"}, config)
    message = js.ask(
        "encrypt",
        data=TEXT,
        recipients=[key.certificate],
        signers=[key.secret],
        config=config,
    ).encode()
    opened = decrypt(message, [key.key])
    assert opened.plaintext == TEXT
    assert states(TEXT, opened.signatures, key.key.certificate) == ["good"]


def test_both_refuse_what_was_changed(js: OpenPGPJS, ours: dict[int, SecretKey]) -> None:
    for key in ours.values():
        mine = armored(key)
        packets = bytearray(dearmor(encrypt(TEXT, [key.certificate], key)))
        packets[-5] ^= 1
        with pytest.raises(IntegrityError):
            decrypt(bytes(packets), [key])
        with pytest.raises(Refused):
            js.ask("decrypt", message=bytes(packets), keys=[mine["secret"]])
