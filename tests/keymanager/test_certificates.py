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
    TooLarge,
    address_of,
    generate,
    read_certificates,
    read_secret_keys,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.key_state import CERTIFY, SIGN
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.self_signatures import MAX_CHECKED, MAX_VERIFIED
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

from .conftest import BIRTH, DAY
from .making import (
    forged_revocations,
    replaced,
    sign_on,
    user_id_of,
    with_more,
    with_user_id,
)
from .making import revoked as made_revoked


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


def test_forged_revocations_do_not_hide_a_true_one(bob: SecretKey) -> None:
    head = bob.certificate.components[0]
    flooded = replaced(bob.certificate, head, with_more(head, forged_revocations(bob, 150)))
    assert not flooded.revoked
    assert flooded.cleaned() == bob.certificate
    assert flooded.merge(made_revoked(bob)).revoked
    # the limits are for one offer: many floods, one after the other, use nothing up
    for number in range(3):
        flood = with_more(head, forged_revocations(bob, 150, first=150 * number))
        flooded = replaced(bob.certificate, head, flood)
        assert bob.certificate.merge(flooded) == bob.certificate
    assert bob.certificate.merge(made_revoked(bob)).revoked


def test_other_signatures_do_not_use_up_the_limit_of_revocations(bob: SecretKey) -> None:
    names = [b"Bob %d" % number for number in range(5)]
    flood = [
        Component(Tag.USER_ID, name, tuple(forged_names(bob, name, MAX_CHECKED))) for name in names
    ]
    revoked = made_revoked(bob)
    assert Certificate([*flooded_first(revoked, flood)]).revoked
    assert Certificate([*flooded_first(revoked, flood)]).cleaned().revoked


def forged_names(key: SecretKey, name: bytes, count: int) -> list[bytes]:
    bare = Component(Tag.USER_ID, name, ())
    kind = SignatureType.CERTIFY_POSITIVE
    made = [
        bytearray(sign_on(bare, key.certificate, key, kind, at=BIRTH + number))
        for number in range(count)
    ]
    for body in made:
        body[-1] ^= 1
    return [bytes(body) for body in made]


def flooded_first(certificate: Certificate, flood: list[Component]) -> list[Component]:
    head, *rest = certificate.components
    return [head, *flood, *rest]


def test_a_certificate_costs_a_bounded_number_of_verifications(
    bob: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    real = PublicKey.verify

    def verify(self: PublicKey, hash_number: int, digest: bytes, fields: bytes) -> bool:
        counted.append(digest)
        return real(self, hash_number, digest, fields)

    names = [b"Bob %d" % number for number in range(5)]
    flood = [
        Component(Tag.USER_ID, name, tuple(forged_names(bob, name, MAX_CHECKED))) for name in names
    ]
    certificate = Certificate([*bob.certificate.components, *flood])
    monkeypatch.setattr(PublicKey, "verify", verify)
    for _ in range(3):
        certificate.user_ids, certificate.keys, certificate.can_encrypt(BIRTH + DAY)
        certificate.keys_at(BIRTH + DAY), certificate.cleaned()
    assert MAX_VERIFIED // 2 < len(counted) <= MAX_VERIFIED


def test_a_self_signature_past_its_own_end_does_not_count(bob: SecretKey) -> None:
    """RFC 9580 5.2.3.18; an older one without an end stands again then."""
    for_a_day = subpacket(Subpacket.EXPIRES, DAY.to_bytes(4, "big"), critical=True)
    named = with_user_id(bob, "other@example.test", at=BIRTH, says=[for_a_day]).certificate
    assert "other@example.test" in named.addresses_at(BIRTH + DAY - 1)
    assert named.addresses_at(BIRTH + DAY) == ("bob@example.test",)

    component = user_id_of(bob.certificate, "bob@example.test")
    kind = SignatureType.CERTIFY_POSITIVE
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x01"), for_a_day]
    newer = sign_on(component, bob.certificate, bob, kind, at=BIRTH + 1, says=says)
    certificate = replaced(bob.certificate, component, with_more(component, [newer]))
    assert certificate.keys_at(BIRTH + DAY)[0].flags == CERTIFY
    assert certificate.keys_at(BIRTH + DAY + 1)[0].flags == CERTIFY | SIGN

    subkey = bob.certificate.components[-1]
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x0c"), for_a_day]
    kind = SignatureType.SUBKEY_BINDING
    body = sign_on(subkey, bob.certificate, bob, kind, at=BIRTH, says=says)
    bound_for_a_day = replaced(bob.certificate, subkey, subkey._replace(signatures=(body,)))
    assert bound_for_a_day.can_encrypt(BIRTH + DAY - 1)
    assert not bound_for_a_day.can_encrypt(BIRTH + DAY)


def test_what_is_learnt_for_one_address_has_no_other(bob: SecretKey) -> None:
    both = with_user_id(with_user_id(bob, "Eve <eve@example.test>"), "Bob the builder").certificate
    assert both.of_address("bob@example.test").user_ids == ("bob@example.test", "Bob the builder")
    assert both.of_address("bob@example.test").can_encrypt(BIRTH + DAY)


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


def test_a_certificate_of_thousands_of_names_is_refused_unread(bob: SecretKey) -> None:
    names = b"".join(packet(Tag.USER_ID, f"a@ü{number}.example".encode()) for number in range(1001))
    with pytest.raises(TooLarge, match="many user ids"):
        Certificate.from_bytes(bob.certificate.binary + names)
