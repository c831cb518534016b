"""What a directory publishes behind the key in use: a correspondent hears by it that the old key was revoked."""

from __future__ import annotations

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import SecretKey, generate
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.signature import SignatureType, make_signature

from .conftest import BIRTH, BOB, DAY, FakeDirectory, Time


def _revoked(key: SecretKey, at: int) -> Certificate:
    head, *rest = key.certificate.components
    secret = key.primary_secret()
    body = make_signature(secret, SignatureType.REVOKE_KEY, (secret.public.hashed,), created=at)
    return Certificate([Component(head.tag, head.body, (*head.signatures, body)), *rest])


async def test_a_stolen_key_is_replaced_by_the_new_one_published_with_its_revocation(
    keys: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    old, new = (generate(BOB, now=lambda: BIRTH) for _ in range(2))
    directory.keys[BOB] = old.certificate.binary
    await keys.find_certificate(BOB)
    await keys.keyring.note_use(BOB, encrypted_to=True, signature_seen=True)
    clock.at += 2 * DAY
    revoked = _revoked(old, int(clock()))
    directory.keys[BOB] = new.certificate.binary + revoked.binary
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == new.fingerprint
    kept = await keys.keyring.find_certificate(old.fingerprint)
    assert kept is not None
    assert kept.revoked
