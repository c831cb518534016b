"""Whose signature counts as the From's: only that of the key the ring has for it, whatever names a key gives itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, encrypt, generate
from leap.keymanager.trust import Level
from leap.mail.incoming import verdicts
from leap.mail.incoming.opening import Opened
from leap.mail.incoming.senders import Senders, SendersWanted, look_up
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.keymanager.conftest import FakeDirectory
from tests.keymanager.making import with_user_id
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.travel import DOMAIN, NOW, Person, mail, own_key

ALICE, BOB, MALLORY = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "mallory"))


@pytest.fixture
def directory() -> FakeDirectory:
    return FakeDirectory()


@pytest.fixture
def keys(bob: Person, directory: FakeDirectory) -> KeyManager:
    """Bob's keys, and a directory that answers what a test puts there."""
    bob.keys.finding._directory = directory
    return bob.keys


@pytest.fixture
def mallory() -> SecretKey:
    """A key of mallory that also calls itself alice, and does that properly."""
    own = generate(MALLORY, now=lambda: NOW - 100)
    return with_user_id(own, f"Alice <{ALICE}>", at=int(NOW) - 90)


def encrypted(signer: SecretKey, sender: str) -> bytes:
    outer = [("From", sender), ("To", BOB), ("Subject", "[...]")]
    payload = protect(mail(sender=sender), outer)
    armored = encrypt(payload, [own_key("bob").certificate], signer, now=lambda: NOW)
    return wrap(outer, None, armored, "=_b")


async def opened(keys: KeyManager, signer: SecretKey, sender: str) -> Opened:
    raw = encrypted(signer, sender)
    return await open_with_look_ups(raw, keys)


def verdict_of(one: Opened) -> tuple[str, str]:
    [found] = one.security.signatures
    return found.state, found.signer


@pytest.mark.parametrize("how", ["bound", "in the directory", "unknown"])
async def test_a_key_that_calls_itself_alice_does_not_sign_as_alice(
    keys: KeyManager, directory: FakeDirectory, mallory: SecretKey, how: str
) -> None:
    directory.keys[MALLORY] = mallory.certificate.binary
    if how == "bound":
        await keys.keyring.learn(
            own_key("alice").certificate, ALICE, Level.FINGERPRINT, source="person"
        )
    if how == "in the directory":
        directory.keys[ALICE] = own_key("alice").certificate.binary
    assert verdict_of(await opened(keys, mallory, MALLORY)) == ("good", MALLORY)
    one = await opened(keys, mallory, ALICE)
    assert verdict_of(one) == ("not-from", MALLORY)
    assert b"X-Leap-Signature: valid" not in one.served
    genuine = await opened(keys, own_key("alice"), ALICE)
    assert verdict_of(genuine)[0] == ("unknown-key" if how == "unknown" else "good")


async def test_the_ring_keeps_no_name_of_an_address_nobody_looked_up(
    keys: KeyManager, directory: FakeDirectory, mallory: SecretKey
) -> None:
    directory.keys[MALLORY] = mallory.certificate.binary
    await keys.find_certificate(MALLORY)
    bound = await keys.keyring.find(MALLORY)
    assert bound is not None
    assert bound.certificate.addresses == (MALLORY,)
    await keys.keyring.learn(
        own_key("alice").certificate, ALICE, Level.PROVIDER_TRUST, source="directory"
    )
    refused = await keys.learn(mallory.certificate, ALICE, "attached to a mail")
    assert not refused.allowed
    bound = await keys.keyring.find(MALLORY)
    assert bound is not None
    assert bound.certificate.addresses == (MALLORY,)


async def test_the_first_mail_of_somebody_is_valid_by_the_key_of_the_directory(
    keys: KeyManager, directory: FakeDirectory
) -> None:
    assert verdict_of(await opened(keys, own_key("alice"), ALICE))[0] == "unknown-key"
    directory.keys[ALICE] = own_key("alice").certificate.binary
    assert verdict_of(await opened(keys, own_key("alice"), ALICE)) == ("good", ALICE)
    bound = await keys.keyring.find(ALICE)
    assert bound is not None
    assert bound.level is Level.PROVIDER_TRUST


async def test_ones_own_mail_is_valid_by_any_own_key_and_with_a_tag(
    keys: KeyManager, directory: FakeDirectory
) -> None:
    former = generate(BOB, now=lambda: NOW - 1000)
    await keys.own.add(former)
    for key in (own_key("bob"), former):
        for sender in (BOB, f"bob+notes@{DOMAIN}"):
            assert verdict_of(await opened(keys, key, sender)) == ("good", sender)
    assert directory.asked == []


async def test_a_hostile_certificate_is_not_judged_on_the_event_loop(
    bob: Person,
    keys: KeyManager,
    directory: FakeDirectory,
    mallory: SecretKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And once judged, it is not judged anew."""
    threads: list[int] = []
    real = verdicts.verify_signatures

    def noted(*arguments: object, **named: object) -> object:
        threads.append(threading.get_ident())
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(verdicts, "verify_signatures", noted)
    for index in range(40):
        mallory = with_user_id(mallory, f"Mallory {index}", at=int(NOW) - 80)
    directory.keys[MALLORY] = mallory.certificate.binary
    bob.provider.deliver(BOB, encrypted(mallory, MALLORY))
    assert await bob.incoming.process_once() == 1
    [message] = await bob.messages()
    assert b"X-Leap-Signature: valid" in message
    assert threads
    assert threading.get_ident() not in threads
    first, second = [await keys.find_bound(MALLORY, seconds=1) for _ in range(2)]
    assert first[0] is second[0]


async def test_many_senders_are_looked_up_together(keys: KeyManager) -> None:
    """A directory that is silent is waited for once, not for each of them."""
    names = [f"s{number}@{DOMAIN}" for number in range(20)]
    asked = asyncio.Barrier(len(names))

    class Ring(KeyManager):
        async def find_bound(self, address: str, *, seconds: float) -> list[Certificate]:
            await asked.wait()
            return []

    ring = Ring(keys.keyring._store, BOB)
    wanted = [SendersWanted(name, frozenset()) for name in (*names, None)]
    async with asyncio.timeout(5):
        found = await look_up(Senders(), wanted, ring, DOMAIN)
    ring.close()
    assert set(found.bound) == set(names)
