"""News of keys that still look well: asked for once a day, merged, and never at the price of the old key."""

from __future__ import annotations

import asyncio
import base64
import sys

import pytest

from leap.keymanager.errors import LookupFailed
from leap.keymanager.finding import ASK_AGAIN, ASK_AGAIN_UNANSWERED
from leap.keymanager.keys import KeyManager
from leap.keymanager.mail_material import KeyMaterial
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.openpgp.certification import certify
from leap.keymanager.openpgp.signature import SignatureType
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, BOB, FakeDirectory, Time
from .making import forged_revocations, replaced, revoked, sign_on, user_id_of, with_more


async def certificate_of_bob(keys: KeyManager) -> Certificate:
    found = await keys.find_certificate(BOB)
    assert found is not None
    return found.certificate


async def test_a_revocation_in_the_directory_arrives_within_a_day(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    assert (await certificate_of_bob(keys)).can_encrypt(clock())
    directory.keys[BOB] = revoked(bob).binary
    clock.at += ASK_AGAIN - 1
    assert (await certificate_of_bob(keys)).can_encrypt(clock())
    assert directory.asked == [BOB]
    clock.at += 1
    found = await certificate_of_bob(keys)
    assert found.revoked
    assert not found.can_encrypt(clock())


async def test_a_new_key_signed_by_the_old_one_arrives_within_a_day(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    new = generate(BOB, now=lambda: BIRTH + 1).certificate
    component = user_id_of(new, BOB)
    vouched = sign_on(component, new, bob, SignatureType.CERTIFY_GENERIC)
    directory.keys[BOB] = replaced(new, component, with_more(component, [vouched])).binary
    clock.at += ASK_AGAIN
    assert (await certificate_of_bob(keys)).fingerprint == new.fingerprint


async def test_a_revoked_name_is_news_about_the_key_one_has(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    component = user_id_of(bob.certificate, BOB)
    kind = SignatureType.REVOKE_CERTIFICATION
    back = sign_on(component, bob.certificate, bob, kind, at=BIRTH + 50)
    nameless = replaced(bob.certificate, component, with_more(component, [back]))
    directory.keys[BOB] = nameless.binary
    clock.at += ASK_AGAIN
    assert not (await certificate_of_bob(keys)).can_encrypt(clock())
    directory.keys["bob2@example.test"] = nameless.binary
    with pytest.raises(LookupFailed):
        await keys.find_certificate("bob2@example.test")


async def test_an_unreachable_directory_leaves_the_key_and_is_asked_again_later(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    clock.at += ASK_AGAIN
    directory.down = True
    assert await certificate_of_bob(keys) == bob.certificate
    assert await certificate_of_bob(keys) == bob.certificate
    assert len(directory.asked) == 2  # not for every mail
    directory.down = False
    clock.at += ASK_AGAIN_UNANSWERED
    await certificate_of_bob(keys)
    assert len(directory.asked) == 3
    assert await certificate_of_bob(keys) == bob.certificate
    assert len(directory.asked) == 3


async def test_a_directory_that_hangs_leaves_the_key(
    keys: KeyManager,
    directory: FakeDirectory,
    clock: Time,
    bob: SecretKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    clock.at += ASK_AGAIN

    async def hang(address: str, /) -> bytes | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(directory, "find_certificate", hang)
    search = sys.modules[
        "leap.keymanager.discovery.search"
    ]  # the package has its function by that name
    monkeypatch.setattr(search, "REFRESH_SECONDS", 0.01)
    async with asyncio.timeout(5):
        assert await certificate_of_bob(keys) == bob.certificate
        clock.at += ASK_AGAIN
        assert await keys.find_bound(BOB, seconds=0.01) == [bob.certificate]
        assert await keys.find_bound("carol@example.test", seconds=0.01) == []


async def test_a_signature_by_another_key_asks_the_directory_for_a_new_one_but_seldom(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    """Bob made a new key an hour after alice had asked for the old one."""
    new = generate(BOB, now=lambda: BIRTH + 1)
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    directory.keys[BOB] = certify(bob, new.certificate, BOB, now=clock.at).binary
    for issuers in ((bob.fingerprint,), ()):
        assert await keys.find_bound(BOB, seconds=1, issuers=issuers) == [bob.certificate]
    assert len(directory.asked) == 1
    eves, news = ("F" * 40,), (new.fingerprint,)
    [found] = await keys.find_bound(BOB, seconds=1, issuers=news)
    assert found.fingerprint == new.fingerprint
    for _ in range(3):
        await keys.find_bound(BOB, seconds=1, issuers=eves)
    assert len(directory.asked) == 2
    clock.at += ASK_AGAIN_UNANSWERED
    await keys.find_bound(BOB, seconds=1, issuers=eves)
    assert len(directory.asked) == 3


async def test_whoever_lost_the_key_from_the_directory_is_asked_for_once_a_day(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "compared", level=Level.FINGERPRINT, source="person")
    for day in range(3):
        assert await certificate_of_bob(keys) == bob.certificate
        assert await certificate_of_bob(keys) == bob.certificate
        assert len(directory.asked) == day + 1
        clock.at += ASK_AGAIN


async def test_what_another_device_asked_needs_no_asking_here(
    store: Soledad, keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await certificate_of_bob(keys)
    other = KeyManager(store, ALICE, directory, now=clock)
    assert await certificate_of_bob(other) == bob.certificate
    assert len(directory.asked) == 1
    other.close()


async def test_a_flood_learnt_first_does_not_hide_a_revocation_that_comes_later(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    head = bob.certificate.components[0]
    flood = with_more(head, forged_revocations(bob, 300))
    directory.keys[BOB] = replaced(bob.certificate, head, flood).binary
    assert await certificate_of_bob(keys) == bob.certificate  # nothing forged is kept
    directory.keys[BOB] = revoked(bob).binary
    clock.at += ASK_AGAIN
    assert (await certificate_of_bob(keys)).revoked


async def test_evidence_that_a_wrong_clock_dated_ahead_does_not_stop_the_asking(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    clock.at += 70 * 365 * 86_400
    await keys.find_certificate(BOB)
    clock.at -= 70 * 365 * 86_400
    directory.keys[BOB] = revoked(bob).binary
    assert (await certificate_of_bob(keys)).revoked


async def test_a_key_in_mail_signs_for_nobody_of_the_provider_whose_directory_did_not_answer(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    """A forged From, a key along with it, and a directory kept from answering at the right moment."""
    forged = generate(BOB, now=lambda: BIRTH).certificate
    header = (
        f"addr={BOB}; keydata={base64.b64encode(forged.minimal(BOB, BIRTH + 1).binary).decode()}"
    )
    material = KeyMaterial(BOB, BIRTH + 9, BIRTH + 9, autocrypt=(header.encode(),))
    lesson = await keys.learn_from_mail([material])
    assert lesson is not None
    await keys.keyring._store.transact(lesson.keep)
    directory.down = True
    for _ in range(2):
        assert await keys.find_bound(BOB, seconds=1) == []
    directory.down = False
    clock.at += ASK_AGAIN_UNANSWERED
    assert [one.fingerprint for one in await keys.find_bound(BOB, seconds=1)] == [
        forged.fingerprint
    ]
    directory.keys[BOB] = bob.certificate.binary
    clock.at += ASK_AGAIN
    assert await keys.find_bound(BOB, seconds=1) == [bob.certificate]
