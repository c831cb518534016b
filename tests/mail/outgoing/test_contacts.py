"""What the person decided about somebody, and alerts, all the way through sending and receiving."""

from __future__ import annotations

import pytest

from leap.keymanager.finding import ASK_AGAIN
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import OpenPGPError, SecretKey, decrypt, encrypt, generate
from leap.mail.contract import NotPermitted
from leap.mail.outgoing.addresses import MAX_IN_LETTERS, mentioned_addresses
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import find_ciphertext, wrap
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, own_key

ALICE, BOB, CAROL = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol"))


@pytest.fixture(scope="module")
def other() -> SecretKey:
    """Another key that calls itself bob's."""
    return generate(BOB, now=lambda: NOW - 500, lifetime=50 * 365 * 86400)


def publish(provider: FakeProvider, address: str, key: SecretKey) -> None:
    provider.certificates[address] = key.certificate.binary


async def sent(alice: Person, *recipients: str, extra: bytes = b"") -> bytes:
    """What leaves when alice writes to these."""
    number = len(alice.provider.submitted)  # the same message again would be taken for the same
    raw = mail(to=recipients[0], extra=extra).replace(b"<plan@", b"<plan%d@" % number)
    await alice.outgoing.submit(raw, ALICE, recipients)
    await alice.sender.process_due()
    return alice.provider.submitted[-1][3]


def is_clear(message: bytes) -> bool:
    return b"Hello Bob." in message


# --- prefer, require, never --------------------------------------------------------------------


async def test_require_refuses_clear_text_and_encrypts_when_there_is_a_key(
    alice: Person, provider: FakeProvider
) -> None:
    await alice.keys.contacts.set_policy(CAROL, "require")
    with pytest.raises(NotPermitted, match=f"no key was found for {CAROL}"):
        await sent(alice, CAROL)
    publish(provider, CAROL, own_key("carol"))
    assert not is_clear(await sent(alice, CAROL))


async def test_never_sends_clear_although_there_is_a_key_and_prefer_encrypts(
    alice: Person, provider: FakeProvider
) -> None:
    publish(provider, BOB, own_key("bob"))
    for policy, clear in (("never", True), ("prefer", False), ("never", True), ("", False)):
        await alice.keys.contacts.set_policy(BOB, policy)
        assert is_clear(await sent(alice, BOB)) == clear


async def test_prefer_sends_clear_when_there_is_no_key(alice: Person) -> None:
    await alice.keys.contacts.set_policy(CAROL, "prefer")
    assert is_clear(await sent(alice, CAROL))


async def test_a_message_may_ask_for_more_than_the_contact_says(
    alice: Person, provider: FakeProvider
) -> None:
    await alice.keys.contacts.set_policy(BOB, "never")
    publish(provider, BOB, own_key("bob"))
    assert not is_clear(await sent(alice, BOB, extra=b"X-Leap-Encrypt: require\r\n"))


async def test_never_and_others_are_not_mixed(alice: Person, provider: FakeProvider) -> None:
    for name in ("bob", "carol"):
        publish(provider, f"{name}@{DOMAIN}", own_key(name))
    await alice.keys.contacts.set_policy(BOB, "never")
    with pytest.raises(NotPermitted, match="send two messages"):
        await sent(alice, BOB, CAROL)


async def test_require_counts_for_a_tag_at_another_provider_and_never_does_not(
    alice: Person,
) -> None:
    eve, tagged = "eve@elsewhere.test", "eve+lists@elsewhere.test"
    await alice.keys.contacts.set_policy(eve, "require")
    with pytest.raises(NotPermitted, match="encryption is required"):
        await sent(alice, tagged)
    await alice.keys.contacts.set_policy(tagged, "prefer")
    assert is_clear(await sent(alice, tagged))
    await alice.keys.contacts.set_policy(eve, "never")
    alice.provider.certificates[tagged] = generate(tagged, now=lambda: NOW - 500).certificate.binary
    await alice.keys.contacts.set_policy(tagged, "")
    assert not is_clear(await sent(alice, tagged))


async def test_a_policy_counts_for_the_address_with_a_tag_and_a_closer_one_before_it(
    alice: Person,
) -> None:
    await alice.keys.contacts.set_policy(BOB, "require")
    tagged = f"bob+lists@{DOMAIN}"
    with pytest.raises(NotPermitted, match="encryption is required"):
        await sent(alice, tagged)
    await alice.keys.contacts.set_policy(tagged, "prefer")
    assert is_clear(await sent(alice, tagged))


async def test_what_another_process_or_device_set_counts_at_once(
    alice: Person, provider: FakeProvider
) -> None:
    publish(provider, BOB, own_key("bob"))
    assert not is_clear(await sent(alice, BOB))
    elsewhere = KeyManager(alice.store, ALICE)
    await elsewhere.contacts.set_policy(BOB, "never")
    elsewhere.close()
    assert is_clear(await sent(alice, BOB))


