"""Both ways with Debian's gpg: what it writes we read, what we write it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    ExpiredCertificate,
    IntegrityError,
    NoEncryptionKey,
    NoSecretKey,
    RawSignature,
    SecretKey,
    Unsupported,
    WrongPassphrase,
    decrypt,
    encrypt,
    generate,
    read_certificates,
    read_signatures,
    read_signed,
    recipients_of,
    sign_detached,
    verify_detached,
    verify_signatures,
)

from .conftest import DAY, Gpg
from .making import rsa_secret_key

TEXT = b"Gr\xc3\xbc\xc3\x9fe\r\n" * 50
KINDS = {  # gpg's algorithms of primary key and encryption subkey, its usage, its end
    "curve25519": ("future-default", "default", "2y"),
    "rsa2048": ("rsa2048", "default", "2y"),
    "rsa3072": ("rsa3072", "default", "2y"),
    "rsa4096": ("", "", ""),  # which gpg takes five seconds to make: it gets one from us
    "nistp256": ("nistp256", "default", "never"),
    "nistp384": ("nistp384", "default", "never"),
    "nistp521": ("nistp521", "default", "2y"),
    "brainpoolP256r1": ("brainpoolP256r1", "default", "2y"),
    "brainpoolP384r1": ("brainpoolP384r1", "default", "2y"),
    "brainpoolP512r1": ("brainpoolP512r1", "default", "2y"),
    "secp256k1": ("secp256k1", "default", "2y"),
}
LONG_CURVES = {"nistp384", "nistp521", "brainpoolP384r1", "brainpoolP512r1"}
COMPRESSIONS = ("none", "zip", "zlib", "bzip2")


@pytest.fixture(scope="module")
def ours(gpg: Gpg) -> SecretKey:
    key = generate("ours@example.test", name="Ours")
    gpg("--import", data=key.certificate.armored())
    return key


@pytest.fixture(scope="module")
def theirs(gpg: Gpg) -> dict[str, SecretKey]:
    """gpg's keys of each kind, exported with their secrets as gpg writes them."""
    return {kind: make_kind(gpg, kind) for kind in KINDS}


def make_kind(gpg: Gpg, kind: str) -> SecretKey:
    algorithm, usage, expiry = KINDS[kind]
    address = f"{kind}@gpg.test"
    if not algorithm:
        gpg("--import", data=rsa_secret_key(int(kind[3:]), address).to_bytes())
    else:
        gpg.make_key(address, algorithm, usage, expiry)
    if usage and kind != "curve25519":
        fingerprint = Certificate.from_bytes(gpg("--export", address)).fingerprint
        gpg("--passphrase", "", "--quick-add-key", fingerprint, kind, "encr", "2y")
    return SecretKey.from_bytes(gpg("--export-secret-keys", "--armor", address))


def judged(data: bytes, signatures: tuple[RawSignature, ...], *keys: SecretKey) -> list[str]:
    verdicts = verify_signatures(data, signatures, [key.certificate for key in keys])
    good = [v.fingerprint for v in verdicts if v.state == "good"]
    assert len(good) == len(set(good))
    return [v.state for v in verdicts]


