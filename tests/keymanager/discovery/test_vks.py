"""The Verifying Keyserver, beside a server that answers as the API's documentation says."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from aiohttp import web

from leap.keymanager.discovery.vks import VksSource
from leap.keymanager.errors import LookupFailed
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad
from tests.keymanager.conftest import ALICE, BOB, FakeDirectory, Time
from tests.keymanager.making import revoked

from .net import Net

HOST = "keys.example.net"


class Keyserver:
    """Of its API: GET by-email and by-fingerprint; user ids are shown only of confirmed addresses."""

    def __init__(self, net: Net) -> None:
        net.host(HOST)
        self._net = net
        self.certificates: dict[str, Certificate] = {}
        self.confirmed: set[str] = set()

    def add(self, certificate: Certificate, *confirmed: str) -> None:
        self.certificates[certificate.fingerprint] = certificate
        self.confirmed |= set(confirmed)
        for address in certificate.addresses:
            self._net.pages[f"{HOST}/vks/v1/by-email/{address}"] = self.by_email
        for fingerprint in certificate.fingerprints:
            self._net.pages[f"{HOST}/vks/v1/by-fingerprint/{fingerprint}"] = self.by_fingerprint

    async def by_email(self, request: web.Request) -> web.StreamResponse:
        assert "%40" in request.raw_path  # escaped, as the documentation asks for
        address = unquote(request.path.rpartition("/")[2])
        for certificate in self.certificates.values():
            if address in certificate.addresses and address in self.confirmed:
                return self._shown(certificate)
        return web.Response(status=404, text="No key found for email address " + address)

    async def by_fingerprint(self, request: web.Request) -> web.StreamResponse:
        asked = request.path.rpartition("/")[2]
        assert re.fullmatch("[0-9A-F]{40}", asked)
        for certificate in self.certificates.values():
            if asked in certificate.fingerprints:
                return self._shown(certificate)
        return web.Response(status=404, text="No key found for fingerprint " + asked)

    def _shown(self, certificate: Certificate) -> web.Response:
        shown = certificate.without_user_ids(
            lambda body: not any(address.encode() in body for address in self.confirmed)
        )
        return web.Response(body=shown.armored(), content_type="application/pgp-keys")


@pytest.fixture
def keyserver(net: Net) -> Keyserver:
    return Keyserver(net)


@pytest.fixture
def vks(net: Net, clock: Time) -> VksSource:
    return VksSource(net.https(), f"https://{HOST}", now=clock)


async def test_a_confirmed_address_is_found_as_a_weak_chain(
    net: Net, keyserver: Keyserver, vks: VksSource, bob: SecretKey
) -> None:
    keyserver.add(bob.certificate, BOB)
    found = await vks.find("Bob@example.test")
    assert found is not None
    assert (found.certificate, found.level) == (bob.certificate, Level.WEAK_CHAIN)
    assert found.url == f"https://{HOST}/vks/v1/by-email/bob%40example.test"


async def test_an_address_that_nobody_confirmed_is_none(
    keyserver: Keyserver, vks: VksSource, bob: SecretKey
) -> None:
    keyserver.add(bob.certificate)
    assert await vks.find(BOB) is None
    assert await vks.find("ann@example.test") is None


async def test_a_keyserver_that_is_not_there_knows_nothing(net: Net, vks: VksSource) -> None:
    with pytest.raises(LookupFailed, match="no such host"):
        await vks.find(BOB)
    net.host(HOST)
    net.pages[f"{HOST}/vks/v1/by-email/{BOB}"] = 429
    with pytest.raises(LookupFailed, match="429"):
        await vks.find(BOB)


async def test_it_is_used_only_when_the_better_sources_have_none(
    net: Net,
    keyserver: Keyserver,
    vks: VksSource,
    store: Soledad,
    directory: FakeDirectory,
    clock: Time,
    bob: SecretKey,
) -> None:
    keyserver.add(bob.certificate, BOB)
    keys = KeyManager(store, ALICE, directory, remote=[vks], now=clock)
    directory.down = True
    with pytest.raises(LookupFailed):
        await keys.find_certificate(BOB)
    directory.down = False
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.level is Level.WEAK_CHAIN
    directory.keys[BOB] = bob.certificate.binary
    found = await keys.find_certificate(BOB)
    assert found is not None
    assert found.level is Level.PROVIDER_TRUST
    before = len(net.asked)
    await keys.find_certificate(BOB)
    assert len(net.asked) == before
    keys.close()


async def test_news_of_a_key_come_without_its_names(
    net: Net,
    keyserver: Keyserver,
    vks: VksSource,
    store: Soledad,
    directory: FakeDirectory,
    clock: Time,
    bob: SecretKey,
) -> None:
    """What the server shows has no user id at all, and the revocation on it counts."""
    keys = KeyManager(store, ALICE, directory, now=clock)
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    keyserver.add(revoked(bob))
    found = await vks.refresh(BOB, bob.fingerprint)
    assert found is not None
    assert found.certificate.user_ids == ()
    await keys.finding.take(found, BOB)
    bound = await keys.keyring.find(BOB)
    assert bound is not None
    assert bound.certificate.revoked
    assert bound.certificate.user_ids == bob.certificate.user_ids
    assert bound.level is Level.PROVIDER_TRUST  # news say nothing of whose key it is
    assert "example.test" not in str(net.asked)
    assert "example.test" not in str([str(request.url) for request in net.requests])
    keys.close()


async def test_a_key_of_another_fingerprint_is_no_news(
    net: Net, keyserver: Keyserver, vks: VksSource, bob: SecretKey, eve: SecretKey
) -> None:
    assert await vks.refresh(BOB, bob.fingerprint) is None
    net.pages[f"{HOST}/vks/v1/by-fingerprint/{bob.fingerprint}"] = eve.certificate.armored()
    with pytest.raises(LookupFailed, match="another key"):
        await vks.refresh(BOB, bob.fingerprint)
    net.pages[f"{HOST}/vks/v1/by-fingerprint/{bob.fingerprint}"] = b"nothing"
    with pytest.raises(LookupFailed, match="no key"):
        await vks.refresh(BOB, bob.fingerprint)
