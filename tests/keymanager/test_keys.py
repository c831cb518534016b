"""The key manager on a real store: own keys, keyring, discovery, publishing, two devices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from leap.keymanager.documents import (
    BINDING,
    CERTIFICATE,
    SECRET,
    content_of,
    secret_document,
)
from leap.keymanager.errors import KeyRefused, LookupFailed, NoOwnKey, NoSuchKey
from leap.keymanager.keys import KeyManager
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import Certificate, SecretKey, decrypt, encrypt, generate
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, BOB, FakeDirectory, Time

DAY = 86_400
YEAR = 365 * DAY


async def test_an_own_key_is_made_once_and_found_again(
    store: Soledad, keys: KeyManager, clock: Time
) -> None:
    with pytest.raises(NoOwnKey):
        await keys.own.certificate()
    key = await keys.own.ensure()
    assert key.certificate.addresses == (ALICE,)
    assert key.certificate.expires == int(clock()) + 2 * YEAR
    assert (await keys.own.ensure()).fingerprint == key.fingerprint
    other = KeyManager(store, ALICE, now=clock)
    assert [own.to_bytes() for own in await other.own_keys()] == [key.to_bytes()]
    other.close()
    [info] = await keys.list_keys()
    assert (info.own, info.level, info.can_encrypt) == (True, "known-key", True)


async def test_old_own_keys_stay_for_reading(keys: KeyManager, clock: Time) -> None:
    old = generate(ALICE, now=lambda: BIRTH, lifetime=DAY // 2)
    await keys.own.add(old)
    fresh = generate(ALICE, now=clock)
    await keys.own.add(fresh)
    own = await keys.own_keys()
    assert [key.fingerprint for key in own] == [fresh.fingerprint, old.fingerprint]
    message = encrypt(b"old mail", [old.certificate], now=lambda: BIRTH + 1)
    assert decrypt(message, own).plaintext == b"old mail"


async def test_secrets_lie_only_in_their_own_documents(store: Soledad, keys: KeyManager) -> None:
    key = await keys.own.ensure()
    documents = (await store.get_all_docs())[1]
    for document in documents:
        assert document.content is not None
        if document.content["type"] != SECRET:
            assert "secret" not in document.content
        assert ALICE not in document.doc_id
        assert key.fingerprint not in document.doc_id
    assert "secret" not in repr(secret_document(ALICE, key)).replace("SecretDocument", "")


async def test_the_directory_is_asked_once_and_trusted_for_its_own(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    assert await keys.find_certificate(BOB) is None
    directory.keys[BOB] = bob.certificate.binary
    found = await keys.find_certificate(" Bob@Example.test ")
    assert found is not None
    assert (found.certificate, found.level) == (bob.certificate, Level.PROVIDER_TRUST)
    assert "key directory of example.test" in found.evidence
    assert directory.asked == [BOB, BOB]
    again = await keys.find_certificate(BOB)
    assert again is not None
    assert again.source == "ring"
    assert directory.asked == [BOB, BOB]


async def test_no_answer_is_not_the_answer_none(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey, eve: SecretKey
) -> None:
    directory.down = True
    with pytest.raises(LookupFailed):
        await keys.find_certificate(BOB)
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    assert await keys.find_certificate(BOB) is not None  # good enough without asking
    directory.down = False
    for answer in (b"rubbish", eve.certificate.binary):
        directory.keys["carol@example.test"] = answer
        with pytest.raises(LookupFailed):
            await keys.find_certificate("carol@example.test")


async def test_a_weak_key_is_used_only_when_better_sources_say_none(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    slipped_in = generate(BOB, now=lambda: BIRTH)
    await keys.learn(slipped_in.certificate, BOB, "attached to a mail")
    directory.down = True
    with pytest.raises(LookupFailed):
        await keys.find_certificate(BOB)
    directory.down = False
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert (found.certificate, found.level) == (slipped_in.certificate, Level.WEAK_CHAIN)
    directory.keys[BOB] = bob.certificate.binary
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert (found.certificate, found.level) == (bob.certificate, Level.PROVIDER_TRUST)


async def test_mail_never_replaces_a_better_key_and_says_why(
    keys: KeyManager, bob: SecretKey, eve: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    other = generate(BOB, now=lambda: BIRTH)
    refused = await keys.learn(other.certificate, BOB, "attached to a mail")
    assert not refused.allowed
    assert refused.reason == "the new key is not believed more than the old one"
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.certificate == bob.certificate
    with pytest.raises(KeyRefused):
        await keys.learn(eve.certificate, BOB, "attached to a mail")
    by_hand = await keys.learn(
        other.certificate, BOB, "compared by telephone", level=Level.FINGERPRINT, source="person"
    )
    assert by_hand.allowed
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.binding.fingerprint == other.fingerprint
    assert [change.reason for change in bound.binding.history] == [
        "there was no key for this address",
        "you compared the new key's fingerprint",
    ]
    assert bound.binding.evidence[-1].detail == "compared by telephone"


async def test_a_key_in_use_is_kept_harder(keys: KeyManager, bob: SecretKey) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    await keys.note_encrypted({BOB: bob.fingerprint})
    await keys.note_signed({BOB: bob.fingerprint})
    await keys.note_signed({"nobody@example.test": bob.fingerprint})
    other = generate(BOB, now=lambda: BIRTH)
    level = Level.PROVIDER_TRUST
    decision = await keys.learn(other.certificate, BOB, "", level=level, source="directory")
    assert (decision.allowed, decision.reason) == (
        False,
        "the old key is in use, and has not ended yet",
    )


async def test_an_expired_key_is_refreshed_or_shown_as_expired(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    assert await keys.find_certificate(BOB) is not None
    clock.at = BIRTH + 3 * YEAR
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert not found.certificate.can_encrypt(clock())
    assert directory.asked == [BOB, BOB]
    fresh = generate(BOB, now=clock)
    directory.keys[BOB] = fresh.certificate.binary
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate == fresh.certificate


async def test_signers_are_found_by_fingerprint_and_key_id(
    keys: KeyManager, bob: SecretKey, eve: SecretKey
) -> None:
    own = await keys.own.ensure()
    assert await keys.find_signers([bob.fingerprint]) == []
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    for issuer in (*bob.certificate.fingerprints, *bob.certificate.key_ids):
        assert await keys.find_signers([issuer.lower()]) == [bob.certificate]
    assert await keys.find_signers([own.fingerprint]) == [own.certificate]
    assert await keys.find_signers([eve.fingerprint, ""]) == []


async def test_many_who_look_at_once_find_the_same(
    store: Soledad, keys: KeyManager, clock: Time, bob: SecretKey
) -> None:
    """The index of issuers and the own keys are read once; nobody sees them half read."""
    key = await keys.own.ensure()
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    fresh = KeyManager(store, ALICE, now=clock)
    found = await asyncio.gather(*(fresh.find_signers([bob.fingerprint]) for _ in range(5)))
    assert found == [[bob.certificate]] * 5
    other = generate(ALICE, now=lambda: BIRTH)
    reading = asyncio.create_task(fresh.own_keys())
    await asyncio.gather(reading, fresh.own.add(other))
    own = {one.fingerprint for one in await fresh.own_keys()}
    assert own == {key.fingerprint, other.fingerprint}
    fresh.close()


async def test_publishing_is_retried_until_it_is_done(
    keys: KeyManager, directory: FakeDirectory
) -> None:
    with pytest.raises(NoOwnKey):
        await keys.publishing.publish()
    key = await keys.own.ensure()
    directory.down = True
    assert not await keys.publishing.publish()
    assert not await keys.publishing.publish()
    state = await keys.publishing.state()
    assert state.attempts == 2
    assert "does not answer" in state.error
    directory.down = False
    assert await keys.publishing.publish()
    assert await keys.publishing.publish()
    assert directory.put == [key.certificate.binary]
    assert (await keys.publishing.state()).error == ""


async def test_without_a_directory_publishing_waits(store: Soledad, clock: Time) -> None:
    keys = KeyManager(store, ALICE, now=clock)
    await keys.own.ensure()
    assert not await keys.publishing.publish()
    assert await keys.find_certificate(BOB) is None
    keys.close()


async def test_export_gives_public_parts_and_secrets_only_when_asked(
    keys: KeyManager, bob: SecretKey
) -> None:
    with pytest.raises(NoOwnKey):
        await keys.export(ALICE, secret=True)
    key = await keys.own.ensure()
    assert Certificate.from_bytes(await keys.export(ALICE)) == key.certificate
    assert b"PRIVATE" not in await keys.export(ALICE)
    locked = await keys.export(ALICE, secret=True, passphrase="x")
    assert SecretKey.from_bytes(locked, "x").to_bytes() == key.to_bytes()
    with pytest.raises(NoSuchKey):
        await keys.export(BOB)
    with pytest.raises(NoSuchKey):
        await keys.export(BOB, secret=True)
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    assert Certificate.from_bytes(await keys.export(BOB)) == bob.certificate


async def test_a_key_of_another_device_appears_without_a_restart(
    store: Soledad, keys: KeyManager, clock: Time
) -> None:
    first = await keys.own.ensure()
    other = KeyManager(store, ALICE, now=clock)
    assert len(await other.own_keys()) == 1
    clock.at += DAY
    second = generate(ALICE, now=clock)
    await keys.own.add(second, use=True)
    assert [k.fingerprint for k in await other.own_keys()] == [
        second.fingerprint,
        first.fingerprint,
    ]
    other.close()


async def test_edits_of_two_devices_become_one(
    store: Soledad, keys: KeyManager, bob: SecretKey
) -> None:
    """What each device wrote about the same thing is merged, whichever pushed first."""
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    [one] = [d.content for d in await store.find_docs(BINDING) if d.content]
    await keys.note_encrypted({BOB: bob.fingerprint})
    await keys.learn(bob.certificate, BOB, "said", level=Level.PROVIDER_TRUST, source="directory")
    [two] = [d.content for d in await store.find_docs(BINDING) if d.content]
    three = {**one, "signature_seen": True, "last_seen": one["last_seen"] + 5}
    merge = MERGES[BINDING]
    for local, remote in ((two, three), (three, two)):
        merged = merge(one, local, remote)
        assert merged is not None
        assert (merged["level"], merged["encrypted_to"], merged["signature_seen"]) == (
            "provider-trust",
            True,
            True,
        )
        assert len(merged["evidence"]) == 2
    assert merge(one, one, two) == two
    assert merge(one, two, one) == two
    assert merge(one, None, two) is None  # the sources may tell of it again; the person deleted it
    assert merge(one, two, None) is None
    minimal = Certificate(bob.certificate.components[:2])
    other = await Soledad.open(store.path.with_name("other.db"), bytes(32))
    try:
        manager = KeyManager(other, ALICE, now=lambda: BIRTH)
        await manager.learn(minimal, BOB, "attached to a mail")
        [part] = [d.content for d in await other.find_docs(CERTIFICATE) if d.content]
        manager.close()
    finally:
        await other.close()
    [whole] = [d.content for d in await store.find_docs(CERTIFICATE) if d.content]
    for local, remote in ((part, whole), (whole, part)):
        assert MERGES[CERTIFICATE](None, local, remote) == whole
    mine = content_of(secret_document(BOB, bob))
    assert MERGES[SECRET](None, {**mine, "created": 1}, mine) == mine


async def test_a_known_key_is_read_from_the_store_once_a_mail(
    store: Soledad, keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    asked: list[int] = []
    reads = CountedReads(store, asked)
    fresh = KeyManager(reads, ALICE, directory, now=lambda: BIRTH + DAY + 60.0)  # type: ignore[arg-type]
    assert (found := await fresh.find_certificate(BOB)) is not None
    assert found.source == "ring"
    assert asked == [2, 1]  # binding and contact; certificate
    asked.clear()
    assert await fresh.find_bound(BOB, seconds=1) == [bob.certificate]
    assert asked == [2, 1]
    fresh.close()


class CountedReads:
    """The store, noting how many documents each reading of some asks for."""

    def __init__(self, store: Soledad, asked: list[int]) -> None:
        self._store = store
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get_doc(self, doc_id: str, /) -> Any:
        self._asked.append(1)
        return await self._store.get_doc(doc_id)

    async def get_docs(self, doc_ids: Sequence[str], check_for_conflicts: bool, /) -> Any:
        self._asked.append(len(doc_ids))
        return await self._store.get_docs(doc_ids, check_for_conflicts)
