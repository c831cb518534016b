"""Copies that were made, and what happens to keys and policy before they can be sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from leap.keymanager.openpgp import OpenPGPError, SecretKey, decrypt, encrypt, generate
from leap.keymanager.openpgp.revocation import RevocationReason, revoke
from leap.keymanager.trust import Level
from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.outgoing.pgp_mime import find_ciphertext, wrap
from leap.mail.outgoing.sender import LASTING
from leap.mail.outgoing.submission import SubmissionUnavailable
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, open_person, own_key

ALICE, BOB, CAROL, DAVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol", "dave"))
DAY = 86400
NOT_YET = (451, "4.3.0 Later")


@pytest.fixture(scope="module")
def other() -> SecretKey:
    """Bob's next key."""
    return generate(BOB, now=lambda: NOW - 500, lifetime=50 * 365 * DAY)


@pytest.fixture(autouse=True)
def published(provider: FakeProvider) -> None:
    for name in ("bob", "carol", "dave"):
        provider.certificates[f"{name}@{DOMAIN}"] = own_key(name).certificate.binary
        provider.replies[f"{name}@{DOMAIN}"] = NOT_YET


async def wait(person: Person, seconds: float = DAY, *answering: str) -> None:
    """The mails wait, then the provider takes them for those who are named."""
    for address in answering:
        person.provider.replies.pop(address, None)
    person.clock.time += seconds
    await person.sender.process_due()


def attempts(person: Person) -> list[tuple[str, tuple[str, ...], bytes]]:
    return [(one, to, message) for one, _, to, message in person.provider.submitted]


def opens(key: SecretKey, message: bytes) -> bool:
    try:
        return b"Hello Bob." in decrypt(find_ciphertext(message) or b"", [key]).plaintext
    except OpenPGPError:
        return False


async def begin(person: Person, *recipients: str, extra: bytes = b"") -> None:
    """The copies are made, and not taken by the provider."""
    await person.outgoing.submit(mail(extra=extra), person.address, recipients or (BOB,))
    await person.sender.process_due()


async def new_key(person: Person, key: SecretKey) -> None:
    person.provider.certificates[BOB] = key.certificate.binary
    await person.keys.keyring.learn(key.certificate, BOB, Level.FINGERPRINT, source="person")


async def test_copies_for_the_same_keys_go_as_they_are(alice: Person) -> None:
    await begin(alice, BOB, CAROL, extra=f"Cc: {CAROL}\r\n".encode())
    await wait(alice, DAY, BOB)
    await wait(alice, DAY, CAROL)
    first, second, third = attempts(alice)
    assert first == second
    assert (third[0], third[2]) == (first[0], first[2])
    assert third[1] == (CAROL,)


async def test_a_new_key_gets_a_new_copy_under_the_same_id(alice: Person, other: SecretKey) -> None:
    await begin(alice)
    await new_key(alice, other)
    await wait(alice, LASTING / 2)
    await wait(alice, LASTING, BOB)
    first, second, third = attempts(alice)
    assert second == first  # nothing is looked up for a copy just made
    assert third[0] == first[0]
    assert (opens(own_key("bob"), third[2]), opens(other, third[2])) == (False, True)
    assert (await alice.outgoing.entries())[0].state == "sent"


async def test_a_new_subkey_gets_a_new_copy_too(alice: Person) -> None:
    """The certificate is the same, and its encryption key another."""
    await begin(alice)
    [(name, keys)] = await alice.store.read(
        lambda db: db.execute("SELECT submission_id, keys FROM outbox_copy").fetchall()
    )
    certificate = own_key("bob").certificate
    subkey = certificate.fingerprints[-1]
    assert f"{certificate.fingerprint} {subkey}" in keys
    earlier = keys.replace(subkey, "00" * 20)
    await alice.store.transact(
        lambda tx: tx.connection.execute("UPDATE outbox_copy SET keys = ?", (earlier,))
    )
    await wait(alice, DAY, BOB)
    first, second = attempts(alice)
    assert first[0] == second[0] == name
    assert first[2] != second[2]


async def test_a_copy_whose_keys_nobody_wrote_down_is_made_anew(alice: Person) -> None:
    await begin(alice)
    await alice.store.transact(
        lambda tx: tx.connection.execute("UPDATE outbox_copy SET keys = '{}', made = 0")
    )
    await wait(alice, 6, BOB)
    first, second = attempts(alice)
    assert first[0] == second[0]
    assert first[2] != second[2]


