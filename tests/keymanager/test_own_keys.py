"""Keys of one's own on a real store: which is in use, how it is extended, rotated and revoked, who hears of it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.keymanager.documents import SECRET, Content, content_of, secret_document, unpack
from leap.keymanager.errors import KeyRefused, NoOwnKey, NoSuchKey
from leap.keymanager.keys import KeyManager
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import (
    Certificate,
    NoEncryptionKey,
    SecretKey,
    apply_revocation,
    decrypt,
    encrypt,
    generate,
    read_certificates,
    revocation_certificate,
)
from leap.keymanager.openpgp.editing import RevocationReason
from leap.keymanager.own_changes import EXTENDED_BEFORE, EXTENDED_BY, is_due
from leap.keymanager.own_choice import CHOICE, Choice
from leap.provider.keys.certificate_form import check_certificate
from leap.soledad.errors import Unreachable
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, DAY, FakeDirectory, Time

YEAR = 365 * DAY


async def _in_use(keys: KeyManager) -> str:
    return (await keys.own.key()).fingerprint


async def _contents(store: Soledad, type_: str) -> dict[str, Content]:
    found = await store.find_docs(type_)
    return {str(d.content.get("fingerprint")): d.content for d in found if d.content is not None}


def _without_primary(key: SecretKey) -> SecretKey:
    """As exported with `gpg --export-secret-subkeys`."""
    kept = {s.public.fingerprint: s for s in key.decryption_keys()}
    return SecretKey(key.certificate, kept)


# --- which one is in use --------------------------------------------------------------------------


async def test_no_key_that_comes_in_takes_over_until_it_is_chosen(
    store: Soledad, keys: KeyManager, clock: Time
) -> None:
    first = await keys.own.ensure()
    old = generate(ALICE, now=lambda: BIRTH - 3 * YEAR, lifetime=YEAR)
    newer = generate(ALICE, now=lambda: clock() + DAY)
    await keys.own.add(old)
    await keys.own.add(newer)
    clock.at += 2 * DAY
    assert await _in_use(keys) == first.fingerprint
    assert len(await keys.own_keys()) == 3
    await keys.own.use(newer.fingerprint)
    assert await _in_use(keys) == newer.fingerprint
    other = KeyManager(store, ALICE, now=clock)
    assert await _in_use(other) == newer.fingerprint
    other.close()
    found = await keys.find_certificate(ALICE)
    assert found is not None
    assert found.certificate.fingerprint == newer.fingerprint
    with pytest.raises(NoSuchKey):
        await keys.own.use("00" * 20)
    foreign = generate("alice@old.test", now=lambda: BIRTH)
    await keys.own.add(foreign)
    with pytest.raises(KeyRefused, match="does not carry"):
        await keys.own.use(foreign.fingerprint)
    # what it signs does not count as signed by this address
    bound = {one.fingerprint for one in await keys.find_bound(ALICE, seconds=1)}
    assert bound == {first.fingerprint, old.fingerprint, newer.fingerprint}


async def test_keys_of_earlier_stores_get_a_choice_that_stays_and_a_revocation(
    store: Soledad, keys: KeyManager, clock: Time
) -> None:
    old = generate(ALICE, now=lambda: BIRTH)
    document_id = store.row_key(f"{SECRET}:{old.fingerprint}".encode())
    document = content_of(secret_document(ALICE, old))
    del document["revocation"]
    await store.transact(lambda tx: tx.put(document_id, document))
    assert await keys.own.choice() is None
    assert (await keys.own.ensure()).fingerprint == old.fingerprint
    (kept,) = await keys.own.kept()
    assert apply_revocation(old.certificate, kept.revocation.encode()).revoked
    choice = await keys.own.choice()
    assert choice is not None
    await keys.own.ensure()
    assert await keys.own.choice() == choice
    await keys.own.add(generate(ALICE, now=clock))
    assert await _in_use(keys) == old.fingerprint


async def test_no_second_key_is_made_while_the_first_is_still_to_come(
    store: Soledad, keys: KeyManager, tmp_path: Path, clock: Time
) -> None:
    """The choice came by sync, and the key itself did not yet."""
    first = await keys.own.ensure()
    (choice,) = (await _contents(store, CHOICE)).values()
    second = await Soledad.open(tmp_path / "second.db", bytes(32), merges=MERGES)
    try:
        there = KeyManager(second, ALICE, now=clock)
        name = second.row_key(f"{CHOICE}:{ALICE}".encode())
        await second.transact(lambda tx: tx.put(name, choice))
        with pytest.raises(NoOwnKey, match="has not come here yet"):
            await there.own.ensure()
        await there.own.add(first)
        assert (await there.own.ensure()).fingerprint == first.fingerprint
        there.close()
    finally:
        await second.close()


def test_choices_of_two_devices_become_the_same_one_in_every_order() -> None:
    def content(fingerprint: str, turn: int, when: int) -> Content:
        return {
            "address": ALICE,
            "fingerprint": fingerprint,
            "turn": turn,
            "when": when,
            "type": CHOICE,
        }

    merge = MERGES[CHOICE]
    choices = [content("A", 1, 50), content("B", 2, 10), content("C", 2, 20), content("D", 2, 20)]
    for order in itertools.permutations(choices):
        known = order[0]
        for other in order[1:]:
            merged = merge(choices[0], known, other)
            assert merged is not None
            known = merged
        assert known == choices[3]
    assert merge(None, None, choices[1]) == merge(None, choices[1], None) == choices[1]


async def test_an_own_key_is_named_by_its_fingerprint_or_the_end_of_it(keys: KeyManager) -> None:
    key = await keys.own.ensure()
    name = key.fingerprint
    spaced = " ".join(name[i : i + 4] for i in range(0, 40, 4)).lower()
    for word in (name, spaced, "0x" + name[-16:], name[-8:]):
        assert (await keys.own.find(word)).key.fingerprint == name
    for word in ("", name[-7:], "00" * 20):
        with pytest.raises(NoSuchKey):
            await keys.own.find(word)


# --- extension ------------------------------------------------------------------------------------


async def test_the_end_moves_by_a_year_from_60_days_before_it_subkeys_too(
    keys: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    key = await keys.own.ensure()
    await keys.publishing.publish()
    end = key.certificate.expires
    assert end is not None
    clock.at = float(end - EXTENDED_BEFORE - 1)
    assert not await keys.own_changes.extend_if_due()
    clock.at = float(end - EXTENDED_BEFORE)
    assert await keys.own_changes.extend_if_due()
    longer = (await keys.own.key()).certificate
    assert [state.expires for state in longer.keys] == [end + EXTENDED_BY] * 2
    assert not await keys.own_changes.extend_if_due()
    assert not is_due(longer, clock())
    assert await keys.publishing.publish()
    published = Certificate.from_bytes(directory.put[-1])
    assert published.expires == end + EXTENDED_BY
    assert len(directory.put) == 2


async def test_an_expired_own_key_is_extended_rather_than_given_up(
    keys: KeyManager, clock: Time
) -> None:
    key = await keys.own.ensure()
    clock.at += 10 * YEAR
    assert not key.certificate.can_encrypt(clock())
    assert await keys.own_changes.extend_if_due()
    longer = (await keys.own.key()).certificate
    assert longer.expires == int(clock()) + EXTENDED_BY
    assert longer.can_encrypt(clock())


@pytest.mark.parametrize("lifetime", [DAY, 61 * DAY, 3 * YEAR])
async def test_after_an_extension_none_is_due(keys: KeyManager, clock: Time, lifetime: int) -> None:
    """Otherwise a key would get a new signature every hour."""
    await keys.own.add(generate(ALICE, now=lambda: BIRTH, lifetime=lifetime), use=True)
    await keys.own_changes.rotate_subkey()
    for _ in range(3):
        await keys.own_changes.extend_if_due()
        assert not is_due((await keys.own.key()).certificate, clock())
        assert not await keys.own_changes.extend_if_due()
        clock.at += YEAR


async def test_a_key_without_its_primary_secret_is_extended_elsewhere_and_says_so(
    keys: KeyManager, clock: Time
) -> None:
    whole = generate(ALICE, now=lambda: BIRTH, lifetime=30 * DAY)
    await keys.own.add(_without_primary(whole), use=True)
    with pytest.raises(KeyRefused, match="primary secret key is not here"):
        await keys.own_changes.extend_if_due()
    with pytest.raises(KeyRefused, match="is not here"):
        await keys.own_changes.rotate_subkey()
    clock.at += YEAR
    new = await keys.own_changes.rotate_key()  # nobody is locked out: it stands alone
    assert new.certificate.can_encrypt(clock())
    assert len(await keys.own_keys()) == 2


async def test_two_devices_that_extend_at_once_end_with_one_certificate(
    store: Soledad, keys: KeyManager, clock: Time, tmp_path: Path
) -> None:
    key = await keys.own.ensure()
    base = (await _contents(store, SECRET))[key.fingerprint]
    second = await Soledad.open(tmp_path / "second.db", bytes(32), merges=MERGES)
    try:
        there = KeyManager(second, ALICE, now=clock)
        await there.own.add(key, use=True)
        clock.at += 2 * YEAR - 50 * DAY
        assert await keys.own_changes.extend_if_due()
        clock.at += 3600
        assert await there.own_changes.extend_if_due()
        mine = (await _contents(store, SECRET))[key.fingerprint]
        theirs = (await _contents(second, SECRET))[key.fingerprint]
        there.close()
    finally:
        await second.close()
    assert mine != theirs
    merge = MERGES[SECRET]
    once, other_order = merge(base, mine, theirs), merge(base, theirs, mine)
    assert once is not None
    assert other_order is not None
    await keys.own.add(SecretKey.from_bytes(_secret(other_order)))
    await keys.own.add(SecretKey.from_bytes(_secret(once)))
    certificate = (await keys.own.key()).certificate
    assert certificate.expires == BIRTH + DAY + 3 * YEAR
    assert not is_due(certificate, clock())


def _secret(content: Content) -> bytes:
    return unpack(content["secret"])


# --- revocation -----------------------------------------------------------------------------------


async def test_every_own_key_has_its_revocation_from_the_first_moment(
    store: Soledad, keys: KeyManager
) -> None:
    await keys.own.ensure()
    (kept,) = await keys.own.kept()
    assert apply_revocation(kept.key.certificate, kept.revocation.encode()).revoked
    (document,) = (await _contents(store, SECRET)).values()
    assert document["revocation"] == kept.revocation
    await keys.own.add(kept.key)
    assert (await keys.own.kept())[0].revocation == kept.revocation
    assert "PGP" not in repr(kept)


@pytest.mark.parametrize("reason", list(RevocationReason)[:4])
async def test_a_revoked_key_is_published_and_opens_mail_and_no_other_takes_its_place(
    keys: KeyManager, directory: FakeDirectory, clock: Time, reason: RevocationReason
) -> None:
    spare = generate(ALICE, now=clock)
    key = await keys.own.ensure()
    await keys.own.add(spare)
    old_mail = encrypt(b"old", [key.certificate], now=clock)
    clock.at += DAY
    await keys.own_changes.revoke(key.fingerprint, reason=reason, text="see my page")
    assert await _in_use(keys) == key.fingerprint
    assert await keys.publishing.publish()
    published = Certificate.from_bytes(directory.put[-1])
    assert (published.fingerprint, published.revoked) == (key.fingerprint, True)
    with pytest.raises(NoEncryptionKey):
        published.encryption_key(clock())
    assert decrypt(old_mail, await keys.own_keys()).plaintext == b"old"
    again = await keys.own_changes.revoke(key.fingerprint, reason=reason)
    assert again.certificate.binary == (await keys.own.key()).certificate.binary
    assert await keys.publishing.publish()
    assert len(directory.put) == 1
    assert not await keys.own_changes.extend_if_due()
    with pytest.raises(KeyRefused, match="is revoked"):
        await keys.own_changes.rotate_subkey()


async def test_a_lost_primary_secret_is_revoked_by_what_was_kept(keys: KeyManager) -> None:
    whole = generate(ALICE, now=lambda: BIRTH)
    bare = _without_primary(whole)
    await keys.own.add(bare, use=True)
    with pytest.raises(KeyRefused, match="no revocation was kept"):
        await keys.own_changes.revoke(bare.fingerprint, reason=RevocationReason.NONE)
    kept = revocation_certificate(whole, now=BIRTH).decode()
    await keys.own.add(bare, revocation=kept)
    revoked = await keys.own_changes.revoke(bare.fingerprint, reason=RevocationReason.NONE)
    assert revoked.certificate.revoked


@pytest.mark.parametrize(
    ("reason", "vouched"),
    [(RevocationReason.SUPERSEDED, True), (RevocationReason.COMPROMISED, False)],
)
async def test_a_new_key_is_made_when_that_is_asked_for(
    keys: KeyManager, clock: Time, reason: RevocationReason, vouched: bool
) -> None:
    """A thief of the old key could vouch for a key, too: then the new one stands alone."""
    old = await keys.own.ensure()
    clock.at += DAY
    await keys.own_changes.revoke(old.fingerprint, reason=reason, replace=True)
    new = await keys.own.key()
    assert new.fingerprint != old.fingerprint
    assert new.certificate.can_encrypt(clock())
    by_old = [s for c in new.certificate.components for s in c.signatures]
    assert len(by_old) == (3 if vouched else 2)
    await keys.own_changes.revoke(old.fingerprint, reason=reason, replace=True)
    assert (await keys.own.key()).fingerprint == new.fingerprint


async def test_a_whole_new_key_can_always_be_made(keys: KeyManager, clock: Time) -> None:
    old = await keys.own.ensure()
    await keys.own_changes.revoke(old.fingerprint, reason=RevocationReason.RETIRED)
    clock.at += DAY
    new = await keys.own_changes.rotate_key()
    assert new.certificate.can_encrypt(clock())
    assert [key.fingerprint for key in await keys.own_keys()] == [new.fingerprint, old.fingerprint]


async def test_who_has_a_revoked_key_hears_of_it_with_the_new_one(
    keys: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    # draft-koch-openpgp-webkey-service 3.1: otherwise nobody would ever learn that the old one was stolen
    old = await keys.own.ensure()
    reason = RevocationReason.COMPROMISED
    await keys.own_changes.revoke(old.fingerprint, reason=reason, replace=True)
    assert await keys.publishing.publish()
    published = read_certificates(directory.put[-1])
    new = await keys.own.key()
    assert [one.fingerprint for one in published] == [new.fingerprint, old.fingerprint]
    assert [one.revoked for one in published] == [False, True]
    check_certificate(directory.put[-1], ALICE)


async def test_a_replacement_after_a_revocation_that_stands_already(
    keys: KeyManager, clock: Time
) -> None:
    old = await keys.own.ensure()
    clock.at += DAY
    reason = RevocationReason.SUPERSEDED
    await keys.own_changes.revoke(old.fingerprint, reason=reason)
    await keys.own_changes.revoke(old.fingerprint, reason=reason, replace=True)
    assert (await keys.own.key()).certificate.can_encrypt(clock())


# --- publication ----------------------------------------------------------------------------------


async def test_nothing_is_published_before_it_was_synced(
    keys: KeyManager, directory: FakeDirectory
) -> None:
    await keys.own.ensure()
    steps: list[str] = []

    async def offline() -> None:
        raise Unreachable("the provider does not answer")

    async def synced() -> None:
        steps.append(f"synced with {len(directory.put)} published")

    assert not await keys.publishing.publish(synced=offline)
    assert directory.put == []
    assert "does not answer" in (await keys.publishing.state()).error
    assert not await keys.publishing.is_current()
    assert await keys.publishing.publish(synced=synced)
    assert steps == ["synced with 0 published"]
    assert await keys.publishing.publish(synced=synced)  # nothing new: nothing to sync for
    assert len(steps) == len(directory.put) == 1
    assert await keys.publishing.is_current()


async def test_a_change_of_another_device_is_published_by_the_next_one(
    store: Soledad, keys: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    await keys.own.ensure()
    await keys.publishing.publish()
    other = KeyManager(store, ALICE, now=clock)
    heard: list[str] = []
    unsubscribe = keys.own.on_change(lambda: heard.append("changed"))
    await other.own_changes.rotate_subkey()
    other.close()
    assert heard
    unsubscribe()
    assert await keys.publishing.publish()
    assert directory.put[-1] == (await keys.own.certificate()).binary


async def test_a_provider_that_was_set_back_gets_the_key_again(
    keys: KeyManager, directory: FakeDirectory
) -> None:
    key = await keys.own.ensure()
    await keys.publishing.publish()
    directory.keys[ALICE] = b"an older one"
    assert await keys.publishing.publish(look=True)
    assert directory.put == [key.certificate.binary] * 2
    directory.keys[ALICE] = key.certificate.binary
    assert await keys.publishing.publish(look=True)
    assert len(directory.put) == 2


def test_publications_of_two_devices_that_differ_are_done_once_more() -> None:
    merge = MERGES["openpgp-publication"]
    base = {"address": ALICE, "published": "1", "when": 1, "attempts": 0, "error": ""}
    mine, theirs = {**base, "published": "2", "when": 5}, {**base, "published": "3", "when": 4}
    for local, remote in ((mine, theirs), (theirs, mine)):
        assert merge(base, local, remote) == {**mine, "published": ""}


# --- both kinds of people: with and without a directory ------------------------------------------


@pytest.fixture
async def bare_store(tmp_path: Path) -> AsyncIterator[Soledad]:
    store = await Soledad.open(tmp_path / "bare.db", bytes(32), merges=MERGES)
    yield store
    await store.close()


async def test_a_step_that_was_cut_off_is_done_again_and_ends_the_same(
    bare_store: Soledad, directory: FakeDirectory, clock: Time
) -> None:
    """Kept, then the process dies before publishing: the next one publishes what was kept, and nothing is doubled."""
    first = KeyManager(bare_store, ALICE, directory, now=clock)
    await first.own.ensure()
    await first.publishing.publish()
    directory.down = True
    rotated = await first.own_changes.rotate_subkey()
    assert not await first.publishing.publish()
    first.close()
    directory.down = False
    second = KeyManager(bare_store, ALICE, directory, now=clock)
    assert await second.publishing.publish()
    assert directory.put[-1] == rotated.certificate.binary
    choice = await second.own.choice()
    assert choice == Choice(
        address=ALICE, fingerprint=rotated.fingerprint, turn=1, when=int(clock())
    )
    second.close()
