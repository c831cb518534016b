"""What servers may answer: garbage, too much, too slow, packed, nothing. One clear failure each."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leap.keymanager.discovery.choosing import choose, names
from leap.keymanager.discovery.contract import Source
from leap.keymanager.discovery.https import Absent, Page
from leap.keymanager.discovery.limits import Limits
from leap.keymanager.discovery.vks import VksSource
from leap.keymanager.discovery.wkd import WkdSource
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import OpenPGPError, SecretKey, generate
from leap.keymanager.wkd_names import advanced_path
from tests.keymanager.conftest import BIRTH
from tests.keymanager.making import forged_revocations, replaced, with_more

from .net import Net

BOB = "bob@example.org"
SUB = "openpgpkey.example.org"
WKD_PAGE = SUB + advanced_path(BOB)
WKD_POLICY = SUB + "/.well-known/openpgpkey/example.org/policy"
VKS_PAGE = "keys.example.net/vks/v1/by-email/bob@example.org"


@pytest.fixture(params=["wkd", "vks"])
def source(request: pytest.FixtureRequest, net: Net) -> Source:
    """Each source of the net, its servers there, its page for bob in `net.page`."""
    net.host(SUB, "keys.example.net")
    net.pages[WKD_POLICY] = b""
    https = net.https(whole_seconds=0.5)
    if request.param == "wkd":
        return WkdSource(https, is_public=lambda name: True)
    return VksSource(https, "https://keys.example.net")


def give(net: Net, content: bytes | Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
    net.pages[WKD_PAGE] = net.pages[VKS_PAGE] = content


async def endless(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    for _ in range(500):  # 30 MB, and nothing more when the asker has gone
        if request.transport is None or request.transport.is_closing():
            break
        await reply.write(b"\x99" * 60_000)
        await asyncio.sleep(0)
    return reply


async def slow(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    await reply.write(b"\x99")
    await asyncio.Event().wait()
    return reply


async def packed(request: web.Request) -> web.StreamResponse:
    bomb = gzip.compress(bytes(10_000_000))
    return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})


async def lying(request: web.Request) -> web.StreamResponse:
    """Says that much more comes than comes."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort")
    request.transport.close()
    return web.Response()


async def no_http(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)
    request.transport.close()
    return web.Response()


async def headers(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n")
    request.transport.close()
    return web.Response()


async def nonsense_redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "https://[/:port"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (endless, "more than a key has"),
        (slow, "in time"),
        (packed, "encoding nobody asked for"),
        (lying, "HTTP as it should"),
        (no_http, "HTTP as it should"),
        (headers, "HTTP as it should"),
        (nonsense_redirect, "no address"),
        (b"", "no key"),
        (b"\x00" * 1000, "no key"),
        (b"<html><body>Not found</body></html>", "no key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA", "no key"),
    ],
)
async def test_a_strange_answer_is_one_clear_failure(
    net: Net,
    source: Source,
    answer: bytes | Callable[[web.Request], Awaitable[web.StreamResponse]],
    words: str,
) -> None:
    give(net, answer)
    with pytest.raises(LookupFailed, match=words) as caught:
        await source.find(BOB)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.binary(max_size=200), at=st.integers(0, 300), cut=st.booleans())
def test_any_bytes_are_a_key_or_one_clear_failure(
    joe_of_org: SecretKey, data: bytes, at: int, cut: bool
) -> None:
    """As far as the net is not needed for it: what the bytes of a reply become."""
    whole = joe_of_org.certificate.binary
    changed = whole[:at] + data + (b"" if cut else whole[at + len(data) :])
    for body in (data, changed):
        try:
            chosen = choose(body, BOB, 1_900_000_000.0)
        except OpenPGPError:
            continue
        assert names(chosen.best, BOB)


@pytest.fixture(scope="module")
def joe_of_org() -> SecretKey:
    return generate(BOB, now=lambda: BIRTH)


async def test_a_flood_of_signatures_costs_a_bounded_time(
    net: Net, source: Source, joe_of_org: SecretKey
) -> None:
    certificate = joe_of_org.certificate
    head = certificate.components[0]
    flooded = replaced(certificate, head, with_more(head, forged_revocations(joe_of_org, 500)))
    give(net, flooded.binary)
    found = await source.find(BOB)
    assert found is not None
    assert not found.certificate.revoked


async def test_so_many_requests_a_minute(net: Net) -> None:
    at = [0.0]
    limits = Limits(lambda: at[0], per_host=2, in_total=3)
    https = net.https(limits=limits)
    net.host("example.org", "files.example.net")
    for host in ("example.org", "example.org", "files.example.net"):
        assert await https.get(f"https://{host}/", most=10) is Absent.PAGE
    for words, host in (("too many keys", "files.example.net"),):
        with pytest.raises(LookupFailed, match=words):
            await https.get(f"https://{host}/", most=10)
    at[0] = 60.0
    assert await https.get("https://example.org/", most=10) is Absent.PAGE
    assert await https.get("https://example.org/", most=10) is Absent.PAGE
    with pytest.raises(LookupFailed, match="asked too often"):
        await https.get("https://example.org/", most=10)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/key",
        "ftp://example.org/key",
        "file:///etc/passwd",
        "https://user:word@example.org/",
        "https:///key",
        "https://[::1/",
        "https://example.org:port/",
        "key",
        "",
    ],
)
async def test_only_https_is_fetched(net: Net, url: str) -> None:
    with pytest.raises(LookupFailed):
        await net.https().get(url, most=10)
    assert not net.resolved


@pytest.mark.parametrize(
    "url",
    [
        "https://192.0.2.1/key",
        "https://[2001:db8::1]/key",
        "https://localhost/key",
        "https://printer.local/key",
        "https://wiki.corp/key",
        "https://router.home.arpa/key",
        "https://wiki/key",
        "https://files.example.net:8443/key",
        "https://hidden.onion/key",
    ],
)
async def test_where_a_stranger_gives_the_url_only_the_public_net_is_asked(
    net: Net, url: str
) -> None:
    with pytest.raises(LookupFailed, match="public net"):
        await net.https(outside_only=True).get(url, most=10)
    assert not net.resolved


async def test_a_public_name_with_a_private_address_is_not_asked(net: Net) -> None:
    net.host("files.example.net")
    net.host("www.intern.org")
    net.pages["www.intern.org/"] = b"secret"
    with pytest.raises(LookupFailed, match="looked up now"):
        await net.https(outside_only=True).get("https://www.intern.org/", most=10)
    assert net.resolved == ["www.intern.org"]
    assert not net.asked


async def test_a_page_within_its_limit_is_read(net: Net) -> None:
    net.host("example.org")
    net.pages["example.org/"] = bytes(10)
    assert await net.https().get("https://example.org/", most=10) == Page(
        bytes(10), "https://example.org/"
    )


async def test_the_systems_resolver_and_what_is_closed(net: Net) -> None:
    https = net.https(resolve=None)
    assert await https.get(f"https://localhost:{net.port}/", most=10) is Absent.PAGE
    assert await https.has_host("localhost")
    await https.close()
    with pytest.raises(LookupFailed, match="changed"):
        await https.get(f"https://localhost:{net.port}/", most=10)
