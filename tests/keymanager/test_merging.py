"""Merging certificates: nothing is lost, and the order in which pieces come in makes no difference."""

from __future__ import annotations

from functools import cache, reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import (
    Certificate,
    RevocationReason,
    SecretKey,
    add_user_id,
    certify,
    extend,
    generate,
    read_certificates,
    revoke,
    revoke_user_id,
    rotate_encryption_subkey,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.merging import MAX_OTHERS
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import Signature, SignatureType

from .conftest import ALICE, BIRTH, BOB, DAY
from .making import sign_on, with_more

END = BIRTH + 900 * DAY
Parts = frozenset[tuple[int, bytes, frozenset[bytes]]]


def parts(certificate: Certificate) -> Parts:
    """A certificate without the order of its parts."""
    return frozenset((c.tag, c.body, frozenset(c.signatures)) for c in certificate.components)


@cache
def whole() -> Certificate:
    """Everything that ever happened to one key: 5 names and subkeys, 14 signatures."""
    key, bob = (generate(name, now=lambda: BIRTH) for name in (ALICE, BOB))
    key = add_user_id(key, "Al <al@example.test>", now=BIRTH + 1)
    key = extend(key, expires=END, now=BIRTH + DAY)
    key = rotate_encryption_subkey(key, now=BIRTH + DAY, expires=END, revoke_old=True)
    key = revoke_user_id(key, "Al <al@example.test>", now=BIRTH + 2 * DAY)
    key = revoke(key, reason=RevocationReason.RETIRED, now=BIRTH + 3 * DAY)
    known = Certificate(
        [key.certificate.components[0]._replace(signatures=()), *key.certificate.components[1:]]
    )
    known = certify(bob, known, ALICE, now=BIRTH + DAY)
    known = certify(bob, known, ALICE, now=BIRTH + DAY, exportable=False)
    return known.merge(key.certificate)


@cache
def forgeries() -> tuple[Component, ...]:
    """The whole certificate's parts with signatures that name its key and are by none, and a name of eve's."""
    eve = generate("eve@evil.test", now=lambda: BIRTH)
    kind = SignatureType.CERTIFY_POSITIVE
    forged = []
    for component in whole().components[1:]:
        own = [s for s in component.signatures if Signature(s).may_be_by(whole().primary)]
        broken = [s[:-1] + bytes([s[-1] ^ 1]) for s in own]
        forged.append(component._replace(signatures=tuple(broken)))
    added = Component(Tag.USER_ID, b"ceo@example.test", ())
    by_eve = sign_on(added, whole(), eve, kind)
    return (*forged, with_more(added, [by_eve]))


@st.composite
def pieces(draw: st.DrawFn) -> Certificate:
    """Some of the parts of that key, with some of their signatures: what one source has of it."""
    found = []
    for component in whole().components:
        kept = [s for s in component.signatures if draw(st.booleans())]
        if kept or component.tag == Tag.PUBLIC_KEY:
            found.append(component._replace(signatures=tuple(kept)))
    return Certificate(found).cleaned()


@settings(max_examples=40, deadline=None)
@given(pieces(), pieces(), pieces())
def test_merging_is_commutative_associative_and_idempotent(
    one: Certificate, two: Certificate, three: Certificate
) -> None:
    both = one.merge(two)
    assert parts(both) == parts(two.merge(one))
    assert parts(both.merge(three)) == parts(one.merge(two.merge(three)))
    assert both.merge(two) == both.merge(one) == both
    assert one.merge(one) == one
    assert both.cleaned() == both


@settings(max_examples=40, deadline=None)
@given(pieces(), pieces())
def test_an_update_loses_no_name_subkey_or_signature(one: Certificate, two: Certificate) -> None:
    both = one.merge(two)
    for source in (one, two):
        for component in source.components:
            [same] = [
                c for c in both.components if (c.tag, c.body) == (component.tag, component.body)
            ]
            assert set(component.signatures) <= set(same.signatures)
    assert both.revoked == (one.revoked or two.revoked)
    assert parts(whole().merge(both)) == parts(whole())


@settings(max_examples=20, deadline=None)
@given(pieces(), st.sets(st.integers(0, 5)))
def test_forged_parts_never_come_in(one: Certificate, chosen: set[int]) -> None:
    forged = [c for n, c in enumerate(forgeries()) if n in chosen]
    attack = Certificate([whole().components[0]._replace(signatures=()), *forged])
    assert one.merge(attack) == one
    assert attack.cleaned().components == attack.components[:1]


def test_the_pieces_of_a_certificate_make_it_whole_again() -> None:
    singles = [
        Certificate([whole().components[0]._replace(signatures=()), component]).cleaned()
        for component in whole().components[1:]
    ]
    head = Certificate(whole().components[:1])
    assert parts(reduce(Certificate.merge, singles, head)) == parts(whole())
    assert Certificate.from_bytes(whole().complete) == whole()
    assert len(whole().complete) > len(whole().binary)


def test_what_others_sign_is_bounded_for_each_offer_and_never_taken_away(
    alice: SecretKey,
) -> None:
    """Floods of certifications do not come in; those which one has stay."""
    name = alice.certificate.components[1]
    kind = SignatureType.CERTIFY_GENERIC
    flood = [
        sign_on(name, alice.certificate, BY, kind, at=BIRTH + n) for n in range(MAX_OTHERS + 5)
    ]
    flooded = Certificate(
        [with_more(c, flood) if c is name else c for c in alice.certificate.components]
    )
    merged = alice.certificate.merge(flooded)
    assert len(merged.components[1].signatures) == 1 + MAX_OTHERS
    assert flooded.merge(alice.certificate) == flooded
    assert len(flooded.without_others().components[1].signatures) == 1


BY = generate("many@example.test", now=lambda: BIRTH)


@pytest.mark.parametrize("version", [4, 6])
def test_secret_keys_merge_to_the_same_in_both_orders(version: int) -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=version)
    here = rotate_encryption_subkey(key, now=BIRTH + DAY, expires=END)
    there = add_user_id(extend(key, expires=END, now=BIRTH + DAY), "Al", now=BIRTH + DAY)
    one, two = here.merge(there), there.merge(here)
    assert parts(one.certificate) == parts(two.certificate)
    assert len(one.decryption_keys()) == len(two.decryption_keys()) == 2
    assert one.elsewhere == two.elsewhere == ()
    [read] = read_certificates(one.to_bytes())
    assert read == one.certificate
