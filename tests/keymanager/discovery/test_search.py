"""The order of sources: what ends a search, what a failure means, and how long news may take."""

from __future__ import annotations

import asyncio
import itertools
import sys

import pytest

from leap.keymanager.discovery.contract import Found, Source
from leap.keymanager.discovery.wkd import WkdSource
from leap.keymanager.errors import LookupFailed
from leap.keymanager.finding import ASK_AGAIN
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import SecretKey
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad
from tests.keymanager.conftest import ALICE, BOB, FakeDirectory, Time
from tests.keymanager.making import revoked

from .net import Net


class Place:
    """A source that gives a key at a level, has none, fails, or hangs."""

    def __init__(self, name: str, says: Level | str, key: SecretKey) -> None:
        self.name = name
        self.says = says
        self.key = key
        self.asked = 0

    async def find(self, address: str) -> Found | None:
        self.asked += 1
        if self.says == "none":
            return None
        if self.says == "hangs":
            await asyncio.Event().wait()
        if not isinstance(self.says, Level):
            raise LookupFailed(f"{self.name} is down")
        return Found(
            certificate=self.key.certificate, level=self.says, source=self.name, evidence="said"
        )


def places(bob: SecretKey, *says: Level | str) -> list[Place]:
    return [Place(name, say, bob) for name, say in zip(("wkd", "vks"), says, strict=True)]


WEAK, TRUST = Level.WEAK_CHAIN, Level.PROVIDER_TRUST


@pytest.mark.parametrize(
    ("directory_says", "wkd", "vks"),
    list(itertools.product(("none", "fails"), ("none", "fails", TRUST), ("none", "fails", WEAK))),
)
async def test_a_weak_key_counts_only_when_the_better_sources_have_none(
    store: Soledad,
    directory: FakeDirectory,
    clock: Time,
    bob: SecretKey,
    directory_says: str,
    wkd: Level | str,
    vks: Level | str,
) -> None:
    directory.down = directory_says == "fails"
    sources = places(bob, wkd, vks)
    keys = KeyManager(store, ALICE, directory, remote=sources, now=clock)
    if wkd is TRUST:  # the word of its own provider stands, whatever others say
        found = await keys.find_certificate(BOB)
        assert found is not None
        assert found.level is TRUST
        assert sources[1].asked == 0
    elif "fails" in (directory_says, wkd, vks):
        with pytest.raises(LookupFailed):
            await keys.find_certificate(BOB)
    else:
        found = await keys.find_certificate(BOB)
        assert (found is not None) is (vks is WEAK)
    keys.close()


async def test_a_weak_key_of_the_ring_waits_for_a_source_that_fails(
    store: Soledad, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    sources = places(bob, "fails", "none")
    keys = KeyManager(store, ALICE, directory, remote=sources, now=clock)
    await keys.learn(bob.certificate, BOB, "attached to a mail")
    with pytest.raises(LookupFailed, match="wkd is down"):
        await keys.find_certificate(BOB)
    sources[0].says = "none"
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.level is WEAK
    keys.close()


async def test_news_come_from_the_source_that_knows_the_key(
    store: Soledad, directory: FakeDirectory, clock: Time, bob: SecretKey
) -> None:
    wkd, vks = places(bob, TRUST, "none")
    keys = KeyManager(store, ALICE, directory, remote=[wkd, vks], now=clock)
    await keys.find_certificate(BOB)
    clock.at += ASK_AGAIN
    wkd.key = _Revoked(bob)
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.certificate.revoked
    keys.close()


class _Revoked(SecretKey):
    def __init__(self, key: SecretKey) -> None:
        super().__init__(revoked(key), {})


async def test_all_sources_together_may_take_some_seconds_for_news_and_then_the_key_stays(
    store: Soledad,
    directory: FakeDirectory,
    clock: Time,
    bob: SecretKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = sys.modules["leap.keymanager.discovery.search"]
    monkeypatch.setattr(search, "REFRESH_SECONDS", 0.05)
    sources = places(bob, TRUST, "none")
    keys = KeyManager(store, ALICE, remote=sources, now=clock)
    await keys.find_certificate(BOB)
    clock.at += ASK_AGAIN
    sources[0].says = sources[1].says = "hangs"
    began = asyncio.get_running_loop().time()
    found = await keys.find_certificate(BOB)
    assert asyncio.get_running_loop().time() - began < 2
    assert found is not None
    assert found.certificate == bob.certificate
    keys.close()


async def test_a_mail_that_comes_causes_no_request_to_its_senders_domain(
    net: Net, store: Soledad, directory: FakeDirectory, clock: Time
) -> None:
    wkd: Source = WkdSource(net.https(), is_public=lambda name: True)
    keys = KeyManager(store, ALICE, directory, remote=[wkd], now=clock)
    assert await keys.find_bound("joe.1234@example.org", seconds=1) == []
    assert directory.asked == ["joe.1234@example.org"]
    assert not net.resolved
    assert await keys.find_certificate("joe.1234@example.org") is None
    assert net.resolved == ["openpgpkey.example.org", "example.org"]
    keys.close()
