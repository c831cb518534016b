"""Export and import: byte-exact, refused when damaged, doubling nothing, killed at any moment."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import SoledadError, WrongKey
from leap.soledad.maintenance import export_store, import_store, verify
from leap.soledad.maintenance.archive import (
    CHUNK,
    HEADER,
    ArchiveReader,
    ArchiveWriter,
    NotAnExport,
)
from leap.soledad.maintenance.exporting import WITHOUT_CONTENTS, ContentMissing
from leap.soledad.maintenance.records import Closing, Opening, Piece, Record, RowRecord, Withdrawn
from leap.soledad.store import Soledad
from tests.soledad.maintenance.damage import fill_and_sync
from tests.soledad.memory_provider import Account, Device
from tests.soledad.people import seeded
from tests.soledad.schemas import open_store

PASSPHRASE = "keep this apart"
COSTS = (2, 32 * 1024, 1)  # the least an export may have


@pytest.fixture
async def laptop(account: Account) -> Device:
    device = await account.device("laptop")
    await fill_and_sync(device)
    await device.update("r1", flags="seen kept", folder="elsewhere")

    def copy(tx: Any) -> None:  # shares its blobs with another row
        row = tx.row("note", "r2")
        tx.insert_row("note", "copy", {k: v for k, v in row.items() if k != "row_id"})

    await device.store.transact(copy)
    await device.expunge("r2")
    await device.store.transact(lambda tx: tx.insert_row("note", "bare", {"folder": "in"}))
    await device.store.transact(
        lambda tx: tx.insert_row(
            "note", "copy2", {k: v for k, v in tx.row("note", "copy").items() if k != "row_id"}
        )
    )
    return device


@pytest.fixture
async def others(tmp_path: Path) -> AsyncIterator[Account]:
    """Another account, at another provider."""
    folder = tmp_path / "others"
    folder.mkdir()
    account = Account(folder)
    yield account
    await account.close()


async def export(device: Device, name: str = "export", **options: Any) -> Path:
    path = device.store.path.with_name(name)
    await export_store(device.store, path, PASSPHRASE, costs=COSTS, source=device.remote, **options)
    return path


async def contents(store: Soledad) -> dict[str, Any]:
    """All that a program could read: documents with conflicts, rows with the bytes their blobs hold."""
    _, documents = await store.get_all_docs()
    out: dict[str, Any] = {}
    for document in documents:
        versions = await store.get_doc_conflicts(document.doc_id)
        out[document.doc_id] = (document.content, [one.content for one in versions])
    rows = await store.read(
        lambda c: c.execute("SELECT row_id FROM note WHERE deleted = 0 ORDER BY row_id").fetchall()
    )
    for (row_id,) in rows:
        row = await store.transact(lambda tx, name=row_id: tx.row("note", name))  # type: ignore[misc]
        assert row is not None
        blobs = []
        for kind in ("head", "body"):
            ref = [row.pop(f"{kind}_{column}") for column in ("id", "sha256", "size")]
            blobs.append(
                hashlib.sha256(await store.read_blob(BlobRef(*ref))).digest() if ref[0] else b""
            )
        out[row_id] = (row, blobs)
    return out


async def test_everything_comes_into_another_account_and_syncs_there(
    laptop: Device, others: Account
) -> None:
    before = await contents(laptop.store)
    path = await export(laptop)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    new = await others.device("new")
    result = await import_store(new.store, path, PASSPHRASE)
    assert await contents(new.store) == before
    assert (result.rows, result.documents, result.blobs) == (5, 3, 6)
    assert result.opening.address == "alice@example.test"
    await new.sync()
    assert (await verify(new.store, remote=new.remote, sync=new.sync)).clean
    second = await others.device("second")
    await second.sync()
    assert await contents(second.store) == before


async def test_nothing_of_the_old_account_can_be_recognised_in_the_new_one(
    laptop: Device, account: Account, others: Account
) -> None:
    path = await export(laptop)
    new = await others.device("new")
    await import_store(new.store, path, PASSPHRASE)
    await new.sync()
    assert others.provider.blobs
    assert not others.provider.blobs.keys() & account.provider.blobs.keys()
    assert not others.provider.items.keys() & account.provider.items.keys()


async def test_importing_twice_doubles_nothing(laptop: Device, others: Account) -> None:
    path = await export(laptop)
    new = await others.device("new")
    await import_store(new.store, path, PASSPHRASE)
    before, blobs = await new.view(), await new.store.read(count_blobs)
    result = await import_store(new.store, path, PASSPHRASE)
    assert (result.rows, result.documents, result.blobs, result.present) == (0, 0, 0, 8)
    assert (await new.view(), await new.store.read(count_blobs)) == (before, blobs)


def count_blobs(connection: Any) -> int:
    found: int = connection.execute("SELECT count(*) FROM blob").fetchone()[0]
    return found


async def test_into_the_same_account_what_is_here_stays_and_what_is_gone_comes_back(
    laptop: Device,
) -> None:
    path = await export(laptop)
    await laptop.put("d1", n="newer")
    await laptop.store.transact(lambda tx: tx.delete("d2"))
    await laptop.update("r1", folder="moved since")
    await laptop.expunge("r0")
    await laptop.sync()
    result = await import_store(laptop.store, path, PASSPHRASE)
    assert (result.rows, result.documents) == (1, 1)
    assert await laptop.content("d1") == {"n": "newer"}
    assert not await laptop.store.get_doc_conflicts("d1")
    assert await laptop.content("d2") == {"type": "plain", "n": 2}
    assert (await laptop.row("r1"))["folder"] == "moved since"
    assert await laptop.row("r0") is not None
    await laptop.sync()
    assert (await verify(laptop.store, remote=laptop.remote, sync=laptop.sync)).clean


async def test_a_document_that_differs_in_another_account_is_kept_beside(
    laptop: Device, others: Account
) -> None:
    path = await export(laptop)
    new = await others.device("new", merges={"plain": "fields"})
    await new.put("d1", type="plain", mine=1, n="mine")
    await new.put("d0", n="something else")
    for _ in range(2):
        await import_store(new.store, path, PASSPHRASE)
        assert await new.content("d1") == {"type": "plain", "mine": 1, "n": "mine"}
        found = await new.store.get_doc_conflicts("d0")
        assert [one.content["n"] for one in found if one.content] == [
            "something else",
            "mine",
            "theirs",
        ]


async def test_blobs_that_are_not_here_are_fetched_and_not_kept(
    laptop: Device, account: Account, others: Account
) -> None:
    await laptop.sync()
    phone = await account.device("phone")
    await phone.sync()
    held = await phone.store.read(count_blobs)
    path = await export(phone)
    assert await phone.store.read(count_blobs) == held == 0
    new = await others.device("new")
    await import_store(new.store, path, PASSPHRASE)
    assert await contents(new.store) == await contents(laptop.store)


async def test_a_lost_content_stops_the_export_unless_it_may_be_left_out(
    laptop: Device, account: Account, others: Account
) -> None:
    await laptop.sync()
    phone = await account.device("phone")
    await phone.sync()
    del account.provider.blobs[(await laptop.row("r0"))["body_id"]]
    with pytest.raises(ContentMissing, match="verify --repair"):
        await export(phone)
    assert [p.name for p in phone.store.path.parent.glob(".*")] == []
    assert not phone.store.path.with_name("export").exists()
    path = await export(phone, allow_missing=True)
    new = await others.device("new")
    await import_store(new.store, path, PASSPHRASE)
    assert await new.row("r0") is None
    assert await new.row("r1") is not None
    with_all = await contents(laptop.store)
    del with_all["r0"]
    assert await contents(new.store) == with_all
    reader = ArchiveReader(path, PASSPHRASE)
    *_, closing = reader.records(Record)
    reader.close()
    assert closing.left_out == {WITHOUT_CONTENTS: 1}


def cut(data: bytes) -> bytes:
    return data[:-1]


def cut_at_a_chunk(data: bytes) -> bytes:
    return data[: HEADER.size + 3 * (CHUNK + 16)]


def swap_chunks(data: bytes) -> bytes:
    first, size = HEADER.size, CHUNK + 16
    one, other = data[first + size : first + 2 * size], data[first + 2 * size : first + 3 * size]
    return data[: first + size] + other + one + data[first + 3 * size :]


def repeat_a_chunk(data: bytes) -> bytes:
    first, size = HEADER.size, CHUNK + 16
    return data[: first + 2 * size] + data[first + size :]


def alter(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def alter_the_salt(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def ask_for_much(data: bytes) -> bytes:
    return data[:25] + (2**31).to_bytes(4, "big") + data[29:]


def newer(data: bytes) -> bytes:
    return data[:20] + b"\x02" + data[21:]


def append(data: bytes) -> bytes:
    return data + b"x"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut, "damaged"),
        (cut_at_a_chunk, "damaged"),
        (swap_chunks, "damaged"),
        (repeat_a_chunk, "damaged"),
        (alter, "damaged"),
        (append, "damaged"),
        (alter_the_salt, "passphrase does not open"),
        (ask_for_much, "outside the permitted range"),
        (newer, "newer version"),
        (lambda data: b"no export", "is not an export"),
    ],
)
async def test_a_damaged_file_is_refused_before_anything_is_taken(
    laptop: Device, others: Account, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    path = await export(laptop)
    new = await others.device("new")
    path.write_bytes(damage(path.read_bytes()))
    before = await new.view()
    with pytest.raises((NotAnExport, WrongKey), match=sentence):
        await import_store(new.store, path, PASSPHRASE)
    assert await new.view() == before == {"rows": [], "docs": []}


async def test_a_wrong_passphrase_and_a_file_that_is_there(laptop: Device, others: Account) -> None:
    path = await export(laptop)
    new = await others.device("new")
    with pytest.raises(WrongKey):
        await import_store(new.store, path, "another one")
    before = path.read_bytes()
    with pytest.raises(SoledadError, match="choose another name"):
        await export(laptop)
    assert path.read_bytes() == before


def written(path: Path, *records: Any) -> Path:
    writer = ArchiveWriter(path, PASSPHRASE, costs=COSTS, random_bytes=seeded("export"))
    for record in records:
        writer.add(record)
    writer.finish()
    writer.discard()
    return path


OPENING = Opening("a" * 32, "alice@example.test", 0, {"note": ["folder"]})


@pytest.mark.parametrize(
    "records",
    [
        [],
        [OPENING],
        [Closing(0, 0, 0, {})],
        [OPENING, Closing(1, 0, 0, {})],
        [OPENING, Closing(0, 0, 0, {}), OPENING],
        [OPENING, OPENING, Closing(0, 0, 0, {})],
        [OPENING, Piece(False, b"x"), Closing(0, 0, 0, {})],
        [OPENING, RowRecord("note", "r", {"head_id": "x"}, []), Closing(1, 0, 0, {})],
        [OPENING, RowRecord("note", "r", {"folder": b"x"}, []), Closing(1, 0, 0, {})],
        [OPENING, ["document", "d", "1:a", "[]", []], Closing(0, 1, 0, {})],
        [OPENING, ["document", "", "1:a", "{}", []], Closing(0, 1, 0, {})],
        [OPENING, ["row", "note", "r", {}, [[0, "b", 5, True, False]]], Closing(1, 0, 1, {})],
        [OPENING, ["row", "note", "r", {}, [[0, "b", 5, False, True]]], Closing(1, 0, 0, {})],
        [OPENING, ["row", "note", "r", {}, [[7, "b", 0, True, False]]], Closing(1, 0, 1, {})],
        [OPENING, ["row", "other", "r", {}, []], Closing(1, 0, 0, {})],
        [OPENING, Withdrawn(), Closing(0, 0, 0, {})],
        [OPENING, RowRecord("note", "r", {}, []), Withdrawn(), Closing(0, 0, 0, {})],
        [
            OPENING,
            ["row", "note", "r", {}, [[0, "b", 5, True, False]]],
            Withdrawn(),
            Closing(1, 0, 1, {}),
        ],
        [OPENING, ["row", "note", "r", {}, [[0, "b", -1, True, False]]], Closing(1, 0, 1, {})],
        [
            OPENING,
            ["row", "note", "r", {}, [[0, "b", 5, True, True]]],
            Withdrawn(),
            ["row", "note", "s", {}, [[0, "b", 5, False, True]]],
            Closing(1, 0, 0, {}),
        ],
        [OPENING, ["something"]],
        [17],
    ],
)
async def test_a_file_with_the_right_passphrase_and_senseless_records(
    tmp_path: Path, records: list[Any]
) -> None:
    path = written(tmp_path / "export", *records)
    async with await open_store(tmp_path / "new.db") as store:
        with pytest.raises((NotAnExport, WrongKey)):
            await import_store(store, path, PASSPHRASE)
        assert await store.get_all_docs() == (0, [])


async def test_rows_of_a_program_that_is_not_this_one_are_refused(tmp_path: Path) -> None:
    opening = Opening("", "", 0, {"mail": ["folder"]})
    path = written(tmp_path / "export", opening, Closing(0, 0, 0, {}))
    async with await open_store(tmp_path / "new.db") as store:
        with pytest.raises(SoledadError, match="which this program does not know"):
            await import_store(store, path, PASSPHRASE)


async def test_the_event_loop_is_not_kept_busy(laptop: Device, others: Account) -> None:
    """The most CPU the loop's thread takes in one turn, while blobs of 100 kB go out and in."""
    for n in range(30):
        await laptop.add_blobs(f"more{n}", os.urandom(1000), os.urandom(100_000))
    new = await others.device("new")
    turns: list[float] = []
    running = True

    async def watch() -> None:
        before = time.thread_time()
        while running:
            await asyncio.sleep(0)
            now = time.thread_time()
            turns.append(now - before)
            before = now

    watching = asyncio.create_task(watch())
    path = await export(laptop)
    await import_store(new.store, path, PASSPHRASE)
    running = False
    await watching
    assert max(turns) < 0.05  # Argon2id, or sealing one of the blobs, takes longer


