"""Both ways with Debian's gpg: what it writes we read, what we write it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    IntegrityError,
    NoSecretKey,
    SecretKey,
    WrongPassphrase,
    decrypt,
    encrypt,
    generate,
    read_certificates,
    recipients_of,
    sign_detached,
    verify_detached,
    verify_signatures,
)

from .conftest import Gpg

TEXT = b"Gr\xc3\xbc\xc3\x9fe\r\n" * 50
KINDS = {
    "curve25519": ("future-default", "default", "2y"),
    "rsa3072": ("rsa3072", "default", "2y"),
    "nistp256": ("nistp256", "default", "never"),
    "brainpoolP384r1": ("brainpoolP384r1", "default", "2y"),
}


@pytest.fixture(scope="module")
def ours(gpg: Gpg) -> SecretKey:
    key = generate("ours@example.test", name="Ours")
    gpg("--import", data=key.certificate.armored())
    return key


@pytest.fixture(scope="module")
def theirs(gpg: Gpg) -> dict[str, SecretKey]:
    """gpg's keys of each kind, exported with their secrets as gpg writes them."""
    keys = {}
    for kind, (algorithm, usage, expiry) in KINDS.items():
        address = f"{kind}@gpg.test"
        gpg.make_key(address, algorithm, usage, expiry)
        if kind != "curve25519":
            fingerprint = Certificate.from_bytes(gpg("--export", address)).fingerprint
            gpg("--passphrase", "", "--quick-add-key", fingerprint, kind, "encr", "2y")
        keys[kind] = SecretKey.from_bytes(gpg("--export-secret-keys", "--armor", address))
    return keys


@pytest.mark.parametrize("compression", ["none", "zip", "zlib", "bzip2"])
def test_gpgs_mail_to_us_is_read_and_its_signature_judged(
    gpg: Gpg, ours: SecretKey, theirs: dict[str, SecretKey], compression: str
) -> None:
    for kind, key in theirs.items():
        message = gpg(
            *(
                "--armor",
                "--encrypt",
                "--sign",
                "-u",
                f"{kind}@gpg.test",
                "-r",
                "ours@example.test",
            ),
            *("--compress-algo", compression),
            data=TEXT,
        )
        opened = decrypt(message, [ours])
        assert opened.plaintext == TEXT
        [verdict] = verify_signatures(
            TEXT,
            opened.signatures,
            [key.certificate],
            from_address=f"{kind}@gpg.test",
            owners={f"{kind}@gpg.test": [key.fingerprint]},
        )
        assert (verdict.state, verdict.fingerprint) == ("good", key.fingerprint), verdict.reason
        [unknown] = verify_signatures(TEXT, opened.signatures, [ours.certificate])
        assert unknown.state == "unknown-key"


