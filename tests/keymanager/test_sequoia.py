"""Sequoia as an independent oracle: each side reads, verifies and accepts what the other one makes.

Sequoia has no clock but the system's, so these keys are made in the real present.
"""

from __future__ import annotations

import time

import pysequoia
import pytest

from leap.keymanager.openpgp import (
    Certificate,
    SecretKey,
    decrypt,
    encrypt,
    generate,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.packets import Tag

from .making import revoked

TEXT = b"Dear Bob,\r\nwhat does the other program say?\r\n" * 50
OURS, THEIRS = "ours@example.test", "theirs@example.test"
KINDS = [(4, False), (4, True), (6, False), (6, True)]


def a_minute_ago() -> float:
    return time.time() - 60


@pytest.fixture(params=KINDS, ids=["v4", "v4 with ML-KEM", "v6", "v6 with ML-KEM"])
def ours(request: pytest.FixtureRequest) -> SecretKey:
    version, post_quantum = request.param
    return generate(OURS, now=a_minute_ago, version=version, post_quantum=post_quantum)


@pytest.fixture(params=["RFC4880", "RFC9580"])
def theirs(request: pytest.FixtureRequest) -> pysequoia.Tsk:
    profile = getattr(pysequoia.Profile, request.param)
    return pysequoia.Tsk.generate(f"Theirs <{THEIRS}>", profile=profile)


def to_them(key: SecretKey) -> pysequoia.Cert:
    return pysequoia.Cert.from_bytes(key.certificate.binary)


def to_us(key: pysequoia.Tsk) -> Certificate:
    return Certificate.from_bytes(bytes(key.extract_certificate()))


def with_one_subkey(key: SecretKey) -> SecretKey:
    """Without the subkeys one does not encrypt to: pysequoia tries one of them alone."""
    best = key.certificate.encryption_key(time.time()).body
    parts = key.certificate.components
    kept = [c for c in parts if c.tag != Tag.PUBLIC_SUBKEY or c.body == best]
    return key.edited(Certificate(kept))


def test_sequoia_opens_and_verifies_what_we_make(ours: SecretKey, theirs: pysequoia.Tsk) -> None:
    message = encrypt(TEXT, [to_us(theirs), ours.certificate], ours)
    opened = pysequoia.decrypt(message, theirs.decryptor(), lambda ids: [to_them(ours)])
    assert opened.bytes == TEXT
    assert [s.certificate for s in opened.valid_sigs] == [ours.fingerprint.lower()]
    ours_there = pysequoia.Tsk.from_bytes(with_one_subkey(ours).to_bytes())
    assert pysequoia.decrypt(message, ours_there.decryptor()).bytes == TEXT
    signature = pysequoia.Sig.from_bytes(sign_detached(TEXT, ours))
    checked = pysequoia.verify(TEXT, store=lambda ids: [to_them(ours)], signature=signature)
    assert len(checked.valid_sigs) == 1


def test_we_open_and_verify_what_sequoia_makes(ours: SecretKey, theirs: pysequoia.Tsk) -> None:
    message = pysequoia.encrypt(TEXT, recipients=[to_them(ours)], signer=theirs.signer())
    opened = decrypt(message, [ours])
    assert opened.plaintext == TEXT
    theirs_here = to_us(theirs)
    owners = {THEIRS: [theirs_here.fingerprint]}
    [verdict] = verify_signatures(
        TEXT, opened.signatures, [theirs_here], from_address=THEIRS, owners=owners
    )
    assert (verdict.state, verdict.fingerprint) == ("good", theirs_here.fingerprint)
    detached = pysequoia.sign(theirs.signer(), TEXT, mode=pysequoia.SignatureMode.DETACHED)
    for text, state in ((TEXT, "good"), (TEXT + b"!", "bad")):
        [verdict] = verify_detached(text, detached, [theirs_here])
        assert verdict.state == state


def test_both_say_the_same_of_a_certificate(ours: SecretKey, theirs: pysequoia.Tsk) -> None:
    seen = to_them(ours)
    assert seen.fingerprint.upper() == ours.fingerprint
    assert [str(user_id) for user_id in seen.user_ids] == [OURS]
    assert seen.expiration is not None
    assert int(seen.expiration.timestamp()) == ours.certificate.expires
    assert not seen.is_revoked
    assert pysequoia.Cert.from_bytes(revoked(ours, at=int(time.time()) - 5).binary).is_revoked

    certificate = to_us(theirs)
    assert certificate.addresses == (THEIRS,)
    assert certificate.can_encrypt(time.time())
    assert certificate.cleaned() == certificate  # each of its self-signatures is true for us, too
    cert = theirs.extract_certificate()
    revocation = bytes(cert.revoke(theirs.certifier()))
    merged = cert.merge(pysequoia.Cert.from_bytes(bytes(cert) + revocation))
    assert certificate.merge(Certificate.from_bytes(bytes(merged))).revoked


def test_what_we_changed_after_signing_is_refused_by_sequoia(ours: SecretKey) -> None:
    signature = pysequoia.Sig.from_bytes(sign_detached(TEXT, ours))
    with pytest.raises(Exception, match="no valid signatures"):
        pysequoia.verify(TEXT + b"!", store=lambda ids: [to_them(ours)], signature=signature)
