"""The HTTPS side: what goes wrong is said in one form, what goes right is what storage holds."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
from pathlib import Path

import aiohttp
import msgspec
import pytest

from leap.keymanager.wkd_names import advanced_path, direct_path, wkd_hash
from leap.provider.errors import Refusal, SlowDown
from leap.provider.http import blob_routes, bodies
from leap.provider.provider import Provider
from leap.soledad import wire
from leap.soledad.enrol import enrol_by_recovery, enrol_device, log_in_again, sign_up
from leap.soledad.errors import AuthFailed, BadCertificate, HeadMoved, Refused
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from tests.provider.test_keys import certificate
from tests.provider.world import DOMAIN, PASSPHRASE, Served, blob, delivery, item, prepared, served

ALICE = f"alice@{DOMAIN}"
ALICE_ID = prepared(ALICE).secrets.account_id


def client_of(https: Served, token: str | None = None) -> ProviderClient:
    return ProviderClient(https.url, ca_file=https.ca_file, token=token)


async def test_a_device_signs_up_logs_in_and_out(https: Served) -> None:
    async with client_of(https) as laptop, client_of(https) as phone, client_of(https) as tablet:
        made = await sign_up(laptop, ALICE, PASSPHRASE, "laptop", kdf=floor_kdf_params)
        second = await enrol_device(phone, ALICE, PASSPHRASE, "phone")
        assert made.recovery_code is not None
        third = await enrol_by_recovery(tablet, ALICE, made.recovery_code, "tablet")
        names = [device.name for device in third.material.open_keyset().devices]
        assert names == ["laptop", "phone", "tablet"]
        assert (await laptop.secrets()).keyset_version == 3
        async with client_of(https) as eve:
            with pytest.raises(AuthFailed):
                await enrol_device(eve, ALICE, "wrong", "eve's")
        token = phone.token
        await phone.log_out()
        phone.token = token
        with pytest.raises(AuthFailed):
            await phone.secrets()
        await log_in_again(phone, second.material, PASSPHRASE)
        await phone.secrets()
        assert (await laptop.info()).domain == DOMAIN


async def test_two_devices_push_and_pull_over_https(https: Served) -> None:
    laptop_token = await https.device("alice")
    phone_token = await https.device("alice", "phone")
    async with client_of(https, laptop_token) as laptop, client_of(https, phone_token) as phone:
        push = wire.StageRequest(push_id="push", first=0, items=[item("a")])
        assert (await laptop.stage(push)).staged == 1
        request = wire.CommitRequest(
            parent=b"", head=b"head", head_seq=2, count=2, items=[item("b")], push_id="push"
        )
        assert (await laptop.commit(request)).head_seq == 2
        page = await phone.pull(wire.PullRequest(since=0))
        assert [one.item_id for one in page.items] == [item("a").item_id, item("b").item_id]
        assert page.head == b"head"
        with pytest.raises(HeadMoved):
            await phone.commit(msgspec.structs.replace(request, head=b"other", push_id=None))


async def test_blobs_in_batches_by_range_and_in_one_piece(https: Served) -> None:
    token = await https.device("alice")
    async with client_of(https, token) as client:
        small, middle, large = blob(10_000), blob(100_000), blob(wire.MAX_BATCH_BYTES + 7)
        await client.put_blobs([small, middle, large])
        with pytest.raises(Refused, match="by itself"):
            await client.get_blobs([large.blob_id])
        for one in (small, middle, large):
            assert await client.get_blob(one.blob_id) == one.sealed
            for start, length in ((0, 1), (5_000, 5_000), (9_999, 1)):
                part = await client.get_blob_range(one.blob_id, start, length)
                assert part == one.sealed[start : start + length]
            assert await client.get_blob_range(one.blob_id, len(one.sealed), 1) == b""
        await client.delete_blobs([small.blob_id, large.blob_id])
        assert (await client.get_blobs([small.blob_id, large.blob_id])).missing == [
            small.blob_id,
            large.blob_id,
        ]
        with pytest.raises(Refused) as missing:
            await client.get_blob(small.blob_id)
        assert (missing.value.error, missing.value.status) == ("not-found", 404)


async def test_the_inbox_is_claimed_and_acknowledged(https: Served, provider: Provider) -> None:
    token = await https.device("alice")
    async with client_of(https, token) as client:
        await provider.deliver([delivery(ALICE_ID, b"mail"), delivery(ALICE_ID, b"more")])
        reply = await client.claim_inbox(wire.InboxClaim(limit=1))
        assert ([one.sealed for one in reply.items], reply.waiting) == ([b"mail"], 1)
        await client.release_inbox([reply.items[0].inbox_id])
        reply = await client.claim_inbox(wire.InboxClaim())
        await client.ack_inbox([one.inbox_id for one in reply.items])
        assert (await client.claim_inbox(wire.InboxClaim())).items == []


async def test_certificates_and_the_web_key_directory(https: Served) -> None:
    token = await https.device("alice")
    async with client_of(https, token) as client, client_of(https) as stranger:
        assert await stranger.find_certificate(ALICE) is None
        await client.put_certificate(certificate())
        assert await stranger.find_certificate("Alice@Example.test") == certificate()
        with pytest.raises(Refused):
            await client.put_certificate(b"nonsense")
    for path in (advanced_path(ALICE), direct_path(ALICE)):
        async with https.session.get(https.url + path + "?l=alice") as reply:
            assert reply.status == 200
            assert reply.headers["Content-Type"] == "application/octet-stream"
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
            assert await reply.read() == certificate()
        async with https.session.head(https.url + path) as reply:
            assert reply.status == 200
    for folder in ("/.well-known/openpgpkey", f"/.well-known/openpgpkey/{DOMAIN}"):
        assert await https.call("GET", f"{folder}/policy") == (200, b"")
        hashed = wkd_hash("bob")
        assert (await https.refused("GET", f"{folder}/hu/{hashed}"))[:2] == (404, "not-found")
        assert (await https.refused("GET", f"{folder}/hu/x"))[:2] == (404, "not-found")
    other = advanced_path("alice@other.test")
    assert (await https.refused("GET", other))[:2] == (404, "not-found")


PROTECTED = [
    ("POST", "/1/logout"),
    ("GET", "/1/secrets"),
    ("PUT", "/1/keyset"),
    ("POST", "/1/pull"),
    ("POST", "/1/stage"),
    ("POST", "/1/commit"),
    ("POST", "/1/blobs/put"),
    ("POST", "/1/blobs/get"),
    ("POST", "/1/blobs/delete"),
    ("GET", f"/1/blobs/{'0' * 32}"),
    ("PUT", f"/1/blobs/{'0' * 32}"),
    ("POST", "/1/inbox/claim"),
    ("POST", "/1/inbox/ack"),
    ("POST", "/1/inbox/release"),
    ("PUT", "/1/certificate"),
    ("GET", "/1/events"),
]


async def test_nothing_of_an_account_is_open_to_strangers(https: Served) -> None:
    for method, path in PROTECTED:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic YTpi"},
            {"Authorization": "Bearer " + "x" * 5000},
        ):
            status, error, _ = await https.refused(method, path, headers=headers)
            assert (status, error) == (401, "unauthorized"), (method, path)


async def test_nonsense_is_refused_in_one_sentence(https: Served) -> None:
    token = await https.device("alice")
    for method, path in (*PROTECTED, ("POST", "/1/signup"), ("POST", "/1/login/start")):
        if path in ("/1/logout", "/1/secrets", "/1/events") or "blobs/0" in path:
            continue
        for body in (b"", b"\xc1", b"\x80", b"\x93abc", b"\x81\xa5items\xc0", os.urandom(200)):
            if body[:1] in (b"\x80", b"\x81") and path == "/1/inbox/claim":
                continue  # every field of a claim has a default, and unknown ones are passed over
            status, error, _ = await https.refused(method, path, body, token=token)
            assert (status, error) == (400, "bad-request"), (path, body)


async def test_too_large_bodies_are_refused_at_the_limit(https: Served) -> None:
    token = await https.device("alice")
    large = b"x" * (bodies.KEYSET_BODY + 1)
    for path, body in (
        ("/1/pull", large[: bodies.SMALL_BODY + 1]),
        ("/1/commit", large[: bodies.LOG_BODY + 1]),
        ("/1/login/start", large[: bodies.SMALL_BODY + 1]),
        ("/1/signup", large),
    ):
        assert (await https.refused("POST", path, body, token=token))[:2] == (413, "too-large")


async def test_a_body_without_a_length_is_cut_at_the_limit_too(https: Served) -> None:
    token = await https.device("alice")

    async def endless() -> object:
        for _ in range(20):
            yield b"x" * 16_384

    headers = {"Authorization": f"Bearer {token}"}
    async with https.session.post(https.url + "/1/pull", data=endless(), headers=headers) as reply:
        assert reply.status == 413
        assert wire.decode(await reply.read(), wire.ErrorReply).error == "too-large"


async def test_an_upload_of_unknown_length_is_kept_and_one_that_breaks_leaves_nothing(
    https: Served, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await https.device("alice")
    headers = {"Authorization": f"Bearer {token}"}
    one = blob(300_000)

    async def pieces() -> object:
        for start in range(0, 300_000, 50_000):
            yield one.sealed[start : start + 50_000]

    path = f"{https.url}/1/blobs/{one.blob_id}"
    async with https.session.put(path, data=pieces(), headers=headers) as reply:
        assert reply.status == 200
    assert (await https.call("GET", f"/1/blobs/{one.blob_id}", token=token))[1] == one.sealed
    monkeypatch.setattr(blob_routes, "MAX_BLOB_BYTES", 100_000)
    other = f"{https.url}/1/blobs/{os.urandom(16).hex()}"
    async with https.session.put(other, data=pieces(), headers=headers) as reply:
        assert reply.status == 413
    assert list((tmp_path / "provider" / "blobs" / "incoming").iterdir()) == []
    assert len(list((tmp_path / "provider" / "blobs").glob("??/*"))) == 1


async def test_blob_ids_are_hex(https: Served) -> None:
    token = await https.device("alice")
    for blob_id in ("x", "0" * 31, "0" * 33, "A" * 32, "..%2f..%2fca.pem"):
        status, error, _ = await https.refused("GET", f"/1/blobs/{blob_id}", token=token)
        assert (status, error) in ((400, "bad-request"), (404, "not-found"))


async def test_unknown_paths_and_methods_are_refused_in_the_same_form(https: Served) -> None:
    assert (await https.refused("GET", "/"))[:2] == (404, "not-found")
    assert (await https.refused("GET", "/1/nothing"))[:2] == (404, "not-found")
    assert (await https.refused("DELETE", "/1/pull"))[:2] == (405, "bad-request")
    assert (await https.refused("GET", "/1/certificate"))[:2] == (400, "bad-request")


async def test_a_full_disk_is_507_and_what_was_there_stays(
    https: Served, provider: Provider
) -> None:
    token = await https.device("alice")
    one = blob(100)
    assert (await https.call("POST", "/1/blobs/put", wire.BlobsPut(blobs=[one]), token=token))[
        0
    ] == 200
    await provider.db.write(
        lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall()
    )
    put = wire.BlobsPut(blobs=[blob(60_000) for _ in range(20)])
    assert (await https.refused("POST", "/1/blobs/put", put, token=token))[:2] == (
        507,
        "storage-full",
    )
    get = wire.BlobsGet(blob_ids=[one.blob_id])
    assert (await https.call("POST", "/1/blobs/get", get, token=token))[0] == 200


async def test_a_full_disk_under_the_files_is_507(
    https: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    token = await https.device("alice")
    one = blob(100_000)
    monkeypatch.setattr("leap.provider.storage.files.os.write", full)
    for method, path, body in (
        ("POST", "/1/blobs/put", wire.BlobsPut(blobs=[one])),
        ("PUT", f"/1/blobs/{one.blob_id}", one.sealed),
    ):
        assert (await https.refused(method, path, body, token=token))[:2] == (507, "storage-full")
    monkeypatch.undo()
    assert [p for p in (tmp_path / "provider" / "blobs").glob("*/*") if p.is_file()] == []
    assert (await https.call("PUT", f"/1/blobs/{one.blob_id}", one.sealed, token=token))[0] == 200


async def test_a_failure_of_ours_is_one_sentence_and_one_line_in_the_log(
    https: Served,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = await https.device("alice")

    async def broken(*arguments: object) -> None:
        raise KeyError("plaintext of a mail")

    monkeypatch.setattr(provider.log, "pull", broken)
    status, error, message = await https.refused(
        "POST", "/1/pull", wire.PullRequest(since=0), token=token
    )
    assert (status, error) == (500, "internal")
    assert "plaintext" not in message + caplog.text
    assert "KeyError" in caplog.text


async def test_replies_name_no_versions(https: Served) -> None:
    async with https.session.get(https.url + "/provider") as reply:
        assert reply.headers["Server"] == "leap-provider"


async def test_who_trusts_another_authority_is_not_served(https: Served) -> None:
    context = ssl.create_default_context()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(https.url + "/provider")
    async with ProviderClient(https.url) as client:
        with pytest.raises(BadCertificate):
            await client.info()


def test_every_refusal_has_its_own_word_and_status() -> None:
    kinds: list[type[Refusal]] = Refusal.__subclasses__()
    assert all(400 <= kind.status < 600 and kind.error for kind in kinds)


# --- events ----------------------------------------------------------------------------------------


async def test_devices_are_told_of_heads_and_mail(https: Served, provider: Provider) -> None:
    laptop = await https.device("alice")
    phone = await https.device("alice", "phone")
    await https.device("bob")
    async with client_of(https, phone) as device:
        events = device.events()
        first = [await anext(events) for _ in range(3)]
        assert [(event.kind, event.data) for event in first] == [
            ("hello", 1),
            ("head", 0),
            ("inbox", 0),
        ]
        commit = wire.CommitRequest(
            parent=b"", head=b"head", head_seq=1, count=1, items=[item("a")]
        )
        await https.call("POST", "/1/commit", commit, token=laptop)
        event = await anext(events)
        assert (event.kind, event.data) == ("head", 1)
        await provider.deliver(
            [
                delivery(prepared(f"bob@{DOMAIN}").secrets.account_id),
                delivery(ALICE_ID),
                delivery(ALICE_ID),
            ]
        )
        event = await anext(events)
        assert (event.kind, event.data) == ("inbox", 2)
        claimed = await provider.claim(1, wire.InboxClaim())
        await provider.release(1, [claimed.items[0].inbox_id])
        event = await anext(events)
        assert (event.kind, event.data) == ("inbox", 1)
        await events.aclose()


async def test_an_idle_stream_is_kept_alive(provider: Provider, tmp_path: Path) -> None:
    async with served(provider, tmp_path, keep_alive=0.01) as https:
        token = await https.device("alice")
        headers = {"Authorization": f"Bearer {token}"}
        async with https.session.get(https.url + "/1/events", headers=headers) as reply:
            assert reply.headers["Content-Type"] == "text/event-stream"
            seen = b""
            while b": keep-alive\n\n" not in seen:
                seen += await reply.content.readany()
            assert seen.startswith(b"event: hello\ndata: 1\n\n")


async def test_logout_ends_the_stream_of_this_device(https: Served, provider: Provider) -> None:
    token = await https.device("alice")
    headers = {"Authorization": f"Bearer {token}"}
    async with https.session.get(https.url + "/1/events", headers=headers) as reply:
        await reply.content.readany()
        await https.call("POST", "/1/logout", token=token)
        async with asyncio.timeout(5):
            await reply.content.read()
    assert not provider.events._subscriptions


async def test_too_many_streams_of_one_account_are_refused(
    https: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leap.provider.events.MAX_SUBSCRIPTIONS", 1)
    token = await https.device("alice")
    headers = {"Authorization": f"Bearer {token}"}
    async with https.session.get(https.url + "/1/events", headers=headers) as reply:
        await reply.content.readany()
        assert (await https.refused("GET", "/1/events", token=token))[:2] == (429, "slow-down")


async def test_devices_are_told_again_when_a_lease_runs_out(
    https: Served, provider: Provider
) -> None:
    token = await https.device("alice")
    async with client_of(https, token) as device:
        await provider.deliver([delivery(ALICE_ID)])
        await provider.claim(1, wire.InboxClaim(ttl=1))
        events = device.events()
        assert [(await anext(events)).data for _ in range(3)] == [1, 0, 0]
        provider._now.at += 2  # type: ignore[attr-defined]
        provider._lease_ended(1)
        event = await anext(events)
        assert (event.kind, event.data) == ("inbox", 1)
        await events.aclose()


# --- hostile ---------------------------------------------------------------------------------------


async def test_a_compressed_body_is_not_blown_up(https: Served) -> None:
    token = await https.device("alice")
    bomb = gzip.compress(b"\0" * 60_000_000)
    headers = {"Content-Encoding": "gzip"}
    assert len(bomb) < bodies.SMALL_BODY
    refused = await https.refused("POST", "/1/pull", bomb, token=token, headers=headers)
    assert refused[:2] == (400, "bad-request")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /provider HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /1/pull HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /1/pull HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nhello",
        b"POST /1/signup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /provider\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET /1/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    ],
)
async def test_broken_http_gets_a_4xx_without_a_trace(https: Served, request_bytes: bytes) -> None:
    trust = ssl.create_default_context(cafile=str(https.ca_file))
    port = int(https.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(request_bytes)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert reply.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    for word in (b"Traceback", b"File ", b"site-packages", b".py"):
        assert word not in reply


async def test_a_body_that_stops_is_given_up(
    https: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.01)
    token = await https.device("alice")
    trust = ssl.create_default_context(cafile=str(https.ca_file))
    port = int(https.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(
        f"POST /1/pull HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 100\r\n\r\nabc".encode()
    )
    async with asyncio.timeout(10):
        status = await reader.readline()
    assert status.startswith(b"HTTP/1.1 400")
    writer.close()
    await writer.wait_closed()


async def test_sign_ups_of_strangers_are_bounded(https: Served, provider: Provider) -> None:
    def full(peer: str) -> None:
        raise SlowDown("too many sign-ups", retry_after=60)

    provider.signups.start = full  # type: ignore[method-assign]
    body = prepared(ALICE).signup
    assert (await https.refused("POST", "/1/signup", body))[:2] == (429, "slow-down")
    assert await provider.find_account(ALICE) is None
