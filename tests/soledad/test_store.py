"""The local store: documents, rows, blobs, settings, projections and the change feed."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.blobs.format import BlobRef
from leap.soledad.documents import Document
from leap.soledad.errors import (
    ConflictedDocument,
    DocumentAlreadyDeleted,
    DocumentDoesNotExist,
    NotOpen,
    RevisionConflict,
    SoledadError,
    Unreachable,
    WrongKey,
)
from leap.soledad.rows import RowExists, RowSchema, SetEdit
from leap.soledad.store import Soledad
from tests.soledad.schemas import KEY, NOTE, open_store


async def test_documents_follow_u1db(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        document = await store.create_doc({"type": "a", "n": 1})
        assert document.revision
        again = await store.get_doc(document.doc_id)
        assert again is not None
        assert (again.content, again.revision) == ({"type": "a", "n": 1}, document.revision)
        assert again.content is not None
        again.content["n"] = 2
        await store.put_doc(again)
        document.content = {"n": 3}
        with pytest.raises(RevisionConflict):
            await store.put_doc(document)
        with pytest.raises(RevisionConflict):
            await store.create_doc({}, document.doc_id)
        with pytest.raises(RevisionConflict):
            await store.delete_doc(document)
        await store.delete_doc(again)
        with pytest.raises(DocumentAlreadyDeleted):
            await store.delete_doc(again)
        with pytest.raises(DocumentDoesNotExist):
            await store.delete_doc(Document("none", None, {}))
        assert await store.get_doc(document.doc_id) is None
        tombstone = await store.get_doc(document.doc_id, include_deleted=True)
        assert tombstone is not None
        assert tombstone.content is None
        assert await store.get_all_docs() == (3, [])
        assert len((await store.get_all_docs(include_deleted=True))[1]) == 1
        await store.create_doc({"new": True}, document.doc_id)  # a deleted one may be made again


async def test_find_docs_by_type_and_order_of_get_docs(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        for name, kind in (("b", "x"), ("a", "x"), ("c", "y")):
            await store.create_doc({"type": kind}, name)
        assert [d.doc_id for d in await store.find_docs("x")] == ["a", "b"]
        assert [d.doc_id for d in await store.get_docs(["c", "no", "a"])] == ["c", "a"]
        assert await store.find_docs("") == []


@pytest.mark.parametrize("content", [{"b": b"bytes"}, {"s": {1}}, [1], None])
async def test_documents_hold_json_only(tmp_path: Path, content: Any) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        with pytest.raises((TypeError, ValueError)):
            await store.transact(lambda tx: tx.put("x", content))
        for doc_id in ("", "a\0b", "x" * 1001):
            with pytest.raises(SoledadError):
                await store.transact(lambda tx, doc_id=doc_id: tx.put(doc_id, {}))


async def test_failed_transaction_leaves_nothing_and_says_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        heard: list[Any] = []
        store.on_change(heard.append)

        def job(tx: Any) -> None:
            tx.put("a", {"n": 1})
            tx.insert_row("note", "r", {"folder": "in"})
            tx.set_setting("k", b"v")
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await store.transact(job)
        assert await store.get_doc("a") is None
        assert await store.setting("k") is None
        assert await store.transact(lambda tx: tx.row("note", "r")) is None
        assert heard == []


async def test_rows_insert_update_delete(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:

        def fill(tx: Any) -> None:
            for n in range(3):
                tx.insert_row("note", f"r{n}", {"folder": "in", "flags": "b a", "date": n})

        await store.transact(fill)
        row = await store.transact(lambda tx: tx.row("note", "r1"))
        assert row["flags"] == "a b"
        assert row["date"] == 1
        assert row["title"] is None
        with pytest.raises(RowExists):
            await store.transact(lambda tx: tx.insert_row("note", "r1", {"folder": "x"}))
        edit = SetEdit(add=frozenset({"c"}), remove=frozenset({"a"}))
        changes = await store.transact(
            lambda tx: tx.update_rows("note", ["r0", "nope", "r2", "r0"], {"flags": edit})
        )
        assert [(c.row_id, c.after["flags"]) for c in changes] == [("r0", "b c"), ("r2", "b c")]
        assert (
            await store.transact(lambda tx: tx.update_rows("note", ["r0"], {"flags": edit})) == []
        )
        changes = await store.transact(
            lambda tx: tx.update_rows("note", ["r0"], {"folder": "out", "flags": ["z", "y"]})
        )
        assert changes[0].after["flags"] == "y z"
        gone = await store.transact(lambda tx: tx.delete_rows("note", ["r0", "r0", "nope"]))
        assert [(c.row_id, c.after) for c in gone] == [("r0", None)]
        assert await store.transact(lambda tx: tx.row("note", "r0")) is None
        await store.transact(lambda tx: tx.insert_row("note", "r0", {"folder": "back"}))
        for wrong in ({"date": 1}, {"nope": 1}):
            with pytest.raises(ValueError, match="no changeable column"):
                await store.transact(lambda tx, wrong=wrong: tx.update_rows("note", ["r0"], wrong))
        with pytest.raises(SoledadError):
            await store.transact(lambda tx: tx.row("other", "r0"))


async def test_many_rows_and_blobs_at_once_are_as_one_by_one(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        small, large = [await store.seal_blob(os.urandom(size)) for size in (100, 300_000)]
        await store.transact(lambda tx: tx.put_blob(small))
        await store.transact(lambda tx: tx.put_blobs([small, large, large]))
        for blob in (small, large):
            assert len(await store.read_blob(blob.ref)) == blob.ref.size
        unsent = await store.read(lambda c: c.execute("SELECT blob_id FROM blob_unsent").fetchall())
        assert sorted(unsent) == sorted((blob.ref.blob_id,) for blob in (small, large))
        await store.transact(lambda tx: tx.insert_row("note", "gone", {"folder": "in"}))
        await store.transact(lambda tx: tx.delete_rows("note", ["gone"]))
        rows = [(row_id, {"folder": "in", "flags": "b a"}) for row_id in ("gone", "a", "b")]
        await store.transact(lambda tx: tx.insert_rows("note", rows))
        for row_id, _ in rows:
            row = await store.transact(lambda tx, row_id=row_id: tx.row("note", row_id))
            assert (row["folder"], row["flags"]) == ("in", "a b")
        for again in ([("c", {}), ("a", {})], [("c", {}), ("c", {})]):
            with pytest.raises(RowExists):
                await store.transact(lambda tx, again=again: tx.insert_rows("note", again))
            assert await store.transact(lambda tx: tx.row("note", "c")) is None


async def test_updating_ten_thousand_rows_is_one_update(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:

        def fill(tx: Any) -> None:
            for n in range(10_000):
                tx.insert_row("note", f"{n:064x}", {"folder": "in", "flags": f"k{n % 7}"})

        await store.transact(fill)
        statements: list[str] = []

        def job(tx: Any) -> int:
            tx.connection.set_trace_callback(statements.append)
            ids = [f"{n:064x}" for n in range(10_000)]
            edit = SetEdit(add=frozenset({"seen"}))
            changed = len(tx.update_rows("note", ids, {"flags": edit}))
            tx.connection.set_trace_callback(None)
            return changed

        assert await store.transact(job) == 10_000
        assert sum(s.startswith("UPDATE") for s in statements) == 1


class Counter:
    """A projection that counts rows by folder, and tidies: rows of the folder "gone" go to "in"."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, int, bool]] = []

    def create(self, connection: Any) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS tally (folder TEXT PRIMARY KEY, n INTEGER)")

    def apply(self, tx: Any, docs: Any, rows: Any, from_sync: bool) -> None:
        self.applied.append((len(docs), len(rows), from_sync))
        for change in rows:
            for row, step in ((change.before, -1), (change.after, 1)):
                if row is not None:
                    tx.connection.execute(
                        "INSERT INTO tally VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                        (row["folder"], step),
                    )
            if change.after is not None and change.after["folder"] == "gone":
                tx.update_rows("note", [change.row_id], {"folder": "in"})
                tx.tags.add("tidied")


