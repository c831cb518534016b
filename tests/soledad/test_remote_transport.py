"""The HTTPS client against servers that lie, break off, or are not the provider."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from leap.soledad import wire
from leap.soledad.errors import (
    AuthFailed,
    BadCertificate,
    BadReply,
    HeadMoved,
    KeysetMoved,
    Refused,
    TooSlow,
    Unreachable,
)
from leap.soledad.remote import ProviderClient, large_blobs
from leap.soledad.remote.transport import MAX_REPLY, Patience, printable
from leap.soledad.wire import BlobsFound, ErrorReply, PullRequest, UploadState, encode
from tests.soledad.hostile_server import hostile_server


@pytest.fixture
async def eve(tmp_path):
    async with hostile_server(tmp_path / "eve") as server:
        yield server


@pytest.fixture
async def client(eve):
    async with ProviderClient(eve.url, ca_file=eve.ca_file, token="secret-token") as client:
        yield client


# --- TLS -------------------------------------------------------------------------------------------


async def test_another_authority_is_refused(eve, tmp_path):
    async with (
        hostile_server(tmp_path / "other") as other,
        ProviderClient(eve.url, ca_file=other.ca_file, token="secret-token") as client,
    ):
        with pytest.raises(BadCertificate, match="not valid"):
            await client.secrets()
    assert eve.requests == []


async def test_the_systems_authorities_do_not_know_a_self_made_one(eve):
    async with ProviderClient(eve.url) as client:
        with pytest.raises(BadCertificate):
            await client.info()
    assert eve.requests == []


async def test_a_certificate_for_another_name_is_refused(eve, tmp_path, monkeypatch):
    """The authority is right, the name is not."""
    port = int(eve.url.rsplit(":", 1)[1])
    real = socket.getaddrinfo

    def lookup(host, *arguments, **options):
        return real("127.0.0.1" if host == "elsewhere.test" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    async with ProviderClient(f"https://elsewhere.test:{port}", ca_file=eve.ca_file) as client:
        with pytest.raises(BadCertificate):
            await client.info()
    assert eve.requests == []


def test_verification_cannot_be_turned_off(tmp_path):
    client = ProviderClient("https://localhost")
    context = client._http._context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("url", ["http://localhost", "localhost:443", "", "https://", "ftp://x"])
def test_only_https_will_do(url):
    with pytest.raises(Unreachable, match="https"):
        ProviderClient(url)


def test_an_unusable_authority_file_is_refused(tmp_path: Path):
    with pytest.raises(BadCertificate, match="cannot be read"):
        ProviderClient("https://localhost", ca_file=tmp_path / "missing.pem")
    for content in (b"", b"not a certificate", b"\xff\xfe"):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(BadCertificate, match="no certificate"):
            ProviderClient("https://localhost", ca_file=tmp_path / "ca.pem")


# --- no answer -------------------------------------------------------------------------------------


async def test_nobody_listens():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        async with ProviderClient(f"https://127.0.0.1:{port}") as client:
            with pytest.raises(Unreachable, match="cannot be reached"):
                await client.info()


async def test_an_unknown_name():
    async with ProviderClient("https://nobody.invalid") as client:
        with pytest.raises(Unreachable, match="not known"):
            await client.info()


async def test_a_closed_connection_is_tried_once_more(eve, client):
    async def answer(reader, writer):
        pass

    eve.answer = answer
    with pytest.raises(Unreachable):
        await client.pull(PullRequest(since=0))
    assert len(eve.requests) == 2


async def test_a_body_cut_short_is_unreachable(eve, client):
    eve.says(b"200 OK", b"short", length=500)
    with pytest.raises(Unreachable):
        await client.secrets()


async def test_silence_ends_in_a_sentence(eve):
    async def answer(reader, writer):
        await reader.read()

    eve.answer = answer
    patience = Patience(silence=0.05)
    async with ProviderClient(eve.url, ca_file=eve.ca_file, patience=patience) as client:
        with pytest.raises(TooSlow, match="in time"):
            await client.secrets()


async def test_a_stream_that_ends_is_unreachable(eve, client):
    eve.says(b"200 OK", b"event: head\ndata: 4\n\n")
    events = client.events()
    assert (await anext(events)).data == 4
    with pytest.raises(Unreachable):
        await anext(events)


# --- strange answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"\xc1", b"\x81\xa5items\xc0"])
async def test_what_is_not_in_the_protocol_is_a_bad_reply(eve, client, body):
    eve.says(b"200 OK", body)
    for call in (client.secrets(), client.pull(PullRequest(since=0)), client.info()):
        with pytest.raises(BadReply):
            await call


async def test_a_server_that_speaks_no_http(eve, client):
    async def answer(reader, writer):
        writer.write(b"220 mail.example.test ESMTP\r\n")

    eve.answer = answer
    with pytest.raises(BadReply):
        await client.secrets()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_reply_without_end_is_cut_off(eve, client, declared):
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        writer.write(
            b"Content-Length: 99999999999\r\n\r\n" if declared else b"Connection: close\r\n\r\n"
        )
        for _ in range(MAX_REPLY // 65536 + 10):
            writer.write(bytes(65536))
            await writer.drain()

    eve.answer = answer
    with pytest.raises(BadReply, match="more than was asked"):
        await client.secrets()


async def test_a_compressed_reply_is_not_unpacked(eve, client):
    eve.says(b"200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b" + bytes(20))
    with pytest.raises(BadReply):
        await client.secrets()
    assert b"accept-encoding: identity" in eve.requests[0].lower()


async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere(eve, client, tmp_path):
    async with hostile_server(tmp_path / "other") as other:
        other.says(b"200 OK")
        eve.says(b"307 Temporary Redirect\r\nLocation: " + other.url.encode() + b"/1/secrets")
        with pytest.raises(BadReply):
            await client.secrets()
        assert other.requests == []
    assert b"Bearer secret-token" in eve.requests[0]


async def test_no_proxy_is_taken_from_the_environment(eve, client, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    eve.says(b"200 OK", b"x")
    with pytest.raises(BadReply):
        await client.secrets()


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (409, "head-moved", HeadMoved),
        (409, "keyset-moved", KeysetMoved),
        (409, "blob-differs", Refused),
        (401, "bad-login", AuthFailed),
        (401, "unauthorized", AuthFailed),
        (401, "something-new", AuthFailed),
        (507, "storage-full", Refused),
        (500, "internal", Refused),
    ],
)
async def test_refusals_keep_their_word_and_status(eve, client, status, word, kind):
    eve.says(b"%d No" % status, wire.encode(ErrorReply(error=word, message="That does not go.")))
    with pytest.raises(Refused) as caught:
        await client.secrets()
    assert type(caught.value) is kind
    assert (caught.value.error, caught.value.status) == (word, status)
    assert str(caught.value) == "That does not go."


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthFailed), (403, AuthFailed), (404, BadReply), (502, BadReply)]
)
async def test_a_refusal_without_words(eve, client, status, kind):
    eve.says(b"%d No" % status, b"<html>go away</html>")
    with pytest.raises(kind):
        await client.secrets()


async def test_a_providers_words_cannot_paint_the_terminal(eve, client):
    words = "\x1b[2Jyou\r\nare \u202ehacked" + "x" * 1_000
    eve.says(b"400 No", wire.encode(ErrorReply(error="bad-request", message=words)))
    with pytest.raises(Refused) as caught:
        await client.secrets()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 300
    assert printable("Ein schöner Tag.") == "Ein schöner Tag."


# --- answers to another question -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        BlobsFound(blobs=[wire.Blob(blob_id="e" * 32, sealed=b"x")], missing=[], more=False),
        BlobsFound(blobs=[], missing=["e" * 32], more=False),
        BlobsFound(blobs=[wire.Blob(blob_id="a" * 32, sealed=b"x")] * 2, missing=[], more=False),
        BlobsFound(blobs=[], missing=[], more=True),
    ],
)
async def test_blobs_that_were_not_asked_for_are_refused(eve, client, found):
    eve.says(b"200 OK", wire.encode(found))
    with pytest.raises(BadReply):
        await client.get_blobs(["a" * 32])


async def test_another_range_than_asked_for_is_refused(eve, client):
    eve.says(b"200 OK", b"0123456789")
    with pytest.raises(BadReply):
        await client.get_blob_range("a" * 32, 5, 10)


async def test_the_certificate_of_another_address_is_refused(eve, client):
    reply = wire.CertificateReply(address="eve@example.test", certificate=b"key")
    eve.says(b"200 OK", wire.encode(reply))
    with pytest.raises(BadReply, match="another address"):
        await client.find_certificate("alice@example.test")


async def test_a_failing_directory_is_not_an_absent_key(eve, client):
    """Or a broken provider would make mail go out in clear."""
    for head in (b"502 Bad Gateway", b"404 Not Found"):
        eve.says(head, b"<html></html>")
        with pytest.raises(Unreachable):
            await client.find_certificate("alice@example.test")


async def test_a_token_is_forgotten_even_if_the_provider_is_gone(client):
    await asyncio.sleep(0)
    client._http.origin = "https://127.0.0.1:1"
    with pytest.raises(Unreachable):
        await client.log_out()
    assert client.token is None


async def test_an_upload_that_gets_one_octet_further_with_each_cut_ends(
    eve, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(large_blobs, "MAX_CUTS", 3)
    stored = 0

    async def answer(reader, writer):
        nonlocal stored
        if eve.requests[-1].startswith(b"GET"):
            body = encode(UploadState(stored=stored))
            stored += 1
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        # To a PUT nothing is said: the connection ends.

    eve.answer = answer
    path = tmp_path / "blob"
    path.write_bytes(bytes(1000))
    async with ProviderClient(eve.url, ca_file=eve.ca_file) as client, asyncio.timeout(20):
        with pytest.raises(Unreachable):
            await client.put_blob_file("0" * 32, path, bytes(32))
    assert 3 <= sum(one.startswith(b"PUT") for one in eve.requests) <= 8
