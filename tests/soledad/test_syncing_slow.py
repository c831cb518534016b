"""A slow line beside a busy device: the slow push ends, and nothing of it is sent twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.remote import ProviderClient
from leap.soledad.syncing import SyncEngine
from tests.provider.world import Served, opened, served
from tests.soledad.schemas import open_store
from tests.soledad.test_syncing_https import device, enrolled
from tests.soledad.test_syncing_streams import fill

MBIT = 125_000  # octets per second
PIECE = 4_096


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as running:
        yield running


class Line:
    """A line of so many octets a second each way, to the provider's port."""

    def __init__(self, port: int, rate: int) -> None:
        self._port = port
        self._rate = rate
        self.up = 0  # octets that went up

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(
                self._carry(reader, far_writer, up=True), self._carry(far_reader, writer, up=False)
            )
        finally:
            for end in (writer, far_writer):
                end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        free = loop.time()  # when the line is free again
        try:
            while piece := await reader.read(PIECE):
                free = max(free, loop.time()) + len(piece) / self._rate
                await asyncio.sleep(free - loop.time())
                self.up += len(piece) if up else 0
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        except (ConnectionError, OSError, NotImplementedError):
            writer.close()


@asynccontextmanager
async def line(https: Served, rate: int) -> AsyncIterator[tuple[str, Line]]:
    slow = Line(int(https.url.rpartition(":")[2]), rate)
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0, limit=PIECE)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", slow
    finally:
        server.close()


async def test_a_slow_uploader_is_not_starved_by_five_commits_a_second(
    https: Served, tmp_path: Path
) -> None:
    mine, theirs = await enrolled(https, "laptop"), await enrolled(https, "phone")
    laptop = await open_store(tmp_path / "laptop.db")
    await laptop.save_material(mine)
    async with (
        device(https, tmp_path / "phone.db", theirs) as (phone, phone_engine),
        line(https, MBIT) as (url, slow),
    ):
        await phone_engine.sync()
        client = ProviderClient(url, ca_file=https.ca_file, token=mine.token)
        engine = SyncEngine(laptop, client, gather=0)
        commits = [0, 0]  # of the phone, of the laptop
        commit = client.commit

        async def counted(request: Any) -> Any:
            commits[1] += 1
            return await commit(request)

        client.commit = counted  # type: ignore[method-assign]
        await fill(laptop, 200, 10_000)  # about 1.2 MB when it is sealed
        done = asyncio.Event()

        async def busy() -> None:
            while not done.is_set():
                await phone.transact(lambda tx: tx.put("busy", {"n": commits[0]}) and None)
                await phone_engine.sync()
                commits[0] += 1
                try:
                    async with asyncio.timeout(0.2):
                        await done.wait()
                except TimeoutError:
                    continue

        task = asyncio.create_task(busy())
        try:
            async with asyncio.timeout(60):
                result = await engine.sync()
        finally:
            done.set()
            await task
            await engine.close()
            await client.close()
        sealed = await https.provider.db.read(
            lambda c: c.execute("SELECT sum(length(sealed)) FROM item").fetchone()[0]
        )
        assert result.pushed == 200
        assert sealed > 1_000_000
        assert commits[0] > 15  # the other one was busy all the time
        assert commits[1] <= 15
        assert slow.up < sealed * 1.1 + 20_000 * commits[1]  # no item went up twice
        await phone_engine.sync()
        assert len((await phone.get_all_docs())[1]) == 201
    await laptop.close()
