"""When the owner of an old key vouches for a new one, and what is none of that."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    Malformed,
    NoSecretKey,
    NoSigningKey,
    NoSuchPart,
    RevokedCertificate,
    SecretKey,
    certify,
    generate,
    revoke_certification,
    revoke_user_id,
)
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.signature import (
    CERTIFICATIONS,
    Signature,
    SignatureType,
    Subpacket,
    subpacket,
)

from .conftest import BIRTH
from .making import (
    changed,
    replaced,
    revoked,
    sign_on,
    user_id_of,
    with_more,
    with_user_id,
)

BOB, MALLORY = "bob@example.test", "mallory@example.test"
AT = BIRTH + 86_400.0
GENERIC = SignatureType.CERTIFY_GENERIC


def certified(
    new: SecretKey,
    by: SecretKey,
    address: str = BOB,
    *,
    kinds: tuple[int, ...] = (GENERIC,),
    says: tuple[bytes, ...] = (),
    at: int = BIRTH + 5,
) -> Certificate:
    """The certificate of `new` with signatures of `by` on its name with that address."""
    component = user_id_of(new.certificate, address)
    made = [
        sign_on(component, new.certificate, by, kind, at=at + index, says=says)
        for index, kind in enumerate(kinds)
    ]
    return replaced(new.certificate, component, with_more(component, made))


@pytest.fixture
def new() -> SecretKey:
    return generate(BOB, now=lambda: BIRTH + 1)


def vouch(new: Certificate, old: Certificate, address: str = BOB, at: float = AT) -> bool:
    return certifiers(new, [old], address, at) == {old.fingerprint}


def test_the_owner_of_the_old_key_vouches_for_the_new_one(bob: SecretKey, new: SecretKey) -> None:
    assert vouch(certified(new, bob), bob.certificate)
    assert not vouch(new.certificate, bob.certificate)


def test_a_certification_of_another_name_says_nothing_of_this_one(bob: SecretKey) -> None:
    mallory = generate(MALLORY, now=lambda: BIRTH)
    known_to_bob = with_user_id(mallory, f"Bob <{BOB}>")
    offered = certified(known_to_bob, bob, MALLORY)
    assert vouch(offered, bob.certificate, MALLORY)
    assert not vouch(offered, bob.certificate, BOB)


def test_a_name_which_its_own_key_does_not_vouch_for_is_not_certified(
    bob: SecretKey, new: SecretKey
) -> None:
    offered = certified(new, bob)
    component = user_id_of(offered, BOB)
    by_bob_alone = component._replace(signatures=component.signatures[1:])
    assert not vouch(replaced(offered, component, by_bob_alone), bob.certificate)


def test_a_certification_taken_back_or_past_its_end_does_not_count(
    bob: SecretKey, new: SecretKey
) -> None:
    back = SignatureType.REVOKE_CERTIFICATION
    assert not vouch(certified(new, bob, kinds=(GENERIC, back)), bob.certificate)
    for_an_hour = (subpacket(Subpacket.EXPIRES, (3600).to_bytes(4, "big")),)
    offered = certified(new, bob, says=for_an_hour)
    assert vouch(offered, bob.certificate, at=BIRTH + 3000)
    assert not vouch(offered, bob.certificate, at=BIRTH + 4000)
    from_tomorrow = certified(new, bob, at=int(AT) + 86_400)
    assert not vouch(from_tomorrow, bob.certificate)


def test_a_key_that_is_revoked_ended_or_may_not_certify_vouches_for_nobody(
    bob: SecretKey, new: SecretKey
) -> None:
    assert not vouch(certified(new, bob), revoked(bob))
    assert not vouch(certified(new, bob), bob.certificate, at=bob.certificate.expires or 0)
    component = user_id_of(bob.certificate, BOB)
    kind = SignatureType.CERTIFY_POSITIVE
    only_signs = subpacket(Subpacket.KEY_FLAGS, b"\x02")
    body = sign_on(component, bob.certificate, bob, kind, says=[only_signs])
    signer = changed(
        bob, replaced(bob.certificate, component, component._replace(signatures=(body,)))
    )
    assert not vouch(certified(new, signer), signer.certificate)


# --- saying so --------------------------------------------------------------------------------------


def test_what_one_certifies_is_vouched_for_until_it_ends_or_is_taken_back(
    bob: SecretKey, new: SecretKey
) -> None:
    end = AT + 86_400
    said = certify(bob, new.certificate, BOB.upper(), now=AT - 5, expires=end)
    assert vouch(said, bob.certificate, at=end - 1)
    assert not vouch(said, bob.certificate, at=end)
    back = revoke_certification(bob, said, BOB, now=AT - 5, text="a mistake")
    assert not vouch(back, bob.certificate)
    assert said.cleaned() == said
    assert new.certificate.merge(said) == said
    with pytest.raises(NoSuchPart):
        revoke_certification(bob, new.certificate, BOB, now=AT)


@pytest.mark.parametrize("level", sorted(CERTIFICATIONS))
def test_the_level_of_care_is_said(bob: SecretKey, new: SecretKey, level: int) -> None:
    said = certify(bob, new.certificate, BOB, now=AT - 5, level=SignatureType(level))
    assert Signature(user_id_of(said, BOB).signatures[-1]).kind == level
    assert vouch(said, bob.certificate)


def test_a_local_certification_stays_in_ones_own_store(bob: SecretKey, new: SecretKey) -> None:
    said = certify(bob, new.certificate, BOB, now=AT - 5, exportable=False)
    assert vouch(said, bob.certificate)
    assert vouch(Certificate.from_bytes(said.complete), bob.certificate)
    assert said.binary == new.certificate.binary
    back = revoke_certification(bob, said, BOB, now=AT)
    assert not vouch(back, bob.certificate)
    assert back.binary == new.certificate.binary


def test_only_what_the_certificate_says_of_itself_is_certified(
    bob: SecretKey, new: SecretKey
) -> None:
    with pytest.raises(NoSuchPart):
        certify(bob, new.certificate, MALLORY, now=AT)
    renamed = revoke_user_id(with_user_id(new, f"M <{MALLORY}>"), f"M <{MALLORY}>", now=AT - 9)
    with pytest.raises(NoSuchPart):
        certify(bob, renamed.certificate, MALLORY, now=AT)
    with pytest.raises(RevokedCertificate):
        certify(bob, revoked(new), BOB, now=AT)
    with pytest.raises(Malformed):
        certify(bob, new.certificate, BOB, now=AT, level=SignatureType.BINARY)
    for end in (AT, AT - 1, AT + (1 << 33)):
        with pytest.raises(Malformed):
            certify(bob, new.certificate, BOB, now=AT, expires=end)


def test_a_key_that_is_dead_or_not_here_certifies_nobody(bob: SecretKey, new: SecretKey) -> None:
    dead = changed(bob, revoked(bob))
    subkeys = {s.public.fingerprint: s for s in bob.decryption_keys()}
    with pytest.raises(NoSigningKey):
        certify(dead, new.certificate, BOB, now=AT)
    with pytest.raises(NoSigningKey):
        certify(bob, new.certificate, BOB, now=bob.certificate.expires or 0)
    with pytest.raises(NoSecretKey):
        certify(SecretKey(bob.certificate, subkeys), new.certificate, BOB, now=AT)
