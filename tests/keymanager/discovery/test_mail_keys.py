"""Keys that come with mail: only of mail somebody vouched for, only of its sender, never in a better one's place."""

from __future__ import annotations

import pytest

from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.mail_keys import AGAIN_SECONDS, MailKeys, Offered
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import SecretKey, generate
from leap.keymanager.trust import Level
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
def mail_keys(keys: KeyManager, https: Https, clock: Time) -> MailKeys:
    return MailKeys(keys.keyring, https, own_address=ALICE, now=clock)


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
    await mail_keys.settled()
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


async def test_the_url_of_the_header_is_fetched_when_there_is_no_key(
    net: Net, keys: KeyManager, mail_keys: MailKeys, bob: SecretKey
) -> None:
    net.pages[PAGE] = bob.certificate.armored()
    offered = await mail_keys.offer(
        BOB, [], url=URL, message_id="<1@x.test>", authentication="dkim pass"
    )
    assert offered == Offered(fetching=True)
    await mail_keys.settled()
    [info] = await keys.list_keys()
    assert (info.fingerprint, info.level) == (bob.fingerprint, "weak-chain")
    assert info.evidence[0].url == URL
    offered = await mail_keys.offer(
        BOB, [], url=URL, message_id="<2@x.test>", authentication="dkim pass"
    )
    assert offered == Offered()
    assert net.asked == [PAGE]


async def test_a_url_that_gives_nothing_is_asked_once_a_day(
    net: Net, keys: KeyManager, mail_keys: MailKeys, clock: Time
) -> None:
    for hours in (0, 1, 23):
        clock.at += hours * 3600
        await mail_keys.offer(BOB, [], url=URL, message_id="<1@x.test>", authentication="dkim pass")
        await mail_keys.settled()
    assert net.asked == [PAGE, PAGE]
    assert AGAIN_SECONDS == 24 * 3600
    assert not await keys.list_keys()


@pytest.mark.parametrize(
    "url", ["http://files.example.net/bob.asc", "javascript:1", "https://" + "x" * 2000, "\n"]
)
async def test_strange_urls_do_no_harm(net: Net, mail_keys: MailKeys, url: str) -> None:
    await mail_keys.offer(BOB, [], url=url, message_id="<1@x.test>", authentication="dkim pass")
    await mail_keys.settled()
    assert not net.asked


async def test_a_redirect_of_a_url_is_not_followed(net: Net, mail_keys: MailKeys) -> None:
    from aiohttp import web

    net.pages[PAGE] = web.Response(
        status=302, headers={"Location": "https://files.example.net/other"}
    )
    await mail_keys.offer(BOB, [], url=URL, message_id="<1@x.test>", authentication="dkim pass")
    await mail_keys.settled()
    assert net.asked == [PAGE]
