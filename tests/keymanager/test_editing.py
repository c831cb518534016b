"""Edits of one's own key: what each changes, what it leaves alone, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    Malformed,
    NoSecretKey,
    NoSuchPart,
    OpenPGPError,
    RevocationReason,
    RevokedCertificate,
    SecretKey,
    Unsupported,
    add_encryption_subkey,
    add_signing_subkey,
    add_user_id,
    decrypt,
    encrypt,
    extend,
    generate,
    revoke,
    revoke_subkey,
    revoke_user_id,
    rotate_encryption_subkey,
    set_expiry,
    set_primary_user_id,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import Signature, SignatureType, Subpacket, subpacket

from .conftest import ALICE, BIRTH, DAY
from .making import changed, sign_on, user_id_of, with_more

YEAR = 365 * DAY
END = BIRTH + 2 * YEAR
LATER = BIRTH + 3 * YEAR
NOW = BIRTH + 30 * DAY
KINDS = [(4, False), (4, True), (6, False), (6, True)]
Edit = Callable[[SecretKey], SecretKey]


@pytest.fixture(scope="module", params=KINDS, ids=["v4", "v4+ML-KEM", "v6", "v6+ML-KEM"])
def key(request: pytest.FixtureRequest) -> SecretKey:
    version, post_quantum = request.param
    return generate(ALICE, now=lambda: BIRTH, version=version, post_quantum=post_quantum)


@pytest.fixture(scope="module")
def plain() -> SecretKey:
    return generate(ALICE, now=lambda: BIRTH)


def ends(key: SecretKey) -> list[int | None]:
    return [state.expires for state in key.certificate.keys]


def parts_of(certificate: Certificate) -> set[tuple[int, bytes, bytes]]:
    return {(c.tag, c.body, s) for c in certificate.components for s in (b"", *c.signatures)}


EDITS: dict[str, Edit] = {
    "extend": lambda key: extend(key, expires=LATER, now=NOW),
    "set_expiry": lambda key: set_expiry(key, expires=NOW + DAY, now=NOW),
    "unlimited": lambda key: set_expiry(key, expires=None, now=NOW),
    "add_encryption_subkey": lambda key: add_encryption_subkey(key, now=NOW, expires=END),
    "add_signing_subkey": lambda key: add_signing_subkey(key, now=NOW, expires=END),
    "rotate": lambda key: rotate_encryption_subkey(key, now=NOW, expires=END, revoke_old=True),
    "add_user_id": lambda key: add_user_id(key, "Al <al@example.test>", now=NOW),
    "set_primary_user_id": lambda key: set_primary_user_id(key, ALICE, now=NOW),
    "revoke_user_id": lambda key: revoke_user_id(key, ALICE, now=NOW),
    "revoke_subkey": lambda key: revoke_subkey(
        key, key.certificate.fingerprints[-1], reason=RevocationReason.SUPERSEDED, now=NOW
    ),
    "revoke": lambda key: revoke(key, reason=RevocationReason.RETIRED, now=NOW),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_takes_nothing_away_and_leaves_the_old_key_as_it_is(
    key: SecretKey, name: str
) -> None:
    before = key.to_bytes()
    mail = encrypt(b"old mail", [key.certificate], now=lambda: NOW)
    edited = EDITS[name](key)
    assert key.to_bytes() == before
    assert parts_of(edited.certificate) > parts_of(key.certificate)
    assert edited.certificate.cleaned() == edited.certificate  # every new signature is true
    assert SecretKey.from_bytes(edited.to_bytes()).to_bytes() == edited.to_bytes()
    assert decrypt(mail, [edited]).plaintext == b"old mail"
    if edited.certificate.can_encrypt(NOW + 60):
        new = encrypt(b"new mail", [edited.certificate], now=lambda: NOW + 60)
        assert decrypt(new, [edited]).plaintext == b"new mail"


def test_the_later_edit_decides_even_in_one_second_and_by_a_clock_that_is_behind(
    key: SecretKey,
) -> None:
    once = set_expiry(key, expires=LATER + YEAR, now=LATER)
    for at in (LATER, NOW):
        again = extend(once, expires=LATER + 2 * YEAR, now=at)
        assert set(ends(again)) == {LATER + 2 * YEAR}
    added = add_user_id(once, "Al <al@example.test>", now=LATER)
    assert added.certificate.expires == LATER + YEAR
    first = set_primary_user_id(added, "Al <al@example.test>", now=NOW)
    assert first.certificate.user_ids[0] == "Al <al@example.test>"
    assert set_primary_user_id(first, ALICE, now=NOW).certificate.user_ids[0] == ALICE
    assert revoke_user_id(first, ALICE, now=NOW).certificate.addresses == ("al@example.test",)


def test_extending_moves_the_ends_of_key_user_ids_and_subkeys(key: SecretKey) -> None:
    both = add_signing_subkey(add_user_id(key, "Al", now=BIRTH), now=BIRTH, expires=END)
    assert set(ends(both)) == {END}
    extended = extend(both, expires=LATER, now=NOW)
    assert set(ends(extended)) == {LATER}
    if key.certificate.primary.version == 4:
        for component in extended.certificate.components[1:3]:
            newest = Signature(component.signatures[-1])
            assert newest.key_expires(extended.certificate.primary) == LATER
    signature = sign_detached(b"x", extended, now=lambda: END + DAY)
    [verdict] = verify_detached(b"x", signature, [extended.certificate], now=lambda: END + DAY)
    assert verdict.state == "good"
    assert extended.signing_key(END + DAY).public == extended.certificate.keys[-1].key
    assert extend(extended, expires=LATER, now=NOW + 1) is extended
    assert extend(extended, expires=END, now=NOW) is extended  # never sooner


def test_an_expired_key_comes_back_with_the_subkeys_that_ended_with_it(key: SecretKey) -> None:
    both = add_signing_subkey(key, now=BIRTH, expires=END)
    both = add_signing_subkey(both, now=BIRTH, expires=NOW)  # let go of on purpose
    back = extend(both, expires=LATER, now=END + DAY)
    assert back.certificate.can_encrypt(END + 2 * DAY)
    assert ends(back)[-2:] == [LATER, NOW]


def test_what_was_replaced_or_revoked_is_not_extended(plain: SecretKey) -> None:
    rotated = rotate_encryption_subkey(plain, now=NOW, expires=END)
    rotated = add_user_id(rotated, "Gone", now=NOW)
    rotated = revoke_user_id(rotated, "Gone", now=NOW)
    extended = extend(rotated, expires=LATER, now=NOW + DAY)
    assert ends(extended) == [LATER, END, LATER]
    assert extended.certificate.user_ids == (ALICE,)
    fingerprint = extended.certificate.fingerprints[2]
    gone = revoke_subkey(rotated, fingerprint, reason=RevocationReason.COMPROMISED, now=NOW)
    state = extend(gone, expires=LATER, now=NOW + DAY).certificate.keys[2]
    assert (state.expires, state.revoked) == (END, 0)


def test_a_subkey_that_was_let_go_of_does_not_come_back_when_its_successor_is_revoked(
    plain: SecretKey,
) -> None:
    rotated = rotate_encryption_subkey(plain, now=NOW, expires=END, old_expires=NOW + DAY)
    successor = rotated.certificate.fingerprints[2]
    gone = revoke_subkey(rotated, successor, reason=RevocationReason.COMPROMISED, now=NOW)
    later = extend(gone, expires=LATER, now=NOW + 2 * DAY)
    assert ends(later) == [LATER, NOW + DAY, END]
    assert not later.certificate.can_encrypt(NOW + 2 * DAY)
    new = rotate_encryption_subkey(later, now=NOW + 2 * DAY, expires=LATER)
    assert new.certificate.can_encrypt(NOW + 2 * DAY)
    soon = extend(gone, expires=LATER, now=NOW + 60)  # while it is what is written to
    assert ends(soon) == [LATER, LATER, END]


def test_subkeys_without_end_stay_so_and_a_key_can_get_an_end_or_none(key: SecretKey) -> None:
    unlimited = set_expiry(key, expires=None, now=NOW)
    assert set(ends(unlimited)) == {None}
    assert extend(unlimited, expires=LATER, now=NOW) is unlimited
    limited = set_expiry(unlimited, expires=LATER, now=NOW)
    assert ends(limited)[0] == LATER
    assert set(ends(limited)[1:]) == {None}
    sooner = set_expiry(key, expires=NOW + DAY, now=NOW)
    assert ends(sooner)[0] == NOW + DAY
    assert not sooner.certificate.can_encrypt(NOW + DAY)


@pytest.mark.parametrize("expires", [NOW - 1, NOW, BIRTH + (1 << 32)])
def test_impossible_ends_are_refused(plain: SecretKey, expires: int) -> None:
    with pytest.raises(Malformed):
        extend(plain, expires=expires, now=NOW)
    with pytest.raises(Malformed):
        generate(ALICE, now=lambda: BIRTH, lifetime=0)
    with pytest.raises(Malformed):
        set_expiry(plain, expires=BIRTH, now=NOW)


def test_renewing_keeps_what_the_signature_said_besides(plain: SecretKey) -> None:
    """Notations carry proofs of identity, flags and preferences what programs may do."""
    name = user_id_of(plain.certificate, ALICE)
    before = Signature(name.signatures[0])
    notation = subpacket(Subpacket.NOTATION, bytes(4) + b"\0\x03\0\x01a@bc")
    says = [*before.statements(lambda kind: kind != Subpacket.CREATED), notation]
    kind = SignatureType.CERTIFY_GENERIC
    body = sign_on(name, plain.certificate, plain, kind, at=BIRTH + 1, says=says)
    with_proof = with_more(name, [body])
    certificate = Certificate(
        [with_proof if c is name else c for c in plain.certificate.components]
    )
    renewed = extend(changed(plain, certificate), expires=LATER, now=NOW).certificate
    last = Signature(renewed.components[1].signatures[-1])
    kinds = {*_ABOUT, Subpacket.NOTATION}
    assert last.statements(kinds.__contains__) == Signature(body).statements(kinds.__contains__)
    assert last.kind == SignatureType.CERTIFY_GENERIC
    assert renewed.keys[0].flags == plain.certificate.keys[0].flags
    other = add_user_id(changed(plain, certificate), "Al", now=NOW).certificate
    assert not Signature(other.components[2].signatures[0]).statements(
        lambda k: k == Subpacket.NOTATION
    )


_ABOUT = (
    Subpacket.KEY_FLAGS,
    Subpacket.SYMMETRIC,
    Subpacket.HASHES,
    Subpacket.FEATURES,
    Subpacket.PRIMARY_USER_ID,
)


def test_the_new_encryption_subkey_is_written_to_and_the_old_one_read_with(key: SecretKey) -> None:
    old = key.certificate.encryption_key(NOW)
    mail = encrypt(b"before", [key.certificate], now=lambda: NOW)
    for revoke_old, old_expires in ((False, None), (True, None), (False, NOW + DAY)):
        rotated = rotate_encryption_subkey(
            key, now=NOW, expires=LATER, revoke_old=revoke_old, old_expires=old_expires
        )
        certificate = rotated.certificate
        new = certificate.encryption_key(NOW + 1)
        assert new.fingerprint != old.fingerprint
        assert new.algorithm == old.algorithm
        assert certificate.minimal(ALICE).encryption_key(NOW + 1).algorithm != ML_KEM
        state = next(s for s in certificate.keys if s.key == old)
        assert state.revoked == (NOW if revoke_old else None)
        assert state.expires == (old_expires or END)
        assert decrypt(mail, [rotated]).plaintext == b"before"
        before = encrypt(b"before", [certificate], now=lambda: NOW)
        assert decrypt(before, [rotated]).plaintext == b"before"


def test_ml_kem_goes_beside_and_before_x25519_in_versions_4_and_6(plain: SecretKey) -> None:
    for key in (plain, generate(ALICE, now=lambda: BIRTH, version=6)):
        both = add_encryption_subkey(key, now=NOW, expires=END, post_quantum=True)
        assert both.certificate.encryption_key(NOW).algorithm == ML_KEM
        assert len(both.certificate.keys) == 3
    with pytest.raises(Unsupported):
        generate(ALICE, now=lambda: BIRTH, version=5, post_quantum=True)


def test_user_ids_are_added_taken_back_and_put_first(key: SecretKey) -> None:
    added = add_user_id(key, "Al <al@example.test>", now=NOW)
    assert added.certificate.addresses == (ALICE, "al@example.test")
    assert added.certificate.expires == END
    assert added.certificate.keys[0].flags == key.certificate.keys[0].flags
    first = set_primary_user_id(added, "Al <al@example.test>", now=NOW)
    assert first.certificate.addresses == ("al@example.test", ALICE)
    back = revoke_user_id(first, "Al <al@example.test>", text="no more", now=NOW)
    assert back.certificate.addresses == (ALICE,)
    with pytest.raises(NoSuchPart):
        set_primary_user_id(back, "Al <al@example.test>", now=NOW)
    again = add_user_id(back, "Al <al@example.test>", now=NOW, primary=True)
    assert again.certificate.addresses == ("al@example.test", ALICE)
    assert len(again.certificate.components) == len(first.certificate.components)


@pytest.mark.parametrize("text", ["", "a\nb", "a\0", "x" * 2049, "\ud800"])
def test_what_cannot_be_a_user_id_is_refused(plain: SecretKey, text: str) -> None:
    with pytest.raises(Malformed):
        add_user_id(plain, text, now=NOW)
    with pytest.raises(Malformed):
        generate(ALICE, more_user_ids=[text])


def test_several_user_ids_from_the_beginning(plain: SecretKey) -> None:
    key = generate(ALICE, name="Alice", more_user_ids=["Al <al@example.test>"], now=lambda: BIRTH)
    assert key.certificate.user_ids == (f"Alice <{ALICE}>", "Al <al@example.test>")
    assert key.certificate.addresses == (ALICE, "al@example.test")


@pytest.mark.parametrize("name", EDITS)
def test_without_the_primary_secret_nothing_can_be_edited(plain: SecretKey, name: str) -> None:
    subkeys = {
        s.public.fingerprint: s
        for s in plain.decryption_keys()
        if s.public != plain.certificate.primary
    }
    with pytest.raises(NoSecretKey):
        EDITS[name](SecretKey(plain.certificate, subkeys))


@pytest.mark.parametrize("name", [n for n in EDITS if not n.startswith("revoke")])
def test_a_revoked_key_is_not_edited(plain: SecretKey, name: str) -> None:
    gone = revoke(plain, reason=RevocationReason.RETIRED, now=NOW)
    with pytest.raises(RevokedCertificate):
        EDITS[name](gone)


def test_parts_that_are_not_there_are_named_as_missing(plain: SecretKey) -> None:
    reason = RevocationReason.NONE
    for fingerprint in ("", "00" * 20, plain.fingerprint):
        with pytest.raises(NoSuchPart):
            revoke_subkey(plain, fingerprint, reason=reason, now=NOW)
    with pytest.raises(NoSuchPart):
        revoke_user_id(plain, "nobody", now=NOW)
    unsigned = Certificate([*plain.certificate.components, Component(Tag.USER_ID, b"nobody", ())])
    with pytest.raises(NoSuchPart):
        revoke_user_id(changed(plain, unsigned), "nobody", now=NOW)


def test_a_signing_subkey_whose_secret_is_elsewhere_is_extended_with_its_old_back_signature(
    plain: SecretKey,
) -> None:
    both = add_signing_subkey(plain, now=NOW, expires=END)
    primary = both.primary_secret()
    alone = SecretKey(both.certificate, {primary.public.fingerprint: primary})
    extended = extend(alone, expires=LATER, now=NOW)
    assert extended.certificate.keys[-1].flags == 2
    assert extended.certificate.keys[-1].expires == LATER


def minimised(key: SecretKey) -> SecretKey:
    return key.edited(key.certificate.minimal(ALICE))


def test_edits_of_changed_keys_raise_only_errors_of_the_engine(key: SecretKey) -> None:
    """A key file may be damaged, or made by somebody to be imported."""
    chance = random.Random(11)
    rich = add_signing_subkey(add_user_id(key, "Al", now=BIRTH), now=BIRTH, expires=END)
    octets = rich.to_bytes()
    outcomes = {"read": 0, "edited": 0, "refused": 0}
    for _ in range(40):
        changed_octets = bytearray(octets)
        for _ in range(chance.randrange(1, 4)):
            changed_octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        try:
            read = SecretKey.from_bytes(bytes(changed_octets))
        except OpenPGPError:
            continue
        outcomes["read"] += 1
        for edit in (*EDITS.values(), minimised):
            try:
                edit(read)
                outcomes["edited"] += 1
            except OpenPGPError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 0, outcomes
