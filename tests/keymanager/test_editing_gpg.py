"""GnuPG judges what we changed: keys it made itself, of each family of algorithms, and ours.

Every edit is signed by the key's own algorithm; gpg must call each signature good, use the new parts and mind the ends
and revocations.
"""

from __future__ import annotations

import time

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    RevocationReason,
    SecretKey,
    add_signing_subkey,
    add_user_id,
    apply_revocation,
    certify,
    decrypt,
    encrypt,
    extend,
    generate,
    generate_with_revocation,
    read_signatures,
    recipients_of,
    revocation_certificate,
    revoke,
    revoke_certification,
    revoke_subkey,
    revoke_user_id,
    rotate_encryption_subkey,
    set_primary_user_id,
    verify_detached,
)

from .conftest import DAY, Gpg

TEXT = b"Dear all,\r\nthis is a test.\r\n"
FAMILIES = {  # primary, encryption subkey, signing subkey, as gpg names them; the others are in `make soak`
    "rsa2048": ("rsa2048", "rsa2048", "rsa2048"),
    "nistp256": ("nistp256", "nistp256", "nistp256/ecdsa"),
    "brainpoolP256r1": ("brainpoolP256r1", "brainpoolP256r1", "brainpoolP256r1/ecdsa"),
    "curve25519": ("ed25519", "cv25519", "ed25519"),
}
MORE_FAMILIES = {
    "rsa3072": ("rsa3072", "rsa3072", "rsa2048"),
    "rsa4096": ("rsa4096", "rsa4096", "rsa2048"),
    "dsa2048": ("dsa2048", "rsa2048", "dsa2048"),
    "nistp384": ("nistp384", "nistp384", "nistp384/ecdsa"),
    "nistp521": ("nistp521", "nistp521", "nistp521/ecdsa"),
    "secp256k1": ("secp256k1", "secp256k1", "secp256k1/ecdsa"),
    "brainpoolP384r1": ("brainpoolP384r1", "brainpoolP384r1", "brainpoolP384r1/ecdsa"),
    "brainpoolP512r1": ("brainpoolP512r1", "brainpoolP512r1", "brainpoolP512r1/ecdsa"),
}


def make_key(gpg: Gpg, family: str, address: str) -> SecretKey:
    """A key by gpg, some minutes old: to certify with, with subkeys to encrypt to and to sign with."""
    primary, encryption, signing = (FAMILIES | MORE_FAMILIES)[family]
    # gpg takes nothing made in its future, and edits of one second are dated a second later
    begun = time.time() - 600

    def past(minutes: int) -> tuple[str, ...]:
        then = time.strftime("%Y%m%dT%H%M%S", time.gmtime(begun + 60 * minutes))
        return ("--faked-system-time", then, "--passphrase", "")

    name = f"{family} <{address}>"
    gpg(*past(0), "--quick-gen-key", name, primary, "cert,sign", "100d")
    fingerprint = Certificate.from_bytes(gpg("--export", address)).fingerprint
    for minutes, (kind, use) in enumerate(((encryption, "encr"), (signing, "sign")), 1):
        gpg(*past(minutes), "--quick-add-key", fingerprint, kind, use, "100d")
    return SecretKey.from_bytes(gpg("--export-secret-keys", address))


Lines = list[list[str]]


def listed(gpg: Gpg, name: str, *kinds: str) -> Lines:
    """Records of gpg's listing after it checked every signature."""
    found = gpg("--with-colons", "--check-sigs", name).decode().splitlines()
    return [fields for line in found if (fields := line.split(":"))[0] in kinds]


def must_please(gpg: Gpg, certificate: Certificate) -> Lines:
    """Imports a certificate; every signature on it must be good, and each must have been taken."""
    done = gpg.run("--import", data=certificate.armored())
    assert b"bad signature" not in done.stderr
    fingerprint = certificate.fingerprint
    signatures = listed(gpg, fingerprint, "sig", "rev")
    assert {fields[1] for fields in signatures} == {"!"}
    assert len(signatures) == sum(len(c.signatures) for c in certificate.components)
    return listed(gpg, fingerprint, "pub", "sub", "uid")


