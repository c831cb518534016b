"""What strangers add to a key one has: it stays small enough to be kept, and open for its owner's word."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from leap.keymanager.documents import CERTIFICATE, CertificateDocument, unpack, value_of
from leap.keymanager.errors import KeyRefused
from leap.keymanager.kept_certificate import MAX_OCTETS, MAX_SIGNATURES, fitting, grown
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import BIRTH, BOB
from .making import revoked, with_user_id


def scribble(number: int, size: int = 2) -> bytes:
    """A signature that looks like somebody's certification; nobody can tell without the somebody's key."""
    hashed = b"\5\2" + (BIRTH + number).to_bytes(4, "big")
    unhashed = b"\x09\x10" + number.to_bytes(8, "big")
    head = bytes([4, 0x10, 22, 8, 0, len(hashed)]) + hashed
    return head + b"\0\x0a" + unhashed + b"\0\0" + (size * 8 - 7).to_bytes(2, "big") + b"\1" * size


def scribbled(certificate: Certificate, signatures: Iterable[bytes]) -> Certificate:
    """With these on every part of it."""
    more = tuple(signatures)
    return Certificate(
        [c._replace(signatures=(*c.signatures, *more)) for c in certificate.components]
    )


async def test_a_flood_of_signatures_by_nobody_does_not_keep_a_revocation_out(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    for round_ in range(8):
        news = scribbled(bob.certificate, (scribble(round_ * 60 + n) for n in range(60)))
        await keys.learn(news, BOB, "an Autocrypt header brought it again", source="autocrypt")
        [document] = await store.find_docs(CERTIFICATE)
        assert document.content is not None
        octets = unpack(value_of(document.content, CertificateDocument).certificate)
        kept = Certificate.from_bytes(octets)
        assert max(len(c.signatures) for c in kept.components) <= MAX_SIGNATURES
    await keys.keyring.learn(revoked(bob), BOB, Level.PROVIDER_TRUST, source="directory")
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.certificate.revoked


async def test_few_and_huge_ones_do_neither(keys: KeyManager, bob: SecretKey) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    for number in range(20):
        news = scribbled(bob.certificate, [scribble(number, 8000)])
        await keys.learn(news, BOB, "an Autocrypt header brought it again", source="autocrypt")
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert len(bound.certificate.complete) <= MAX_OCTETS
    await keys.keyring.learn(revoked(bob), BOB, Level.PROVIDER_TRUST, source="directory")
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.certificate.revoked


def test_what_two_devices_kept_together_still_takes_its_owners_word(bob: SecretKey) -> None:
    both = scribbled(bob.certificate, (scribble(n, 8000) for n in range(20)))
    assert len(both.complete) > MAX_OCTETS
    after = grown(both, revoked(bob))
    assert after.revoked
    assert len(after.complete) < 2000


def test_a_new_key_is_kept_without_what_makes_it_too_large_or_not_at_all(bob: SecretKey) -> None:
    assert fitting(bob.certificate) is bob.certificate
    large = scribbled(bob.certificate, (scribble(n, 8000) for n in range(20)))
    assert fitting(large) == bob.certificate
    huge = with_user_id(bob, "x" * MAX_OCTETS).certificate
    with pytest.raises(KeyRefused, match="too large"):
        fitting(huge)
    assert grown(bob.certificate, huge) is bob.certificate  # only its owner can have made it so