def test_gpgs_mail_to_us_is_read_and_its_signature_judged(
    gpg: Gpg, ours: SecretKey, theirs: dict[str, SecretKey]
) -> None:
    for index, (kind, key) in enumerate(theirs.items()):
        for compression in COMPRESSIONS if not index else COMPRESSIONS[index % 4 :][:1]:
            message = gpg(
                *("--armor", "--encrypt", "--sign", "-u", f"{kind}@gpg.test"),
                *("-r", "ours@example.test", "--compress-algo", compression),
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
        assert judged(TEXT, opened.signatures, ours) == ["unknown-key"]


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
    for hash_name in ("sha512", "sha256"):
        if hash_name == "sha256" and kind in LONG_CURVES:  # gpg would refuse it
            with pytest.raises(Unsupported, match="too short"):
                sign_detached(TEXT, theirs[kind], hash_name=hash_name)
            continue
        made = sign_detached(TEXT, theirs[kind], hash_name=hash_name)  # type: ignore[arg-type]
        (tmp_path / "sig").write_bytes(made)
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


def test_a_cr_alone_ends_no_line_of_a_text_signature(gpg: Gpg, ours: SecretKey) -> None:
    """Else two header lines of a signed part could be made one, and the signature would stay good."""
    gpg.make_key("text@gpg.test", "ed25519", "sign", "2y")
    theirs = Certificate.from_bytes(gpg("--export", "text@gpg.test"))
    text = b"Content-Type: text/plain\r\nContent-Language: de\r\n\r\na\rb\r\n"
    signatures = {
        theirs: gpg("--armor", "--detach-sign", "--textmode", "-u", "text@gpg.test", data=text),
        ours.certificate: sign_detached(text, ours, text=True),
    }
    changed = text.replace(b"plain\r\n", b"plain\r")
    for certificate, signature in signatures.items():
        for given, state in (
            (text, "good"),
            (text.replace(b"\r\n", b"\n"), "good"),
            (changed, "bad"),
        ):
            [verdict] = verify_detached(given, signature, [certificate])
            assert verdict.state == state


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
    for cipher in (
        "AES",
        "AES192",
        "3DES",
        "CAST5",
        "BLOWFISH",
        "IDEA",
        "CAMELLIA128",
        "CAMELLIA256",
    ):
        message = gpg("--encrypt", "--cipher-algo", cipher, "-r", "ours@example.test", data=TEXT)
        assert decrypt(message, [ours]).plaintext == TEXT
    message = gpg("--encrypt", "--cipher-algo", "TWOFISH", "-r", "ours@example.test", data=TEXT)
    with pytest.raises(Unsupported, match="cipher number 10"):
        decrypt(message, [ours])


def test_every_hash_of_gpg_gets_its_verdict(gpg: Gpg, theirs: dict[str, SecretKey]) -> None:
    verdicts = {}
    for name in ("SHA1", "RIPEMD160", "SHA224", "SHA256", "SHA384", "SHA512"):
        made = gpg("--detach-sign", "--digest-algo", name, "-u", "rsa2048@gpg.test", data=TEXT)
        [verdict] = verify_detached(TEXT, made, [theirs["rsa2048"].certificate])
        verdicts[name] = verdict.state
    assert verdicts.pop("SHA1") == "weak"
    assert verdicts.pop("RIPEMD160") == "unknown-key"  # the primitives library has none
    assert set(verdicts.values()) == {"good"}


def test_several_signers_over_octets_and_text(
    gpg: Gpg, ours: SecretKey, theirs: dict[str, SecretKey]
) -> None:
    kinds = ("curve25519", "rsa2048", "nistp384")
    keys = [theirs[kind] for kind in kinds]
    users = [part for kind in kinds for part in ("-u", f"{kind}@gpg.test")]
    for mode in ((), ("--textmode",)):
        message = gpg("--encrypt", "--sign", *mode, *users, "-r", "ours@example.test", data=TEXT)
        opened = decrypt(message, [ours])
        assert opened.plaintext == TEXT
        assert judged(TEXT, opened.signatures, *keys) == ["good"] * 3
        assert judged(TEXT, opened.signatures, *keys[:2]).count("unknown-key") == 1
        signed = read_signed(gpg("--sign", "--armor", *mode, *users, data=TEXT))
        assert judged(signed.plaintext, signed.signatures, *keys) == ["good"] * 3
        detached = read_signatures(gpg("--detach-sign", *mode, *users, data=TEXT))
        assert judged(TEXT, detached, *keys) == ["good"] * 3
        lines = TEXT.replace(b"\r\n", b"\n")
        assert judged(lines, detached, *keys) == ["good" if mode else "bad"] * 3


def test_long_mail_in_pieces(gpg: Gpg, ours: SecretKey) -> None:
    """What gpg reads from a pipe it writes with partial lengths."""
    data = bytes(index % 253 for index in range(300_000))
    for compression in ("none", "zlib"):
        message = gpg(
            *("--encrypt", "-r", "ours@example.test", "--compress-algo", compression), data=data
        )
        assert decrypt(message, [ours]).plaintext == data
    back = gpg("--decrypt", data=encrypt(data, [make_reader(gpg)]))
    assert back == data


def make_reader(gpg: Gpg) -> Certificate:
    return Certificate.from_bytes(gpg("--export", "curve25519@gpg.test"))


def test_a_key_that_ended_reads_its_old_mail_and_what_it_signed_stays_good(
    gpg: Gpg, ours: SecretKey
) -> None:
    birth = ours.certificate.created - 100 * DAY
    then = ("--faked-system-time", f"{birth}!")
    gpg(
        *then,
        "--passphrase",
        "",
        "--quick-gen-key",
        "ended@gpg.test",
        "future-default",
        "default",
        "10d",
    )
    ended = SecretKey.from_bytes(gpg("--export-secret-keys", "ended@gpg.test"))
    assert ended.certificate.expires == birth + 10 * DAY
    message = gpg(
        *then, "--encrypt", "--sign", "-u", "ended@gpg.test", "-r", "ended@gpg.test", data=TEXT
    )
    opened = decrypt(message, [ended])
    assert judged(opened.plaintext, opened.signatures, ended) == ["good"]
    with pytest.raises(ExpiredCertificate):
        encrypt(TEXT, [ended.certificate])
    with pytest.raises(ExpiredCertificate):
        sign_detached(TEXT, ended)
    # ours of then is read by gpg, which says that the signature is good and the key has ended
    made = encrypt(TEXT, [ended.certificate], ended, now=lambda: birth + DAY)
    done = gpg.run("--decrypt", data=made)
    assert done.stdout == TEXT
    assert b"EXPKEYSIG" in done.stderr


def test_subkeys_that_were_replaced_or_revoked_still_open_their_mail(
    gpg: Gpg, ours: SecretKey
) -> None:
    birth = ours.certificate.created - 50 * DAY
    address, to = "rotated@gpg.test", ("--encrypt", "-r", "rotated@gpg.test")

    def at(day: int) -> tuple[str, ...]:
        return ("--faked-system-time", f"{birth + day * DAY}!", "--passphrase", "")

    gpg(*at(0), "--quick-gen-key", address, "future-default", "default", "2y")
    first = gpg(*at(1), *to, data=TEXT)
    fingerprint = SecretKey.from_bytes(gpg("--export-secret-keys", address)).fingerprint
    gpg(*at(2), "--quick-add-key", fingerprint, "cv25519", "encr", "2y")
    gpg(*at(2), "--quick-add-key", fingerprint, "ed25519", "sign", "2y")
    second = gpg(*at(3), *to, "--sign", "-u", address, data=TEXT)
    assert recipients_of(first) != recipients_of(second)
    before = SecretKey.from_bytes(gpg("--export-secret-keys", address))
    # subkey 1 is superseded: reason 2 in gpg's menu
    gpg(
        *at(4), "--command-fd", "0", "--edit-key", fingerprint,
        data=b"key 1\nrevkey\ny\n2\n\ny\nsave\n",
    )  # fmt: skip
    after = SecretKey.from_bytes(gpg("--export-secret-keys", address))
    assert after.certificate.keys[1].revoked == birth + 4 * DAY
    for key in (before, after):
        assert decrypt(first, [key]).plaintext == TEXT
        opened = decrypt(second, [key])
        assert judged(opened.plaintext, opened.signatures, key) == ["good"]
        made = encrypt(TEXT, [key.certificate], key)
        assert recipients_of(made) == recipients_of(second)  # the newest
        [signature] = decrypt(made, [key]).signatures
        assert signature.issuers[0] == key.certificate.keys[3].key.fingerprint.hex().upper()
        done = gpg.run("--decrypt", data=made)
        assert done.stdout == TEXT
        assert b"GOODSIG" in done.stderr
    gpg(*at(5), "--command-fd", "0", "--edit-key", fingerprint,
        data=b"key 2\nrevkey\ny\n1\n\ny\nsave\n")  # fmt: skip
    bare = Certificate.from_bytes(gpg("--export", address))
    with pytest.raises(NoEncryptionKey):
        encrypt(TEXT, [bare])
    assert bare.keys[2].revoked == 0  # compromised: from the beginning


def test_dsa_signatures_of_gpg_are_judged_and_imported_keys_make_them(
    gpg: Gpg, tmp_path: Path
) -> None:
    gpg.make_key("dsa@gpg.test", "dsa2048", "sign", "never")
    key = SecretKey.from_bytes(gpg("--export-secret-keys", "dsa@gpg.test"))
    detached = read_signatures(gpg("--detach-sign", "-u", "dsa@gpg.test", data=TEXT))
    assert judged(TEXT, detached, key) == ["good"]
    (tmp_path / "data").write_bytes(TEXT)
    (tmp_path / "sig").write_bytes(sign_detached(TEXT, key, hash_name="sha256"))
    done = gpg.run("--verify", str(tmp_path / "sig"), str(tmp_path / "data"))
    assert b"GOODSIG" in done.stderr


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
