"""Rotation of one's own keys: what is encrypted to before and after, of which kind the new key is, who takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.keyring import Keyring
from leap.keymanager.keys import KeyManager
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import (
    Certificate,
    decrypt,
    encrypt,
    generate,
)
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.editing import RevocationReason
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, DAY, Time

YEAR = 365 * DAY


async def test_a_rotated_key_opens_what_was_encrypted_before_and_is_encrypted_to_anew(
    keys: KeyManager, clock: Time
) -> None:
    before = await keys.own.ensure()
    old_mail = encrypt(b"old", [before.certificate], now=clock)
    clock.at += DAY
    after = await keys.own_changes.rotate_subkey()
    assert after.fingerprint == before.fingerprint
    assert after.certificate.encryption_key(clock()) != before.certificate.encryption_key(clock())
    new_mail = encrypt(b"new", [after.certificate], now=clock)
    own = await keys.own_keys()
    assert [decrypt(m, own).plaintext for m in (old_mail, new_mail)] == [b"old", b"new"]
    assert after.certificate.expires == before.certificate.expires


async def test_correspondents_take_the_new_key_which_the_old_one_vouches_for(
    keys: KeyManager, clock: Time, tmp_path: Path
) -> None:
    old = await keys.own.ensure(name="Alice Example")
    old_mail = encrypt(b"old", [old.certificate], now=clock)
    clock.at += DAY
    new = await keys.own_changes.rotate_key()
    assert new.fingerprint != old.fingerprint
    assert new.certificate.user_ids == (f"Alice Example <{ALICE}>",)
    own = await keys.own_keys()
    assert [key.fingerprint for key in own] == [new.fingerprint, old.fingerprint]
    assert decrypt(old_mail, own).plaintext == b"old"
    bobs = await Soledad.open(tmp_path / "bob.db", bytes(32), merges=MERGES)
    try:
        ring = Keyring(bobs, now=clock)
        level, source = Level.PROVIDER_TRUST, "directory"
        await ring.learn(old.certificate, ALICE, level, source=source)
        await ring.note_use(ALICE, encrypted_to=True, signature_seen=True)
        published = new.certificate.of_address(ALICE).binary
        taken = await ring.learn(Certificate.from_bytes(published), ALICE, level, source=source)
        ring.close()
    finally:
        await bobs.close()
    assert (taken.allowed, taken.reason) == (True, "the old key signed the new one")


KINDS = [(4, False), (4, True), (6, False), (6, True)]


def _kind(certificate: Certificate) -> tuple[int, bool]:
    """The version, and whether a program that knows ML-KEM encrypts to it by that."""
    at = certificate.created + 10 * DAY
    return certificate.primary.version, certificate.encryption_key(at).algorithm == ML_KEM


@pytest.mark.parametrize(("version", "post_quantum"), KINDS)
async def test_a_new_key_is_of_the_kind_of_the_one_it_follows(
    keys: KeyManager, clock: Time, version: int, post_quantum: bool
) -> None:
    kind = (version, post_quantum)
    old = generate(ALICE, now=lambda: BIRTH, version=version, post_quantum=post_quantum)
    await keys.own.add(old, use=True)
    mail = encrypt(b"old", [old.certificate], now=clock)
    assert _kind((await keys.own_changes.rotate_subkey()).certificate) == kind
    rotated = await keys.own_changes.rotate_key()
    assert rotated.fingerprint != old.fingerprint
    assert _kind(rotated.certificate) == kind
    name, soft = rotated.fingerprint, RevocationReason.SUPERSEDED
    await keys.own_changes.revoke(name, reason=soft, replace=True)
    replaced = await keys.own.key()
    assert replaced.fingerprint not in (old.fingerprint, rotated.fingerprint)
    assert _kind(replaced.certificate) == kind
    assert decrypt(mail, await keys.own_keys()).plaintext == b"old"


@pytest.mark.parametrize(("version", "post_quantum"), KINDS)
async def test_a_new_key_is_of_the_kind_that_was_asked_for(
    keys: KeyManager, clock: Time, version: int, post_quantum: bool
) -> None:
    old = await keys.own.ensure()
    new = await keys.own_changes.rotate_key(version=version, post_quantum=post_quantum)
    assert _kind(new.certificate) == (version, post_quantum)
    vouching = certifiers(new.certificate, [old.certificate], ALICE, clock())
    assert vouching == {old.fingerprint}


async def test_a_key_gets_a_part_that_withstands_quantum_computers(
    keys: KeyManager, clock: Time
) -> None:
    key = await keys.own.ensure()
    before = encrypt(b"old", [key.certificate], now=clock)
    clock.at += DAY
    for parts in (4, 6):  # the second time both are renewed
        after = await keys.own_changes.rotate_subkey(post_quantum=True)
        assert (after.fingerprint, len(after.certificate.keys)) == (key.fingerprint, parts)
        clock.at += DAY
    assert _kind(after.certificate) == (4, True)
    assert {state.expires for state in after.certificate.keys} == {key.certificate.expires}
    mail = encrypt(b"new", [after.certificate], now=clock)
    own = await keys.own_keys()
    assert [decrypt(one, own).plaintext for one in (before, mail)] == [b"old", b"new"]
    # who does not know ML-KEM has a part to write to as well
    minimal = after.certificate.minimal(ALICE, clock())
    assert minimal.encryption_key(clock()).algorithm != ML_KEM


async def test_who_missed_the_key_between_takes_the_newest_which_the_first_vouches_for_too(
    keys: KeyManager, clock: Time
) -> None:
    first = await keys.own.ensure()
    clock.at += 1
    between = await keys.own_changes.rotate_key()
    clock.at += 1
    await keys.own_changes.revoke(
        between.fingerprint, reason=RevocationReason.SUPERSEDED, replace=True
    )
    second = await keys.own.key()
    clock.at += 1
    third = await keys.own_changes.rotate_key()
    olds = [key.certificate for key in (first, between, second)]
    assert certifiers(second.certificate, olds[:2], ALICE, clock.at) == {
        first.fingerprint,
        between.fingerprint,
    }
    assert certifiers(third.certificate, olds, ALICE, clock.at) == {
        first.fingerprint,
        second.fingerprint,
    }


async def test_nothing_vouches_for_the_key_after_a_compromised_one(
    keys: KeyManager, clock: Time
) -> None:
    first = await keys.own.ensure()
    clock.at += 1
    second = await keys.own_changes.rotate_key()
    clock.at += 1
    await keys.own_changes.revoke(
        second.fingerprint, reason=RevocationReason.COMPROMISED, replace=True
    )
    third = await keys.own.key()
    both = [first.certificate, second.certificate]
    assert certifiers(third.certificate, both, ALICE, clock.at) == frozenset()
