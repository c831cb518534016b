"""Contents too large for memory, and contents that are not here: exported, imported and verified as streams."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs import ContentsPolicy
from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import Refused, Unreachable
from leap.soledad.maintenance import export_store, import_store, verify
from leap.soledad.maintenance.exporting import WITHOUT_CONTENTS, ContentMissing
from leap.soledad.maintenance.provider_check import PARTS
from leap.soledad.store import Soledad
from leap.soledad.syncing.eviction import Eviction
from leap.soledad.syncing.transfer import Transfer
from tests.soledad.large_blob import MIB, content, peak, reset_peak
from tests.soledad.maintenance.damage import blob_files, scribble
from tests.soledad.memory_provider import Account, Device
from tests.soledad.schemas import open_store

PASSPHRASE = "keep this apart"
COSTS = (2, 32 * 1024, 1)
SIZE = LARGE + 300_000
WHOLE = 96 * MIB
MOST = 56 * MIB  # of which Argon2id takes 32


def columns(ref: BlobRef, kind: str = "body") -> dict[str, Any]:
    values = (ref.blob_id, ref.sha256, ref.size)
    return {f"{kind}_{n}": v for n, v in zip(("id", "sha256", "size"), values, strict=True)}


async def digest(store: Soledad, row_id: str) -> bytes:
    """The SHA-256 of a row's large content."""
    row = await store.transact(lambda tx: tx.row("note", row_id))
    assert row is not None
    found = hashlib.sha256()
    async for piece in store.stream_blob(
        BlobRef(row["body_id"], row["body_sha256"], row["body_size"])
    ):
        found.update(piece)
    return found.digest()


async def add_large(store: Soledad, row_id: str, size: int, small: bytes = b"a head") -> BlobRef:
    """A row with a small blob and a large one."""
    head = await store.seal_blob(small)
    body = await store.seal_stream(content(size), size)

    def job(tx: Any) -> None:
        tx.put_blob(head)
        tx.put_blob(body)
        values = {**columns(head.ref, "head"), **columns(body.ref), "folder": "in"}
        tx.insert_row("note", row_id, values)

    await store.transact(job)
    return body.ref


async def whole_round(folder: str) -> None:
    """What the child does: prints by how much its memory grew in each step, and whether all came intact."""
    grown: dict[str, Any] = {}

    async def measured(what: str, step: Any) -> None:
        reset_peak()
        before = peak()
        result = await step
        grown[what] = peak() - before
        if what == "verify":
            grown["clean"] = result.clean

    path = Path(folder) / "export"
    async with await open_store(Path(folder) / "old.db") as old:
        await add_large(old, "r", WHOLE)
        await measured("verify", verify(old))
        await measured("export", export_store(old, path, PASSPHRASE, costs=COSTS))
        expected = await digest(old, "r")
    async with await open_store(Path(folder) / "new.db") as new:
        await measured("import", import_store(new, path, PASSPHRASE))
        grown["intact"] = await digest(new, "r") == expected
    print(json.dumps(grown))