async def test_projection_follows_in_the_same_transaction(tmp_path: Path) -> None:
    counter = Counter()
    async with await open_store(tmp_path / "s.db", projections=[counter]) as store:
        heard: list[Any] = []
        end = store.on_change(heard.append)
        await store.transact(lambda tx: tx.insert_row("note", "a", {"folder": "gone"}))
        tally = await store.read(lambda c: dict(c.execute("SELECT * FROM tally").fetchall()))
        assert tally == {"gone": 0, "in": 1}
        assert counter.applied == [(0, 1, False), (0, 1, False)]
        assert [change.after["folder"] for change in heard[0].rows] == ["gone", "in"]
        assert heard[0].tags == {"tidied"}
        await store.transact(lambda tx: tx.put("d", {}))
        await store.transact(lambda tx: tx.get("d"))
        assert [h.seq for h in heard] == [1, 2]
        assert heard[1].docs[0].after == {}
        end()
        end()
        await store.transact(lambda tx: tx.put("d", {"n": 1}))
        assert len(heard) == 2


async def test_projection_that_never_settles_is_refused(tmp_path: Path) -> None:
    class Restless(Counter):
        def apply(self, tx: Any, docs: Any, rows: Any, from_sync: bool) -> None:
            tx.put("d", {"n": len(docs)})

    async with await open_store(tmp_path / "s.db", projections=[Restless()]) as store:
        with pytest.raises(SoledadError, match="keep changing"):
            await store.transact(lambda tx: tx.put("x", {}))
        assert await store.get_doc("x") is None


