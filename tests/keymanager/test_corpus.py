"""Every key and every PGP message of the shared corpus: what is read, opened, refused, and why; counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    WrongPassphrase,
    decrypt,
    read_certificates,
    read_secret_keys,
    read_signatures,
    verify_signatures,
)

pytestmark = pytest.mark.corpus
LEAP_TEST_PASSPHRASE = "123"  # of the original's published test key


def _openpgp_files(corpus: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((corpus / "keys").rglob("*")):
        if path.suffix in (".key", ".asc", ".pub", ".bin", ".secretkey"):
            data = path.read_bytes()
            if b"-----BEGIN PGP" in data or data[:1] >= b"\x80":
                yield path.name, data


def _mails(corpus: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(corpus.rglob("*.eml")):
        yield f"{path.parent.name}/{path.name}", path.read_bytes()


def _blocks(data: bytes, title: bytes) -> list[bytes]:
    pattern = rb"(?m)^-----BEGIN PGP %s-----(?s:.*?)-----END PGP %s-----" % (title, title)
    return re.findall(pattern, data)


@pytest.fixture(scope="module")
def rings(corpus: Path) -> tuple[list[Certificate], list[SecretKey], Counter[str]]:
    certificates: list[Certificate] = []
    secrets: list[SecretKey] = []
    counts: Counter[str] = Counter()
    for _name, data in _openpgp_files(corpus):
        counts["files"] += 1
        certificates += read_certificates(data)
        try:
            found = read_secret_keys(data)
        except WrongPassphrase:
            counts["locked"] += 1
            found = read_secret_keys(data, LEAP_TEST_PASSPHRASE)
        except OpenPGPError as error:
            counts[type(error).__name__] += 1
            continue
        secrets += found
        counts["secret keys"] += len(found)
    counts["certificates"] = len(certificates)
    return certificates, secrets, counts


def test_every_key_is_read(
    rings: tuple[list[Certificate], list[SecretKey], Counter[str]],
) -> None:
    certificates, secrets, counts = rings
    print(f"\ncorpus keys: {dict(counts)}")
    assert counts == {
        "files": 14,
        "certificates": 14,
        "secret keys": 10,
        "locked": 1,
        "NoSecretKey": 4,  # three public keys, and one certificate in a file called private
    }
    for certificate in certificates:
        assert Certificate.from_bytes(certificate.armored()) == certificate
        assert len(certificate.keys) == 2
        assert certificate.can_encrypt(1_790_000_000), certificate
    for secret in secrets:
        assert SecretKey.from_bytes(secret.to_bytes()).to_bytes() == secret.to_bytes()
        assert secret.decryption_keys()


def test_every_message_is_opened_or_refused_with_its_reason(
    corpus: Path, rings: tuple[list[Certificate], list[SecretKey], Counter[str]]
) -> None:
    certificates, secrets, _ = rings
    counts: Counter[str] = Counter()
    rest: list[str] = []
    for name, data in _mails(corpus):
        for block in _blocks(data, b"MESSAGE"):
            counts["messages"] += 1
            try:
                opened = decrypt(block, secrets)
            except OpenPGPError as error:
                counts[f"{type(error).__name__}: {error}"] += 1
                rest.append(f"{name}: {error}")
                continue
            counts["opened"] += 1
            counts["unsigned"] += not opened.signatures
            verdicts = verify_signatures(opened.plaintext, opened.signatures, certificates)
            counts.update(f"signature {verdict.state}" for verdict in verdicts)
    print("\ncorpus messages:", *(f"{count} {what}" for what, count in counts.items()), sep="\n  ")
    print("not opened:", *rest, sep="\n  ")
    assert counts["messages"] == 54
    assert counts["opened"] == 32
    assert counts["signature good"] == 12
    assert counts["unsigned"] == 20
    assert counts["NoSecretKey: the message is encrypted, but to none of your keys"] == 15
    assert counts["NoSecretKey: the message is encrypted with a password"] == 3
    assert sum(counts[k] for k in counts if k.startswith(("Malformed", "NotEncrypted"))) == 4
    assert len(rest) == counts["messages"] - counts["opened"]


def test_every_autocrypt_key_and_signature_block_is_read(corpus: Path) -> None:
    counts: Counter[str] = Counter()
    for _name, data in _mails(corpus):
        for field in re.findall(rb"(?im)^autocrypt:(?s:.*?)keydata=((?:[^\n]|\n[ \t])*)", data):
            counts["autocrypt"] += 1
            wrapped = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + field
            try:
                [certificate] = read_certificates(wrapped + b"\n-----END PGP PUBLIC KEY BLOCK-----")
                counts["autocrypt certificates"] += bool(certificate.addresses)
            except OpenPGPError as error:
                counts[f"autocrypt {type(error).__name__}"] += 1
        for title, read in (
            (b"PUBLIC KEY BLOCK", read_certificates),
            (b"SIGNATURE", read_signatures),
        ):
            for block in _blocks(data, title):
                what = title.decode().lower()
                counts[what] += 1
                try:
                    read(block)
                    counts[f"{what} read"] += 1
                except OpenPGPError as error:
                    counts[f"{what} {type(error).__name__}: {error}"] += 1
    print(
        "\ncorpus headers and blocks:", *(f"{c} {what}" for what, c in counts.items()), sep="\n  "
    )
    # Four of 46 carry "This should never be imported" as user id, two are "broken-base64" on purpose.
    assert (counts["autocrypt"], counts["autocrypt certificates"]) == (46, 40)
    assert counts["autocrypt Malformed"] == 2
    # The rest of the signatures is redacted by hand; both key blocks are in quoted-printable parts.
    assert (counts["signature"], counts["signature read"]) == (59, 56)
    assert (counts["public key block"], counts["public key block read"]) == (2, 0)
