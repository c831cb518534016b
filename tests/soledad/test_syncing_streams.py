"""Streams both ways against the real provider over TLS: few round trips, and what a cut leaves counts."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.provider.http import stream_routes
from leap.provider.sync.log import MAX_PUSH_ITEMS
from leap.soledad.errors import BadReply, Unreachable
from leap.soledad.frames import FRAMES_TYPE, FrameReader, frame
from leap.soledad.remote import ProviderClient
from leap.soledad.syncing import SyncEngine, push
from leap.soledad.wire import (
    Item,
    PullPage,
    PullRequest,
    StageReply,
    StageRequest,
    decode,
    encode,
)
from tests.provider.world import Served, item, opened, served
from tests.soledad.hostile_server import hostile_server
from tests.soledad.schemas import open_store
from tests.soledad.test_syncing_https import device, enrolled

chance = random.Random(11)


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


def text(size: int) -> str:
    return chance.randbytes(size * 3 // 4).hex()[:size]  # half of it is left after compression


async def fill(store: Any, count: int, size: int) -> None:
    contents = [{"n": n, "text": text(size)} for n in range(count)]

    def job(tx: Any) -> None:
        for n, content in enumerate(contents):
            tx.put(f"d{n}", content)

    await store.transact(job)


async def test_a_thousand_documents_take_three_round_trips_each_way(
    https: Served, tmp_path: Path
) -> None:
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with (
        device(https, tmp_path / "laptop.db", mine) as (laptop, laptop_engine),
        device(https, tmp_path / "phone.db", theirs) as (_, phone_engine),
    ):
        await fill(laptop, 1_000, 10_000)
        https.requests.clear()
        assert (await laptop_engine.sync()).pushed == 1_000
        assert https.requests == ["POST /1/pull", "POST /1/stage", "POST /1/commit"]
        https.requests.clear()
        assert (await phone_engine.sync()).pulled == 1_000
        # The last says that the phone has read it.
        assert https.requests == ["POST /1/pull", "POST /1/commit"]


class CutUpload(ProviderClient):
    """Sends the first `cut` octets of the frames of a push, and breaks off."""

    cut = 0
    first = -1  # the index of the first item sent
    frames: list[bytes]

    async def stage_all(self, requests: AsyncIterable[StageRequest]) -> StageReply:
        values = [request async for request in requests]
        self.first = values[0].first
        self.frames = [frame(encode(value)) for value in values]
        body = b"".join(self.frames)
        host, port = self.api_url.removeprefix("https://").split(":")
        assert self.ca_pem is not None
        trust = ssl.create_default_context(cadata=self.ca_pem.decode())
        _, writer = await asyncio.open_connection(host, int(port), ssl=trust)
        writer.write(
            f"POST /1/stage HTTP/1.1\r\nHost: {host}\r\nContent-Type: {FRAMES_TYPE}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body[: self.cut])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        raise Unreachable("the connection broke")


async def test_an_upload_cut_anywhere_keeps_what_arrived_and_goes_on_behind_it(
    https: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every frame boundary and some places between: the next attempt begins where the provider is."""
    monkeypatch.setattr(push, "CHUNK_ITEMS", 300)
    mine = await enrolled(https, "laptop")
    store = await open_store(tmp_path / "laptop.db")
    await store.save_material(mine)
    client = CutUpload(https.url, ca_file=https.ca_file, token=mine.token)
    engine = SyncEngine(store, client, gather=0)
    account = await https.provider.accounts.number(mine.account_id)
    assert account is not None
    try:
        await fill(store, 2_500, 10)
        arrived = 0
        cuts = ["inside", "boundary", "inside", "length", "boundary", "whole"]
        for kind in cuts:
            client.frames = []
            sizes = {"inside": 1.5, "boundary": 1.0, "length": 1.0, "whole": 1e9}
            # Frames of 300 items are of one size, but for the last: measured by the first attempt.
            client.cut = int(sizes[kind] * measured(client, arrived)) + (
                2 if kind == "length" else 0
            )
            with pytest.raises(Unreachable):
                await engine.sync()
            assert client.first == arrived  # what was kept is not sent again
            whole = FrameReader().feed(b"".join(client.frames)[: client.cut])
            arrived += sum(len(decode(value, StageRequest).items) for value in whole)
            await until_staged(https, account, arrived)
        assert arrived == 2_500
    finally:
        await engine.close()
        await client.close()
    async with ProviderClient(https.url, ca_file=https.ca_file, token=mine.token) as fine:
        engine = SyncEngine(store, fine, gather=0)
        https.requests.clear()
        assert (await engine.sync()).pushed == 2_500
        assert https.requests == ["POST /1/pull", "POST /1/stage", "POST /1/commit"]
        await engine.close()
    await store.close()


def measured(client: CutUpload, arrived: int) -> int:
    """Octets of one frame of 300 sealed items of the smallest size."""
    sealed = 1_024 + 64
    value = StageRequest(
        push_id="0" * 32,
        first=arrived,
        items=[Item(item_id=bytes(32), version=1, sealed=bytes(sealed))] * 300,
    )
    return len(frame(encode(value)))


async def until_staged(https: Served, account: int, count: int) -> None:
    """The server hears of a broken connection a moment after the client broke it."""
    async with asyncio.timeout(10):
        while True:
            found = await https.provider.db.read(
                lambda c: c.execute(
                    "SELECT count(*) FROM staged WHERE account = ?", (account,)
                ).fetchone()[0]
            )
            if found == count:
                return
            assert found < count
            await asyncio.sleep(0.01)