async def test_memory_does_not_grow_with_a_content(tmp_path: Path) -> None:
    code = (
        "import asyncio\nfrom tests.soledad.maintenance.test_large_contents import whole_round\n"
        f"asyncio.run(whole_round({str(tmp_path)!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    grown = json.loads(output)
    assert grown.pop("intact")
    assert grown.pop("clean")
    assert grown.keys() == {"verify", "export", "import"}
    assert max(grown.values()) < MOST, grown


@pytest.fixture
async def laptop(account: Account) -> Device:
    device = await account.device("laptop")
    await device.add_blobs("small", b"head", b"body")
    await add_large(device.store, "large", SIZE)
    await device.add_blobs("last", b"another head", b"another body")
    await device.sync()
    return device


async def evict_all(device: Device) -> None:
    await device.store.set_policy(ContentsPolicy(contents="on-demand", keep_bytes=0))
    eviction = Eviction(device.store, device.remote, Transfer(device.store, device.remote))
    assert await eviction.run_once() == 6
    assert await device.store.read(kept) == []


def kept(connection: Any) -> list[Any]:
    found: list[Any] = connection.execute("SELECT blob_id FROM blob").fetchall()
    return found


async def export(device: Device, **options: Any) -> Path:
    path = device.store.path.with_name("export")
    await export_store(device.store, path, PASSPHRASE, costs=COSTS, source=device.remote, **options)
    return path


async def test_evicted_contents_are_fetched_for_an_export_and_not_kept(
    laptop: Device, tmp_path: Path
) -> None:
    expected = await digest(laptop.store, "large")
    assert (await verify(laptop.store)).clean
    await evict_all(laptop)
    assert (await verify(laptop.store)).clean
    laptop.remote.fetched.clear()
    path = await export(laptop)
    assert await laptop.store.read(kept) == []
    large = (await laptop.row("large"))["body_id"]
    assert [len(ids) for ids in laptop.remote.fetched] == [5]  # the small ones in one request
    assert large not in laptop.remote.fetched[0]
    async with await open_store(tmp_path / "new.db") as new:
        taken = await import_store(new, path, PASSPHRASE)
        assert (taken.rows, taken.blobs) == (3, 6)
        assert await digest(new, "large") == expected
        assert (await verify(new)).clean
        again = await import_store(new, path, PASSPHRASE)
        assert (again.rows, again.blobs, again.present) == (0, 0, 3)
        assert len(blob_files(new.path)) == 1  # the small ones lie in the database


async def test_a_large_content_that_ends_too_early_leaves_its_row_out_if_it_may(
    laptop: Device, account: Account, tmp_path: Path
) -> None:
    await evict_all(laptop)
    large = (await laptop.row("large"))["body_id"]
    sealed = account.provider.blobs[large]
    middle = len(sealed) // 2
    account.provider.blobs[large] = sealed[:middle] + bytes(100) + sealed[middle + 100 :]
    with pytest.raises(ContentMissing):
        await export(laptop)
    path = laptop.store.path.with_name("export")
    assert not path.exists()
    made = await export_store(
        laptop.store,
        path,
        PASSPHRASE,
        costs=COSTS,
        source=laptop.remote,
        allow_missing=True,
    )
    assert made.left_out == {WITHOUT_CONTENTS: 1}
    async with await open_store(tmp_path / "new.db") as new:
        taken = await import_store(new, path, PASSPHRASE)
        assert (taken.rows, taken.blobs) == (2, 4)
        rows = await new.read(lambda c: c.execute("SELECT row_id FROM note ORDER BY 1").fetchall())
        assert rows == [("last",), ("small",)]
        assert blob_files(new.path) == []
        assert (await verify(new)).clean


async def test_a_large_content_damaged_here_is_exported_as_the_provider_has_it(
    laptop: Device, tmp_path: Path
) -> None:
    expected = await digest(laptop.store, "large")
    scribble(blob_files(laptop.store.path)[0], 1_000_000)
    path = await export(laptop)
    async with await open_store(tmp_path / "new.db") as new:
        await import_store(new, path, PASSPHRASE)
        assert await digest(new, "large") == expected


async def test_a_large_content_shared_by_two_rows_is_in_the_file_once(
    laptop: Device, tmp_path: Path
) -> None:
    def copy(tx: Any) -> None:
        values = {k: v for k, v in tx.row("note", "large").items() if k != "row_id"}
        tx.insert_row("note", "a copy", values)

    await laptop.store.transact(copy)
    path = await export(laptop)
    assert path.stat().st_size < SIZE * 1.2
    async with await open_store(tmp_path / "new.db") as new:
        assert (await import_store(new, path, PASSPHRASE)).blobs == 6
        assert await digest(new, "a copy") == await digest(new, "large")
        rows = [await new.transact(lambda tx, n=n: tx.row("note", n)) for n in ("large", "a copy")]  # type: ignore[misc]
        assert rows[0]["body_id"] == rows[1]["body_id"]


async def test_an_unreachable_provider_ends_an_export_and_leaves_no_file(laptop: Device) -> None:
    await evict_all(laptop)

    def cut(_call: Any) -> Any:
        raise Unreachable("cut")

    laptop.remote.always["get_blob_range"] = cut
    with pytest.raises(Unreachable):
        await export(laptop, allow_missing=True)
    assert list(laptop.store.path.parent.glob("*export*")) == []


async def test_of_a_large_content_at_the_provider_parts_are_looked_at(
    laptop: Device, account: Account
) -> None:
    await evict_all(laptop)
    large = (await laptop.row("large"))["body_id"]
    sealed = account.provider.blobs[large]

    laptop.remote.requests.clear()
    report = await verify(laptop.store, remote=laptop.remote, sync=laptop.sync)
    assert report.clean, report.findings
    assert (report.checked["sampled"], report.checked["sampled_in_part"]) == (6, 1)
    assert laptop.remote.requests.count("get_blob_range") == 1 + 2 + PARTS
    listed = await laptop.remote.list_blobs("")
    laptop.remote.list_blobs = lambda after="": asyncio.sleep(0, listed)  # type: ignore[method-assign,assignment]
    for damaged in (b"\xff" + sealed[1:], sealed[: len(sealed) // 2]):
        account.provider.blobs[large] = damaged
        report = await verify(laptop.store, remote=laptop.remote, sync=laptop.sync)
        assert [(f.kind, f.what) for f in report.findings] == [("blob-differs", large)]
    assert await laptop.store.read(kept) == []


async def test_evicted_contents_are_sampled_before_all_others(
    laptop: Device, account: Account
) -> None:
    body = (await laptop.row("small"))["body_id"]
    await laptop.store.write(lambda c: laptop.store.blobs.evict(c, [body]))
    listed = await laptop.remote.list_blobs("")
    account.provider.blobs[body] = b"rubbish"
    laptop.remote.list_blobs = lambda after="": asyncio.sleep(0, listed)  # type: ignore[method-assign,assignment]
    report = await verify(laptop.store, remote=laptop.remote, sync=laptop.sync, sample=1)
    assert [(f.kind, f.what) for f in report.findings] == [("blob-differs", body)]
    assert "get_blob_range" not in laptop.remote.requests


async def test_a_note_of_an_evicted_content_that_is_not_what_a_row_names_is_mended(
    laptop: Device,
) -> None:
    body = (await laptop.row("small"))["body_id"]
    await laptop.store.write(lambda c: laptop.store.blobs.evict(c, [body]))
    await laptop.store.write(lambda c: c.execute("UPDATE blob_evicted SET size = size + 1"))
    report = await verify(laptop.store, repair=True)
    assert [(f.kind, f.mended) for f in report.findings] == [("blob-mismatched", "asked-for")]
    while await laptop.engine._transfer.fetch_batch():
        pass
    assert await laptop.store.read_blob(BlobRef(*(await reference(laptop, "small")))) == b"body"
    assert (await verify(laptop.store)).clean


async def reference(device: Device, row_id: str) -> tuple[str, str, int]:
    row = await device.row(row_id)
    return row["body_id"], row["body_sha256"], row["body_size"]


async def test_repair_removes_the_file_of_a_damaged_content(laptop: Device) -> None:
    [path] = blob_files(laptop.store.path)
    scribble(path, 1_000_000)
    report = await verify(laptop.store, repair=True)
    assert [(f.kind, f.mended) for f in report.findings] == [("blob-damaged", "asked-for")]
    assert not path.exists()
    assert await laptop.store.read(laptop.store.blobs.load_trash) == []
    assert await laptop.engine._transfer.fetch_large() == 1
    assert (await verify(laptop.store)).clean


async def test_a_large_content_the_provider_lost_is_sent_again(
    laptop: Device, account: Account
) -> None:
    large = (await laptop.row("large"))["body_id"]
    del account.provider.blobs[large]
    report = await verify(laptop.store, remote=laptop.remote, sync=laptop.sync, repair=True)
    assert [(f.kind, f.mended) for f in report.findings] == [("blob-missing", "sent-again")]
    await laptop.sync()
    assert large in account.provider.blobs


async def test_a_refusal_of_the_provider_is_told(laptop: Device) -> None:
    await evict_all(laptop)

    def refuse(_call: Any) -> Any:
        raise Refused("not-now", "come again", 503)

    laptop.remote.always["get_blobs"] = refuse
    with pytest.raises(Refused):
        await export(laptop)
