"""Sequoia judges what we changed: keys it made itself, of version 4 and 6, also on Curve448, and ours with ML-KEM."""

from __future__ import annotations

import itertools
import time

import pysequoia
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
    recipients_of,
    revoke,
    revoke_user_id,
    rotate_encryption_subkey,
    set_expiry,
    set_primary_user_id,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag

from .conftest import DAY

TEXT = b"What does the other program say?"
NAME = "Theirs <theirs@example.test>"
MADE_BY_SEQUOIA = {
    "v4 Curve25519": ("RFC4880", "Cv25519"),
    "v6 Curve25519": ("RFC9580", "Cv25519"),
    "v4 Curve448": ("RFC4880", "Cv448"),
    "v6 Curve448": ("RFC9580", "Cv448"),
    "v6 P-256": ("RFC9580", "P256"),
    "v6 RSA": ("RFC9580", "RSA2k"),
}
MADE_HERE = {"v4": (4, False), "v4+ML-KEM": (4, True), "v6": (6, False), "v6+ML-KEM": (6, True)}


@pytest.fixture(scope="module", params=[*MADE_BY_SEQUOIA, *MADE_HERE])
def key(request: pytest.FixtureRequest) -> SecretKey:
    """A key of some minutes ago."""
    if request.param in MADE_HERE:
        version, post_quantum = MADE_HERE[request.param]
        then = time.time() - 600
        return generate(
            "theirs@example.test",
            name="Theirs",
            now=lambda: then,
            version=version,
            post_quantum=post_quantum,
        )
    profile, suite = MADE_BY_SEQUOIA[request.param]
    made = pysequoia.Tsk.generate(
        NAME,
        profile=getattr(pysequoia.Profile, profile),
        cipher_suite=getattr(pysequoia.CipherSuite, suite),
        validity_seconds=100 * DAY,
    )
    return SecretKey.from_bytes(bytes(made))


def judged(certificate: Certificate) -> pysequoia.Cert:
    """As Sequoia sees it; it must have dropped nothing, and it drops what is not properly signed."""
    seen = pysequoia.Cert.from_bytes(certificate.binary)
    kept = Certificate.from_bytes(bytes(seen))
    assert parts(kept) == parts(certificate)
    return seen


def parts(certificate: Certificate) -> set[tuple[int, bytes, frozenset[bytes]]]:
    return {(c.tag, c.body, frozenset(c.signatures)) for c in certificate.components}


def end_of(seen: pysequoia.Cert) -> int:
    assert seen.expiration is not None
    return int(seen.expiration.timestamp())


def test_sequoia_drops_what_is_not_properly_signed() -> None:
    certificate = generate("x@example.test").certificate
    unsigned = Component(Tag.USER_ID, b"unsigned", (certificate.components[1].signatures[0],))
    with pytest.raises(AssertionError):
        judged(Certificate([*certificate.components, unsigned]))


def test_sequoia_takes_and_uses_keys_after_our_edits(key: SecretKey) -> None:
    now = int(time.time())
    ticks = itertools.count(
        now - 50
    )  # Sequoia dates its keys a minute back, and believes nothing of the future
    end = now + 900 * DAY
    old_mail = pysequoia.encrypt(TEXT, recipients=[judged(key.certificate)])

    edited = extend(key, expires=end, now=next(ticks))
    assert end_of(judged(edited.certificate)) == end
    sooner = set_expiry(edited, expires=now + DAY, now=next(ticks))
    assert end_of(judged(sooner.certificate)) == now + DAY

    edited = add_user_id(edited, "Left <left@example.test>", now=next(ticks))
    edited = set_primary_user_id(edited, "Left <left@example.test>", now=next(ticks))
    edited = revoke_user_id(edited, "Left <left@example.test>", now=next(ticks))
    edited = add_user_id(edited, "Other <other@example.test>", now=next(ticks))
    names = {str(name) for name in judged(edited.certificate).user_ids}
    assert {NAME, "Other <other@example.test>"} <= names
    assert edited.certificate.addresses == ("theirs@example.test", "other@example.test")

    edited = rotate_encryption_subkey(edited, now=next(ticks), expires=end, revoke_old=True)
    edited = add_signing_subkey(edited, now=next(ticks), expires=end)
    seen = judged(edited.certificate.current())
    assert end_of(seen) == end_of(judged(edited.certificate)) == end
    mail = pysequoia.encrypt(TEXT, recipients=[seen])
    newest = edited.certificate.encryption_key(now)
    first = key.certificate.key_ids + key.certificate.fingerprints
    assert not set(recipients_of(mail)) & set(first)
    assert newest.fingerprint.hex().upper() in edited.certificate.fingerprints
    for message in (mail, old_mail):
        assert decrypt(message, [edited]).plaintext == TEXT

    signature = sign_detached(TEXT, edited, now=lambda: now)
    read = pysequoia.Sig.from_bytes(signature)
    [valid] = pysequoia.verify(TEXT, store=lambda ids: [seen], signature=read).valid_sigs
    assert valid.signing_key == edited.certificate.fingerprints[-1].lower()
    there = pysequoia.Tsk.from_bytes(edited.to_bytes())
    signed = pysequoia.sign(there.signer(), TEXT, mode=pysequoia.SignatureMode.DETACHED)
    [verdict] = verify_detached(TEXT, signed, [edited.certificate])
    assert verdict.state == "good"

    gone = revoke(edited, reason=RevocationReason.RETIRED, text="done", now=next(ticks))
    assert judged(gone.certificate).is_revoked
    assert decrypt(mail, [gone]).plaintext == TEXT


@pytest.mark.parametrize("version", [4, 6])
def test_sequoia_reads_the_revocation_made_at_a_keys_birth(version: int) -> None:
    then = time.time() - 60
    made = generate_with_revocation("x@example.test", now=lambda: then, version=version)
    revoked = apply_revocation(made.key.certificate, made.revocation)
    assert judged(revoked).is_revoked
    if version == 6:
        whole = pysequoia.Cert.from_bytes(made.key.certificate.binary)
        assert whole.merge(pysequoia.Cert.from_bytes(made.revocation)).is_revoked


@pytest.mark.parametrize(("by_version", "of_version"), [(4, 4), (4, 6), (6, 4), (6, 6)])
def test_certifications_hold_between_keys_of_both_versions(
    by_version: int, of_version: int
) -> None:
    then = time.time() - 60
    by = generate("by@example.test", now=lambda: then, version=by_version)
    of = generate("of@example.test", now=lambda: then, version=of_version)
    certified = certify(by, of.certificate, "of@example.test", now=then + 1)
    assert certifiers(certified, [by.certificate], "of@example.test", then + 2)
    assert parts(
        Certificate.from_bytes(bytes(pysequoia.Cert.from_bytes(certified.binary)))
    ) == parts(certified)


def test_locked_keys_open_in_sequoia_with_their_passphrase() -> None:
    then = time.time() - 60
    for version, argon2 in ((4, True), (6, None)):
        key = generate("x@example.test", now=lambda: then, version=version)
        there = pysequoia.Tsk.from_bytes(key.to_bytes("open sesame", argon2=argon2))
        mail = encrypt(TEXT, [key.certificate])
        assert pysequoia.decrypt(mail, there.decryptor("open sesame")).bytes == TEXT