async def test_feed_hears_of_a_commit_whose_caller_was_cancelled(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        heard: list[Any] = []
        store.on_change(heard.append)
        store.on_change(lambda _: 1 / 0)
        task = asyncio.ensure_future(store.transact(lambda tx: tx.put("d", {})))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.transact(lambda tx: None)
        assert len(heard) == 1


@pytest.mark.parametrize("size", [0, 10, 100_000, 700_000])
async def test_blobs_small_and_large_survive_reopening(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    store = await open_store(tmp_path / "s.db")
    blob = await store.seal_blob(data)
    await store.transact(lambda tx: tx.put_blob(blob), durable=True)
    await store.close()
    store = await open_store(tmp_path / "s.db")
    assert await store.read_blob(blob.ref) == data
    assert await store.read_blob(blob.ref, 5, 20) == data[5:25]
    assert await store.read_blobs([blob.ref, blob.ref]) == [data, data]
    absent = BlobRef("0" * 32, "0" * 64, 1)
    with pytest.raises(Unreachable):
        await store.read_blob(absent)
    await store.transact(lambda tx: tx.drop_blobs([blob.ref.blob_id]))
    with pytest.raises(Unreachable):
        await store.read_blob(blob.ref)
    await store.close()
    await (await open_store(tmp_path / "s.db")).close()
    files = [p for p in (tmp_path / "s.db-blobs").rglob("*") if p.is_file()]
    assert files == []  # an orphan goes when the store opens


async def test_nothing_plain_on_disk(tmp_path: Path) -> None:
    marker = b"unmistakable-marker-4711"
    store = await open_store(tmp_path / "s.db")
    blob = await store.seal_blob(marker * 40_000)
    small = await store.seal_blob(marker)

    def job(tx: Any) -> None:
        tx.put_blob(blob)
        tx.put_blob(small)
        tx.put("x", {"t": marker.decode()})
        tx.insert_row("note", "r", {"folder": marker.decode()})

    await store.transact(job, durable=True)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) >= 3
    for path in files:
        assert marker not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    await store.close()
    with pytest.raises(WrongKey):
        await Soledad.open(tmp_path / "s.db", bytes(32), rows=[NOTE])
    with pytest.raises(NotOpen):
        await store.transact(lambda tx: None)


async def test_a_newer_schema_adds_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    old = RowSchema("t", fixed=("a",), scalars=("p",), sets=(), place="p")
    new = RowSchema("t", fixed=("a", "b"), scalars=("p", "q"), sets=("s",), place="p")
    async with await Soledad.open(path, KEY, rows=[old]) as store:
        await store.transact(lambda tx: tx.insert_row("t", "1", {"a": 1, "p": "x"}))
    async with await Soledad.open(path, KEY, rows=[new]) as store:
        row = await store.transact(lambda tx: tx.row("t", "1"))
        assert row == {"row_id": "1", "a": 1, "b": None, "p": "x", "q": None, "s": ""}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x; DROP TABLE y"},
        {"name": "Bad"},
        {"place": "nowhere"},
        {"fixed": ("row_id",)},
        {"fixed": ("p",)},
        {"scalars": ("p", "base_p")},
        {"blobs": (("p", "p", "p"),)},
        {"newest": "p"},
    ],
)
def test_schema_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"name": "t", "fixed": (), "scalars": ("p",), "sets": (), "place": "p"}
    RowSchema(**good)
    with pytest.raises(ValueError, match=r".+"):
        RowSchema(**(good | fields))


async def test_row_keys_and_settings_last(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    key = store.row_key(b"x")
    assert len(key) == 64
    await store.transact(lambda tx: [tx.set_setting("a", v) for v in (b"1", "t", 5)])
    await store.close()
    store = await open_store(tmp_path / "s.db")
    assert store.row_key(b"x") == key != store.row_key(b"y")
    assert await store.setting("a") == 5
    await store.transact(lambda tx: tx.set_setting("a", None))
    assert await store.setting("a") is None
    await store.close()


def test_conflicted_document_is_a_revision_conflict() -> None:
    assert issubclass(ConflictedDocument, RevisionConflict)
