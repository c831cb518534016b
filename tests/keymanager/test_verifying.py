"""The person's word about keys of others: what it does to keys, alerts and what may be used."""

from __future__ import annotations

import pytest

from leap.keymanager.asking import Answer, Asked
from leap.keymanager.autocrypt.header import header_value
from leap.keymanager.discovery import Found
from leap.keymanager.documents import BINDING, CERTIFICATE
from leap.keymanager.errors import KeyRefused, LookupFailed, NoSuchKey
from leap.keymanager.finding import ASK_AGAIN, ASK_AGAIN_UNANSWERED
from leap.keymanager.keyring import Bound
from leap.keymanager.keys import KeyManager
from leap.keymanager.mail_material import KeyMaterial
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import SignatureType
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, BOB, DAY, FakeDirectory, Time
from .making import replaced, revoked, sign_on, user_id_of, with_more

CAROL = "carol@example.test"


@pytest.fixture(scope="module")
def other() -> SecretKey:
    """Another key that calls itself bob's."""
    return generate(BOB, now=lambda: BIRTH + 1)


async def bound_of_bob(keys: KeyManager) -> Bound:
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    return bound


async def barred_of_bob(keys: KeyManager) -> str:
    found = await keys.find_certificate(BOB)
    assert found is not None
    return found.barred


@pytest.fixture
async def verified(keys: KeyManager, directory: FakeDirectory, bob: SecretKey) -> KeyManager:
    """Alice's keys; bob's is from the directory, and she compared it."""
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    await keys.verifying.verify(BOB, bob.fingerprint)
    return keys


@pytest.fixture
async def alarmed(
    verified: KeyManager, directory: FakeDirectory, clock: Time, other: SecretKey
) -> KeyManager:
    """The directory offers another key than the verified one."""
    directory.keys[BOB] = other.certificate.binary
    clock.at += ASK_AGAIN
    await verified.find_certificate(BOB)
    return verified


async def test_verifying_gives_the_fingerprint_level_and_taking_back_the_rest(
    verified: KeyManager, bob: SecretKey
) -> None:
    bound = await bound_of_bob(verified)
    assert bound.level is Level.FINGERPRINT
    assert [(e.source, e.level) for e in bound.binding.evidence] == [
        ("directory", "provider-trust"),
        ("person", "fingerprint"),
    ]
    back = await verified.verifying.take_back(BOB)
    assert back.level is Level.PROVIDER_TRUST
    assert [e.source for e in back.binding.evidence] == ["directory"]
    assert back.binding.history[-1].reason == "you took back that you compared it"
    with pytest.raises(KeyRefused, match="have not verified"):
        await verified.verifying.take_back(BOB)


