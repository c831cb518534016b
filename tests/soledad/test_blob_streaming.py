"""Blobs too large for memory: sealed into files, read piece by piece, whatever the disk does meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.blobs import download
from leap.soledad.blobs import format as blob_format
from leap.soledad.blobs.files import BlobFiles
from leap.soledad.blobs.format import (
    CHUNK,
    MAX_SIZE,
    BlobRef,
    SealedBlob,
    Sealer,
    most_sealed,
    open_blob,
    seal_blob,
)
from leap.soledad.blobs.local import STRAY_SECONDS
from leap.soledad.blobs.sealing import SealedFile, seal_pieces
from leap.soledad.envelope import Epoch
from leap.soledad.errors import BlobAltered, StoreFull, Unreachable
from leap.soledad.store import Soledad
from tests.soledad.memory_provider import Account
from tests.soledad.people import seeded
from tests.soledad.schemas import open_store
from tests.soledad.test_blob_lanes import add_large

EPOCH = Epoch(1, bytes(32))
LARGE = 5 * 1024 * 1024 + 77
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_store(tmp_path / "alice.db") as opened:
        yield opened


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def keep(store: Soledad, sealed: SealedFile) -> BlobRef:
    await store.transact(lambda tx: tx.put_blob(sealed), durable=True)
    return sealed.ref


async def collected(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1000, CHUNK, 200_000])
def test_sealed_into_a_file_it_is_as_sealed_in_memory(
    tmp_path: Path, size: int, piece: int
) -> None:
    data = (os.urandom(CHUNK) + bytes(CHUNK) + os.urandom(2 * CHUNK))[:size]
    whole = seal_blob(data, account="a", epoch=EPOCH, random_bytes=seeded("s"))
    sealer = Sealer(size, account="a", epoch=EPOCH, random_bytes=seeded("s"))
    pieces = (data[start : start + piece] for start in range(0, size, piece))
    sealed = seal_pieces(BlobFiles(tmp_path), sealer, iter(pieces))
    assert sealed.ref == whole.ref
    assert sealed.path.read_bytes() == whole.sealed
    assert len(whole.sealed) <= most_sealed(size)
    assert sealed.path.stat().st_mode & 0o777 == 0o600


def test_the_filler_is_an_aead_of_zeros() -> None:
    sealed = seal_blob(b"x" * 100, account="a", epoch=EPOCH).sealed
    ref = BlobRef("", "0" * 64, 100)
    sealer = Sealer(100, account="a", epoch=EPOCH, random_bytes=seeded("s"))
    chunk = sealer.seal_chunk(b"x" * 100)
    filler = b"".join(sealer.filler())
    zeros = AESGCM(sealer._key).decrypt(
        blob_format._nonce(blob_format._FILLER, 0, True), filler, sealer._header
    )
    assert set(zeros) == {0}
    beginning = blob_format.index_size(ref)
    assert beginning + len(chunk) + len(filler) == len(sealed) == 1024


@pytest.mark.parametrize("announced", [99_999, 100_001])
async def test_content_of_another_size_than_announced_leaves_nothing(
    store: Soledad, announced: int
) -> None:
    with pytest.raises(ValueError, match="blob"):
        await store.seal_stream(pieces_of(bytes(100_000), 7000), announced)
    assert files_in(store.blobs.files.folder) == []


async def test_above_the_limit_nothing_is_begun(store: Soledad) -> None:
    with pytest.raises(ValueError, match="limit"):
        await store.seal_stream(pieces_of(b"", 1), MAX_SIZE + 1)
    assert most_sealed(MAX_SIZE) <= 2 * 1024**3


async def test_a_stream_that_fails_leaves_nothing(store: Soledad) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(3_000_000)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.seal_stream(broken(), LARGE)
    assert files_in(store.blobs.files.folder) == []


async def test_a_large_blob_is_read_whole_by_range_and_as_a_stream(
    store: Soledad, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    (tmp_path / "plain").write_bytes(data)
    one = await keep(store, await store.seal_file(tmp_path / "plain"))
    other = await keep(store, await store.seal_stream(pieces_of(data, 123_456), LARGE))
    assert one.blob_id != other.blob_id
    for ref in (one, other):
        assert await store.read_blob(ref) == data
        for start, length in ((0, 1), (CHUNK - 1, 2), (LARGE - 3, 100), (LARGE, 5), (77, 900_000)):
            part = data[start : start + length]
            assert await store.read_blob(ref, start, length) == part
            assert await collected(store.stream_blob(ref, start, length)) == part
        assert await collected(store.stream_blob(ref)) == data
        assert await collected(store.stream_blob(ref, 1_000_000)) == data[1_000_000:]


async def test_a_file_damaged_here_is_found_before_its_chunk_is_given_out(
    store: Soledad, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    ref = await keep(store, await store.seal_stream(pieces_of(data, 500_000), LARGE))
    path = store.blobs.files.path(ref.blob_id)
    with path.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"damaged")
    given: list[bytes] = []

    async def read() -> None:
        async for piece in store.stream_blob(ref):
            given.append(piece)

    with pytest.raises(BlobAltered):
        await read()
    assert data.startswith(b"".join(given))
    assert 1_000_000 < len(b"".join(given)) < 3_000_000
    with pytest.raises(BlobAltered):
        await store.read_blob(ref)


async def test_the_only_copy_of_a_blob_is_not_given_up_when_its_file_is_gone(
    store: Soledad,
) -> None:
    ref = await keep(store, await store.seal_stream(pieces_of(bytes(LARGE), 500_000), LARGE))
    store.blobs.files.path(ref.blob_id).unlink()
    for _ in range(2):
        with pytest.raises(BlobAltered, match="gone from this machine"):
            await store.read_blob(ref, 0, 10)
    await store.write(lambda c: c.execute("DELETE FROM blob_unsent"))
    with pytest.raises(Unreachable):
        await store.read_blob(ref, 0, 10)  # it is at the provider now


# --- files and rows ---


async def test_an_undone_transaction_may_be_repeated_and_its_file_goes_if_it_is_not(
    tmp_path: Path,
) -> None:
    clock = [1_000_000.0]
    async with await open_store(tmp_path / "alice.db", now=lambda: clock[0]) as store:
        files = store.blobs.files
        sealed = [await store.seal_stream(pieces_of(bytes(LARGE), 10**6), LARGE) for _ in range(2)]

        def undone(tx: Any) -> None:
            for one in sealed:
                tx.put_blob(one)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.transact(undone)
        await keep(store, sealed[0])
        for one in sealed:
            os.utime(files.path(one.ref.blob_id), (clock[0], clock[0]))
        assert await store.remove_strays() == 0
        clock[0] += STRAY_SECONDS + 1
        assert await store.remove_strays() == 1
        assert files_in(files.folder) == [sealed[0].ref.blob_id]
        assert await store.read_blob(sealed[0].ref) == bytes(LARGE)


async def test_a_forgotten_blob_loses_its_file_after_the_commit_and_not_before(
    store: Soledad,
) -> None:
    files = store.blobs.files
    ref = await keep(store, await store.seal_stream(pieces_of(bytes(LARGE), 10**6), LARGE))

    def undone(tx: Any) -> None:
        tx.drop_blobs([ref.blob_id])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.transact(undone)
    assert await store.empty_trash() == 0
    assert await store.read_blob(ref) == bytes(LARGE)
    await store.transact(lambda tx: tx.drop_blobs([ref.blob_id]))
    assert files_in(files.folder) == [ref.blob_id]
    assert await store.empty_trash() == 1
    assert files_in(files.folder) == []
    assert await store.read(store.blobs.load_trash) == []


async def test_a_file_that_came_back_between_two_steps_of_the_removal_stays(store: Soledad) -> None:
    data = os.urandom(LARGE)
    sealed = await store.seal_stream(pieces_of(data, 10**6), LARGE)
    ref = await keep(store, sealed)
    bytes_of_it = store.blobs.files.path(ref.blob_id).read_bytes()
    await store.write(lambda c: store.blobs.evict(c, [ref.blob_id]))
    trash = await store.read(store.blobs.load_trash)
    again = SealedBlob(ref, bytes_of_it)
    await store.write(lambda c: store.blobs.put(c, again, unsent=False))
    assert trash == [ref.blob_id]
    assert await store.write(lambda c: store.blobs.remove_files(c, trash)) == 0
    assert await store.read_blob(ref) == data


async def test_a_stream_that_is_being_read_outlives_its_blob(store: Soledad) -> None:
    data = os.urandom(LARGE)
    ref = await keep(store, await store.seal_stream(pieces_of(data, 10**6), LARGE))
    stream = store.stream_blob(ref)
    first = await anext(stream)
    await store.transact(lambda tx: tx.drop_blobs([ref.blob_id]))
    await store.empty_trash()
    assert first + await collected(stream) == data


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.soledad.schemas import open_store

async def main(where):
    store = await open_store(Path(sys.argv[1]))
    async def pieces():
        for n in range(6):
            if n == 3 and where == "sealing":
                os.kill(os.getpid(), 9)
            yield bytes(1_000_000)
    sealed = await store.seal_stream(pieces(), 6_000_000)
    if where == "sealed":
        os.kill(os.getpid(), 9)
    def job(tx):
        tx.put_blob(sealed)
        if where == "file":
            os.kill(os.getpid(), 9)
    await store.transact(job, durable=True)
    print(sealed.ref.blob_id, sealed.ref.sha256, flush=True)
    if where == "row":
        os.kill(os.getpid(), 9)
    await store.transact(lambda tx: tx.drop_blobs([sealed.ref.blob_id]), durable=True)
    os.kill(os.getpid(), 9)

asyncio.run(main(sys.argv[2]))
"""