@pytest.mark.parametrize("family", FAMILIES)
def test_gpg_takes_and_uses_its_own_keys_after_our_edits(gpg: Gpg, family: str) -> None:
    play_edits(gpg, family)


def play_edits(gpg: Gpg, family: str) -> None:
    """All edits on a new key by gpg, each judged by it."""
    now, address = int(time.time()), f"{family}@gpg.test"
    key = make_key(gpg, family, address)
    end = now + 400 * DAY
    old_mail = gpg("--encrypt", "-r", address, data=TEXT)

    other = f"Other <other-{family}@gpg.test>"
    edited = extend(key, expires=end, now=now)
    edited = add_user_id(edited, "Left <left@gpg.test>", now=now)
    edited = revoke_user_id(edited, "Left <left@gpg.test>", text="left", now=now)
    edited = set_primary_user_id(add_user_id(edited, other, now=now), other, now=now)
    edited = add_signing_subkey(
        rotate_encryption_subkey(edited, now=now, expires=end), now=now, expires=end
    )
    rows = must_please(gpg, edited.certificate)
    assert [int(r[6]) for r in rows if r[0] != "uid"] == [end] * 5
    assert [r[9] for r in rows if r[0] == "uid" and r[1] == "-"] == list(
        edited.certificate.user_ids
    )
    assert edited.certificate.user_ids[0] == other
    assert [r[9] for r in rows if r[1] == "r"] == ["Left <left@gpg.test>"]

    new = edited.certificate.encryption_key(now + 1)
    mail = gpg("--encrypt", "-r", address, data=TEXT)
    assert recipients_of(mail) == (new.key_id.hex().upper(),)
    for message in (mail, old_mail):
        assert decrypt(message, [edited]).plaintext == TEXT

    gpg("--import", data=edited.armored())
    ours = encrypt(TEXT, [edited.certificate], edited, now=lambda: now + 2)
    done = gpg.run("--decrypt", data=ours)
    assert done.stdout == TEXT
    assert b"GOODSIG" in done.stderr
    signature = gpg("--detach-sign", "-u", key.fingerprint, data=TEXT)
    [verdict] = verify_detached(TEXT, signature, [edited.certificate])
    assert verdict.state == "good"
    [made] = read_signatures(signature)
    assert made.issuer == edited.certificate.fingerprints[-1]

    name = new.fingerprint.hex()
    fewer = revoke_subkey(edited, name, reason=RevocationReason.SUPERSEDED, now=now)
    gpg("--import", data=fewer.certificate.armored())
    [again] = recipients_of(gpg("--encrypt", "-r", address, data=TEXT))
    assert again != new.key_id.hex().upper()

    gone = revoke(fewer, reason=RevocationReason.RETIRED, text="Grüße", now=now)
    assert {r[1] for r in must_please(gpg, gone.certificate)} == {"r"}
    refused = gpg.run("--encrypt", "-r", address, data=TEXT, ok=False)
    assert refused.returncode != 0
    assert not refused.stdout
    assert decrypt(mail, [gone]).plaintext == TEXT


@pytest.mark.parametrize("post_quantum", [False, True])
def test_gpg_uses_a_new_key_of_ours_until_it_is_revoked_as_kept_from_its_birth(
    gpg: Gpg, post_quantum: bool
) -> None:
    born = time.time() - 60
    name = f"born-{post_quantum}@ours.test"
    made = generate_with_revocation(
        name,
        more_user_ids=["Second <second@ours.test>"],
        now=lambda: born,
        post_quantum=post_quantum,
    )
    gpg("--import", data=made.key.armored())  # with ML-KEM gpg leaves out that one subkey
    rows = listed(gpg, name, "pub", "sub", "uid")
    assert [r[0] for r in rows] == ["pub", "uid", "uid", "sub"]
    assert {r[1] for r in listed(gpg, name, "sig")} == {"!"}
    mail = gpg("--encrypt", "-r", name, data=TEXT)
    assert decrypt(mail, [made.key]).plaintext == TEXT
    assert gpg("--decrypt", data=mail) == TEXT

    assert not made.key.certificate.revoked
    assert apply_revocation(made.key.certificate, made.revocation).revoked
    done = gpg.run("--import", data=made.revocation)
    assert b"revocation certificate imported" in done.stderr
    assert {r[1] for r in listed(gpg, name, "pub", "sub")} == {"r"}
    assert gpg.run("--encrypt", "-r", name, data=TEXT, ok=False).returncode != 0