async def test_another_fingerprint_than_the_keys_is_refused_with_both(
    keys: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    with pytest.raises(NoSuchKey):
        await keys.verifying.verify(BOB, bob.fingerprint)
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    with pytest.raises(KeyRefused, match="is not that of the key of bob") as refused:
        await keys.verifying.verify(BOB, other.fingerprint)
    assert bob.fingerprint[:4] in str(refused.value)
    with pytest.raises(KeyRefused, match="not a fingerprint"):
        await keys.verifying.verify(BOB, "never mind")
    assert (await bound_of_bob(keys)).level is Level.WEAK_CHAIN


async def test_groups_and_lower_case_are_the_same_fingerprint(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    text = " ".join(bob.fingerprint.lower()[at : at + 4] for at in range(0, 40, 4))
    assert (await keys.verifying.verify("Bob@Example.test", text)).level is Level.FINGERPRINT


async def test_another_key_for_a_verified_contact_raises_an_alert_and_bars_the_use(
    alarmed: KeyManager, bob: SecretKey, other: SecretKey, store: Soledad, clock: Time
) -> None:
    bound = await bound_of_bob(alarmed)
    assert bound.certificate.fingerprint == bob.fingerprint
    alert = bound.binding.alert
    assert alert is not None
    assert (alert.fingerprint, alert.level, alert.source) == (
        other.fingerprint,
        "provider-trust",
        "directory",
    )
    barred = await barred_of_bob(alarmed)
    assert barred.startswith("may have changed: your provider's key directory offers another one")
    [sentence] = await alarmed.alerts()
    assert f"bitmask keys verify {BOB} {other.fingerprint}" in sentence
    # the store has it: it is there after a restart, and on other devices
    again = KeyManager(store, ALICE, now=clock)
    assert await again.alerts() == [sentence]
    again.close()
    # the verified key still judges signatures, the other one does not
    assert await alarmed.find_bound(BOB, seconds=1) == [bob.certificate]
    assert await alarmed.find_signers([other.fingerprint]) == [other.certificate]


async def test_keeping_the_old_key_ends_the_alert_for_good(
    alarmed: KeyManager, bob: SecretKey, other: SecretKey, clock: Time
) -> None:
    kept = await alarmed.verifying.keep(BOB)
    assert kept.binding.alert is None
    assert kept.certificate.fingerprint == bob.fingerprint
    for _ in range(2):
        clock.at += ASK_AGAIN
        assert await barred_of_bob(alarmed) == ""
    assert await alarmed.alerts() == []
    noted = (await bound_of_bob(alarmed)).binding.refused
    assert [(c.fingerprint, c.reason) for c in noted] == [
        (other.fingerprint, "you kept the old key when the new one was offered")
    ]
    with pytest.raises(KeyRefused, match="waits for your decision"):
        await alarmed.verifying.keep(BOB)


async def test_verifying_the_old_key_again_keeps_it(
    alarmed: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    bound = await alarmed.verifying.verify(BOB, bob.fingerprint)
    assert bound.binding.alert is None
    assert bound.binding.declined == (other.fingerprint,)


async def test_verifying_the_new_key_takes_it(
    alarmed: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    bound = await alarmed.verifying.verify(BOB, other.fingerprint)
    assert (bound.certificate.fingerprint, bound.level) == (other.fingerprint, Level.FINGERPRINT)
    assert bound.binding.alert is None
    last = bound.binding.history[-1]
    assert (last.replaced, last.reason) == (
        bob.fingerprint,
        "you compared the new key's fingerprint",
    )
    assert await barred_of_bob(alarmed) == ""


async def test_accepting_takes_the_new_key_with_the_level_of_who_offered_it(
    alarmed: KeyManager, other: SecretKey
) -> None:
    bound = await alarmed.verifying.accept(BOB)
    assert (bound.certificate.fingerprint, bound.level) == (
        other.fingerprint,
        Level.PROVIDER_TRUST,
    )
    assert bound.binding.evidence[0].source == "person"
    with pytest.raises(KeyRefused):
        await alarmed.verifying.accept(BOB)


async def test_a_key_in_some_mail_neither_replaces_a_verified_one_nor_stops_mail(
    verified: KeyManager, other: SecretKey
) -> None:
    decision = await verified.learn(other.certificate, BOB, "attached to a mail")
    assert (decision.allowed, decision.alert) == (False, False)
    assert await barred_of_bob(verified) == ""
    assert [c.reason for c in (await bound_of_bob(verified)).binding.refused] == [decision.reason]


async def test_the_first_alert_stays_until_a_better_one(
    alarmed: KeyManager, other: SecretKey
) -> None:
    third = generate(BOB, now=lambda: BIRTH + 2)
    for level, stands in ((Level.PROVIDER_TRUST, other), (Level.PROVIDER_ENDORSEMENT, third)):
        await alarmed.keyring.learn(third.certificate, BOB, level, source="wkd")
        alert = (await bound_of_bob(alarmed)).binding.alert
        assert alert is not None
        assert alert.fingerprint == stands.fingerprint


async def test_a_flood_of_keys_for_a_revoked_one_is_not_kept(
    verified: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    await verified.learn(revoked(bob), BOB, "attached to a mail")
    for number in range(4):
        flood = generate(BOB, now=lambda at=number: BIRTH + 10 + at)
        decision = await verified.learn(flood.certificate, BOB, "attached to a mail")
        assert decision.alert
    kept = [d for d in await store.find_docs(CERTIFICATE) if d.content]
    assert len(kept) == 2  # the verified one, and the one to decide about


async def test_an_update_that_does_not_carry_the_address_raises_no_belief(
    keys: KeyManager, bob: SecretKey
) -> None:
    """Its name was taken back: that is learnt, and is no word about whose key it is."""
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    component = user_id_of(bob.certificate, BOB)
    kind = SignatureType.REVOKE_CERTIFICATION
    back = sign_on(component, bob.certificate, bob, kind, at=BIRTH + 50)
    nameless = replaced(bob.certificate, component, with_more(component, [back]))
    await keys.keyring.learn(nameless, BOB, Level.PROVIDER_TRUST, source="directory")
    bound = await bound_of_bob(keys)
    assert bound.level is Level.WEAK_CHAIN
    assert bound.certificate.addresses == ()
    await keys.verifying.verify(BOB, bob.fingerprint)
    await keys.keyring.learn(nameless, BOB, Level.PROVIDER_TRUST, source="wkd")
    assert (await keys.verifying.take_back(BOB)).level is Level.WEAK_CHAIN


async def test_a_verified_key_is_not_replaced_by_its_own_signature_or_revocation(
    verified: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey, other: SecretKey
) -> None:
    component = user_id_of(other.certificate, BOB)
    vouched = sign_on(component, other.certificate, bob, SignatureType.CERTIFY_GENERIC)
    signed = replaced(other.certificate, component, with_more(component, [vouched]))
    decision = await verified.learn(signed, BOB, "attached to a mail")
    assert (decision.allowed, decision.alert) == (False, True)
    directory.keys[BOB] = revoked(bob).binary
    clock.at += ASK_AGAIN
    await verified.find_certificate(BOB)
    changed, ended = await verified.alerts()
    assert "may have changed" in changed
    assert "was revoked by its owner" in ended


async def test_an_expired_key_that_was_verified_is_told(
    verified: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    clock.at += 3 * 365 * DAY
    [sentence] = await verified.alerts()
    assert "expired on" in sentence


async def test_the_successor_an_old_key_signed_is_believed_as_much(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey, other: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    component = user_id_of(other.certificate, BOB)
    vouched = sign_on(component, other.certificate, bob, SignatureType.CERTIFY_GENERIC)
    signed = replaced(other.certificate, component, with_more(component, [vouched]))
    decision = await keys.learn(signed, BOB, "attached to a mail")
    assert (decision.allowed, decision.reason) == (True, "the old key signed the new one")
    bound = await bound_of_bob(keys)
    assert (bound.binding.fingerprint, bound.level) == (other.fingerprint, Level.PROVIDER_TRUST)


# --- blocked keys ------------------------------------------------------------------------------


async def test_a_blocked_key_is_not_used_whoever_offers_it(
    verified: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    await verified.verifying.block(BOB, bob.fingerprint, reason="stolen laptop")
    bound = await bound_of_bob(verified)
    assert bound.blocked
    assert bound.level is Level.PROVIDER_TRUST  # nobody vouches for what they block
    assert await barred_of_bob(verified) == "is blocked by you"
    assert await verified.find_bound(BOB, seconds=1) == []
    with pytest.raises(KeyRefused, match="you blocked the key"):
        await verified.verifying.verify(BOB, bob.fingerprint)
    clock.at += ASK_AGAIN
    assert await barred_of_bob(verified) == "is blocked by you"
    directory.down = True
    clock.at += ASK_AGAIN
    assert await barred_of_bob(verified) == "is blocked by you"


async def test_the_fingerprint_of_a_part_blocks_the_whole_key(
    verified: KeyManager, bob: SecretKey
) -> None:
    await verified.verifying.block(BOB, bob.certificate.fingerprints[1])
    assert (await bound_of_bob(verified)).blocked


async def test_a_blocked_key_does_not_come_back_after_it_was_deleted(
    verified: KeyManager, bob: SecretKey
) -> None:
    await verified.verifying.block(BOB, bob.fingerprint)
    await verified.verifying.delete(BOB)
    assert await barred_of_bob(verified) == "is blocked by you"  # not "none": no clear text
    assert await verified.keyring.find(BOB) is None
    assert await verified.find_bound(BOB, seconds=1) == []
    with pytest.raises(NoSuchKey, match=f"blocked for it: {bob.fingerprint[:4]} "):
        await verified.show(BOB)


async def test_another_key_takes_the_place_of_a_blocked_one(
    verified: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey, other: SecretKey
) -> None:
    await verified.verifying.block(BOB, bob.fingerprint)
    directory.keys[BOB] = other.certificate.binary
    clock.at += ASK_AGAIN_UNANSWERED + ASK_AGAIN
    found = await verified.find_certificate(BOB)
    assert found is not None
    assert (found.certificate.fingerprint, found.barred) == (other.fingerprint, "")
    directory.keys[BOB] = bob.certificate.binary
    clock.at += ASK_AGAIN
    found = await verified.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == other.fingerprint


async def test_blocking_the_offered_key_ends_the_alert_and_lifting_a_block_gives_the_key_back(
    alarmed: KeyManager, bob: SecretKey, other: SecretKey, clock: Time
) -> None:
    await alarmed.verifying.block(BOB, other.fingerprint)
    clock.at += ASK_AGAIN
    assert await barred_of_bob(alarmed) == ""
    with pytest.raises(KeyRefused, match="is not blocked"):
        await alarmed.verifying.unblock(BOB, bob.fingerprint)
    contact = await alarmed.verifying.unblock(BOB, other.fingerprint)
    assert contact.blocked == ()
    clock.at += ASK_AGAIN
    assert await barred_of_bob(alarmed) != ""


# --- deleting ----------------------------------------------------------------------------------


async def test_deleting_forgets_the_key_and_nothing_else(
    alarmed: KeyManager, store: Soledad, directory: FakeDirectory, clock: Time, eve: SecretKey
) -> None:
    await alarmed.own.ensure()
    await alarmed.contacts.set_policy(BOB, "require")
    await alarmed.learn(eve.certificate, "eve@evil.test", "attached to a mail")
    await alarmed.verifying.delete(BOB)
    assert await alarmed.keyring.find(BOB) is None
    addresses = [d.content["address"] for d in await store.find_docs(BINDING) if d.content]
    assert sorted(addresses) == [ALICE, "eve@evil.test"]
    assert len([d for d in await store.find_docs(CERTIFICATE) if d.content]) == 2
    assert await alarmed.policies([BOB]) == {BOB: "require"}
    with pytest.raises(NoSuchKey):
        await alarmed.verifying.delete(BOB)
    with pytest.raises(KeyRefused, match="your own address"):
        await alarmed.verifying.delete(ALICE)
    clock.at += ASK_AGAIN
    assert await alarmed.find_certificate(BOB) is not None  # learning it again is allowed


async def test_a_certificate_that_another_address_needs_is_kept(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.WEAK_CHAIN, source="mail")
    await keys.keyring.learn(bob.certificate, CAROL, Level.FINGERPRINT, source="person")
    await keys.verifying.delete(BOB)
    assert await keys.keyring.find(CAROL) is not None


async def test_a_binding_whose_certificate_is_missing_is_never_none(
    keys: KeyManager, store: Soledad, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    [document] = [d for d in await store.find_docs(CERTIFICATE) if d.content]
    await store.transact(lambda tx: tx.delete(document.doc_id))
    with pytest.raises(LookupFailed, match="missing on this device"):
        await keys.find_certificate(BOB)


# --- what is written ---------------------------------------------------------------------------


async def test_the_same_again_is_not_written_for_every_mail(
    keys: KeyManager, store: Soledad, clock: Time, bob: SecretKey, other: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    await keys.note_encrypted({BOB: bob.fingerprint})
    await keys.note_signed({BOB: bob.fingerprint})
    await keys.learn(other.certificate, BOB, "attached to a mail")
    written: list[object] = []
    end = store.on_change(written.append)
    for number in range(3):
        clock.at += 60
        await keys.learn(bob.certificate, BOB, "attached to a mail", mail=f"<{number}@x>")
        await keys.learn(other.certificate, BOB, "attached to a mail", mail=f"<{number}@x>")
        await keys.note_encrypted({BOB: bob.fingerprint})
        await keys.note_signed({BOB: bob.fingerprint})
    end()
    assert written == []
    binding = (await bound_of_bob(keys)).binding
    assert (binding.encrypted_to, binding.signature_seen) == (True, True)
    clock.at += DAY
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    assert (await bound_of_bob(keys)).binding.last_seen == int(clock())


async def test_use_of_a_key_that_was_replaced_meanwhile_is_not_noted_for_the_new_one(
    keys: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    await keys.note_encrypted({BOB: other.fingerprint})
    await keys.note_signed({BOB: other.fingerprint})
    binding = (await bound_of_bob(keys)).binding
    assert (binding.encrypted_to, binding.signature_seen) == (False, False)


async def test_a_refused_offer_is_noted_as_the_best_source_made_it_and_once(
    keys: KeyManager, bob: SecretKey, other: SecretKey, clock: Time
) -> None:
    async def offer(level: Level, source: str) -> Bound:
        clock.at += 1
        await keys.learn(other.certificate, BOB, "offered", level=level, source=source)
        return await bound_of_bob(keys)

    await keys.learn(
        bob.certificate, BOB, "said so", level=Level.PROVIDER_TRUST, source="directory"
    )
    await offer(Level.WEAK_CHAIN, "autocrypt")
    first = await offer(Level.PROVIDER_TRUST, "directory")
    assert [c.source for c in first.binding.refused] == ["directory"]
    assert (await offer(Level.WEAK_CHAIN, "autocrypt")).binding == first.binding
    assert (await offer(Level.PROVIDER_TRUST, "directory")).binding == first.binding


async def test_a_flood_of_keys_leaves_few_refusals_and_the_most_believed_of_them(
    keys: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_ENDORSEMENT, source="directory")
    await keys.keyring.learn(other.certificate, BOB, Level.PROVIDER_TRUST, source="wkd")
    for number in range(12):
        flood = generate(BOB, now=lambda at=number: BIRTH + 10 + at)
        await keys.learn(flood.certificate, BOB, "attached to a mail")
    refused = (await bound_of_bob(keys)).binding.refused
    assert len(refused) == 8
    assert other.fingerprint in {change.fingerprint for change in refused}


async def test_a_key_nothing_can_be_encrypted_to_replaces_no_other(
    keys: KeyManager, bob: SecretKey, other: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    signing = Certificate(other.certificate.components[:2])
    decision = await keys.keyring.learn(signing, BOB, Level.PROVIDER_TRUST, source="directory")
    assert (decision.allowed, decision.reason) == (
        False,
        "nothing can be encrypted to the new key",
    )


async def test_the_search_tells_what_each_source_answered(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    async def answers() -> tuple[Asked, Answer, Answer]:
        asked = await keys.ask(BOB)
        by_source = {answer.source: answer for answer in asked.answers}
        return asked, by_source["ring"], by_source["directory"]

    asked, ring, answer = await answers()
    assert (ring.outcome, answer.outcome, asked.found) == ("none", "none", None)
    directory.down = True
    asked, _, answer = await answers()
    assert answer.outcome == "failed"
    assert "does not answer" in asked.failure
    directory.down = False
    directory.keys[BOB] = bob.certificate.binary
    asked, _, answer = await answers()
    assert (answer.fingerprint, answer.level) == (bob.fingerprint, "provider-trust")
    assert asked.found is not None
    _, ring, answer = await answers()  # asked again though the ring has it
    assert (ring.outcome, answer.outcome) == ("found", "found")


class Forgetful:
    """A source that said "none" and remembers it, until it is asked anew."""

    name = "wkd"

    def __init__(self, found: Found) -> None:
        self._found = found

    async def find(self, address: str) -> Found | None:
        return None

    async def ask(self, address: str) -> Found | None:
        return self._found


async def test_asking_now_asks_those_who_remember_an_answer_as_well(
    store: Soledad, clock: Time, bob: SecretKey
) -> None:
    found = Found(
        certificate=bob.certificate, level=Level.PROVIDER_TRUST, source="wkd", evidence="there"
    )
    keys = KeyManager(store, ALICE, remote=[Forgetful(found)], now=clock)
    assert await keys.find_certificate(BOB) is None
    asked = await keys.ask(BOB)
    assert asked.found is not None
    assert asked.answers[-1].words == "there"
    keys.close()


async def test_a_key_whose_part_or_name_was_revoked_makes_room_for_one_believed_as_much(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey, other: SecretKey
) -> None:
    part = next(c for c in bob.certificate.components if c.tag == Tag.PUBLIC_SUBKEY)
    name = user_id_of(bob.certificate, BOB)
    for component, kind in (
        (part, SignatureType.REVOKE_SUBKEY),
        (name, SignatureType.REVOKE_CERTIFICATION),
    ):
        directory.keys[BOB] = bob.certificate.binary
        await keys.find_certificate(BOB)
        back = sign_on(component, bob.certificate, bob, kind, at=BIRTH + 50)
        useless = replaced(bob.certificate, component, with_more(component, [back]))
        weak = await keys.learn(other.certificate, BOB, "attached to a mail")
        assert not weak.allowed
        directory.keys[BOB] = useless.binary
        clock.at += ASK_AGAIN
        assert not (await certificate_found(keys)).can_encrypt(clock())
        weak = await keys.learn(other.certificate, BOB, "attached to a mail")
        assert weak.reason == "the old key has expired, but the new one is believed less"
        directory.keys[BOB] = other.certificate.binary
        clock.at += ASK_AGAIN
        assert (await certificate_found(keys)).fingerprint == other.fingerprint
        await keys.verifying.delete(BOB)


async def certificate_found(keys: KeyManager) -> Certificate:
    found = await keys.find_certificate(BOB)
    assert found is not None
    return found.certificate


async def test_a_compared_key_is_taken_though_the_offer_of_it_was_refused(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey, other: SecretKey, clock: Time
) -> None:
    """Bob lost his key. He reads the fingerprint of the new one to alice, who has not verified the old one."""
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    await keys.note_encrypted({BOB: bob.fingerprint})
    await keys.note_signed({BOB: bob.fingerprint})
    directory.keys[BOB] = other.certificate.binary
    clock.at += ASK_AGAIN
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate == bob.certificate
    bound = await keys.verifying.verify(BOB, other.fingerprint)
    assert (bound.certificate.fingerprint, bound.level) == (other.fingerprint, Level.FINGERPRINT)


async def test_a_compared_key_that_only_came_in_mail_headers_is_taken(
    store: Soledad, keys: KeyManager, bob: SecretKey, other: SecretKey, clock: Time
) -> None:
    async def mail_from_bob(key: SecretKey) -> None:
        clock.at += 1
        value = header_value(BOB, key.certificate.minimal(BOB, clock.at).binary, "mutual")
        assert value is not None
        lesson = await keys.learn_from_mail(
            [KeyMaterial(BOB, int(clock.at), int(clock.at), autocrypt=(value.encode(),))]
        )
        assert lesson is not None
        await store.transact(lesson.keep)
        await lesson.finish()

    await mail_from_bob(bob)
    with pytest.raises(NoSuchKey, match=r"no key is known"):
        await keys.verifying.verify(BOB, other.fingerprint)
    assert (await keys.verifying.verify(BOB, bob.fingerprint)).level is Level.FINGERPRINT
    await mail_from_bob(other)
    bound = await keys.verifying.verify(BOB, other.fingerprint)
    assert bound.certificate.fingerprint == other.fingerprint
