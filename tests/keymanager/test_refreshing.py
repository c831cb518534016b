"""The refresh in the background: when, whom, in what order, and what it brings."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter

import pytest

from leap.keymanager.discovery.contract import Found
from leap.keymanager.errors import LookupFailed, NoSuchKey
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, subpacket
from leap.keymanager.refresh import FIRST_RETRY, PERIOD, Refresh
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad

from .conftest import ALICE, BIRTH, BOB, DAY, FakeDirectory, Time
from .making import CERTIFY_AND_SIGN, replaced, revoked, sign_on, with_more


class Shy:
    """A source that is told fingerprints only."""

    name = "shy"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.news: Found | LookupFailed | None = None

    async def find(self, address: str) -> Found | None:
        raise AssertionError("the address is none of its business")

    async def refresh(self, address: str, fingerprint: str) -> Found | None:
        self.asked.append(fingerprint)
        if isinstance(self.news, LookupFailed):
            raise self.news
        return self.news


@pytest.fixture
def refresh(keys: KeyManager, store: Soledad, clock: Time) -> Refresh:
    return Refresh(keys, store, now=clock, randomness=random.Random(1))


@pytest.fixture(scope="module")
def people() -> list[SecretKey]:
    return [generate(f"p{n}@example.test", now=lambda: BIRTH) for n in range(6)]


def extended(key: SecretKey, seconds: int) -> Certificate:
    """The certificate with a later end on its name and on its encryption part."""
    certificate = key.certificate
    ends = subpacket(Subpacket.KEY_EXPIRES, seconds.to_bytes(4, "big"))
    encrypts = subpacket(Subpacket.KEY_FLAGS, b"\x0c")
    for component in certificate.components[1:]:
        kind, flags = SignatureType.CERTIFY_POSITIVE, CERTIFY_AND_SIGN
        if component.tag == Tag.PUBLIC_SUBKEY:
            kind, flags = SignatureType.SUBKEY_BINDING, encrypts
        body = sign_on(component, certificate, key, kind, at=BIRTH + 100, says=[flags, ends])
        certificate = replaced(certificate, component, with_more(component, [body]))
    return certificate


async def know(keys: KeyManager, directory: FakeDirectory, *people: SecretKey) -> None:
    for key in people:
        [address] = key.certificate.addresses
        directory.keys[address] = key.certificate.binary
        await keys.find_certificate(address)
    directory.asked.clear()


async def test_another_key_that_was_not_taken_is_said_and_who_has_to_decide(
    keys: KeyManager, directory: FakeDirectory, refresh: Refresh, bob: SecretKey, clock: Time
) -> None:
    await know(keys, directory, bob)
    offered = [generate(BOB, now=lambda at=at: BIRTH + at).certificate for at in (1, 2)]
    directory.keys[BOB] = offered[0].binary
    said = f"another key was offered, {offered[0].fingerprint}, and not taken: "
    assert (await refresh.refresh(BOB)).changes == (
        said + "the new key is not believed more than the old one",
    )
    assert (await refresh.refresh(BOB)).changes == ()
    await keys.verifying.verify(BOB, bob.fingerprint)
    directory.keys[BOB] = offered[1].binary
    news, decide = (await refresh.refresh(BOB)).changes
    assert "you verified the old key, so you decide" in news
    assert decide == "you have to decide about it, see `bitmask status`"


async def test_a_revocation_arrives_and_is_said(
    keys: KeyManager, directory: FakeDirectory, refresh: Refresh, bob: SecretKey
) -> None:
    await know(keys, directory, bob)
    assert (await refresh.refresh(BOB)).changes == ()
    directory.keys[BOB] = revoked(bob).binary
    news = await refresh.refresh("Bob@Example.test")
    assert news.changes == ("it is revoked",)
    assert (news.asked, news.failures) == (("directory",), ())
    for other in ("ann@example.test", ALICE):
        with pytest.raises(NoSuchKey):
            await refresh.refresh(other)


async def test_a_later_end_and_another_key_are_said(
    keys: KeyManager, directory: FakeDirectory, refresh: Refresh, bob: SecretKey
) -> None:
    await know(keys, directory, bob)
    directory.keys[BOB] = extended(bob, 5 * 365 * DAY).binary
    changes = (await refresh.refresh(BOB)).changes
    assert changes[0].startswith("its end is now 2030-")
    assert "the end of its part" in changes[1]
    directory.keys[BOB] = revoked(bob).binary
    await refresh.refresh(BOB)
    directory.keys[BOB] = generate(BOB, now=lambda: BIRTH + 50).certificate.binary
    [change] = (await refresh.refresh(BOB)).changes
    assert change == f"another key took the place of {bob.fingerprint}: the old key is revoked"


async def test_a_failure_takes_nothing_and_waits_longer_each_time(
    keys: KeyManager, directory: FakeDirectory, refresh: Refresh, clock: Time, bob: SecretKey
) -> None:
    await know(keys, directory, bob)
    directory.down = True
    for pause in (FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY):
        news = await refresh.refresh_one()
        assert news is not None
        assert news.failures
        assert news.fingerprint == bob.fingerprint
        clock.at += pause - 1
        assert await refresh.refresh_one() is None
        clock.at += 1
    directory.down = False
    assert await refresh.refresh_one() is not None
    clock.at += 4 * FIRST_RETRY
    assert await refresh.refresh_one() is None


async def test_all_are_asked_about_in_random_order_and_not_twice_in_half_a_period(
    keys: KeyManager,
    directory: FakeDirectory,
    store: Soledad,
    clock: Time,
    people: list[SecretKey],
) -> None:
    await know(keys, directory, *people)
    orders = set()
    for seed in range(3):
        refresh = Refresh(keys, store, now=clock, randomness=random.Random(seed))
        for _ in people:
            assert await refresh.refresh_one() is not None
        assert await refresh.refresh_one() is None
        again = Refresh(keys, store, now=clock)
        assert await again.refresh_one() is None  # over a restart, too
        assert len(set(directory.asked)) == len(people)
        orders.add(tuple(directory.asked))
        directory.asked.clear()
        clock.at += PERIOD / 2
    assert len(orders) > 1


async def test_each_is_asked_about_once_in_about_a_period(
    keys: KeyManager,
    directory: FakeDirectory,
    store: Soledad,
    clock: Time,
    people: list[SecretKey],
) -> None:
    await know(keys, directory, *people)
    pauses: list[float] = []
    end = clock.at + 10 * PERIOD

    class Over(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.at += seconds
        if clock.at > end:
            raise Over

    refresh = Refresh(
        keys, store, now=clock, randomness=random.Random(7), sleep=sleep, may_ask=lambda: True
    )
    with pytest.raises(Over):
        await refresh.run()
    each = Counter(directory.asked)
    assert set(each) == {address for key in people for address in key.certificate.addresses}
    assert all(5 <= times <= 15 for times in each.values()), each  # in 10 periods
    assert len(set(pauses)) > len(pauses) * 0.5  # no rhythm


async def test_nothing_is_asked_while_it_may_not(
    keys: KeyManager, directory: FakeDirectory, store: Soledad, clock: Time, bob: SecretKey
) -> None:
    await know(keys, directory, bob)
    rounds = 0

    async def sleep(seconds: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 3:
            raise asyncio.CancelledError

    refresh = Refresh(keys, store, now=clock, sleep=sleep, may_ask=lambda: False)
    with pytest.raises(asyncio.CancelledError):
        await refresh.run()
    assert not directory.asked


async def test_own_keys_are_not_asked_about_and_fingerprints_where_they_do(
    store: Soledad, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    shy = Shy()
    keys = KeyManager(store, ALICE, directory, remote=[shy], now=clock)
    await keys.own.ensure()
    await keys.keyring.learn(bob.certificate, BOB, Level.WEAK_CHAIN, source="mail")
    refresh = Refresh(keys, store, now=clock)
    assert await refresh.refresh_all() == []  # whoever only wrote is not asked
    assert await refresh.refresh_one() is None
    await keys.keyring.note_use(BOB, encrypted_to=True)
    shy.news = Found(
        certificate=revoked(bob).without_user_ids(lambda body: True),
        level=Level.WEAK_CHAIN,
        source="shy",
        evidence="it had news",
    )
    [news] = await refresh.refresh_all()
    assert (news.address, news.changes) == (BOB, ("it is revoked",))
    assert news.asked == ("directory", "shy")
    assert shy.asked == [bob.fingerprint]
    assert directory.asked == [BOB]
    shy.news = LookupFailed("it is down")
    assert (await refresh.refresh(BOB)).failures == ("it is down",)
    keys.close()


async def test_logs_do_not_say_whom_a_key_is_of(
    keys: KeyManager,
    directory: FakeDirectory,
    refresh: Refresh,
    bob: SecretKey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    await know(keys, directory, bob)
    directory.keys[BOB] = revoked(bob).binary
    await refresh.refresh(BOB)
    assert "bob" not in caplog.text
    assert bob.fingerprint not in caplog.text


async def test_a_blocked_key_is_not_asked_about(
    keys: KeyManager, directory: FakeDirectory, refresh: Refresh, bob: SecretKey
) -> None:
    await know(keys, directory, bob)
    await keys.verifying.block(BOB, bob.fingerprint)
    assert await refresh.refresh_one() is None
    assert await refresh.refresh_all() == []
    assert not directory.asked
    assert (await refresh.refresh(BOB)).address == BOB  # a person may ask
