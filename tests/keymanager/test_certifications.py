"""When the owner of an old key vouches for a new one, and what is none of that."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, subpacket

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
