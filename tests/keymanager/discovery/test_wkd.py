"""Web Key Directory: both methods, what is a key, what is none, and what leaves it open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.discovery.choosing import MAX_CERTIFICATES, NoneOfThem, choose
from leap.keymanager.discovery.https import Https
from leap.keymanager.discovery.public_names import (
    ascii_domain,
    is_outside_address,
    is_public_name,
)
from leap.keymanager.discovery.wkd import WITHOUT_SECONDS, WkdSource, is_policy
from leap.keymanager.errors import LookupFailed
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.trust import Level
from leap.keymanager.wkd_names import advanced_path, advanced_url, direct_path, policy_url
from leap.provider.tls import self_made_context
from leap.soledad.store import Soledad
from tests.conftest import needs_program
from tests.keymanager.conftest import ALICE, BIRTH, FakeDirectory, Gpg, Time
from tests.keymanager.making import revoked, with_user_id

from .net import Net, served

JOE = "joe.doe@example.org"
SUB = "openpgpkey.example.org"
ADVANCED, DIRECT = SUB + advanced_path(JOE), "example.org" + direct_path(JOE)
POLICIES = {
    True: SUB + "/.well-known/openpgpkey/example.org/policy",
    False: "example.org/.well-known/openpgpkey/policy",
}
GPG_WKS = Path("/usr/lib/gnupg/gpg-wks-client")  # where Debian keeps it, off the PATH


@pytest.fixture(scope="module")
def joe() -> SecretKey:
    return generate(JOE, now=lambda: BIRTH)


@pytest.fixture
def wkd(net: Net, clock: Time) -> WkdSource:
    return WkdSource(net.https(), now=clock, is_public=lambda name: True)


def wks_client(gpg: Gpg, *arguments: str) -> str:
    program = str(GPG_WKS) if GPG_WKS.exists() else needs_program("gpg-wks-client")
    environment = {**os.environ, "GNUPGHOME": str(gpg.home)}
    done = subprocess.run(
        [program, *arguments], check=True, capture_output=True, timeout=30, env=environment
    )
    return done.stdout.decode()


async def test_a_tree_made_by_gnupg_is_found_by_either_method(
    net: Net, gpg: Gpg, tmp_path: Path
) -> None:
    address = "Joe.Doe@example.org"
    gpg.make_key(f"Joe Doe <{address}>", "ed25519", "default", "2y")
    key, tree = tmp_path / "key.pgp", tmp_path / "tree"
    key.write_bytes(gpg("--export", address))
    (tree / "example.org").mkdir(parents=True)
    wks_client(gpg, "-C", str(tree), "--install-key", str(key), address)
    # of the URLs GnuPG prints the one of the advanced method, and the draft both
    printed = wks_client(gpg, "--print-wkd-url", address).split()[0]
    assert printed == advanced_url("joe.doe", "example.org")  # it lowers the local part there, too
    hashed = wks_client(gpg, "--print-wkd-hash", address).split()[0]
    assert printed.endswith(f"/example.org/hu/{hashed}?l=joe.doe")
    advanced = "openpgpkey.example.org/.well-known/openpgpkey/example.org"
    direct = "example.org/.well-known/openpgpkey"
    for file in (f"hu/{hashed}", "policy"):
        content = (tree / "example.org" / file).read_bytes()
        net.pages[f"{advanced}/{file}"] = net.pages[f"{direct}/{file}"] = content
    for host, where in ((SUB, advanced), ("example.org", direct)):
        net.names.clear()
        net.host(host)
        found = await WkdSource(net.https(), is_public=lambda name: True).find(address)
        assert found is not None
        assert found.certificate == Certificate.from_bytes(key.read_bytes())
        assert found.level is Level.PROVIDER_TRUST
        assert found.url == f"https://{where}/hu/{hashed}?l=Joe.Doe"
        assert net.asked[-1] == f"{where}/hu/{hashed}"


async def test_the_local_part_is_hashed_in_lower_case_and_passed_on_as_typed(
    net: Net, wkd: WkdSource, joe: SecretKey
) -> None:
    net.host(SUB)
    net.pages[ADVANCED] = joe.certificate.binary
    found = await wkd.find("Joe.Doe@Example.ORG")
    assert found is not None
    assert net.requests[0].query["l"] == "Joe.Doe"
    assert net.asked == [
        SUB + "/.well-known/openpgpkey/example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q"
    ]


async def test_a_request_tells_nothing_besides(net: Net, wkd: WkdSource, joe: SecretKey) -> None:
    net.host(SUB)
    reply = web.Response(body=joe.certificate.binary, headers={"Set-Cookie": "who=you; Path=/"})
    net.pages[ADVANCED] = reply
    await wkd.find(JOE)
    net.pages[ADVANCED] = joe.certificate.binary
    await wkd.find(JOE)
    assert "Cookie" not in net.requests[1].headers
    assert set(net.requests[1].headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}
    assert net.requests[1].headers["User-Agent"] == "leap.mail"


async def test_the_direct_method_is_used_only_without_the_sub_domain(
    net: Net, wkd: WkdSource, joe: SecretKey
) -> None:
    net.host(SUB, "example.org")
    net.pages[DIRECT] = joe.certificate.binary
    net.pages[POLICIES[True]] = b""
    assert await wkd.find(JOE) is None
    assert net.asked == [ADVANCED, POLICIES[True]]
    del net.names[SUB]
    another = WkdSource(net.https(), is_public=lambda name: True)
    assert await another.find(JOE) is not None


async def test_the_direct_method_serves_domains_whose_every_name_has_an_address(
    joe: SecretKey, tmp_path: Path
) -> None:
    """Of a server whose certificate is for the domain and not for its sub-domains."""
    context, trust = self_made_context(tmp_path, ["example.org"])
    async with served(context, trust) as narrow:

        async def wildcard(host: str, port: int) -> list[tuple[str, int]]:
            return [("127.0.0.1", narrow.port)]

        narrow.pages[DIRECT] = joe.certificate.binary
        source = WkdSource(narrow.https(resolve=wildcard), is_public=lambda name: True)
        found = await source.find(JOE)
        assert found is not None
        assert found.certificate == joe.certificate

        async def only_this(host: str, port: int) -> list[tuple[str, int]]:
            if host not in (SUB, "example.org"):
                raise socket.gaierror(socket.EAI_NONAME, "no")
            return [("127.0.0.1", narrow.port)]

        source = WkdSource(narrow.https(resolve=only_this), is_public=lambda name: True)
        with pytest.raises(LookupFailed, match="prove"):
            await source.find(JOE)  # a sub-domain of its own that cannot prove itself


async def test_only_the_user_id_asked_for_is_kept(
    net: Net,
    wkd: WkdSource,
    joe: SecretKey,
    store: Soledad,
    directory: FakeDirectory,
    clock: Time,
) -> None:
    net.host(SUB)
    both = with_user_id(joe, "Alice <alice@example.test>")
    net.pages[ADVANCED] = both.certificate.binary
    keys = KeyManager(store, ALICE, directory, remote=[wkd], now=clock)
    found = await keys.find_certificate(JOE)
    assert found is not None
    assert found.certificate.addresses == (JOE,)
    assert found.level is Level.PROVIDER_TRUST
    [info] = await keys.list_keys()
    assert info.evidence[0].url.startswith(f"https://{ADVANCED}")
    assert info.evidence[0].source == "wkd"
    keys.close()


async def test_of_several_keys_the_usable_one_is_taken_and_the_revoked_one_learnt(
    net: Net,
    wkd: WkdSource,
    joe: SecretKey,
    store: Soledad,
    clock: Time,
) -> None:
    net.host(SUB)
    net.pages[ADVANCED] = joe.certificate.binary
    keys = KeyManager(store, ALICE, remote=[wkd], now=clock)
    await keys.find_certificate(JOE)
    new = generate(JOE, now=lambda: BIRTH + 10).certificate
    net.pages[ADVANCED] = revoked(joe).binary + new.binary
    clock.at += 90_000
    found = await keys.find_certificate(JOE)
    assert found is not None
    assert found.certificate == new  # in place of the other: it is revoked
    keys.close()


@pytest.mark.parametrize("advanced", [True, False])
async def test_a_key_of_somebody_else_is_no_answer(
    net: Net, wkd: WkdSource, bob: SecretKey, advanced: bool
) -> None:
    net.host(SUB if advanced else "example.org")
    net.pages[ADVANCED if advanced else DIRECT] = bob.certificate.binary
    with pytest.raises(LookupFailed, match="not of joe"):
        await wkd.find(JOE)


def test_of_an_answer_with_very_many_keys_only_the_first_are_looked_at(
    joe: SecretKey, bob: SecretKey
) -> None:
    others = [bob.certificate.binary] * (MAX_CERTIFICATES - 1)
    last = joe.certificate.binary
    assert choose(b"".join([*others, last]), JOE, BIRTH + 1).best == joe.certificate
    with pytest.raises(NoneOfThem):
        choose(b"".join([*others, others[0], last]), JOE, BIRTH + 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_a_server_that_has_no_such_page_says_none(
    net: Net, wkd: WkdSource, status: int
) -> None:
    net.host(SUB)
    net.pages[ADVANCED] = status
    net.pages[POLICIES[True]] = b"mailbox-only\nprotocol-version: 17\n"
    assert await wkd.find(JOE) is None
    assert await wkd.find(JOE) is None
    assert net.asked == [ADVANCED, POLICIES[True]] * 2


@pytest.mark.parametrize("advanced", [True, False])
@pytest.mark.parametrize("policy", [404, b"dane-only\n", b"<!doctype html><html></html>"])
async def test_a_domain_without_a_policy_is_not_asked_about_others(
    net: Net, wkd: WkdSource, clock: Time, advanced: bool, policy: bytes | int
) -> None:
    net.host(SUB if advanced else "example.org")
    net.pages[POLICIES[advanced]] = policy
    assert await wkd.find(JOE) is None
    assert await wkd.find("ann@example.org") is None
    assert net.asked == [ADVANCED if advanced else DIRECT, POLICIES[advanced]]
    clock.at += WITHOUT_SECONDS
    await wkd.find(JOE)
    assert len(net.asked) == 4
    await wkd.refresh(JOE, "")  # a person, or the refresh of a key one has, asks all the same
    assert len(net.asked) == 6


async def test_a_web_server_that_answers_everything_with_a_page_of_its_own_is_no_directory(
    net: Net, wkd: WkdSource
) -> None:
    net.host("example.org")
    html = b"<!doctype html><html><body>Welcome</body></html>"
    net.pages[DIRECT] = html
    net.pages[POLICIES[False]] = html
    assert await wkd.find(JOE) is None
    net.pages[POLICIES[False]] = b"\n# ours\nauth-submit\n"
    wkd._without.clear()
    with pytest.raises(LookupFailed, match="no key"):
        await wkd.find(JOE)


async def test_no_such_domain_says_none(net: Net, wkd: WkdSource) -> None:
    assert await wkd.find(JOE) is None
    assert net.resolved == [SUB, "example.org"]
    net.names["example.org"] = socket.gaierror(socket.EAI_NODATA, "No address")
    wkd._without.clear()
    assert await wkd.find(JOE) is None


async def test_a_host_on_which_nobody_listens_says_none(net: Net, wkd: WkdSource) -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        net.names["example.org"] = [("127.0.0.1", taken.getsockname()[1])]
        assert await wkd.find(JOE) is None


async def test_a_directory_on_which_nobody_listens_leaves_it_open(
    net: Net, wkd: WkdSource, joe: SecretKey
) -> None:
    """A server that is started anew, or somebody on the way who answers in its place."""
    net.host("example.org")
    net.pages[DIRECT] = joe.certificate.binary
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusing = [("127.0.0.1", taken.getsockname()[1])]
        net.names[SUB] = refusing
        with pytest.raises(LookupFailed, match="nobody listens"):
            await wkd.find(JOE)

        async def every_name(host: str, port: int) -> list[tuple[str, int]]:
            return net.names.get(host, refusing)  # type: ignore[return-value]

        source = WkdSource(net.https(resolve=every_name), is_public=lambda name: True)
        assert await source.find(JOE) is not None  # not there for a directory


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
        socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
    ],
)
@pytest.mark.parametrize("advanced", [True, False])
async def test_a_dns_that_fails_leaves_it_open(
    net: Net, wkd: WkdSource, error: OSError, advanced: bool
) -> None:
    net.host("example.org")
    net.names[SUB if advanced else "example.org"] = error
    with pytest.raises(LookupFailed, match="looked up now"):
        await wkd.find(JOE)


@pytest.mark.parametrize("status", [204, 206, 408, 425, 429, 500, 502, 503])
async def test_a_server_that_fails_leaves_it_open(net: Net, wkd: WkdSource, status: int) -> None:
    net.host(SUB)
    net.pages[ADVANCED] = status
    with pytest.raises(LookupFailed, match=f"status {status}"):
        await wkd.find(JOE)


async def test_tls_that_cannot_be_verified_leaves_it_open(net: Net, joe: SecretKey) -> None:
    net.host(SUB)
    net.pages[ADVANCED] = joe.certificate.binary
    strict = Https(resolve=net.resolve)  # trusts the system's authorities only
    try:
        with pytest.raises(LookupFailed, match="prove"):
            await WkdSource(strict, is_public=lambda name: True).find(JOE)
    finally:
        await strict.close()
    assert not net.asked


def moved(to: str, status: int = 301) -> web.Response:
    return web.Response(status=status, headers={"Location": to})


@pytest.mark.parametrize(
    ("to", "known"),
    [
        (f"https://www.example.org{direct_path(JOE)}", True),
        (direct_path(JOE) + "/", True),
        (f"https://www.example.org:443{direct_path(JOE)}", True),
        ("https://files.example.net/key", False),
        (f"http://www.example.org{direct_path(JOE)}", False),
        ("https://www.example.org:8443/", False),
        ("https://example.org.files.example.net/key", False),
    ],
)
async def test_redirects_stay_on_https_and_in_the_domain(
    net: Net, wkd: WkdSource, joe: SecretKey, to: str, known: bool
) -> None:
    net.host("example.org", "www.example.org", "files.example.net")
    net.pages[DIRECT] = moved(to)
    net.pages["www." + DIRECT] = net.pages[DIRECT + "/"] = joe.certificate.binary
    net.pages["files.example.net/key"] = joe.certificate.binary
    found = await wkd.find(JOE)
    assert (found is not None) is known
    assert not any("files" in page for page in net.asked)


async def test_redirects_in_circles_end(net: Net, wkd: WkdSource) -> None:
    net.host("example.org")
    net.pages[DIRECT] = lambda request: _later(moved(f"https://{DIRECT}"))
    with pytest.raises(LookupFailed, match="circles"):
        await wkd.find(JOE)
    assert len(net.asked) == 4


async def _later(reply: web.Response) -> web.Response:
    return reply


@pytest.mark.parametrize(
    "address",
    [
        "joe@example.test",
        "joe@localhost",
        "joe@some.local",
        "joe@example.com",
        "joe@www.example.org",
        "joe@hidden.onion",
        "joe@[192.0.2.1]",
        "joe@192.0.2.1",
        "joe@[IPv6:2001:db8::1]",
        "joe@nowhere",
        "joe@",
        "@example.org",
        "joe",
        "joe@ex ample.org",
        "joe@a/b.org",
        "joe@a..org",
        f"joe@{'a' * 64}.org",
    ],
)
async def test_nobody_is_asked_about_names_the_public_net_cannot_have(
    net: Net, address: str
) -> None:
    assert await WkdSource(net.https()).find(address) is None
    assert not net.resolved


async def test_a_domain_in_other_letters_is_asked_by_its_a_label(net: Net, wkd: WkdSource) -> None:
    address = "joe@bücher.example.org"
    key = generate(address, now=lambda: BIRTH)
    host = "openpgpkey.xn--bcher-kva.example.org"
    net.host(host)
    net.pages[host + advanced_path("joe@xn--bcher-kva.example.org")] = key.certificate.binary
    found = await wkd.find(address)
    assert found is not None
    assert found.certificate == key.certificate


async def test_a_server_that_is_silent_is_not_waited_for(net: Net, joe: SecretKey) -> None:
    net.host(SUB)

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    net.pages[ADVANCED] = silent
    for source in (
        WkdSource(net.https(), is_public=lambda name: True, whole_seconds=0.1),
        WkdSource(net.https(whole_seconds=0.1), is_public=lambda name: True),
    ):
        with pytest.raises(LookupFailed, match="in time"):
            await source.find(JOE)


def test_policy_files() -> None:
    for good in (
        b"",
        b"\n# x\n",
        b"mailbox-only\n",
        b"protocol-version: 13\r\nauth-submit",
        b"a.b: c",
    ):
        assert is_policy(good)
    for bad in (
        b"dane-only",
        b"mailbox-only\nDANE-only\n",
        b"<html>",
        b"{}",
        b"Not Found",
        b"\x00",
    ):
        assert not is_policy(bad)
    assert policy_url("example.org", advanced=True).endswith("/example.org/policy")


@settings(max_examples=30)
@given(st.text(max_size=80))
def test_any_text_is_a_domain_or_none(text: str) -> None:
    name = ascii_domain(text)
    if name is not None:
        assert name.isascii()
        assert ascii_domain(name) == name
        is_public_name(name)


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:192.168.1.1", False),
        ("224.0.0.1", False),
    ],
)
def test_addresses_of_the_public_net(address: str, outside: bool) -> None:
    assert is_outside_address(address) is outside