async def test_a_download_cut_anywhere_keeps_the_whole_pages_and_goes_on_behind_them(
    https: Served, tmp_path: Path
) -> None:
    """Every frame boundary and random octets between: the next request begins behind the last whole page."""
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    async with device(https, tmp_path / "laptop.db", mine) as (laptop, engine):
        await fill(laptop, 5_000, 10)
        await engine.sync()
    store = await open_store(tmp_path / "phone.db")
    await store.save_material(theirs)
    token = theirs.token
    assert token is not None
    since, places = 0, ["boundary", "length", "random", "random"]
    async with hostile_server(tmp_path / "hostile", ("127.0.0.1",)) as hostile:
        for place in places:
            status, body = await https.call(
                "POST", "/1/pull", PullRequest(since=since, stream=True), token=token
            )
            assert status == 200
            ends = frame_ends(body)
            cut = {
                "boundary": ends[0],
                "length": ends[0] + 2,
                "random": chance.randrange(1, ends[-1]),
            }[place]
            asked: list[int] = []

            async def answer(reader: Any, writer: Any, body: bytes = body, cut: int = cut) -> None:
                head = hostile.requests[-1].lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                asked.append(decode(await reader.readexactly(length), PullRequest).since)  # noqa: B023
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: "
                    + FRAMES_TYPE.encode()
                    + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
                )
                writer.write(body[:cut])
                await writer.drain()

            hostile.answer = answer
            client = ProviderClient(hostile.url, ca_file=hostile.ca_file, token=token)
            engine = SyncEngine(store, client, gather=0)
            with pytest.raises(Unreachable):
                await engine.sync()
            await engine.close()
            await client.close()
            assert asked == [since]
            pages = [decode(value, PullPage) for value in FrameReader().feed(body[:cut])]
            since = max([since, *(page.items[-1].seq for page in pages)])
            assert await store.setting("sync.staged_to") == (since or None)
    assert since > 0
    client = ProviderClient(https.url, ca_file=https.ca_file, token=token)
    engine = SyncEngine(store, client, gather=0)
    assert (await engine.sync()).pulled == 5_000
    await engine.close()
    await client.close()
    await store.close()


def frame_ends(body: bytes) -> list[int]:
    ends, at = [], 0
    while at < len(body):
        at += 4 + int.from_bytes(body[at : at + 4], "big")
        ends.append(at)
    return ends


# --- limits ---


async def test_streams_are_held_to_limits(https: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await https.device("alice")
    headers = {"Content-Type": FRAMES_TYPE}

    async def stage(body: bytes) -> tuple[int, str]:
        status, data = await https.call("POST", "/1/stage", body, token=token, headers=headers)
        return status, data.decode(errors="replace")

    def staged(first: int, push_id: str = "p") -> bytes:
        return frame(encode(StageRequest(push_id=push_id, first=first, items=[item(f"{first}")])))

    assert (await stage(b""))[0] == 400
    assert (await stage(b"\0\0\0\0"))[0] == 400
    assert (await stage(b"\xff\xff\xff\xff"))[0] == 400
    assert (await stage(staged(0) + staged(1, "q")))[0] == 400  # two pushes in one body
    assert (await stage(staged(0) + staged(MAX_PUSH_ITEMS)))[0] == 413
    assert (await stage(staged(0) + staged(1)[:-1]))[0] == 400
    assert (await stage(staged(0) + staged(1) + staged(2)))[0] == 200
    monkeypatch.setattr(stream_routes, "MAX_STREAMED", 100)
    assert (await stage(staged(0) + staged(1)))[0] == 413
    monkeypatch.setattr(stream_routes, "MAX_STREAMS", 0)
    assert (await stage(staged(0)))[0] == 429
    status, _ = await https.call("POST", "/1/pull", PullRequest(since=0, stream=True), token=token)
    assert status == 429


async def test_an_upload_that_comes_too_slowly_is_given_up_and_keeps_what_came(
    https: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_routes, "READ_SECONDS", 0.0)
    monkeypatch.setattr(stream_routes, "SLOWEST", 10_000_000)
    token = await https.device("alice")
    first = frame(encode(StageRequest(push_id="p", first=0, items=[item("a")])))

    async def body() -> AsyncIterator[bytes]:
        yield first
        for _ in range(2_000):
            await asyncio.sleep(0.005)
            yield b"\0"

    headers = {"Content-Type": FRAMES_TYPE, "Authorization": f"Bearer {token}"}
    async with asyncio.timeout(8):
        async with https.session.post(
            https.url + "/1/stage", data=body(), headers=headers
        ) as reply:
            assert reply.status == 400
    status, data = await https.call(
        "POST", "/1/stage", StageRequest(push_id="p", first=0, items=[]), token=token
    )
    assert (status, decode(data, StageReply).staged) == (200, 1)


async def test_pages_behind_the_end_of_a_stream_are_not_taken(tmp_path: Path) -> None:
    page = frame(encode(PullPage(items=[], head=b"", head_seq=0, more=False)))
    more = frame(encode(PullPage(items=[], head=b"h", head_seq=0, more=True)))
    async with hostile_server(tmp_path, ("127.0.0.1",)) as hostile:
        client = ProviderClient(hostile.url, ca_file=hostile.ca_file, token="t")
        async with client:
            hostile.says(b"200 OK\r\nContent-Type: " + FRAMES_TYPE.encode(), page + more)
            pages = [p async for p in client.pull_pages(PullRequest(since=0))]
            assert [p.more for p in pages] == [False]
            hostile.says(b"200 OK\r\nContent-Type: " + FRAMES_TYPE.encode(), more + b"\0\0")
            with pytest.raises(BadReply):
                _ = [p async for p in client.pull_pages(PullRequest(since=0))]
            hostile.says(b"200 OK\r\nContent-Type: application/msgpack", page[4:])
            pages = [p async for p in client.pull_pages(PullRequest(since=0))]
            assert [p.more for p in pages] == [False]  # a provider that does not stream