@pytest.mark.parametrize("where", ["sealing", "sealed", "file", "row", "dropped"])
async def test_killed_anywhere_the_store_has_the_blob_or_nothing_of_it(
    tmp_path: Path, where: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, tmp_path / "alice.db", where, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == -9
    async with await open_store(tmp_path / "alice.db") as store:
        files = files_in(store.blobs.files.folder)
        if where == "row":
            blob_id, sha256 = output.decode().split()
            assert files == [blob_id]
            assert await store.read_blob(BlobRef(blob_id, sha256, 6_000_000)) == bytes(6_000_000)
        else:
            assert files == []
            assert await store.read(lambda c: c.execute("SELECT * FROM blob").fetchall()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system to fill")
    yield small
    subprocess.run(["umount", str(small)], check=True)


async def test_a_disk_that_fills_up_while_sealing_loses_nothing(small_disk: Path) -> None:
    async with await open_store(small_disk / "alice.db") as store:
        kept = os.urandom(3_000_000)
        ref = await keep(store, await store.seal_stream(pieces_of(kept, 10**6), len(kept)))
        for size in (5_500_000, 20_000_000):
            with pytest.raises(StoreFull):
                await store.seal_stream(pieces_of(os.urandom(size), 10**6), size)
        sealed = await store.seal_blob(os.urandom(5_500_000))  # in memory: written in the job
        with pytest.raises(StoreFull):
            await store.transact(lambda tx: tx.put_blob(sealed))
        assert files_in(store.blobs.files.folder) == [ref.blob_id]
        assert await collected(store.stream_blob(ref)) == kept
        await store.transact(lambda tx: tx.put_blob(seal_small(store)))
    async with await open_store(small_disk / "alice.db") as store:
        assert await store.read_blob(ref) == kept


def seal_small(store: Soledad) -> Any:
    return seal_blob(b"small", account=store._keys.account, epoch=store._keys.epoch)


def test_a_sealed_file_opens_like_any_blob(tmp_path: Path) -> None:
    data = os.urandom(200_000)
    sealer = Sealer(len(data), account="a", epoch=EPOCH)
    sealed = seal_pieces(BlobFiles(tmp_path), sealer, iter([data]))
    stored = sealed.path.read_bytes()
    assert hashlib.sha256(stored).hexdigest() == sealed.ref.sha256
    assert open_blob(stored, sealed.ref, account="a", epochs={1: EPOCH}) == data


async def test_a_disk_that_fills_up_while_fetching_loses_nothing_and_it_goes_on_with_room(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "RESERVE", 0)
    account = Account(tmp_path)
    laptop = await account.device("laptop")
    ref = await add_large(laptop, "large", LARGE)
    small = await laptop.add_blobs("small", b"head", b"body")
    await laptop.sync()
    account.folder = small_disk
    phone = await account.device("phone")
    try:
        await phone.sync()
        filler = small_disk / "other"
        filler.write_bytes(bytes(phone.store.blobs.files.free() - 3_000_000))
        with pytest.raises(StoreFull, match="make some"):
            await phone.store.read_blob(ref)  # seen before anything is fetched
        assert "receive_blob" not in phone.remote.requests
        monkeypatch.setattr(phone.store.blobs.files, "free", lambda: 10**12)
        with pytest.raises(StoreFull, match="disk is full"):
            await phone.store.read_blob(ref)  # and found while it comes
        assert files_in(phone.store.blobs.files.folder) == []  # its room is given back
        while await phone.engine._transfer.fetch_batch():
            pass
        assert await phone.store.read_blobs(small) == [b"head", b"body"]
        filler.unlink()
        assert await phone.engine._transfer.fetch_large() == 1
        assert len(await phone.store.read_blob(ref)) == LARGE
    finally:
        await account.close()