@pytest.mark.parametrize("what", ["blocked", "revoked", "alert", "never", "gone"])
async def test_what_may_not_be_sent_any_more_ends_with_the_reason(
    alice: Person, other: SecretKey, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bob = own_key("bob")
    if what == "alert":
        await alice.keys.find_certificate(BOB)
        await alice.keys.verifying.verify(BOB, bob.fingerprint)
    await begin(alice)
    match what:
        case "blocked":
            await alice.keys.verifying.block(BOB, bob.fingerprint)
        case "revoked":
            over = revoke(bob, reason=RevocationReason.COMPROMISED, now=NOW)
            await alice.keys.keyring.learn(
                over.certificate, BOB, Level.PROVIDER_TRUST, source="directory"
            )
        case "alert":
            decision = await alice.keys.keyring.learn(
                other.certificate, BOB, Level.PROVIDER_TRUST, source="directory"
            )
            assert decision.alert
        case "never":
            await alice.keys.contacts.set_policy(BOB, "never")
        case "gone":

            async def none(address: str) -> None:
                return None

            monkeypatch.setattr(alice.keys, "find_certificate", none)
    await wait(alice, DAY, BOB)
    assert len(attempts(alice)) == 1  # the one before
    (report,) = await alice.messages()
    words = {
        "blocked": b"blocked by you",
        "revoked": b"was revoked",
        "alert": b"bob@example.test",
        "never": b"it was to be encrypted",
        "gone": b"it was to be encrypted",
    }
    told = b" ".join(report.split())
    assert words[what] in told
    assert b"An earlier attempt may have reached the provider." in told
    assert b"Hello Bob" not in report


async def test_while_keys_cannot_be_looked_up_the_copies_wait(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(alice)

    async def fail(address: str) -> None:
        raise OSError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(alice.keys, "find_certificate", fail)
        await wait(alice, DAY, BOB)
        assert len(attempts(alice)) == 1
        [one] = await alice.outgoing.entries()
        entry = await alice.outgoing.outbox.load(one.outbox_id)
        assert entry is not None
        assert "could not be looked up" in entry.reason
    await wait(alice, DAY, BOB)
    first, second = attempts(alice)
    assert first == second


async def test_who_got_the_former_copy_though_its_answer_was_lost_gets_no_other(
    alice: Person, bob: Person, other: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = alice.provider
    provider.replies.clear()

    async def lost(
        name: str, sender: str, to: Sequence[str], message: bytes, wishes: DeliveryWishes
    ) -> None:
        await FakeProvider.submit(provider, name, sender, to, message)
        raise SubmissionUnavailable("The provider's submission server cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(provider, "submit", lost)
        await begin(alice)
    await new_key(alice, other)
    await wait(alice, DAY)
    first, second = attempts(alice)
    assert first[2] != second[2]
    assert provider.waiting(BOB) == 1
    assert await bob.incoming.process_once() == 1
    assert (await alice.outgoing.entries())[0].state == "sent"


@pytest.mark.parametrize("step", ["keep_copies", "note_results"])
async def test_a_crash_while_copies_are_made_anew_sends_nothing_twice(
    provider: FakeProvider,
    bob: Person,
    other: SecretKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    provider.certificates[BOB] = own_key("bob").certificate.binary
    alice = await open_person(provider, tmp_path / "alice", "alice")
    await begin(alice)
    await new_key(alice, other)

    async def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(alice.outgoing.outbox, step, crash)
    with pytest.raises(KeyboardInterrupt):
        await wait(alice, DAY, BOB)
    await alice.close()
    alice = await open_person(provider, tmp_path / "alice", "alice", clock=alice.clock)
    await wait(alice, 1)
    ids = {one for one, _, _ in attempts(alice)}
    assert len(ids) == 1
    assert provider.waiting(BOB) == 1
    assert opens(other, attempts(alice)[-1][2])
    assert (await alice.outgoing.entries())[0].state == "sent"
    await alice.close()


async def test_only_the_copy_for_another_key_is_made_anew_and_only_for_who_waits(
    alice: Person, other: SecretKey
) -> None:
    alice.provider.replies.pop(CAROL)
    await begin(alice, BOB, CAROL, DAVE, extra=f"Cc: {CAROL}\r\n".encode())
    await new_key(alice, other)
    await wait(alice, DAY, BOB, DAVE)
    together, blind, blind_again, again = attempts(alice)
    assert blind == blind_again
    assert (again[0], again[1]) == (together[0], (BOB,))
    assert opens(other, again[2])
    assert not opens(own_key("carol"), again[2])  # she has hers
    assert (await alice.outgoing.entries())[0].state == "sent"


async def test_what_was_to_go_in_clear_is_encrypted_when_there_are_keys_meanwhile(
    alice: Person, provider: FakeProvider
) -> None:
    for one in (BOB, CAROL, DAVE):
        await alice.keys.contacts.set_policy(one, "never")
    await begin(alice, BOB, CAROL, DAVE, extra=f"Cc: {CAROL}\r\n".encode())
    for one in (BOB, CAROL, DAVE):
        await alice.keys.contacts.set_policy(one, "require")
    await wait(alice, DAY, BOB, CAROL, DAVE)
    clear, together, blind = attempts(alice)
    assert b"Hello Bob." in clear[2]
    assert b"Hello Bob." not in together[2] + blind[2]
    assert (together[1], blind[1]) == ((BOB, CAROL), (DAVE,))
    assert clear[0] == together[0] == blind[0]  # for each recipient the provider knows it apart
    assert opens(own_key("carol"), together[2])
    assert not opens(own_key("dave"), together[2])
    assert opens(own_key("dave"), blind[2])
    assert (await alice.outgoing.entries())[0].state == "sent"


async def test_clear_text_stops_when_encryption_is_required_meanwhile(
    alice: Person, provider: FakeProvider
) -> None:
    eve = "eve@elsewhere.test"
    provider.replies[eve] = NOT_YET
    await alice.outgoing.submit(mail(to=eve), ALICE, [eve])
    await alice.sender.process_due()
    await wait(alice)
    assert attempts(alice)[0] == attempts(alice)[1]
    await alice.keys.contacts.set_policy(eve, "require")
    await wait(alice, DAY, eve)
    assert len(attempts(alice)) == 2
    (report,) = await alice.messages()
    assert b"encryption is required" in report


async def test_what_the_mail_program_encrypted_is_not_judged(alice: Person) -> None:
    armored = encrypt(b"\r\nhi\r\n", [own_key("bob").certificate], now=lambda: NOW)
    outer = [("From", ALICE), ("To", BOB), ("Message-ID", "<m@x>")]
    await alice.outgoing.submit(wrap(outer, None, armored, "=_b"), ALICE, [BOB])
    await alice.sender.process_due()
    await alice.keys.find_certificate(BOB)
    await alice.keys.verifying.block(BOB, own_key("bob").fingerprint)
    await wait(alice, DAY, BOB)
    first, second = attempts(alice)
    assert first == second
