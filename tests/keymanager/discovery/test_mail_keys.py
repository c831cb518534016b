"""Keys that come with mail: only of mail somebody vouched for, only of its sender, never in a better one's place."""

from __future__ import annotations

import pytest
from aiohttp import web

from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.key_urls import PATIENCE, SETTING, KeyUrl, KeyUrls
from leap.keymanager.discovery.mail_keys import MailKeys, Offered
from leap.keymanager.errors import LookupFailed
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import SecretKey, generate
from leap.keymanager.trust import Level
from leap.soledad.store import Soledad
from tests.keymanager.conftest import ALICE, BIRTH, BOB, FakeDirectory, Time
from tests.keymanager.making import with_user_id

from .net import Net

URL = "https://files.example.net/bob.asc"
PAGE = "files.example.net/bob.asc"


@pytest.fixture
def https(net: Net) -> Https:
    """Of the net, which lies on loopback: what `outside_only` refuses, `test_https` shows."""
    net.host("files.example.net")
    return net.https()


@pytest.fixture
def mail_keys(keys: KeyManager, store: Soledad, https: Https, clock: Time) -> MailKeys:
    return MailKeys(keys.keyring, store, https, own_address=ALICE, now=clock)


async def test_an_attached_key_of_a_vouched_for_mail_is_learnt_as_a_weak_chain(
    keys: KeyManager, mail_keys: MailKeys, bob: SecretKey
) -> None:
    offered = await mail_keys.offer(
        "Bob@example.test",
        [bob.certificate.armored()],
        message_id="<1@example.test>",
        authentication="dkim pass",
    )
    assert offered == Offered(learnt=(bob.fingerprint,))
    [info] = await keys.list_keys()
    assert (info.address, info.level) == (BOB, Level.WEAK_CHAIN.word)
    [evidence] = info.evidence
    assert (evidence.source, evidence.mail) == ("mail", "<1@example.test>")
    assert evidence.authentication == "dkim pass"


@pytest.mark.parametrize("authentication", ["", "dkim fail", "signature bad"])
async def test_nothing_is_learnt_from_mail_that_nobody_vouched_for(
    net: Net, keys: KeyManager, mail_keys: MailKeys, bob: SecretKey, authentication: str
) -> None:
    offered = await mail_keys.offer(
        BOB,
        [bob.certificate.binary],
        url=URL,
        message_id="<1@example.test>",
        authentication=authentication,  # type: ignore[arg-type]
    )
    assert offered == Offered()
    assert await mail_keys.find(BOB) is None
    assert not await keys.list_keys()
    assert not net.asked


async def test_only_keys_of_the_sender_are_taken(
    keys: KeyManager, mail_keys: MailKeys, bob: SecretKey, eve: SecretKey
) -> None:
    both = with_user_id(bob, "Carol <carol@example.test>")
    junk = [b"", b"\x00" * 50, b"-----BEGIN PGP", bytes(300 * 1024), eve.certificate.binary]
    offered = await mail_keys.offer(
        BOB,
        [*junk, both.certificate.binary],
        message_id="<1@example.test>",
        authentication="signature good",
    )
    assert offered.learnt == (bob.fingerprint,)
    [info] = await keys.list_keys()
    assert info.user_ids == (BOB,)


async def test_a_mail_in_ones_own_name_teaches_nothing(
    keys: KeyManager, mail_keys: MailKeys, clock: Time
) -> None:
    fake = generate(ALICE, now=lambda: BIRTH)
    offered = await mail_keys.offer(
        ALICE, [fake.certificate.binary], message_id="<1@x.test>", authentication="dkim pass"
    )
    assert offered == Offered()
    assert await keys.keyring.find(ALICE) is None


