"""What the daemon tells mail programs of itself over HTTP, and whom it tells nothing."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.bitmask import autoconfig
from leap.bitmask.autoconfig import AutoconfigServer, LocalServer, autoconfig_xml

ACCOUNTS = ["alice@example.test", "bob@other.test"]
IMAP, SMTP = LocalServer("127.0.0.1", 1984), LocalServer("127.0.0.1", 2013)


@pytest.fixture
async def server() -> AsyncIterator[AutoconfigServer]:
    server = AutoconfigServer(lambda: ACCOUNTS, IMAP, SMTP)
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


async def said_to(server: AutoconfigServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(request)
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return said


async def get(
    server: AutoconfigServer, target: str, *fields: str, host: str | None = None, verb: str = "GET"
) -> tuple[int, bytes]:
    """Status and body of the answer."""
    lines = [f"{verb} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{server.address[1]}'}"]
    said = await said_to(server, "\r\n".join([*lines, *fields, "", ""]).encode())
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize(
    "target",
    [
        "/mail/config-v1.1.xml?emailaddress=alice@example.test",
        "/mail/config-v1.1.xml?emailaddress=ALICE%40Example.test",
        "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=alice%40example.test",
        "/v1.1/example.test",
        "/v1.1/EXAMPLE.test",
    ],
)
async def test_a_program_learns_both_servers(server: AutoconfigServer, target: str) -> None:
    status, body = await get(server, target)
    assert status == 200
    provider = ElementTree.fromstring(body).find("emailProvider")
    assert provider is not None
    assert provider.get("id") == provider.findtext("domain") == "example.test"
    for element, kind, port in (("incomingServer", "imap", 1984), ("outgoingServer", "smtp", 2013)):
        found = provider.find(element)
        assert found is not None
        assert found.get("type") == kind
        assert {child.tag: child.text for child in found} == {
            "hostname": "127.0.0.1",
            "port": str(port),
            "socketType": "plain",
            "username": "%EMAILADDRESS%",
            "authentication": "password-cleartext",
        }


async def test_who_is_not_here_looks_like_a_path_that_is_not_there(
    server: AutoconfigServer,
) -> None:
    answers = [
        await get(server, target)
        for target in (
            "/nothing",
            "/mail/config-v1.1.xml",
            "/mail/config-v1.1.xml?emailaddress=",
            "/mail/config-v1.1.xml?emailaddress=eve@example.test",
            "/mail/config-v1.1.xml?emailaddress=alice@other.test",
            "/mail/config-v1.1.xml?emailaddress=alice@example.test&emailaddress=bob@other.test",
            "/v1.1/",
            "/v1.1/elsewhere.test",
            "/v1.1/alice@example.test",
            "//[",
        )
    ]
    assert answers == [(404, b"")] * len(answers)


async def test_a_web_page_cannot_ask(server: AutoconfigServer) -> None:
    target, port = "/v1.1/example.test", server.address[1]
    for host in (
        f"evil.test:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1.evil:{port}",
    ):
        assert await get(server, target, host=host) == (403, b""), (
            host
        )  # a name rebound to loopback
    for field in ("Origin: https://evil.test", "Sec-Fetch-Site: cross-site"):
        assert await get(server, target, field) == (403, b""), field
    assert await get(server, target, f"Host: 127.0.0.1:{port}") == (403, b"")
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert (await get(server, target, "Sec-Fetch-Site: none", host=host))[0] == 200, host


async def test_only_get_and_head(server: AutoconfigServer) -> None:
    assert await get(server, "/v1.1/example.test", verb="HEAD") == (200, b"")
    assert await get(server, "/v1.1/example.test", verb="POST") == (405, b"")


async def test_bad_requests_end_the_conversation(
    server: AutoconfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoconfig, "PATIENCE", 0.05)
    assert await said_to(server, b"GET / HTTP/1.1\r\n") == b""  # it waits for the end, not for ever
    assert await said_to(server, b"x" * (autoconfig.MAX_HEAD + 5)) == b""
    assert (await said_to(server, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await said_to(server, b"GET / HTTP/1.1\r\nnonsense\r\n\r\n")).startswith(
        b"HTTP/1.1 400 "
    )


async def test_there_are_not_more_conversations_than_it_wants(server: AutoconfigServer) -> None:
    held = [
        await asyncio.open_connection(*server.address) for _ in range(autoconfig.MAX_CONVERSATIONS)
    ]
    await asyncio.sleep(0)
    assert await said_to(server, b"") == b""
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    while (await get(server, "/v1.1/example.test"))[0] != 200:
        pass


@settings(max_examples=40)
@given(st.binary(max_size=200))
async def test_any_octets_get_an_answer(data: bytes) -> None:
    server = AutoconfigServer(lambda: ACCOUNTS, IMAP, SMTP)
    assert (await server._answer(data + b"\r\n\r\n")).startswith(b"HTTP/1.1 4")


@settings(max_examples=30)
@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        min_size=1,
    )
)
def test_every_domain_stands_in_the_xml_as_it_is(domain: str) -> None:
    found = ElementTree.fromstring(autoconfig_xml(domain, IMAP, LocalServer("::1", 1, tls=True)))
    assert found.findtext("emailProvider/domain") == domain
    assert found.findtext("emailProvider/outgoingServer/socketType") == "SSL"
