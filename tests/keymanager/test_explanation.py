"""What people read about a key: the trail of evidence, in words and dates."""

from __future__ import annotations

from pathlib import Path

from leap.bitmask.key_words import asked_words, key_lines
from leap.keymanager.comparison import grouped
from leap.keymanager.documents import Evidence, Publication
from leap.keymanager.explanation import algorithm_words, evidence_words, parts_of
from leap.keymanager.finding import ASK_AGAIN
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.trust import Level

from .conftest import BIRTH, BOB, DAY, FakeDirectory, Time
from .making import revoked

ML_DSA = Path(__file__).parent.parent / "vectors" / "rfc9980" / "a3-key.asc"


async def test_the_trail_says_why_this_key(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    await keys.learn(
        bob.certificate,
        BOB,
        "in its Autocrypt field",
        source="autocrypt",
        mail="<1@example.test>",
        authentication="dkim pass",
    )
    clock.at += DAY
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    clock.at += DAY
    await keys.verifying.verify(BOB, bob.fingerprint)
    await keys.note_encrypted({BOB: bob.fingerprint})
    other = generate(BOB, now=lambda: BIRTH + 1)
    directory.keys[BOB] = other.certificate.binary
    clock.at += ASK_AGAIN
    await keys.find_certificate(BOB)
    await keys.contacts.set_policy(BOB, "require")
    [info] = await keys.show(BOB)
    groups = " ".join(bob.fingerprint[at : at + 4] for at in range(0, 40, 4))
    new = " ".join(other.fingerprint[at : at + 4] for at in range(0, 40, 4))
    assert (
        "\n".join(key_lines(info, advice="encrypt"))
        == f"""\
Key of {BOB}
  {groups}
  {BOB}
ATTENTION: The key of {BOB} may have changed: your provider's key directory offers another one since 13 October 2025, \
{new}. Compare fingerprints with them; then take the new key with `bitmask keys verify {BOB} {other.fingerprint}`, or \
keep the old one with `bitmask keys verify {BOB} --keep`.
Believed because you compared the fingerprint (fingerprint).
Evidence:
  10 October 2025, weak chain: in its Autocrypt field in the mail <1@example.test> \
(dkim pass)
  11 October 2025, provider trust: the key directory of example.test gave it for {BOB}
  12 October 2025, fingerprint: you compared the fingerprint
How it became the key:
  10 October 2025, {groups} from the Autocrypt header of a mail: there was no key for this address
  11 October 2025, {groups} from your provider's key directory: it is believed more now: provider trust
  12 October 2025, {groups}: it is believed more now: fingerprint
Offers that were refused:
  13 October 2025, {new} from your provider's key directory: you verified the old key, so you decide \
(provider trust says so)
First seen 10 October 2025, last seen 12 October 2025.
You encrypted to it; no mail with a good signature by it has come yet.
Mail is sent encrypted or not at all.
Autocrypt recommends: encrypt.
Parts:
  primary key, EdDSA Ed25519, can certify, sign, made 9 October 2025, until 9 October 2027
  subkey, ECDH Curve25519, can encrypt, made 9 October 2025, until 9 October 2027"""
    )


async def test_a_key_is_shown_by_address_fingerprint_subkey_or_key_id(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    subkey = parts_of(bob.certificate)[1].fingerprint
    for wanted in (
        BOB.upper(),
        bob.fingerprint,
        f"{subkey[:20]} {subkey[20:].lower()}",
        subkey[-16:],
    ):
        assert [info.address for info in await keys.show(wanted)] == [BOB]


async def test_the_state_of_a_key_and_of_its_publication_is_told(
    keys: KeyManager, directory: FakeDirectory, clock: Time
) -> None:
    key = await keys.own.ensure()
    [info] = await keys.show(key.fingerprint)
    directory.down = True
    await keys.publishing.publish()
    lines = key_lines(info, await keys.publishing.state())
    assert lines[0] == "Your key of alice@example.test"
    assert any(line.startswith("Not published yet, tried once:") for line in lines)
    directory.down = False
    await keys.publishing.publish()
    lines = key_lines(info, await keys.publishing.state())
    assert "Published in your provider's key directory on 10 October 2025." in lines
    assert "Not published yet." in key_lines(info, Publication(address="x"))
    clock.at += 3 * 365 * DAY
    [info] = await keys.show(key.fingerprint)
    assert any("Nothing can be encrypted to it any more" in line for line in key_lines(info))


async def test_what_sources_answered_is_told(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    lines = asked_words(BOB, await keys.ask(BOB))
    assert lines[0] == "Your keyring: no key."
    assert "Your provider's key directory: no key." in lines
    assert lines[-1] == f"No key was found for {BOB}."
    directory.down = True
    lines = asked_words(BOB, await keys.ask(BOB))
    assert any(
        line.startswith("Your provider's key directory: no answer. The provider's key")
        for line in lines
    )
    assert lines[-1].startswith(f"Whether {BOB} has a key is not known now:")
    directory.down = False
    directory.keys[BOB] = bob.certificate.binary
    assert "(provider trust)." in asked_words(BOB, await keys.ask(BOB))[-1]
    await keys.verifying.block(BOB, bob.fingerprint)
    assert "is blocked by you" in asked_words(BOB, await keys.ask(BOB))[-1]


async def test_what_the_ring_has_is_told_with_its_best_reason_not_its_newest(
    keys: KeyManager, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    clock.at += DAY
    await keys.learn(bob.certificate, BOB, "an Autocrypt header brought it again")
    line = asked_words(BOB, await keys.ask(BOB))[0]
    assert line.endswith(f"because of this: the key directory of example.test gave it for {BOB}")


async def test_who_must_decide_about_a_revoked_key_is_not_told_to_keep_it(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    await keys.verifying.verify(BOB, bob.fingerprint)
    await keys.learn(revoked(bob), BOB, "attached to a mail")
    other = generate(BOB, now=lambda: BIRTH + 1)
    await keys.learn(other.certificate, BOB, "attached to a mail")
    changed = (await keys.alerts())[0]
    assert f"take the new key with `bitmask keys verify {BOB} {other.fingerprint}`." in changed
    assert "--keep" not in changed


async def test_a_better_offer_that_gives_way_to_a_key_in_use_is_told(
    keys: KeyManager, directory: FakeDirectory, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "in its Autocrypt field", source="autocrypt")
    await keys.note_encrypted({BOB: bob.fingerprint})
    await keys.note_signed({BOB: bob.fingerprint})
    other = generate(BOB, now=lambda: BIRTH)
    directory.keys[BOB] = other.certificate.binary
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.fingerprint == bob.fingerprint
    [info] = await keys.show(BOB)
    [told] = [line for line in key_lines(info) if line.startswith("Another key is offered")]
    assert f"{grouped(other.fingerprint)}, by your provider's key directory since 10 Octo" in told
    assert f"`bitmask keys verify {BOB} {other.fingerprint}`" in told
    await keys.verifying.verify(BOB, other.fingerprint)
    [info] = await keys.show(BOB)
    assert info.fingerprint == other.fingerprint
    assert not any(line.startswith("Another key is offered") for line in key_lines(info))


async def test_an_offer_believed_no_more_than_the_key_is_only_in_the_trail(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.learn(bob.certificate, BOB, "in its Autocrypt field", source="autocrypt")
    other = generate(BOB, now=lambda: BIRTH)
    await keys.learn(other.certificate, BOB, "in its Autocrypt field", source="autocrypt")
    [info] = await keys.show(BOB)
    assert info.fingerprint == bob.fingerprint
    lines = key_lines(info)
    assert "the new key is not believed more than the old one" in "\n".join(lines)
    assert not any(line.startswith("Another key is offered") for line in lines)


def test_evidence_of_a_person_or_a_newer_source_is_told_as_well() -> None:
    said = Evidence(source="person", when=0, level=Level.FINGERPRINT.word)
    assert evidence_words(said) == "1 January 1970, fingerprint: you said so"
    newer = Evidence(source="smoke-signals", when=0, level="weak-chain", url="https://x.test/")
    assert (
        evidence_words(newer)
        == "1 January 1970, weak chain: smoke-signals said so from https://x.test/"
    )


def test_algorithms_have_names(bob: SecretKey) -> None:
    v6 = generate(BOB, now=lambda: BIRTH, version=6).certificate
    assert [algorithm_words(state.key) for state in v6.keys] == ["Ed25519", "X25519"]
    ml_dsa = Certificate.from_bytes(ML_DSA.read_bytes())
    words = [algorithm_words(state.key) for state in ml_dsa.keys]
    assert words == ["ML-DSA-65 with Ed25519", "ML-KEM-768 with X25519"]