async def test_a_mail_that_was_to_be_encrypted_never_becomes_clear(
    alice: Person, provider: FakeProvider
) -> None:
    publish(provider, BOB, own_key("bob"))
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.keys.contacts.set_policy(BOB, "never")
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    [report] = await alice.messages()
    assert b"it was to be encrypted" in report


async def test_many_recipients_are_looked_up_together(alice: Person) -> None:
    many = [f"u{number}@{DOMAIN}" for number in range(30)]
    await alice.keys.contacts.set_policy(many[29], "require")
    with pytest.raises(NotPermitted, match=many[29]):
        await sent(alice, *many)


# --- changed and blocked keys ------------------------------------------------------------------


async def change(alice: Person, provider: FakeProvider, other: SecretKey) -> None:
    """Alice verified bob's key; then the provider's directory gives another one."""
    publish(provider, BOB, own_key("bob"))
    await alice.keys.find_certificate(BOB)
    await alice.keys.verifying.verify(BOB, own_key("bob").fingerprint)
    publish(provider, BOB, other)
    alice.clock.time += ASK_AGAIN


async def test_a_changed_key_of_a_verified_contact_stops_mail_and_says_what_to_do(
    alice: Person, provider: FakeProvider, other: SecretKey
) -> None:
    await change(alice, provider, other)
    with pytest.raises(NotPermitted) as refused:
        await sent(alice, BOB)
    sentence = str(refused.value)
    assert sentence.startswith(f"Not sent: the key of {BOB} may have changed: your provider's")
    assert f"`bitmask keys verify {BOB} {other.fingerprint}`" in sentence
    assert f"`bitmask keys verify {BOB} --keep`" in sentence
    await alice.keys.verifying.keep(BOB)
    assert not is_clear(await sent(alice, BOB))


async def test_verifying_the_new_key_lets_mail_go_to_it(
    alice: Person, provider: FakeProvider, other: SecretKey
) -> None:
    await change(alice, provider, other)
    with pytest.raises(NotPermitted):
        await sent(alice, BOB)
    await alice.keys.verifying.verify(BOB, other.fingerprint)
    assert not is_clear(await sent(alice, BOB))


async def test_a_change_found_between_accepting_and_sending_gives_a_report(
    alice: Person, provider: FakeProvider, other: SecretKey
) -> None:
    await change(alice, provider, other)
    alice.clock.time -= ASK_AGAIN
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    alice.clock.time += ASK_AGAIN
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    [report] = await alice.messages()
    assert b"may have changed" in report.replace(b"\r\n ", b" ")


async def test_a_blocked_key_stops_mail_even_when_the_directory_is_down_or_forgot_it(
    alice: Person, provider: FakeProvider
) -> None:
    publish(provider, BOB, own_key("bob"))
    assert not is_clear(await sent(alice, BOB))
    await alice.keys.verifying.block(BOB, own_key("bob").fingerprint)
    for offline in (False, True):
        provider.lookup_fails = offline
        alice.clock.time += ASK_AGAIN
        with pytest.raises(NotPermitted, match="is blocked by you"):
            await sent(alice, BOB)
    provider.lookup_fails = False
    del provider.certificates[BOB]
    alice.clock.time += ASK_AGAIN
    with pytest.raises(NotPermitted, match="is blocked by you"):
        await sent(alice, BOB)
    await alice.keys.contacts.set_policy(BOB, "never")  # this, too, is the person's word
    assert is_clear(await sent(alice, BOB))


async def test_a_signature_by_the_key_that_is_only_offered_or_blocked_is_not_good(
    alice: Person, provider: FakeProvider, other: SecretKey
) -> None:
    await change(alice, provider, other)
    await alice.keys.find_certificate(BOB)

    async def verdict(signer: SecretKey) -> str:
        outer = [("From", BOB), ("To", ALICE), ("Subject", "[...]")]
        payload = protect(mail(sender=BOB, to=ALICE), outer)
        own = own_key("alice").certificate
        armored = encrypt(payload, [own], signer, now=lambda: NOW)
        provider.deliver(ALICE, wrap(outer, None, armored, "=_b"))
        await alice.incoming.process_once()
        return (await alice.messages())[-1].split(b"X-Leap-Signature: ")[1].split(b";")[0].decode()

    assert await verdict(own_key("bob")) == "valid"
    assert await verdict(other) != "valid"
    await alice.keys.verifying.verify(BOB, other.fingerprint)
    assert await verdict(other) == "valid"
    assert await verdict(own_key("bob")) != "valid"
    await alice.keys.verifying.block(BOB, other.fingerprint)
    assert await verdict(other) != "valid"


# --- use ---------------------------------------------------------------------------------------


async def test_a_letter_and_its_answer_make_a_key_used_both_ways(
    alice: Person, bob: Person
) -> None:
    async def use(person: Person, of: str) -> tuple[bool, bool]:
        bound = await person.keys.keyring.find(of)
        assert bound is not None
        return bound.binding.encrypted_to, bound.binding.signature_seen

    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert await use(alice, BOB) == (True, False)
    await bob.incoming.process_once()
    assert await use(bob, ALICE) == (False, True)
    await bob.outgoing.submit(mail(sender=BOB, to=ALICE), BOB, [ALICE])
    await bob.sender.process_due()
    assert await use(bob, ALICE) == (True, True)
    await alice.incoming.process_once()
    assert await use(alice, BOB) == (True, True)