async def test_a_better_key_stays(
    keys: KeyManager, directory: FakeDirectory, mail_keys: MailKeys, bob: SecretKey
) -> None:
    directory.keys[BOB] = bob.certificate.binary
    await keys.find_certificate(BOB)
    other = generate(BOB, now=lambda: BIRTH + 5)
    offered = await mail_keys.offer(
        BOB, [other.certificate.binary], message_id="<1@x.test>", authentication="dkim pass"
    )
    assert offered.learnt == ()
    found = await keys.keyring.find(BOB)
    assert found is not None
    assert found.certificate == bob.certificate


async def offer_url(mail_keys: MailKeys, url: str = URL) -> Offered:
    return await mail_keys.offer(
        BOB, [], url=url, message_id="<1@x.test>", authentication="dkim pass"
    )


async def test_the_url_of_a_mail_is_fetched_when_somebody_looks_for_the_key(
    net: Net, store: Soledad, keys: KeyManager, https: Https, mail_keys: MailKeys, bob: SecretKey
) -> None:
    net.pages[PAGE] = bob.certificate.armored()
    assert await offer_url(mail_keys) == Offered(noted=True)
    assert not net.asked  # that the mail arrived, nobody learns
    again = MailKeys(keys.keyring, store, https, own_address=ALICE)  # after a restart
    searching = KeyManager(store, ALICE, remote=[again])
    found = await searching.find_certificate(BOB)
    assert found is not None
    assert found.certificate == bob.certificate
    [info] = await keys.list_keys()
    assert info.level == "weak-chain"
    [evidence] = info.evidence
    assert (evidence.url, evidence.mail) == (URL, "<1@x.test>")
    assert evidence.authentication == "dkim pass"
    await searching.find_certificate(BOB)
    assert net.asked == [PAGE]
    assert await offer_url(mail_keys) == Offered()
    searching.close()


@pytest.mark.parametrize("page", [404, b"", b"<html>", "other"])
async def test_a_url_that_gives_no_key_is_forgotten(
    net: Net, mail_keys: MailKeys, eve: SecretKey, page: bytes | int | str
) -> None:
    net.pages[PAGE] = eve.certificate.binary if isinstance(page, str) else page
    await offer_url(mail_keys)
    assert await mail_keys.find(BOB) is None
    assert await mail_keys.find(BOB) is None
    assert net.asked == [PAGE]


async def test_a_url_that_cannot_be_fetched_does_not_keep_mail_waiting_for_ever(
    net: Net, mail_keys: MailKeys, clock: Time
) -> None:
    net.pages[PAGE] = 503
    await offer_url(mail_keys)
    for _ in range(3):
        with pytest.raises(LookupFailed, match="503"):
            await mail_keys.find(BOB)
        clock.at += PATIENCE / 2
    assert await mail_keys.find(BOB) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://files.example.net/bob.asc",
        "javascript:1",
        "https://" + "x" * 2000,
        "https://a b",
    ],
)
async def test_strange_urls_do_no_harm(net: Net, mail_keys: MailKeys, url: str) -> None:
    assert await offer_url(mail_keys, url) == Offered()
    assert await mail_keys.find(BOB) is None
    assert not net.resolved


async def test_a_redirect_of_a_url_is_not_followed(net: Net, mail_keys: MailKeys) -> None:
    to = {"Location": "https://files.example.net/other"}
    net.pages[PAGE] = web.Response(status=302, headers=to)
    await offer_url(mail_keys)
    assert await mail_keys.find(BOB) is None
    assert net.asked == [PAGE]


async def test_only_the_latest_urls_are_kept(
    keys: KeyManager, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leap.keymanager.discovery.key_urls.MOST", 2)
    urls = KeyUrls(store)
    for name in "abc":
        await urls.put(name, KeyUrl(url=URL, mail="", authentication="dkim pass"))
    again = KeyUrls(store)
    assert [await again.get(name) is not None for name in "abc"] == [False, True, True]
    await store.transact(lambda tx: tx.set_setting(SETTING, b"\xff"))
    assert await KeyUrls(store).get("c") is None
