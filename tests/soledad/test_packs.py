"""Packs of small blobs: killed, without power, full, thinned and damaged."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs import packs
from leap.soledad.blobs.format import BlobRef, SealedBlob
from leap.soledad.errors import BlobAltered, SoledadError, StoreFull
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from tests.soledad.memory_provider import Account
from tests.soledad.packed import pack_files, place_of, wipe
from tests.soledad.schemas import open_store


def values(head: SealedBlob, body: SealedBlob) -> dict[str, Any]:
    return {
        "head_id": head.ref.blob_id,
        "head_sha256": head.ref.sha256,
        "head_size": head.ref.size,
        "body_id": body.ref.blob_id,
        "body_sha256": body.ref.sha256,
        "body_size": body.ref.size,
    }


async def add(store: Soledad, row_id: str, data: bytes, *, durable: bool = False) -> BlobRef:
    """A row with two blobs; answers the second."""
    head, body = await store.seal_blob(b"head of " + row_id.encode()), await store.seal_blob(data)

    def job(tx: Transaction) -> None:
        tx.put_blobs([head, body])
        tx.insert_row("note", row_id, values(head, body))

    await store.transact(job, durable=durable)
    return body.ref


async def rows_of(store: Soledad) -> set[str]:
    found = await store.read(
        lambda c: c.execute("SELECT row_id FROM note WHERE deleted = 0").fetchall()
    )
    return {row_id for (row_id,) in found}


def copied(tmp_path: Path, name: str) -> Path:
    """What a killed process leaves: the files as they are, of a store that is not closed."""
    folder = tmp_path / name
    folder.mkdir()
    for file in tmp_path.glob("s.db*"):
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        elif not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, folder / file.name)
    return folder / "s.db"


def cut_behind(path: Path, place: int) -> None:
    """The last pack as it may be when the power went: what was not synced is zeros."""
    last = pack_files(path)[-1]
    size = last.stat().st_size
    os.truncate(last, place)
    os.truncate(last, size)


async def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    refs = [await add(store, f"r{n}", b"data %d" % n) for n in range(5)]
    path = copied(tmp_path, "killed")
    await store.close()
    async with await open_store(path) as again:
        assert await rows_of(again) == {f"r{n}" for n in range(5)}
        assert await again.read_blobs(refs) == [b"data %d" % n for n in range(5)]
        more = await add(again, "r5", b"more")  # lies behind, not over, what was there
        assert await again.read_blobs([*refs, more]) == [
            *(b"data %d" % n for n in range(5)),
            b"more",
        ]


async def test_what_the_power_took_takes_its_row_along(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    kept = await add(store, "kept", b"kept", durable=True)
    mark = pack_files(tmp_path / "s.db")[-1].stat().st_size
    await add(store, "lost", b"lost")
    await add(store, "lost too", b"lost too")
    path = copied(tmp_path, "dark")
    await store.close()
    cut_behind(path, mark)
    async with await open_store(path) as again:
        assert await rows_of(again) == {"kept"}
        assert await again.read_blob(kept) == b"kept"
        unsent = await again.read(lambda c: c.execute("SELECT blob_id FROM blob_unsent").fetchall())
        assert len(unsent) == 2
        new = await add(again, "new", b"new", durable=True)
        assert await again.read_blob(new) == b"new"
    async with await open_store(path) as again:
        assert await rows_of(again) == {"kept", "new"}


async def test_only_what_was_not_whole_goes_with_the_power(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    whole = await add(store, "whole", b"whole")
    at = pack_files(tmp_path / "s.db")[-1].stat().st_size
    await add(store, "half", b"half")
    path = copied(tmp_path, "dark")
    await store.close()
    cut_behind(path, at + 1500)  # the header is there, the body is not
    async with await open_store(path) as again:
        assert await rows_of(again) == {"whole"}
        assert await again.read_blob(whole) == b"whole"


async def test_what_a_durable_commit_followed_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    store = await open_store(tmp_path / "s.db")
    await add(store, "r0", b"0")
    assert synced == []
    await store.transact(lambda tx: tx.put("d", {"n": 1}), durable=True)
    assert synced == [pack_files(tmp_path / "s.db")[0].stat().st_size]
    await store.transact(lambda tx: tx.put("d", {"n": 2}), durable=True)
    assert len(synced) == 1  # nothing new
    await add(store, "r1", b"1")
    await store.close()
    assert synced[-1] == pack_files(tmp_path / "s.db")[0].stat().st_size


async def test_what_the_provider_has_is_fetched_again_after_a_loss_of_power(
    account: Account,
) -> None:
    laptop = await account.device("laptop")
    refs = await laptop.add_blobs("r", b"head", b"body")
    await laptop.sync()
    await laptop.store.write(lambda c: c.execute("DELETE FROM setting WHERE name LIKE '%packs%'"))
    await wipe(laptop.store, refs[1].blob_id)
    await laptop.close()
    await laptop.restart()
    assert (await laptop.row("r"))["body_id"] == refs[1].blob_id
    await laptop.sync()
    assert await laptop.store.read_blob(refs[1]) == b"body"


async def test_a_transaction_that_is_undone_leaves_no_blob(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        await add(store, "before", b"before")
        blob = await store.seal_blob(b"undone")

        def job(tx: Transaction) -> None:
            tx.put_blob(blob)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await store.transact(job)
        assert await store.read(lambda c: store.blobs.find(c, blob.ref.blob_id)) is None
        ref = await add(store, "after", b"after")
        assert await store.read_blob(ref) == b"after"


async def test_a_full_disk_is_told_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        before = await add(store, "before", b"before")
        real = os.pwritev

        def full(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
            real(descriptor, [buffers[0][:10]], offset)
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "pwritev", full)
        with pytest.raises(StoreFull):
            await add(store, "too much", b"too much")
        monkeypatch.setattr(os, "pwritev", real)
        assert await rows_of(store) == {"before"}
        after = await add(store, "after", b"after")
        assert await store.read_blobs([before, after]) == [b"before", b"after"]


async def test_a_write_that_the_system_cuts_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, real_one = os.pwritev, os.pwrite
    monkeypatch.setattr(
        os, "pwritev", lambda fd, buffers, at: real(fd, [b"".join(buffers)[:1500]], at)
    )
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real_one(fd, data[:700], at))
    async with await open_store(tmp_path / "s.db") as store:
        data = os.urandom(5000)
        ref = await add(store, "r", data)
        assert await store.read_blob(ref) == data


async def test_packs_end_and_others_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 20_000)
    chance = random.Random(1)
    contents = [chance.randbytes(3000) for _ in range(30)]
    async with await open_store(tmp_path / "s.db") as store:
        refs = [await add(store, f"r{n}", data) for n, data in enumerate(contents)]
        assert len(pack_files(store.path)) > 5
        order = list(range(30))
        chance.shuffle(order)
        assert await store.read_blobs([refs[n] for n in order]) == [contents[n] for n in order]


async def test_room_in_packs_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 40_000)
    async with await open_store(tmp_path / "s.db") as store:
        data = {f"r{n}": os.urandom(3000) for n in range(40)}
        refs = {row_id: await add(store, row_id, its) for row_id, its in data.items()}
        before = store.blobs.packs.octets()
        gone = [row_id for n, row_id in enumerate(data) if n % 4]

        def drop(tx: Transaction) -> None:
            ids = [refs[row_id].blob_id for row_id in gone]
            tx.delete_rows("note", gone)
            tx.drop_blobs(ids)

        await store.transact(drop)
        await store.empty_trash()
        assert store.blobs.packs.octets() < before * 0.6
        for n, row_id in enumerate(data):
            if not n % 4:
                assert await store.read_blob(refs[row_id]) == data[row_id]
        path = copied(tmp_path, "killed")
    async with await open_store(path) as again:
        assert await again.read_blob(refs["r36"]) == data["r36"]


async def test_a_kill_before_an_emptied_pack_went_leaves_it_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 10_000)
    async with await open_store(tmp_path / "s.db") as store:
        refs = [await add(store, f"r{n}", os.urandom(2000)) for n in range(8)]
        first = await place_of(store, refs[0].blob_id)
        contents = await store.read_blobs(refs)
        pack = store.blobs.packs
        while await store.write(lambda c: pack.move_some(c, first.pack), durable=True):
            pass
        path = copied(tmp_path, "killed")
    assert f"{first.pack:08}" in {file.name for file in pack_files(path)}
    async with await open_store(path) as again:
        assert f"{first.pack:08}" not in {file.name for file in pack_files(path)}
        assert await again.read_blobs(refs) == contents


async def test_blobs_of_a_store_without_packs_are_read_as_before(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    ref = await add(store, "r", b"as before")
    sealed = await store.read(lambda c: store.blobs.find(c, ref.blob_id))
    await store.write(
        lambda c: c.execute(
            "UPDATE blob SET sealed = ?, pack = NULL, place = NULL, length = NULL WHERE blob_id = ?",
            (sealed, ref.blob_id),
        )
    )
    for statement in (
        "DROP INDEX blob_packed",
        *(f"ALTER TABLE blob DROP COLUMN {name}" for name in ("pack", "place", "length")),
        "PRAGMA user_version = 1",
    ):
        if statement.startswith("DROP"):  # the head goes as well: there were no packs then
            await store.write(lambda c: c.execute("DELETE FROM blob WHERE pack IS NOT NULL"))
        await store.write(lambda c, one=statement: c.execute(one).fetchall())  # type: ignore[misc]
    await store.close()
    async with await open_store(tmp_path / "s.db") as again:
        assert await again.read_blob(ref) == b"as before"
        assert await again.read_blobs([ref]) == [b"as before"]
        new = await add(again, "new", b"new")
        assert await again.read_blobs([new, ref]) == [b"new", b"as before"]


async def test_altered_octets_in_a_pack_are_never_given_out(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        data = os.urandom(2000)
        ref = await add(store, "r", data, durable=True)
        where = await place_of(store, ref.blob_id)
        file = pack_files(store.path)[0]
        whole = file.read_bytes()
        used = 37 + 4 + 16 + 2000 + 16  # what is behind it fills up to the padded size
        for at in [*range(0, 60), *range(60, used, 97), used - 1]:
            octets = bytearray(whole)
            octets[where.place + at] ^= 1
            file.write_bytes(octets)
            with pytest.raises(SoledadError):
                await store.read_blobs([ref])
        file.write_bytes(whole)
        assert await store.read_blobs([ref]) == [data]


async def test_a_row_that_names_another_hash_gets_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        ref = await add(store, "r", b"data")
        other = BlobRef(ref.blob_id, "0" * 64, ref.size)
        with pytest.raises(BlobAltered):
            await store.read_blobs([other])