# --- one person by several addresses ------------------------------------------------------------


async def test_a_tag_does_not_lead_past_a_verified_key_nor_its_alert(
    alice: Person, provider: FakeProvider, other: SecretKey
) -> None:
    """A key which somebody slipped in for bob+lists@ is not used instead of bob's."""
    tagged = f"bob+lists@{DOMAIN}"
    publish(provider, BOB, own_key("bob"))
    await alice.keys.find_certificate(BOB)
    await alice.keys.verifying.verify(BOB, own_key("bob").fingerprint)
    slipped_in = generate(tagged, now=lambda: NOW - 500, lifetime=50 * 365 * 86400)
    publish(provider, tagged, slipped_in)
    await alice.keys.learn(slipped_in.certificate, tagged, "attached to a mail")
    message = find_ciphertext(await sent(alice, tagged))
    assert message is not None
    decrypt(message, [own_key("bob")])
    with pytest.raises(OpenPGPError):
        decrypt(message, [slipped_in])
    await alice.keys.verifying.block(BOB, own_key("bob").fingerprint)
    with pytest.raises(NotPermitted, match="blocked"):
        await sent(alice, tagged)


async def test_a_key_blocked_for_the_tagged_address_is_not_used_for_it(
    alice: Person, provider: FakeProvider
) -> None:
    tagged = f"bob+lists@{DOMAIN}"
    key = generate(tagged, now=lambda: NOW - 500, lifetime=50 * 365 * 86400)
    publish(provider, BOB, own_key("bob"))
    await alice.keys.learn(key.certificate, tagged, "attached to a mail")
    await alice.keys.verifying.block(tagged, key.fingerprint)
    with pytest.raises(NotPermitted, match="blocked"):
        await sent(alice, tagged)


async def test_mail_to_oneself_with_a_tag_goes_to_ones_own_key(
    alice: Person, provider: FakeProvider
) -> None:
    tagged = f"alice+notes@{DOMAIN}"
    slipped_in = generate(tagged, now=lambda: NOW - 500, lifetime=50 * 365 * 86400)
    await alice.keys.learn(slipped_in.certificate, tagged, "attached to a mail")
    message = find_ciphertext(await sent(alice, tagged))
    assert message is not None
    decrypt(message, await alice.keys.own_keys())


async def test_a_key_that_only_the_tagged_address_has_is_used(alice: Person) -> None:
    tagged = f"carol+lists@{DOMAIN}"
    key = generate(tagged, now=lambda: NOW - 500, lifetime=50 * 365 * 86400)
    await alice.keys.learn(key.certificate, tagged, "imported by you")
    message = find_ciphertext(await sent(alice, tagged))
    assert message is not None
    decrypt(message, [key])


async def test_both_forms_of_a_domain_are_one_contact(alice: Person) -> None:
    """What a person says of bob@bücher.example counts when a mail program writes xn--bcher-kva."""
    typed, sent_to = "Bob@bücher.example", "bob@xn--bcher-kva.example"
    key = generate("bob@Bücher.example", now=lambda: NOW - 500, lifetime=50 * 365 * 86400)
    await alice.keys.learn(key.certificate, typed, "imported by you")
    await alice.keys.verifying.verify(typed, key.fingerprint)
    await alice.keys.contacts.set_policy(typed, "require")
    for address in (sent_to, typed):
        message = find_ciphertext(await sent(alice, address))
        assert message is not None
        decrypt(message, [key])
    await alice.keys.verifying.block(sent_to, key.fingerprint)
    with pytest.raises(NotPermitted, match="blocked"):
        await sent(alice, typed)
    await alice.keys.verifying.delete(typed)
    with pytest.raises(NotPermitted, match="required"):
        await sent(alice, sent_to)
    assert (await alice.keys.contacts.find(typed)).blocked


async def test_clear_text_that_is_forbidden_while_keys_are_looked_up_does_not_go(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.outgoing.submit(mail(to=CAROL), ALICE, [CAROL])
    look = alice.keys.find_certificate

    async def meanwhile(address: str) -> object:
        await alice.keys.contacts.set_policy(CAROL, "require")
        return await look(address)

    monkeypatch.setattr(alice.keys, "find_certificate", meanwhile)
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    [report] = await alice.messages()
    assert b"encryption is required" in report


def test_a_flood_of_domains_in_letters_costs_little_and_is_still_told_apart() -> None:
    value = "".join(f"a@ü{number}.example," for number in range(20_000)).encode()
    found = mentioned_addresses([b"bob@B\xc3\xbccher.example", value])
    assert "bob@xn--bcher-kva.example" in found
    assert sum("@xn--" in one for one in found) == MAX_IN_LETTERS
