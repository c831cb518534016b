"""Look-ups through a SOCKS proxy: names are its business, and a host does not see who asks another one."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from leap.keymanager.discovery.proxy import SocksProxy
from leap.keymanager.discovery.vks import VksSource, keyserver_url
from leap.keymanager.discovery.wkd import WkdSource
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import generate
from leap.keymanager.wkd_names import advanced_path, direct_path
from tests.keymanager.conftest import BIRTH

from .net import Net, Socks

JOE, ANN = "joe@example.org", "ann@hidden.onion"


@pytest.fixture
def no_dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the local resolver is asked: nothing but the address of the proxy, which is none to look up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def noted(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "127.0.0.1":
            asked.append(str(host))
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    return asked


async def test_everything_goes_through_the_proxy_by_name(
    net: Net, socks: Socks, no_dns: list[str]
) -> None:
    joe = generate(JOE, now=lambda: BIRTH).certificate
    net.host("example.org", "keys.example.net")
    net.pages["example.org" + direct_path(JOE)] = joe.binary
    net.pages["keys.example.net/vks/v1/by-email/" + JOE] = joe.armored()
    https = net.https(proxy=await socks.start(), resolve=None)
    found = await WkdSource(https, is_public=lambda name: True).find(JOE)
    assert found is not None
    assert found.certificate == joe
    assert await VksSource(https, "https://keys.example.net").find(JOE) is not None
    assert [host for host, _, _ in socks.asked] == [
        "openpgpkey.example.org",
        "example.org",
        "keys.example.net",
    ]
    assert {kind for _, _, kind in socks.asked} == {3}
    assert len(set(socks.users)) == 3  # a circuit for each
    assert not net.resolved
    assert not no_dns


async def test_onion_addresses_are_asked_with_a_proxy(net: Net, socks: Socks) -> None:
    ann = generate(ANN, now=lambda: BIRTH).certificate
    net.host("openpgpkey.hidden.onion")
    net.pages["openpgpkey.hidden.onion" + advanced_path(ANN)] = ann.binary
    found = await WkdSource(net.https(proxy=await socks.start())).find(ANN)
    assert found is not None
    assert found.certificate == ann
    assert await WkdSource(net.https()).find(ANN) is None
    assert not net.resolved


async def test_tls_is_verified_behind_the_proxy_too(net: Net, socks: Socks) -> None:
    net.host("openpgpkey.other.org")
    source = WkdSource(net.https(proxy=await socks.start()))
    with pytest.raises(LookupFailed, match="prove"):
        await source.find("joe@other.org")
    assert not net.asked


async def test_what_the_proxy_says(net: Net, socks: Socks) -> None:
    proxy = await socks.start()

    def source() -> WkdSource:
        return WkdSource(net.https(proxy=proxy), is_public=lambda name: True)

    with pytest.raises(LookupFailed, match="no way"):  # no such host, or no way to it: not sure
        await source().find(JOE)
    net.names["openpgpkey.example.org"] = OSError(errno.ECONNREFUSED, "refused")
    assert await source().find(JOE) is None
    await socks.close()
    with pytest.raises(LookupFailed):
        await source().find(JOE)


async def test_a_proxy_that_is_not_there_leaves_it_open(net: Net) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = SocksProxy.parse(f"socks5://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(LookupFailed):
            await WkdSource(net.https(proxy=proxy), is_public=lambda name: True).find(JOE)


@pytest.mark.parametrize(
    "says", [b"", b"\x05", b"\x05\xff", b"\x05\x00\x05\x63" + bytes(20), b"HTTP/1.1 400 No\r\n\r\n"]
)
async def test_a_proxy_that_is_none_leaves_it_open(net: Net, says: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    https = net.https(proxy=SocksProxy.parse(f"socks5://127.0.0.1:{port}"), whole_seconds=2)
    try:
        with pytest.raises(LookupFailed):
            await WkdSource(https, is_public=lambda name: True).find(JOE)
    finally:
        server.close()


def test_proxies_as_people_write_them() -> None:
    tor = SocksProxy.parse("socks5h://127.0.0.1:9050")
    assert (tor.host, tor.port, tor.user) == ("127.0.0.1", 9050, "")
    other = SocksProxy.parse("socks5://me:p%40ss@proxy.example:1080/")
    assert (other.user, other.password) == ("me", "p@ss")
    assert "p@ss" not in repr(other)
    for bad in (
        "127.0.0.1:9050",
        "http://127.0.0.1:8118",
        "socks5://127.0.0.1",
        "socks5://:9050",
        "socks5://host:port",
        "socks5://[::1:9050",
        "socks5://host:99999",
        "socks5://host:1/path",
        "",
    ):
        with pytest.raises(ValueError, match="proxy"):
            SocksProxy.parse(bad)
    with pytest.raises(ValueError, match="proxy") as caught:
        SocksProxy.parse("socks4://me:secret@host:1")
    assert "secret" not in str(caught.value)


def test_keyservers_as_people_write_them() -> None:
    for typed, url in (
        ("keys.openpgp.org", "https://keys.openpgp.org"),
        ("https://Keys.OpenPGP.org/", "https://keys.openpgp.org"),
        (" https://keys.example.net:8443/sub/ ", "https://keys.example.net:8443/sub"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ):
        assert keyserver_url(typed, proxied=False) == url
    assert keyserver_url("http://hidden.onion", proxied=True) == "http://hidden.onion"
    for bad in (
        "http://keys.example.net",
        "ldap://keys.example.net",
        "https://",
        "keyserver",
        "https://me:word@keys.example.net",
        "https://keys.example.net/?x",
        "https://[::1",
        "hidden.onion",
        "http://hidden.onion",
        "",
    ):
        with pytest.raises(ValueError, match=r"keyserver|Tor"):
            keyserver_url(bad, proxied=False)
