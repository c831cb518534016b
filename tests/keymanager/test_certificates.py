"""Certificates: merging, revocation, forged parts, and nothing secret in them."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    Malformed,
    NoEncryptionKey,
    NoSecretKey,
    NoSigningKey,
    SecretKey,
    address_of,
    generate,
    read_certificates,
    read_secret_keys,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

from .conftest import BIRTH

DAY = 86_400


def revoke(key: SecretKey, *, at: int, code: int | None, subkey: bool = False) -> Certificate:
    """The certificate with a revocation of the whole, or of its encryption subkey."""
    primary, user_id, last = key.certificate.components
    pieces = [key.certificate.primary.hashed]
    kind = SignatureType.REVOKE_KEY
    if subkey:
        pieces.append(key.certificate.keys[1].key.hashed)
        kind = SignatureType.REVOKE_SUBKEY
    says = [] if code is None else [subpacket(Subpacket.REVOCATION_REASON, bytes([code]) + b"why")]
    body = make_signature(key.primary_secret(), kind, pieces, created=at, statements=says)
    target = last if subkey else primary
    changed = Component(target.tag, target.body, (*target.signatures, body))
    return Certificate([primary, user_id, changed] if subkey else [changed, user_id, last])


def test_it_comes_back_from_binary_and_armor(alice: SecretKey) -> None:
    certificate = alice.certificate
    for data in (certificate.binary, certificate.armored(), alice.to_bytes(), alice.armored()):
        assert Certificate.from_bytes(data) == certificate
    assert certificate.user_ids == ("Alice <alice@example.test>",)
    assert certificate.addresses == ("alice@example.test",)
    assert certificate.key_ids[0] == certificate.fingerprint[-16:]
    assert certificate.created == BIRTH
    assert not certificate.revoked


def test_a_certificate_read_from_a_secret_key_holds_nothing_secret(alice: SecretKey) -> None:
    certificate = Certificate.from_bytes(alice.to_bytes())
    for secret in alice.decryption_keys():
        assert secret.fields[0] not in certificate.binary
        assert secret.fields[0] not in b"".join(c.body for c in certificate.components)


def test_keyrings_and_several_blocks_are_read(alice: SecretKey, bob: SecretKey) -> None:
    both = [alice.certificate, bob.certificate]
    assert read_certificates(b"".join(c.binary for c in both)) == both
    assert read_certificates(b"Hello\n" + b"\n".join(c.armored() for c in both)) == both
    with pytest.raises(Malformed):
        Certificate.from_bytes(alice.certificate.binary + bob.certificate.binary)
    rings = read_secret_keys(alice.armored() + bob.armored())
    assert [key.fingerprint for key in rings] == [alice.fingerprint, bob.fingerprint]
    with pytest.raises(NoSecretKey):
        SecretKey.from_bytes(alice.certificate.binary)


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [(None, "revoked", "revoked"), (2, "revoked", "revoked"), (1, "good", "revoked")],
)
def test_hard_revocations_count_always_soft_ones_from_their_date(
    code: int | None, before: str, after: str
) -> None:
    key = generate("x@example.test", now=lambda: BIRTH)
    revoked = revoke(key, at=BIRTH + 10 * DAY, code=code)
    assert revoked.revoked
    for at, state in ((BIRTH + DAY, before), (BIRTH + 20 * DAY, after)):
        signature = sign_detached(b"x", key, now=lambda at=at: at)  # type: ignore[misc]
        [verdict] = verify_detached(b"x", signature, [revoked], now=lambda: BIRTH + 30 * DAY)
        assert verdict.state == state
    with pytest.raises(NoEncryptionKey):
        revoked.encryption_key(BIRTH + 20 * DAY)
    with pytest.raises(NoSigningKey):
        key.with_certificate(revoked).signing_key(BIRTH + 20 * DAY)


def test_a_revoked_subkey_is_not_encrypted_to_and_opens_old_mail() -> None:
    key = generate("x@example.test", now=lambda: BIRTH)
    revoked = revoke(key, at=BIRTH + DAY, code=3, subkey=True)
    assert revoked.can_encrypt(BIRTH + DAY - 1)
    assert not revoked.can_encrypt(BIRTH + DAY)
    assert len(key.with_certificate(revoked).decryption_keys()) == 1


def test_revocations_by_others_and_forged_ones_do_nothing(alice: SecretKey, eve: SecretKey) -> None:
    primary, *rest = alice.certificate.components
    pieces = (alice.certificate.primary.hashed,)
    by_eve = make_signature(eve.primary_secret(), SignatureType.REVOKE_KEY, pieces, created=BIRTH)
    named = subpacket(Subpacket.ISSUER_FINGERPRINT, b"\x04" + alice.certificate.primary.fingerprint)
    forged = make_signature(
        eve.primary_secret(), SignatureType.REVOKE_KEY, pieces, created=BIRTH, statements=[named]
    )
    attacked = Certificate(
        [Component(primary.tag, primary.body, (*primary.signatures, by_eve, forged)), *rest]
    )
    assert not attacked.revoked
    merged = alice.certificate.merge(attacked)
    bodies = merged.components[0].signatures
    assert forged not in bodies  # it names alice's own key, and is not by it
    assert not merged.revoked


def test_a_user_id_somebody_added_is_not_believed_and_not_merged(
    alice: SecretKey, eve: SecretKey
) -> None:
    user_id = b"ceo@example.test"
    pieces = (
        *(alice.certificate.primary.hashed, b"\xb4"),
        *(len(user_id).to_bytes(4, "big"), user_id),
    )
    by_eve = make_signature(
        eve.primary_secret(), SignatureType.CERTIFY_POSITIVE, pieces, created=BIRTH
    )
    attacked = Certificate(
        [*alice.certificate.components, Component(Tag.USER_ID, user_id, (by_eve,))]
    )
    assert attacked.addresses == ("alice@example.test",)
    assert alice.certificate.merge(attacked) == alice.certificate


def test_merging_loses_nothing(alice: SecretKey, bob: SecretKey) -> None:
    certificate = alice.certificate
    revoked = revoke(alice, at=BIRTH + DAY, code=1)
    for one, other in ((certificate, revoked), (revoked, certificate)):
        merged = one.merge(other)
        assert merged.revoked
        assert {c.body for c in merged.components} == {c.body for c in certificate.components}
    minimal = Certificate(certificate.components[:2])
    assert minimal.merge(certificate).key_ids == certificate.key_ids
    assert certificate.merge(minimal) == certificate
    with pytest.raises(Malformed):
        certificate.merge(bob.certificate)
    assert alice.merge(alice).to_bytes() == alice.to_bytes()


def test_a_certificate_without_own_signatures_is_good_for_nothing(alice: SecretKey) -> None:
    bare = Certificate([Component(c.tag, c.body, ()) for c in alice.certificate.components])
    assert bare.user_ids == bare.addresses == ()
    assert len(bare.keys) == 1
    with pytest.raises(NoEncryptionKey):
        bare.encryption_key(BIRTH + 1)
    signature = sign_detached(b"x", alice, now=lambda: BIRTH + 1)
    [verdict] = verify_detached(b"x", signature, [bare], now=lambda: BIRTH + 1)
    assert verdict.state == "bad"


def test_a_flood_of_forged_self_signatures_is_bounded(alice: SecretKey) -> None:
    primary, user_id, subkey = alice.certificate.components
    good = user_id.signatures[0]
    flood = tuple(good[:-4] + n.to_bytes(4, "big") for n in range(500))
    attacked = Certificate([primary, Component(user_id.tag, user_id.body, (good, *flood)), subkey])
    assert attacked.addresses == ("alice@example.test",)
    assert alice.certificate.merge(attacked) == alice.certificate


def test_critical_demands_we_do_not_know_make_a_signature_unusable(alice: SecretKey) -> None:
    for kind, state in ((100, "bad"), (20, "bad")):
        body = make_signature(
            alice.primary_secret(),
            SignatureType.BINARY,
            (b"x",),
            created=BIRTH + 1,
            statements=[subpacket(kind, b"\0" * 8, critical=True)],
        )
        armored = packet(Tag.SIGNATURE, body)
        [verdict] = verify_detached(b"x", armored, [alice.certificate], now=lambda: BIRTH + 2)
        assert verdict.state == state
        assert "does not know" in verdict.reason


@pytest.mark.parametrize(
    ("user_id", "address"),
    [
        ("Alice <Alice@Example.test>", "alice@example.test"),
        ("alice@example.test", "alice@example.test"),
        ("<alice@example.test>", "alice@example.test"),
        ("alice@example.test <eve@evil.test>", "eve@evil.test"),
        ("<alice@example.test> eve", ""),
        ("Alice", ""),
    ],
)
def test_addresses_in_user_ids(user_id: str, address: str) -> None:
    assert address_of(user_id) == address


@pytest.mark.parametrize("address", ["", "alice", "a b@c", "a@b@c", "<a@b>", "a@b\n"])
def test_no_key_for_what_is_no_address(address: str) -> None:
    with pytest.raises(Malformed):
        generate(address)
