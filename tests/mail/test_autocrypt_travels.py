"""Autocrypt on the way: what leaves with mail, what stays inside, what arrives with it is learnt, once and durably."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.keymanager.autocrypt.header import GOSSIP_NAME, NAME, header_value, parse_header
from leap.keymanager.autocrypt.peers import PEER
from leap.keymanager.documents import pack
from leap.keymanager.lesson import Lesson
from leap.keymanager.openpgp import decrypt, encrypt, generate
from leap.mail.export_rules import MailCarrying
from leap.mail.outgoing.field_lines import header_fields, split_header, values_of
from leap.mail.outgoing.header_protection import fold
from leap.mail.outgoing.pgp_mime import find_ciphertext, wrap
from leap.soledad.errors import StoreFull
from leap.soledad.maintenance import export_store, import_store
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, mail, open_person, own_key

ALICE, BOB, CAROL, DAVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol", "dave"))
STRANGER = "stranger@elsewhere.test"


@pytest.fixture
async def carol(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Person]:
    person = await open_person(provider, tmp_path / "carol", "carol")
    yield person
    await person.close()


@pytest.fixture
def dave(provider: FakeProvider) -> None:
    provider.certificates[DAVE] = own_key("dave").certificate.binary


def values(message: bytes, name: str) -> list[bytes]:
    return values_of(header_fields(message), name.lower())


def payload_of(message: bytes, reader: str) -> bytes:
    ciphertext = find_ciphertext(message)
    assert ciphertext is not None
    return decrypt(ciphertext, [own_key(reader)]).plaintext


async def sent(person: Person, raw: bytes, *recipients: str) -> list[bytes]:
    await person.outgoing.submit(raw, person.address, recipients)
    await person.sender.process_due()
    return [message for _, _, _, message in person.provider.submitted]


async def peers(person: Person) -> dict[str, dict[str, Any]]:
    found = await person.store.find_docs(PEER)
    return {d.content["address"]: d.content for d in found if d.content is not None}


def from_stranger(name: str = "stranger", extra: bytes = b"") -> tuple[bytes, Any]:
    key = generate(STRANGER, now=lambda: NOW - 1000)
    value = header_value(STRANGER, key.certificate.binary, "mutual")
    raw = mail(sender=STRANGER, extra=fold(f"{NAME}: {value}") + extra)
    return raw, key


async def test_mail_to_two_introduces_them_inside_and_nobody_else(
    alice: Person, bob: Person, carol: Person, dave: None
) -> None:
    raw = mail(to=BOB, extra=f"Cc: {CAROL}\r\nBcc: {DAVE}\r\n".encode())
    together, blind = await sent(alice, raw, BOB, CAROL, DAVE)
    for message, reader in ((together, "bob"), (blind, "dave")):
        assert values(message, GOSSIP_NAME) == []
        assert len(values(message, NAME)) == 1
        gossip = [parse_header(value) for value in values(payload_of(message, reader), GOSSIP_NAME)]
        assert {one.address: one.keydata for one in gossip if one} == {
            address: own_key(name).certificate.minimal(address).binary
            for name, address in (("bob", BOB), ("carol", CAROL))
        }
        assert all(one and one.prefer_encrypt == "nopreference" for one in gossip)
    key_of_dave = own_key("dave").certificate.primary.body
    assert key_of_dave not in payload_of(together, "bob")

    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.endswith(raw.replace(f"Bcc: {DAVE}\r\n".encode(), b""))
    assert b"Gossip" not in served
    known = await peers(bob)
    assert set(known) == {ALICE, CAROL}
    minimal = own_key("alice").certificate.minimal(ALICE).binary
    assert known[ALICE]["public_key"] == pack(minimal)
    assert known[ALICE]["prefer_encrypt"] == "mutual"
    assert known[CAROL]["gossip_from"] == ALICE
    assert known[CAROL]["gossip_authentication"] == "signature good"
    assert known[CAROL]["last_seen"] == 0
    bob.provider.certificates.clear()
    found = await bob.keys.find_certificate(CAROL)
    assert found is not None
    assert found.certificate.fingerprint == own_key("carol").fingerprint


async def test_mail_to_one_introduces_nobody(alice: Person, bob: Person) -> None:
    (message,) = await sent(alice, mail(), BOB)
    assert values(payload_of(message, "bob"), GOSSIP_NAME) == []
    (value,) = values(message, NAME)
    assert len(f"{NAME}: ".encode() + value) < 1200


async def test_programs_that_know_rfc_9788_find_gossip_in_the_payloads_header(
    alice: Person, bob: Person, carol: Person
) -> None:
    (message,) = await sent(alice, mail(to=f"{BOB}, {CAROL}"), BOB, CAROL)
    fields, _ = split_header(payload_of(message, "bob"))
    names = [one.name for one in fields]
    assert names[:3] == ["content-type", "autocrypt-gossip", "autocrypt-gossip"]
    assert max(len(line) for one in fields for line in one.raw.split(b"\r\n")) <= 78


async def test_a_stranger_who_sends_a_header_is_answered_encrypted(bob: Person) -> None:
    raw, key = from_stranger()
    bob.provider.deliver(BOB, raw)
    await bob.incoming.process_once()
    assert (await bob.messages())[0].endswith(raw)
    (answer,) = await sent(bob, mail(sender=BOB, to=STRANGER), STRANGER)
    ciphertext = find_ciphertext(answer)
    assert ciphertext is not None
    assert b"secret plan" in decrypt(ciphertext, [key]).plaintext
    armored = encrypt(b"\r\nsigned\r\n", [own_key("bob").certificate], key, now=lambda: NOW)
    outer = [("From", STRANGER), ("To", BOB)]
    bob.provider.deliver(BOB, wrap(outer, None, armored, "=_b"))
    await bob.incoming.process_once()
    assert b"X-Leap-Signature: valid" in (await bob.messages())[-1]


async def test_mail_in_clear_carries_the_header_too_unless_it_has_one(bob: Person) -> None:
    raw = mail(sender=BOB, to=STRANGER)
    (message,) = await sent(bob, raw, STRANGER)
    (value,) = values(message, NAME)
    header = parse_header(value)
    assert header is not None
    assert header.address == BOB
    assert message.endswith(raw)
    theirs = fold(f"{NAME}: addr={BOB}; keydata=xjMAAA==")
    _, other = await sent(bob, theirs + raw, STRANGER)
    assert other == theirs + raw


async def test_a_header_of_the_mail_program_stays_the_only_one_of_encrypted_mail(
    alice: Person, bob: Person
) -> None:
    theirs = fold(f"{NAME}: addr={ALICE}; keydata=xjMAAA==")
    (message,) = await sent(alice, theirs + mail(), BOB)
    assert values(message, NAME) == []
    assert values(payload_of(message, "bob"), NAME) == [
        b"addr=alice@example.test; keydata=xjMAAA=="
    ]


async def test_mail_from_an_alias_has_a_header_of_the_alias(alice: Person, bob: Person) -> None:
    alias = f"alice+lists@{DOMAIN}"
    for to in (BOB, STRANGER):
        message = (await sent(alice, mail(sender=alias, to=to), to))[-1]
        (value,) = values(message, NAME)
        header = parse_header(value)
        assert header is not None
        assert header.address == alias


async def test_what_the_mail_program_encrypted_goes_as_it_is(alice: Person) -> None:
    armored = encrypt(b"\r\nhi\r\n", [own_key("bob").certificate], now=lambda: NOW)
    outer = [("From", ALICE), ("To", STRANGER), ("Message-ID", "<m@x>")]
    raw = wrap(
        [*outer, ("Date", "Mon, 21 Sep 2026 10:00:00 +0000")],
        None,
        armored,
        "=_b",
    )
    assert await sent(alice, raw, STRANGER) == [raw]


async def test_the_state_of_a_draft_does_not_travel(alice: Person) -> None:
    raw = mail(to=STRANGER, extra=b"Autocrypt-Draft-State: encrypt=no; _by-choice=yes;\r\n")
    (message,) = await sent(alice, raw, STRANGER)
    assert b"Draft-State" not in message


async def test_without_a_usable_key_mail_leaves_without_a_header(
    provider: FakeProvider, tmp_path: Path
) -> None:
    person = await open_person(provider, tmp_path / "erin", "erin", with_key=False)
    raw = mail(sender=person.address, to=STRANGER)
    assert await sent(person, raw, STRANGER) == [raw]
    await person.close()


# --- what goes wrong --------------------------------------------------------------------------


async def test_mail_and_what_it_taught_are_kept_together_or_not_at_all(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, _ = from_stranger()
    bob.provider.deliver(BOB, raw)

    def full(self: Lesson, tx: Any) -> None:
        keep(self, tx)
        raise StoreFull("no space")

    keep = Lesson.keep
    with monkeypatch.context() as patch:
        patch.setattr(Lesson, "keep", full)
        with pytest.raises(Exception, match="disk is full"):
            await bob.incoming.process_once()
    assert await bob.messages() == []
    assert await peers(bob) == {}
    bob.provider.expire_leases()
    await bob.incoming.process_once()
    assert len(await bob.messages()) == 1
    assert set(await peers(bob)) == {STRANGER}
    assert bob.provider.waiting(BOB) == 0


@pytest.mark.parametrize("where", ["keep", "finish"])
async def test_a_fault_in_learning_keeps_no_mail_back(
    bob: Person, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Lesson, where, fails)
    raw, _ = from_stranger()
    bob.provider.deliver(BOB, raw)
    await bob.incoming.process_once()
    assert (await bob.messages())[0].endswith(raw)
    assert bob.provider.waiting(BOB) == 0


async def test_a_fault_in_looking_keeps_no_mail_back(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bob.keys, "learn_from_mail", fails)
    bob.provider.deliver(BOB, from_stranger()[0])
    await bob.incoming.process_once()
    assert len(await bob.messages()) == 1
    assert await peers(bob) == {}


async def test_sixty_mails_of_one_person_write_one_document(bob: Person) -> None:
    raw, _ = from_stranger()
    versions = set()

    def follow(changes: Any) -> None:
        for doc_id, _, after in changes.docs:
            if after is not None and after.get("type") == PEER:
                versions.add((doc_id, changes.seq))

    bob.store.on_change(follow)
    for number in range(60):
        bob.provider.deliver(BOB, re.sub(rb"<plan@", b"<%d@" % number, raw))
    await bob.incoming.process_once()
    assert len(await bob.messages()) == 60
    assert len(versions) == 1


async def test_an_export_takes_along_what_is_known_of_peers(
    alice: Person, bob: Person, tmp_path: Path
) -> None:
    raw, key = from_stranger()
    alice.provider.deliver(ALICE, raw)
    await alice.incoming.process_once()
    costs = (2, 32 * 1024, 1)  # cheap
    await export_store(
        alice.store, tmp_path / "export", "a passphrase", costs=costs, carrying=MailCarrying()
    )
    await import_store(bob.store, tmp_path / "export", "a passphrase", carrying=MailCarrying())
    peer = await bob.keys.autocrypt.peer(STRANGER)
    assert peer is not None
    assert peer.public_key == pack(key.certificate.binary)
    doc_id = bob.store.row_key(f"{PEER}:{STRANGER}".encode())
    assert await bob.store.get_doc(doc_id) is not None