async def import_and_say_so(store_path: str, path: str) -> None:
    """What the killed process does."""
    store = await open_store(Path(store_path))

    def progress(what: str, done: int, total: int) -> None:
        print(what, done, flush=True)

    while True:
        await import_store(store, Path(path), PASSPHRASE, progress=progress)
        print("complete", 0, flush=True)


@pytest.mark.parametrize("lines", [3, 5])
async def test_an_import_that_is_killed_goes_on_when_repeated(tmp_path: Path, lines: int) -> None:
    async with await open_store(tmp_path / "old.db") as store:
        for n in range(230):
            blob = await store.seal_blob(b"x%d" % n)

            def put(tx: Any, n: int = n, blob: Any = blob) -> None:
                tx.put(f"d{n}", {"n": n})
                tx.put_blob(blob)
                values = {
                    "head_id": blob.ref.blob_id,
                    "head_sha256": blob.ref.sha256,
                    "head_size": blob.ref.size,
                }
                tx.insert_row("note", f"r{n:03}", {"folder": "in", **values})
                tx.insert_row("note", f"s{n:03}", {"folder": "copy", **values})

            await store.transact(put)
        before = await contents(store)
        await export_store(store, tmp_path / "export", PASSPHRASE, costs=COSTS)
    code = (
        "import asyncio\nfrom tests.soledad.maintenance.test_export import import_and_say_so\n"
        f"asyncio.run(import_and_say_so({str(tmp_path / 'new.db')!r}, {str(tmp_path / 'export')!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(lines):
        assert await process.stdout.readline()
    process.kill()
    await process.wait()
    async with await open_store(tmp_path / "new.db") as store:
        assert (await verify(store)).clean
        await import_store(store, tmp_path / "export", PASSPHRASE)
        assert await contents(store) == before
        assert await store.read(count_blobs) == 230
        assert (await verify(store)).clean
