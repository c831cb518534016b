"""Verify at rest: each class of damage is found, in a store clean before, and mended where that is possible."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.errors import SoledadError
from leap.soledad.maintenance import index_check, rebuild, verify
from tests.soledad.maintenance.damage import blob_files, classes, fill, fill_and_sync, scribble, sql
from tests.soledad.memory_provider import Account, Device
from tests.soledad.packed import pack_files


@pytest.fixture
async def laptop(account: Account) -> Device:
    device = await account.device("laptop")
    await fill_and_sync(device)
    await device.put("d9", n="not synced yet")
    await device.update("r1", flags="seen")
    return device


async def damaged(device: Device, damage: Callable[[Path], None]) -> None:
    """Verifies that all is well, and damages the closed store."""
    report = await verify(device.store)
    assert report.clean, report.findings
    assert report.checked["documents"] >= 4
    assert report.checked["rows"] == 3
    assert report.checked["blobs"] == 6
    assert report.checked["log_items"] >= 3 + 1
    path = device.store.path
    await device.close()
    damage(path)
    await device.restart()


async def test_an_altered_page_of_the_file(laptop: Device) -> None:
    # Free pages are authenticated too, and opening the store reads none of them.
    await laptop.put("large", text="x" * 300_000)
    await laptop.store.transact(lambda tx: tx.put("large", {}))
    await laptop.store.database.apart(
        lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    )
    assert await classes(laptop.store) == set()
    path = laptop.store.path
    await laptop.close()
    scribble(path, (path.stat().st_size // 4096 // 2) * 4096 + 1000)
    await laptop.restart()
    assert await classes(laptop.store) == {"file-damaged"}


async def test_a_file_whose_end_is_missing_does_not_open(laptop: Device) -> None:
    await laptop.put("large", text=os.urandom(200_000).hex())
    assert await classes(laptop.store) == set()
    path = laptop.store.path
    await laptop.close()
    os.truncate(path, path.stat().st_size - 20 * 4096)
    with pytest.raises(SoledadError, match="the store's file is damaged"):
        await laptop.restart()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE document SET content = '{\"n\":' WHERE doc_id = 'd1'", "document-unreadable"),
        ("UPDATE document SET content = '[1]' WHERE doc_id = 'd1'", "document-unreadable"),
        ("UPDATE document SET conflicts = x'c1' WHERE doc_id = 'd0'", "document-unreadable"),
        ("UPDATE document SET type = 'other' WHERE doc_id = 'd1'", "document-mistyped"),
        ("UPDATE document SET dirty = 0 WHERE doc_id = 'd9'", "change-unmarked"),
        ("UPDATE note SET flags = 'b a' WHERE row_id = 'r1'", "row-unreadable"),
        ("UPDATE note SET body_sha256 = 'short' WHERE row_id = 'r1'", "row-unreadable"),
        ("UPDATE note SET dirty = 0 WHERE row_id = 'r1'", "change-unmarked"),
        ("UPDATE note SET page_id = 'elsewhere' WHERE row_id = 'r2'", "change-unmarked"),
        (
            "UPDATE log_item SET version = version + 1 WHERE name = 'document/d1'",
            "log-inconsistent",
        ),
        ("DELETE FROM log_item WHERE name = 'document/d2'", "log-inconsistent"),
        ("UPDATE log_item SET name = 'document/d7' WHERE name = 'document/d1'", "log-inconsistent"),
        ("DELETE FROM document WHERE doc_id = 'd1'", "log-inconsistent"),
        ("UPDATE setting SET value = x'00' WHERE name = 'sync.state'", "log-inconsistent"),
        ("DELETE FROM blob WHERE sealed IS NOT NULL", "blob-unlisted"),
        ("UPDATE note SET head_size = 99 WHERE row_id = 'r1'", "blob-mismatched"),
        (
            "UPDATE blob SET pack = NULL, sealed = zeroblob(1024) WHERE sealed IS NOT NULL",
            "blob-damaged",
        ),
        ("UPDATE blob SET place = place + 1 WHERE sealed IS NOT NULL", "blob-damaged"),
        ("UPDATE blob SET sha256 = upper(sha256)", "blob-damaged"),
    ],
)
async def test_what_the_database_holds(laptop: Device, statement: str, expected: str) -> None:
    await damaged(laptop, lambda path: sql(path, statement))
    found = await classes(laptop.store)
    assert expected in found
    assert found <= {expected, "change-unmarked", "blob-mismatched"}  # what follows from it


@pytest.mark.parametrize("offset", [0, 3, 20, 100, -5])
async def test_an_altered_file_of_a_blob(laptop: Device, offset: int) -> None:
    await damaged(laptop, lambda path: scribble(blob_files(path)[0], offset))
    assert await classes(laptop.store) == {"blob-damaged"}


@pytest.mark.parametrize(
    "harm", [lambda pack: scribble(pack, 100), lambda pack: os.truncate(pack, 300), Path.unlink]
)
async def test_a_pack_that_is_altered_cut_short_or_gone(
    laptop: Device, harm: Callable[[Path], None]
) -> None:
    await damaged(laptop, lambda path: harm(pack_files(path)[0]))
    assert await classes(laptop.store) == {"blob-damaged"}


async def test_a_blob_file_that_is_cut_short(laptop: Device) -> None:
    await damaged(laptop, lambda path: os.truncate(blob_files(path)[0], 70_000))
    assert await classes(laptop.store) == {"blob-damaged"}


async def test_a_blob_file_that_is_gone(laptop: Device) -> None:
    await damaged(laptop, lambda path: blob_files(path)[0].unlink())
    assert await classes(laptop.store) == {"blob-file-lost"}


async def test_a_file_that_nothing_names_and_compact_removes(laptop: Device) -> None:
    from leap.soledad.maintenance import compact

    await damaged(laptop, lambda path: None)
    [named] = blob_files(laptop.store.path)
    stray = named.with_name(named.name[:2] + "0" * 30)  # opening removes those that are there
    stray.write_bytes(b"left over")
    assert await classes(laptop.store) == {"file-unnamed"}
    assert (await compact(laptop.store)).files == 1
    assert await classes(laptop.store) == set()
    assert blob_files(laptop.store.path) == [named]


async def test_a_damaged_blob_is_fetched_again_by_repair(laptop: Device) -> None:
    await damaged(laptop, lambda path: scribble(blob_files(path)[0], 100))
    report = await verify(laptop.store, repair=True)
    assert [finding.mended for finding in report.findings] == ["asked-for"]
    assert report.left == 0
    assert await classes(laptop.store) == set()
    while await laptop.engine._transfer.fetch_batch():
        pass
    report = await verify(laptop.store)
    assert report.clean
    assert report.checked["blobs"] == 6


async def test_the_only_copy_of_a_blob_is_not_thrown_away(account: Account) -> None:
    laptop = await account.device("laptop")
    await fill(laptop, rows=1)
    path = laptop.store.path
    await laptop.close()
    scribble(blob_files(path)[0], 100)
    await laptop.restart()
    report = await verify(laptop.store, repair=True)
    [finding] = report.findings
    assert (finding.kind, finding.mended, report.left) == ("blob-damaged", "no", 1)
    assert "was not sent" in finding.sentence
    assert blob_files(path)


async def test_an_unmarked_change_is_marked_by_repair_and_synced(laptop: Device) -> None:
    await damaged(laptop, lambda path: sql(path, "UPDATE note SET dirty = 0 WHERE row_id = 'r1'"))
    report = await verify(laptop.store, repair=True)
    assert [finding.mended for finding in report.findings] == ["mended"]
    await laptop.sync()
    phone = await laptop.account.device("phone")
    await phone.sync()
    assert (await phone.row("r1"))["flags"] == "seen"
    assert await classes(laptop.store) == await classes(phone.store) == set()


async def test_verify_changes_nothing(laptop: Device) -> None:
    before: Any = await laptop.view()
    commits = laptop.store.database.commits
    await verify(laptop.store)
    assert await laptop.view() == before
    assert (
        laptop.store.database.commits <= commits + 1
    )  # the job behind which files have their rows


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM document_entry_1 WHERE doc_id = 'd1'",
        "UPDATE document_entry_1 SET c0 = 'third' WHERE c0 = 'second'",
        "INSERT INTO document_entry_1 VALUES ('other', 'd2')",
        "INSERT INTO document_entry_1 VALUES ('other', 'zzz')",  # behind the last document
        "INSERT INTO document_entry_2 VALUES ('beta', 'd1')",  # which stands in the SQLite index
        "DROP TABLE document_entry_1",
        "DROP INDEX document_by_2",
        "UPDATE document_index SET definition = '[\"words(\"]' WHERE number = 1",
        "UPDATE document_index SET definition = 'x' WHERE number = 1",
    ],
)
async def test_an_index_over_documents_that_is_wrong_is_found_and_derived_anew(
    account: Account, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(index_check, "SLICE", 2)
    laptop = await account.device("laptop")
    await fill_and_sync(laptop)
    for n in range(3):
        await laptop.put(f"d{n}", words="first second", name=["alpha", "beta", "gamma"][n])
    await laptop.store.create_index("words", "split_words(words)")
    await laptop.store.create_index("name", "name")
    await laptop.sync()
    report = await verify(laptop.store)
    assert report.clean, report.findings
    assert report.checked["indexes"] == 2
    await laptop.store.write(lambda c: c.execute(statement))
    assert await classes(laptop.store) == {"index-wrong"}
    await rebuild(laptop.store)
    assert await classes(laptop.store) == set()
    found = await laptop.store.get_from_index("name", "beta")
    assert [one.doc_id for one in found] == ["d1"]
    await laptop.store.create_index("words", "split_words(words)")
    found = await laptop.store.get_from_index("words", "second")
    assert [one.doc_id for one in found] == ["d0", "d1", "d2"]