def test_gpgs_own_revocation_file_revokes_here(gpg: Gpg) -> None:
    key = make_key(gpg, "nistp256", "stored@gpg.test")
    stored = (gpg.home / "openpgp-revocs.d" / f"{key.fingerprint}.rev").read_bytes()
    assert b":-----BEGIN" in stored
    assert apply_revocation(key.certificate, stored).revoked
    assert not key.certificate.revoked


def test_gpg_sees_an_end_that_was_set_sooner_and_refuses_after_it(gpg: Gpg) -> None:
    born = int(time.time()) - 10 * DAY
    key = generate("short@ours.test", now=lambda: born, lifetime=DAY)
    assert must_please(gpg, key.certificate)[0][1] == "e"
    assert gpg.run("--encrypt", "-r", "short@ours.test", data=TEXT, ok=False).returncode != 0
    longer = extend(key, expires=born + 100 * DAY, now=time.time())
    assert must_please(gpg, longer.certificate)[0][1] == "-"
    mail = gpg("--encrypt", "-r", "short@ours.test", data=TEXT)
    assert decrypt(mail, [key]).plaintext == TEXT


def test_gpg_believes_our_certifications_and_that_they_were_taken_back(gpg: Gpg) -> None:
    now = int(time.time())
    bob = generate("bob@ours.test", now=lambda: now - 60)
    for family in ("nistp256", "curve25519"):
        by = make_key(gpg, family, f"certifier-{family}@gpg.test")
        certified = certify(by, bob.certificate, "bob@ours.test", now=now, expires=now + DAY)
        rows = [r for r in _signed(gpg, certified) if r[4] == by.certificate.key_ids[0]]
        assert [(r[0], r[1], int(r[6]), r[10]) for r in rows] == [("sig", "!", now + DAY, "10x")]
        back = revoke_certification(by, certified, "bob@ours.test", now=now)
        rows = [r for r in _signed(gpg, back) if r[4] == by.certificate.key_ids[0]]
        assert sorted(r[0] for r in rows) == ["rev", "sig"]
        assert {r[1] for r in rows} == {"!"}


def _signed(gpg: Gpg, certificate: Certificate) -> Lines:
    gpg("--import", data=certificate.armored())
    return listed(gpg, certificate.fingerprint, "sig", "rev")


def test_a_local_certification_goes_to_gpg_only_when_it_is_asked_to_take_it(gpg: Gpg) -> None:
    now = int(time.time())
    bob = generate("bob-local@ours.test", now=lambda: now - 60)
    by = make_key(gpg, "curve25519", "local-certifier@gpg.test")
    certified = certify(by, bob.certificate, "bob-local@ours.test", now=now, exportable=False)
    assert certified.binary == bob.certificate.binary
    gpg("--import", "--import-options", "import-local-sigs", data=certified.complete)
    rows = [r for r in listed(gpg, bob.fingerprint, "sig") if r[4] == by.certificate.key_ids[0]]
    assert [(r[1], r[10]) for r in rows] == [("!", "10l")]
    local = gpg("--export-options", "export-local-sigs", "--export", bob.fingerprint)
    assert Certificate.from_bytes(local).complete == certified.complete
    assert Certificate.from_bytes(local).binary == bob.certificate.binary
    later = revocation_certificate(bob, now=now)
    assert apply_revocation(Certificate.from_bytes(local), later).revoked
