"""Rebuild and compact: the same answers before and after, disk given back, nothing lost when killed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from leap.soledad.changes import DocChange, RowChange
from leap.soledad.maintenance import compact, rebuild, verify
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction
from tests.soledad.maintenance.damage import blob_files, classes, fill, sql
from tests.soledad.memory_provider import Account
from tests.soledad.schemas import KEY, open_store


class Words:
    """A projection: how many documents have which type."""

    def create(self, connection: Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS word (word TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT"
        )
        connection.execute(
            "INSERT OR IGNORE INTO word SELECT type, count(*) FROM document"
            " WHERE content IS NOT NULL GROUP BY type"
        )

    def drop(self, connection: Connection) -> None:
        connection.execute("DROP TABLE word")

    def faults(self, connection: Connection) -> list[str]:
        right = connection.execute(
            "SELECT type, count(*) FROM document WHERE content IS NOT NULL GROUP BY type ORDER BY 1"
        ).fetchall()
        return [] if right == words(connection) else ["The words are counted wrongly"]

    def apply(
        self,
        tx: Transaction,
        docs: Sequence[DocChange],
        rows: Sequence[RowChange],
        from_sync: bool,
    ) -> None:
        for change in docs:
            for content, step in ((change.before, -1), (change.after, 1)):
                if content is not None:
                    tx.connection.execute(
                        "INSERT INTO word VALUES (?, ?) ON CONFLICT (word) DO UPDATE SET"
                        " count = count + excluded.count",
                        (content.get("type", ""), step),
                    )


def words(connection: Connection) -> list[Any]:
    return connection.execute("SELECT word, count FROM word WHERE count <> 0 ORDER BY 1").fetchall()


async def test_a_wrong_projection_and_a_wrong_type_are_found_and_derived_anew(
    account: Account,
) -> None:
    laptop = await account.device("laptop", projections=[Words()])
    await fill(laptop)
    await laptop.sync()
    assert await classes(laptop.store) == set()
    before = await laptop.store.read(words)
    path = laptop.store.path
    await laptop.close()
    sql(path, "UPDATE word SET count = 7")
    sql(path, "UPDATE document SET type = 'other' WHERE doc_id = 'd2'")
    await laptop.restart()
    assert await classes(laptop.store) == {"derived-wrong", "document-mistyped"}
    assert await rebuild(laptop.store) == ["indexes", "Words"]
    assert await classes(laptop.store) == set()
    assert await laptop.store.read(words) == before
    assert [one.doc_id for one in await laptop.store.find_docs("plain")] == ["d1", "d2"]


async def test_an_index_that_lost_an_entry_is_built_anew(account: Account) -> None:
    laptop = await account.device("laptop")
    await fill(laptop)
    assert await classes(laptop.store) == set()
    path = laptop.store.path
    await laptop.close()
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute("PRAGMA writable_schema = ON")
    [(text,)] = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE name = 'document_type'"
    ).fetchall()
    sized = "UPDATE sqlite_schema SET sql = ? WHERE name = 'document_type'"
    connection.execute(sized, (text + " WHERE type <> 'plain'",))  # as if it had been made so
    connection.close()
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute("REINDEX document_type")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(sized, (text,))
    connection.close()
    await laptop.restart()
    assert await classes(laptop.store) == {"file-damaged"}
    await rebuild(laptop.store)
    assert await classes(laptop.store) == set()


async def test_compact_gives_free_pages_and_files_back(account: Account) -> None:
    laptop = await account.device("laptop")
    for n in range(40):
        await laptop.add_blobs(f"s{n}", os.urandom(100), os.urandom(100_000))
    await fill(laptop)
    before = await laptop.view()
    rows = [f"s{n}" for n in range(3, 40)]
    refs = [(await laptop.row(row_id))["body_id"] for row_id in rows]

    def drop(tx: Any) -> None:
        tx.delete_rows("note", rows)
        tx.drop_blobs(refs)

    await laptop.store.transact(drop)
    freed = await compact(laptop.store)
    assert freed.bytes > 37 * 100_000
    assert laptop.store.path.stat().st_size < 1_000_000
    assert laptop.store.path.with_name("laptop.db-wal").stat().st_size < 100_000
    assert await classes(laptop.store) == set()
    after = await laptop.view()
    assert after["docs"] == before["docs"]
    assert len(after["rows"]) == len(before["rows"]) - 37
    again = await compact(laptop.store)
    assert again.files == 0
    assert again.bytes < 50_000  # pages of the write-ahead log


async def test_compact_works_beside_writers(account: Account) -> None:
    laptop = await account.device("laptop")
    await laptop.put("large", text="x" * 900_000)
    await laptop.put("large", text="")
    compacting = asyncio.create_task(compact(laptop.store))
    n = 0
    while not compacting.done():
        await laptop.put(f"d{n}", n=n)
        n += 1
    await compacting
    assert await laptop.content(f"d{n - 1}") == {"n": n - 1}
    assert await classes(laptop.store) == set()


async def test_a_file_of_an_older_kind_is_rewritten_once(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute(
        "CREATE TABLE filler (data BLOB)"
    )  # as made before free pages were kept track of
    connection.execute("INSERT INTO filler VALUES (zeroblob(1000000))")
    connection.execute("DROP TABLE filler")
    connection.close()
    async with await open_store(path) as store:
        await store.create_doc({"n": 1}, "d")
        freed = await compact(store)
        assert freed.rewritten
        assert freed.bytes > 900_000
        assert not (await compact(store)).rewritten
        assert (await verify(store)).clean
        assert path.read_bytes()[:16] != b"SQLite format 3\0"


async def look_after_until_killed(path: str) -> None:
    store = await open_store(Path(path), projections=[Words()])
    n = 0
    while True:
        n += 1
        await store.transact(lambda tx: tx.put("large", {"text": "x" * 500_000, "type": "t"}))
        await store.transact(lambda tx, n=n: tx.put("large", {"n": n, "type": "u"}), durable=True)  # type: ignore[misc]
        print(n, flush=True)
        await compact(store, progress=lambda *_, n=n: print(n, flush=True))
        await rebuild(store)


@pytest.mark.parametrize("lines", [4, 7])
async def test_killed_in_the_midst_of_upkeep(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "store.db"
    async with await open_store(path, projections=[Words()]) as store:
        blob = await store.seal_blob(os.urandom(400_000))
        await store.transact(lambda tx: tx.put_blob(blob))
    code = (
        "import asyncio\nfrom tests.soledad.maintenance.test_upkeep import look_after_until_killed\n"
        f"asyncio.run(look_after_until_killed({str(path)!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = 0
    for _ in range(lines):
        said = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    async with await open_store(path, projections=[Words()]) as store:
        assert (await verify(store)).clean
        document = await store.get_doc("large")
        assert document is not None
        assert document.content is not None
        assert document.content.get("n", said + 1) >= said
        assert len(blob_files(path)) == 1