@pytest.mark.parametrize("kind", KINDS)
def test_our_mail_to_gpg_is_read_by_it_and_by_its_exported_key(
    gpg: Gpg, ours: SecretKey, theirs: dict[str, SecretKey], kind: str
) -> None:
    certificate = Certificate.from_bytes(gpg("--export", f"{kind}@gpg.test"))
    for hidden in (False, True):
        named, unnamed = ([], [certificate]) if hidden else ([certificate], [])
        message = encrypt(TEXT, named, ours, hidden=unnamed)
        done = gpg.run("--decrypt", data=message)
        assert done.stdout == TEXT
        assert b"GOODSIG" in done.stderr
        assert b"DECRYPTION_OKAY" in done.stderr
        assert decrypt(message, [theirs[kind]]).plaintext == TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_imported_gpg_keys_sign_for_us(
    gpg: Gpg, theirs: dict[str, SecretKey], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(TEXT)
    (tmp_path / "sig").write_bytes(sign_detached(TEXT, theirs[kind]))
    done = gpg.run("--verify", str(tmp_path / "sig"), str(tmp_path / "data"))
    assert b"GOODSIG" in done.stderr


def test_our_detached_signature_pleases_gpg_and_the_reverse(
    gpg: Gpg, ours: SecretKey, theirs: dict[str, SecretKey], tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(TEXT)
    (tmp_path / "sig").write_bytes(sign_detached(TEXT, ours))
    assert b"GOODSIG" in gpg.run("--verify", str(tmp_path / "sig"), str(tmp_path / "data")).stderr
    (tmp_path / "data").write_bytes(TEXT + b"!")
    changed = gpg.run("--verify", str(tmp_path / "sig"), str(tmp_path / "data"), ok=False)
    assert b"BADSIG" in changed.stderr
    for extra in (["--textmode"], ["--digest-algo", "SHA256"], []):
        made = gpg("--armor", "--detach-sign", *extra, "-u", "rsa3072@gpg.test", data=TEXT)
        certificate = theirs["rsa3072"].certificate
        [verdict] = verify_detached(TEXT, made, [certificate])
        assert verdict.state == "good", verdict.reason
        [bad] = verify_detached(TEXT + b"!", made, [certificate])
        assert bad.state == "bad"


def test_weak_hash_from_gpg_is_called_weak(gpg: Gpg, theirs: dict[str, SecretKey]) -> None:
    made = gpg("--detach-sign", "--digest-algo", "SHA1", "-u", "rsa3072@gpg.test", data=TEXT)
    [verdict] = verify_detached(TEXT, made, [theirs["rsa3072"].certificate])
    assert (verdict.state, verdict.hash_name) == ("weak", "sha1")


def test_several_and_hidden_recipients_of_gpg(gpg: Gpg, ours: SecretKey) -> None:
    message = gpg(
        *("--encrypt", "-r", "rsa3072@gpg.test", "-r", "curve25519@gpg.test"),
        *("-R", "ours@example.test"),
        data=TEXT,
    )
    named = recipients_of(message)
    assert len(named) == 3
    assert named.count("") == 1
    assert decrypt(message, [generate("x@example.test"), ours]).plaintext == TEXT
    with pytest.raises(NoSecretKey):
        decrypt(message, [generate("x@example.test")])


def test_old_ciphers_of_gpg_are_still_read(gpg: Gpg, ours: SecretKey) -> None:
    for cipher in ("AES", "AES192", "3DES", "CAST5", "CAMELLIA256"):
        message = gpg("--encrypt", "--cipher-algo", cipher, "-r", "ours@example.test", data=TEXT)
        assert decrypt(message, [ours]).plaintext == TEXT


def test_gpgs_mail_without_protection_against_changes_is_refused(gpg: Gpg, ours: SecretKey) -> None:
    message = gpg("--encrypt", "--rfc2440", "-r", "ours@example.test", data=TEXT)
    with pytest.raises(IntegrityError, match="without protection"):
        decrypt(message, [ours])


def test_our_secret_key_moves_to_gpg_locked_and_back(tmp_path: Path, gpg: Gpg) -> None:
    key = generate("mover@example.test")
    message = encrypt(TEXT, [key.certificate], key)
    gpg("--passphrase", "pass phrase", "--import", data=key.armored("pass phrase"))
    assert gpg("--passphrase", "pass phrase", "--decrypt", data=message) == TEXT
    exported = gpg("--passphrase", "pass phrase", "--export-secret-keys", "mover@example.test")
    with pytest.raises(WrongPassphrase):
        SecretKey.from_bytes(exported)
    with pytest.raises(WrongPassphrase):
        SecretKey.from_bytes(exported, "pass")
    back = SecretKey.from_bytes(exported, "pass phrase")
    assert back.to_bytes() == key.to_bytes()


def test_gpg_believes_our_certificate_and_its_ends(gpg: Gpg, ours: SecretKey) -> None:
    listed = gpg("--with-colons", "--check-sigs", "ours@example.test").decode()
    keys = [line.split(":") for line in listed.splitlines() if line.startswith(("pub", "sub"))]
    ends = [int(fields[6]) for fields in keys]
    assert ends == [ours.certificate.expires] * 2
    marks = [line.split(":")[1] for line in listed.splitlines() if line.startswith("sig")]
    assert marks == ["!", "!"]


def test_a_gpg_keyring_with_revoked_and_expired_keys(gpg: Gpg) -> None:
    gpg.make_key("short@gpg.test", "future-default", "default", "seconds=1")
    gpg.make_key("revoked@gpg.test", "future-default", "default", "2y")
    fingerprint = Certificate.from_bytes(gpg("--export", "revoked@gpg.test")).fingerprint
    stored = gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev"
    gpg("--import", data=stored.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))
    ring = {c.addresses[0]: c for c in read_certificates(gpg("--export")) if c.addresses}
    revoked = ring["revoked@gpg.test"]
    assert revoked.revoked
    assert not revoked.can_encrypt(revoked.created + 1)
    short = ring["short@gpg.test"]
    assert short.expires == short.created + 1
    assert not short.can_encrypt(short.created + 1)
    assert not short.revoked
