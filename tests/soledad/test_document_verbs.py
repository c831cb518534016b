"""u1db's verbs on documents: revisions, deletion, conflicts, what changed; and several documents at once."""

import random
from pathlib import Path
from typing import Any

import pytest

from leap.soledad.documents import Document, Version
from leap.soledad.errors import (
    ConflictedDocument,
    DocumentAlreadyDeleted,
    DocumentDoesNotExist,
    DocumentTooLarge,
    InvalidContent,
    InvalidDocId,
    InvalidGeneration,
    RevisionConflict,
    SoledadError,
)
from leap.soledad.store import Soledad
from tests.soledad.memory_provider import Account
from tests.soledad.schemas import open_store
from tests.soledad.two_devices import equal, pair


async def conflicted(account: Account, doc_id: str = "d") -> tuple[Soledad, Document]:
    """A document that two devices edited, as the second one to sync sees it."""
    laptop, phone = await pair(account)
    await laptop.store.create_doc({"v": 0}, doc_id)
    await equal(laptop, phone)
    for device, value in ((laptop, "laptop"), (phone, "phone")):
        document = await device.store.get_doc(doc_id)
        assert document is not None
        document.content = {"v": value}
        await device.store.put_doc(document)
    await equal(laptop, phone)
    shown = await phone.store.get_doc(doc_id)
    assert shown is not None
    return phone.store, shown


async def test_revisions_ascend_and_the_document_learns_its_own(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        document = Document("my-id", None, {"n": 1})
        first = await store.put_doc(document)
        assert document.revision == first
        document.content = {"n": 2}
        second = await store.put_doc(document)
        assert first != second == document.revision
        with pytest.raises(RevisionConflict):
            await store.put_doc(Document("other-id", "4:test", {}))  # never was there
        with pytest.raises(RevisionConflict):
            await store.put_doc(Document("my-id", first, {}))
        third = await store.delete_doc(document)
        assert (document.revision, document.content) == (third, None)
        again = Document("my-id", None, {"n": 3})
        await store.put_doc(again)  # what is deleted may be made again
        found = await store.get_doc("my-id")
        assert found == again


async def test_get_docs_in_the_order_asked_and_deleted_ones_if_asked(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        docs = {name: await store.create_doc({"n": name}, name) for name in "abc"}
        await store.delete_doc(docs["b"])
        order = ["c", "b", "none", "a", "c"]
        assert [d.doc_id for d in await store.get_docs(order)] == ["c", "a", "c"]
        found = await store.get_docs(order, include_deleted=True)
        assert [d.doc_id for d in found] == ["c", "b", "a", "c"]
        assert found[1].content is None
        assert await store.get_docs([]) == []
        assert await store.get_docs(["b"]) == []
        generation, everything = await store.get_all_docs(include_deleted=True)
        assert generation == 4
        assert [(d.doc_id, d.content) for d in everything] == [
            ("a", {"n": "a"}),
            ("b", None),
            ("c", {"n": "c"}),
        ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"b": b"bytes"}, InvalidContent),
        ({"n": float("nan")}, InvalidContent),
        ({"half": "\ud800"}, InvalidContent),
        ([], InvalidContent),
        ({"t": "x" * 1024 * 1024}, DocumentTooLarge),
    ],
)
async def test_content_that_cannot_be_is_named(
    tmp_path: Path, content: Any, error: type[SoledadError]
) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        with pytest.raises(error):
            await store.create_doc(content)
        assert await store.get_all_docs() == (0, [])


@pytest.mark.parametrize(("levels", "fits"), [(500, True), (501, False), (5000, False)])
async def test_nesting_has_a_limit(tmp_path: Path, levels: int, fits: bool) -> None:
    content: dict[str, Any] = {}
    for _ in range(levels - 1):
        content = {"a": content}
    content |= {"tags": [[] for _ in range(600)]}
    async with await open_store(tmp_path / "s.db") as store:
        await store.create_index("i", "a.a")
        if fits:
            document = await store.create_doc(content)
            assert await store.get_doc(document.doc_id) == document
        else:
            with pytest.raises(InvalidContent):
                await store.create_doc(content)


@pytest.mark.parametrize("doc_id", ["", "a\0b", "x" * 1001, "half\ud800", 5])
async def test_ids_that_cannot_be_are_named(tmp_path: Path, doc_id: Any) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        with pytest.raises(InvalidDocId):
            await store.create_doc({}, doc_id)
        with pytest.raises(InvalidDocId):
            await store.put_doc(Document("", None, {}))
        with pytest.raises(InvalidDocId):
            await store.delete_doc(Document(doc_id, None, {}))
        for read in (store.get_doc, store.get_doc_conflicts):
            with pytest.raises(InvalidDocId):
                await read(doc_id)
        with pytest.raises(InvalidDocId):
            await store.get_docs(["good", doc_id])


async def test_put_many_is_all_or_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        old = await store.create_doc({"n": 0}, "old")
        old.content = {"n": 1}
        news = [Document.new({"n": n}) for n in range(3)]
        revisions = await store.put_many([old, *news])
        assert revisions == [old.revision, *(d.revision for d in news)]
        assert await store.get_docs([d.doc_id for d in news]) == news
        before = await store.get_all_docs()
        stale = Document("old", None, {"n": 2})
        more = [Document.new({"n": n}) for n in range(3)]
        for bad, error in (
            (stale, RevisionConflict),
            (Document.new({"x": b""}), InvalidContent),
            (more[0], RevisionConflict),  # the same one twice
        ):
            with pytest.raises(error):
                await store.put_many([*more, bad])
            assert await store.get_all_docs() == before
            assert {d.revision for d in more} == {None}
        assert await store.put_many([]) == []


