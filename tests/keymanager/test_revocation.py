"""Revocations: made at a key's birth and applied later, hard and soft ones, and what is none."""

from __future__ import annotations

import random

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    Malformed,
    OpenPGPError,
    RevocationReason,
    SecretKey,
    add_user_id,
    apply_revocation,
    extend,
    generate_with_revocation,
    offload,
    revocation_certificate,
    revoke,
    revoke_user_id,
    rotate_encryption_subkey,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.packets import Tag, read_packets
from leap.keymanager.openpgp.revocation import MAX_REVOCATION
from leap.keymanager.openpgp.signature import Signature

from .conftest import ALICE, BIRTH, DAY

NOW = BIRTH + 30 * DAY
END = BIRTH + 900 * DAY


@pytest.mark.parametrize("version", [4, 6])
def test_what_was_made_at_birth_revokes_whatever_became_of_the_key(version: int) -> None:
    made = generate_with_revocation(ALICE, now=lambda: BIRTH, version=version)
    assert b"PUBLIC KEY BLOCK" in made.revocation
    assert "BEGIN" not in repr(made)
    key = add_user_id(extend(made.key, expires=END, now=NOW), "Al", now=NOW)
    key = rotate_encryption_subkey(key, now=NOW, expires=END)
    gone = apply_revocation(key.certificate, made.revocation)
    assert gone.keys[0].revoked == 0  # hard: also for the past
    assert not gone.can_encrypt(NOW)
    assert apply_revocation(gone, made.revocation) == gone
    tags = [item.tag for item in read_packets(dearmor(made.revocation))]
    assert tags == ([Tag.SIGNATURE] if version == 4 else [Tag.PUBLIC_KEY, Tag.SIGNATURE])
    alone = Certificate(key.certificate.components[:1])
    assert apply_revocation(alone, made.revocation).revoked


@pytest.mark.parametrize("reason", RevocationReason)
def test_the_reason_decides_whether_the_past_stands(
    alice: SecretKey, reason: RevocationReason
) -> None:
    gone = revoke(alice, reason=reason, text="because", now=NOW).certificate
    newest = Signature(gone.components[0].signatures[-1])
    assert newest.revocation_reason == (reason, "because")
    signature = sign_detached(b"x", alice, now=lambda: NOW - DAY)
    [verdict] = verify_detached(b"x", signature, [gone], now=lambda: NOW + DAY)
    hard = reason in (RevocationReason.NONE, RevocationReason.COMPROMISED)
    assert verdict.state == ("revoked" if hard else "good")
    assert not gone.can_encrypt(NOW)


def test_a_soft_revocation_can_become_a_hard_one(alice: SecretKey) -> None:
    soft = revoke(alice, reason=RevocationReason.RETIRED, now=NOW)
    assert soft.certificate.keys[0].revoked == NOW
    hard = revoke(soft, reason=RevocationReason.COMPROMISED, now=NOW + DAY)
    assert hard.certificate.keys[0].revoked == 0


def test_revocations_of_other_keys_and_what_is_none_are_refused(
    alice: SecretKey, bob: SecretKey
) -> None:
    of_bob = revocation_certificate(bob, now=NOW)
    renamed = revoke_user_id(add_user_id(alice, "Al", now=NOW), "Al", now=NOW)
    for data in (
        of_bob,
        b"",
        b"hello",
        alice.certificate.armored(),
        alice.armored(),
        renamed.certificate.armored(),  # only a name of it is revoked
        sign_detached(b"x", alice, now=lambda: NOW),
        bytes(MAX_REVOCATION + 1),
    ):
        with pytest.raises(OpenPGPError):
            apply_revocation(alice.certificate, data)
    whole = revoke(alice, reason=RevocationReason.NONE, now=NOW).certificate
    assert apply_revocation(alice.certificate, whole.armored()).revoked
    both = of_bob + revocation_certificate(alice, now=NOW)
    applied = apply_revocation(alice.certificate, both)
    assert (
        len(applied.components[0].signatures) == len(alice.certificate.components[0].signatures) + 1
    )


def test_changed_revocations_do_nothing_and_raise_only_errors_of_the_engine(
    alice: SecretKey,
) -> None:
    packets = dearmor(revocation_certificate(alice, now=NOW, text="text"))
    chance = random.Random(3)
    for _ in range(300):
        changed = bytearray(packets)
        for _ in range(chance.randrange(1, 3)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            del changed[chance.randrange(len(changed)) :]
        try:
            applied = apply_revocation(alice.certificate, bytes(changed))
        except OpenPGPError:
            continue
        assert applied.revoked  # only what is not signed was changed
        assert bytes(changed)[:40] == packets[:40]


def test_texts_of_any_kind_are_taken_and_too_long_ones_refused(alice: SecretKey) -> None:
    for text in ("", "Grüße", "\ud800", "x" * 5000):
        gone = revoke(alice, reason=RevocationReason.NONE, text=text, now=NOW)
        assert gone.certificate.revoked
    with pytest.raises(Malformed):
        revoke(alice, reason=RevocationReason.NONE, text="x" * 70_000, now=NOW)


async def test_a_new_key_and_its_revocation_are_made_off_the_loop() -> None:
    made = await offload.generate_with_revocation(ALICE, now=BIRTH, post_quantum=True)
    assert made.key.certificate.created == BIRTH
    assert apply_revocation(made.key.certificate, made.revocation).revoked
