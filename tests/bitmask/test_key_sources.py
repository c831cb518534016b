"""Where an account looks for keys: what a person may choose, that it is kept, and that it counts at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.key_sources import SETTING, BadSetting, KeySources
from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.proxy import SocksProxy
from leap.keymanager.documents import MERGES
from leap.keymanager.errors import LookupFailed
from leap.keymanager.keys import KeyManager
from leap.soledad.store import Soledad

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    store = await Soledad.open(tmp_path / "alice.db", bytes(32), merges=MERGES)
    yield store
    await store.close()


class Made:
    """What was asked for to reach servers with."""

    def __init__(self) -> None:
        self.proxies: list[SocksProxy | None] = []

    def __call__(self, *, proxy: SocksProxy | None, outside_only: bool = False) -> Https:
        self.proxies.append(proxy)
        return Https(proxy=proxy, outside_only=outside_only)


async def test_web_key_directories_are_asked_at_first_and_nobody_else(store: Soledad) -> None:
    sources = KeySources(store)
    await sources.load()
    assert [source.name for source in sources.sources] == ["wkd"]
    assert (sources.choice.vks, sources.choice.proxy) == ("", "")
    await sources.close()


async def test_a_choice_is_kept_and_counts_for_the_next_search(store: Soledad) -> None:
    made = Made()
    sources = KeySources(store, make_https=made)
    keys = KeyManager(store, ALICE, remote=sources.sources)
    mail_keys = sources.mail_keys(keys.keyring, ALICE)
    await sources.load()
    first = mail_keys.https
    await sources.choose(vks="Keys.OpenPGP.org", proxy="socks5://127.0.0.1:9050")
    assert [source.name for source in keys.finding.network_sources()] == ["wkd", "vks", "mail"]
    assert mail_keys.https is not first
    assert all(proxy and proxy.port == 9050 for proxy in made.proxies[-2:])
    await sources.choose(wkd=False)
    assert [source.name for source in keys.finding.network_sources()] == ["vks", "mail"]
    await sources.close()
    again = KeySources(store, make_https=made)
    await again.load()
    assert again.choice == sources.choice
    assert again.choice.vks == "https://keys.openpgp.org"
    await again.choose(vks="off", proxy="OFF", wkd=True)
    assert [source.name for source in again.sources] == ["wkd"]
    assert made.proxies[-2:] == [None, None]
    await again.close()
    keys.close()


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"vks": "http://keys.openpgp.org"}, "begins with https://"),
        ({"vks": "no url"}, "not the address of a keyserver"),
        ({"vks": "http://hidden.onion"}, "Tor"),
        ({"proxy": "127.0.0.1:9050"}, "is not a proxy"),
        ({"proxy": "http://127.0.0.1:8118"}, "is not a proxy"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    store: Soledad, choice: dict[str, Any], words: str
) -> None:
    sources = KeySources(store)
    await sources.load()
    with pytest.raises(BadSetting, match=words):
        await sources.choose(**choice)
    assert [source.name for source in sources.sources] == ["wkd"]
    assert await store.setting(SETTING) is None
    await sources.close()


async def test_a_proxy_that_an_onion_keyserver_needs_is_not_taken_away(store: Soledad) -> None:
    sources = KeySources(store)
    await sources.load()
    await sources.choose(vks="http://hidden.onion", proxy="socks5://127.0.0.1:9050")
    with pytest.raises(BadSetting, match="Tor"):
        await sources.choose(proxy="off")
    await sources.choose(proxy="off", vks="off")
    await sources.close()


async def test_a_choice_that_cannot_be_read_is_not_guessed(store: Soledad) -> None:
    """With a proxy that is lost, asking without it would tell who asks."""
    for kept in (b"\xff", b'{"proxy": "nonsense"}', b"[]"):
        await store.transact(lambda tx, kept=kept: tx.set_setting(SETTING, kept))
        sources = KeySources(store)
        keys = KeyManager(store, ALICE, remote=sources.sources)
        await sources.load()
        with pytest.raises(LookupFailed, match="bitmask keys sources"):
            await keys.find_certificate(BOB)
        with pytest.raises(BadSetting, match="say all"):
            await sources.choose(wkd=True)  # and the proxy?
        await sources.choose(wkd=True, proxy="off", vks="off")
        assert await keys.find_certificate(BOB) is None
        await sources.close()
        keys.close()


async def test_before_the_choice_is_read_nothing_is_known(store: Soledad) -> None:
    sources = KeySources(store)
    with pytest.raises(LookupFailed):
        await sources.sources[0].find(BOB)