async def test_a_transaction_of_a_program_is_all_or_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        await store.create_doc({"left": 10}, "alice")
        await store.create_doc({"left": 0}, "bob")

        def move(tx: Any, amount: int) -> int:
            alice, bob = tx.get("alice"), tx.get("bob")
            tx.put("bob", {"left": bob["left"] + amount})
            if alice["left"] < amount:
                raise ValueError("not so much is left")
            tx.put("alice", {"left": alice["left"] - amount})
            return int(alice["left"] - amount)

        assert await store.transact(lambda tx: move(tx, 7)) == 3
        with pytest.raises(ValueError, match="not so much"):
            await store.transact(lambda tx: move(tx, 7))
        found = [d.content for d in await store.get_docs(["alice", "bob"])]
        assert found == [{"left": 3}, {"left": 7}]


async def test_a_conflict_is_seen_everywhere_and_blocks_blind_edits(account: Account) -> None:
    store, shown = await conflicted(account)
    assert shown.has_conflicts
    await store.create_index("by-v", "v")
    for found in (
        await store.get_docs(["d"]),
        (await store.get_all_docs())[1],
        await store.get_from_index("by-v", "*"),
        await store.get_range_from_index("by-v", "a"),
    ):
        assert [d.has_conflicts for d in found] == [True]
    assert [d.has_conflicts for d in await store.get_docs(["d"], check_for_conflicts=False)] == [
        False
    ]
    shown.content = {"v": "blind"}
    with pytest.raises(ConflictedDocument):
        await store.put_doc(shown)
    with pytest.raises(ConflictedDocument):
        await store.delete_doc(shown)
    versions = await store.get_doc_conflicts("d")
    assert sorted(d.content["v"] for d in versions if d.content) == ["laptop", "phone"]
    assert versions[0].revision == shown.revision
    assert await store.get_doc_conflicts("none") == []


async def test_resolving_all_versions_ends_the_conflict(account: Account) -> None:
    store, shown = await conflicted(account)
    versions = await store.get_doc_conflicts("d")
    shown.content = {"v": "both"}
    revision = await store.resolve_doc(shown, [v.revision for v in versions if v.revision])
    assert (shown.revision, shown.has_conflicts) == (revision, False)
    assert await store.get_doc("d") == shown
    assert await store.get_doc_conflicts("d") == []
    shown.content = {"v": "later"}
    await store.put_doc(shown)


async def test_resolving_some_versions_leaves_the_others(account: Account) -> None:
    store, shown = await conflicted(account)
    versions = await store.get_doc_conflicts("d")
    assert shown.revision is not None
    shown.content = {"v": "mine"}
    await store.resolve_doc(shown, [shown.revision])
    assert shown.has_conflicts
    assert [v.revision for v in await store.get_doc_conflicts("d")] == [
        shown.revision,
        versions[1].revision,
    ]


async def test_a_version_that_came_meanwhile_is_not_replaced(account: Account) -> None:
    store, shown = await conflicted(account)
    other = (await store.get_doc_conflicts("d"))[1]
    assert other.revision is not None
    mine = Document("d", None, {"v": "mine"})
    revision = await store.resolve_doc(mine, [other.revision])  # without the one that shows
    assert mine.has_conflicts
    assert await store.get_doc("d") != mine
    versions = await store.get_doc_conflicts("d")
    assert [v.content for v in versions] == [shown.content, {"v": "mine"}]
    assert versions[1].revision == revision
    with pytest.raises(RevisionConflict):
        await store.resolve_doc(mine, ["77:nobody"])
    with pytest.raises(DocumentDoesNotExist):
        await store.resolve_doc(Document("none", None, {}), [])


async def test_resolving_by_deletion(account: Account) -> None:
    store, shown = await conflicted(account)
    versions = await store.get_doc_conflicts("d")
    shown.content = None
    await store.resolve_doc(shown, [v.revision for v in versions if v.revision])
    assert await store.get_doc("d") is None
    with pytest.raises(DocumentAlreadyDeleted):
        await store.delete_doc(shown)


async def test_whats_changed_tells_each_document_once(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        assert await store.whats_changed() == (0, [])
        one = await store.create_doc({"n": 1}, "one")
        await store.create_doc({"n": 1}, "two")
        assert await store.whats_changed() == (2, [("one", 1), ("two", 2)])
        await store.delete_doc(one)
        assert await store.whats_changed() == (3, [("two", 2), ("one", 3)])
        assert await store.whats_changed(2) == (3, [("one", 3)])
        assert await store.whats_changed(3) == (3, [])
        await store.put_many([Document.new({}, name) for name in "abc"])
        assert await store.whats_changed(3) == (6, [("a", 4), ("b", 5), ("c", 6)])
        for never in (7, -1):
            with pytest.raises(InvalidGeneration):
                await store.whats_changed(never)
    async with await open_store(tmp_path / "s.db") as store:
        assert (await store.whats_changed(5)) == (6, [("c", 6)])


async def test_random_edits_number_every_change_once(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with await open_store(tmp_path / "s.db") as store:
        newest: dict[str, int] = {}
        number = 0
        for _ in range(60):
            names = chance.sample("abcdef", chance.randrange(1, 4))
            await store.transact(lambda tx, names=names: [tx.put(n, {}) for n in names])
            for name in names:
                number += 1
                newest[name] = number
        expected = sorted(newest.items(), key=lambda pair: pair[1])
        assert await store.whats_changed() == (number, expected)


async def test_documents_never_show_their_content_in_a_repr() -> None:
    assert "secret" not in repr(Document("d", "1:a", {"t": "secret"}))
    assert "secret" not in repr(Version("1:a", '{"t":"secret"}'))
