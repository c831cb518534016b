"""Indexes: u1db's cases, misuse, query plans, and that they follow every change."""

from pathlib import Path
from typing import Any

import pytest

from leap.soledad import document_indexes
from leap.soledad.documents import Document
from leap.soledad.errors import (
    IndexDefinitionParseError,
    IndexDoesNotExist,
    IndexNameTaken,
    InvalidGlobbing,
    InvalidValueForIndex,
    SoledadError,
)
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from tests.soledad.memory_provider import Account
from tests.soledad.schemas import open_store
from tests.soledad.two_devices import equal, pair

PAIRS = ["value3 value4", "value2 value3", "value2 value23", "value2 value2", "value1 value1"]


async def filled(path: Path, *contents: dict[str, Any]) -> Soledad:
    """A store with documents d0, d1, ..."""
    store = await open_store(path / "s.db")
    await store.put_many([Document(f"d{n}", None, each) for n, each in enumerate(contents)])
    return store


async def ids(store: Soledad, *question: str) -> list[str]:
    return [document.doc_id for document in await store.get_from_index("i", *question)]


async def in_range(store: Soledad, start: Any = None, end: Any = None) -> list[str]:
    return [document.doc_id for document in await store.get_range_from_index("i", start, end)]


async def test_names_and_definitions(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        assert await store.list_indexes() == []
        await store.create_index("i", "å")
        await store.create_index("i", "å")  # the same again is nothing
        with pytest.raises(IndexNameTaken):
            await store.create_index("i", "stuff")
        with pytest.raises(IndexNameTaken):
            await store.create_index("i", "å", "stuff")
        await store.create_index("; DROP TABLE document; --", "it's", 'quo"te')
        assert await store.list_indexes() == [
            ("; DROP TABLE document; --", ["it's", 'quo"te']),
            ("i", ["å"]),
        ]
        document = await store.create_doc({"it's": "a", 'quo"te': "b", "å": "c"})
        assert await store.get_from_index("; DROP TABLE document; --", "a", "b") == [document]
        assert await store.get_from_index("i", "c") == [document]
        await store.delete_index("i")
        assert [name for name, _ in await store.list_indexes()] == ["; DROP TABLE document; --"]
        with pytest.raises(IndexDoesNotExist):
            await store.get_from_index("i", "c")


async def test_every_misuse_has_its_error(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        for name, expressions in (
            ("i", ()),
            ("i", ("unknown(a)",)),
            ("i", ("a", "b.")),
            ("", ("a",)),
            ("half\ud800", ("a",)),
            ("i", ("a",) * 17),
        ):
            with pytest.raises(IndexDefinitionParseError):
                await store.create_index(name, *expressions)
        assert await store.list_indexes() == []
        for name in ("none", "half\ud800"):
            with pytest.raises(IndexDoesNotExist):
                await store.delete_index(name)
            for ask in (
                store.get_from_index,
                store.get_range_from_index,
                store.get_count_from_index,
                store.get_index_keys,
            ):
                with pytest.raises(IndexDoesNotExist):
                    await ask(name)  # type: ignore[operator]
        await store.create_index("i", "k1", "k2")
        for values in ((), ("v1",), ("v1", "v2", "v3"), ("v1", 2), ("v1", "\ud800")):
            with pytest.raises(InvalidValueForIndex):
                await store.get_from_index("i", *values)  # type: ignore[arg-type]
            with pytest.raises(InvalidValueForIndex):
                await store.get_count_from_index("i", *values)  # type: ignore[arg-type]
            with pytest.raises(InvalidValueForIndex):
                await store.get_range_from_index("i", values, None)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueForIndex):
            await store.get_range_from_index("i", "v1")
        for question in (("*", "v2"), ("*", "v*"), ("v*", "v2"), ("v*", "v*")):
            with pytest.raises(InvalidGlobbing):
                await store.get_from_index("i", *question)
            with pytest.raises(InvalidGlobbing):
                await store.get_count_from_index("i", *question)
            with pytest.raises(InvalidGlobbing):
                await store.get_range_from_index("i", question)
            with pytest.raises(InvalidGlobbing):
                await store.get_range_from_index("i", None, question)
        await store.get_range_from_index("i", ["v1", "v*"], ("v*", "*"))
    for error in (IndexNameTaken, IndexDoesNotExist, InvalidGlobbing, InvalidValueForIndex):
        assert issubclass(error, SoledadError)


async def test_only_documents_with_text_there_are_in_it_in_its_order(tmp_path: Path) -> None:
    contents = [
        {"key": "value x"},
        {"key": "value b"},
        {"no": "key"},
        {"key": None},
        {"key": ""},
        {"key": 5},
        {"key": "value m"},
    ]
    async with await filled(tmp_path, *contents) as store:
        await store.create_index("i", "key")
        assert await ids(store, "*") == ["d4", "d1", "d6", "d0"]
        assert await ids(store, "") == ["d4"]
        assert await ids(store, "value b") == ["d1"]
        assert await ids(store, "VALUE*") == []
        assert await store.get_count_from_index("i", "value*") == 3
        assert await store.get_index_keys("i") == [("",), ("value b",), ("value m",), ("value x",)]


async def test_what_sql_calls_a_wildcard_is_none_here(tmp_path: Path) -> None:
    contents = [{"k": "va%lue"}, {"k": "value"}, {"k": "va_lue"}, {"k": "va*"}, {"k": "va[l]ue"}]
    async with await filled(tmp_path, *contents) as store:
        await store.create_index("i", "k")
        assert await ids(store, "va%*") == ["d0"]
        assert await ids(store, "va_*") == ["d2"]
        assert await ids(store, "va[l]*") == ["d4"]
        assert await ids(store, "va**") == ["d3"]


async def test_lists_give_a_document_once_for_each_question(tmp_path: Path) -> None:
    contents = [
        {"key": "one two three", "key2": ["b1", "b2"]},
        {"key": "two", "key2": "b1"},
        {"key": "", "key2": "b1"},
    ]
    async with await filled(tmp_path, *contents) as store:
        await store.create_index("i", "split_words(key)", "key2")
        assert len(await store.get_index_keys("i")) == 6
        assert await ids(store, "*", "*") == ["d0", "d1"]
        assert await ids(store, "two", "*") == ["d0", "d1"]
        assert await ids(store, "two", "b2") == ["d0"]
        assert await store.get_count_from_index("i", "t*", "*") == 2
        await store.create_index("key2", "key2")
        found = await store.get_from_index("key2", "b*")
        assert [document.doc_id for document in found] == ["d0", "d1", "d2"]


async def test_lower_is_unicode_lower(tmp_path: Path) -> None:
    names = ["Ärger", "ärger", "ARGER", "İstanbul", "ΟΔΟΣ"]
    async with await filled(tmp_path, *({"name": name} for name in names)) as store:
        await store.create_index("i", "lower(name)")
        for name in names:
            assert f"d{names.index(name)}" in await ids(store, name.lower())
        assert await ids(store, "är*") == ["d0", "d1"]
        assert await ids(store, "Ä*") == []
        assert await ids(store, "*") == ["d2", "d3", "d0", "d1", "d4"]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        ("value2", "value3", ["d1", "d4", "d0"]),
        ("value2", None, ["d1", "d4", "d0", "d2"]),
        (None, "value2", ["d3", "d1"]),
        ("value2*", None, ["d1", "d4", "d0", "d2"]),
        (None, "value2*", ["d3", "d1", "d4"]),
        ("value1*", "value2*", ["d3", "d1", "d4"]),
        (None, None, ["d3", "d1", "d4", "d0", "d2"]),
        ("*", "*", ["d3", "d1", "d4", "d0", "d2"]),
        ("value3", "value2", []),
        (("value4",), ["value4"], ["d2"]),
    ],
)
async def test_ranges_of_one_column(tmp_path: Path, start: Any, end: Any, found: list[str]) -> None:
    texts = ["value3", "value2", "value4", "value1", "value23"]
    async with await filled(tmp_path, *({"key": text} for text in texts)) as store:
        await store.create_index("i", "key")
        assert await in_range(store, start, end) == found


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (("value2", "value2"), ("value2", "value3"), [3, 2, 1]),
        (("value2", "value3"), None, [1, 0]),
        (None, ("value2", "value3"), [4, 3, 2, 1]),
        (("value2", "value2*"), None, [3, 2, 1, 0]),
        (None, ("value2", "value2*"), [4, 3, 2]),
        (("value2", "*"), None, [3, 2, 1, 0]),
        (None, ("value2", "*"), [4, 3, 2, 1]),
        (("value2*", "*"), ("value2*", "*"), [3, 2, 1]),
        (("value1", "value9"), ("value3", "value1"), [3, 2, 1]),
        (("*", "*"), ("value1", "*"), [4]),
    ],
)
async def test_ranges_of_two_columns_are_in_the_order_of_the_index(
    tmp_path: Path, start: Any, end: Any, found: list[int]
) -> None:
    contents = [dict(zip(("key", "key2"), each.split(), strict=True)) for each in PAIRS]
    async with await filled(tmp_path, *contents) as store:
        await store.create_index("i", "key", "key2")
        assert await in_range(store, start, end) == [f"d{n}" for n in found]
        await store.delete_index("i")
        await store.create_index("i", "combine(key)", "key2")  # the same from the table of entries
        assert await in_range(store, start, end) == [f"d{n}" for n in found]


async def test_follows_edits_deletions_and_failures(tmp_path: Path) -> None:
    async with await filled(tmp_path, {"key": "value", "w": "a b"}) as store:
        await store.create_index("i", "key")
        await store.create_index("words", "split_words(w)")
        document = await store.get_doc("d0")
        assert document is not None
        document.content = {"key": ["altval", "other"], "w": "b c"}
        await store.put_doc(document)
        assert await ids(store, "value") == []
        assert await store.get_from_index("i", "altval") == [document]
        assert await store.get_index_keys("words") == [("b",), ("c",)]

        def undone(tx: Any) -> None:
            tx.put("d0", {"key": "lost", "w": "lost"})
            tx.create_index("lost", "key")
            tx.put("d1", {"key": "lost", "w": "lost"})
            raise ValueError("undone")

        with pytest.raises(ValueError, match="undone"):
            await store.transact(undone)
        assert await ids(store, "*") == ["d0"]
        assert await store.get_index_keys("words") == [("b",), ("c",)]
        assert len(await store.list_indexes()) == 2
        await store.delete_doc(document)
        assert await ids(store, "*") == []
        assert await store.get_index_keys("words") == []


async def test_a_job_sees_its_own_edits_in_an_index(tmp_path: Path) -> None:
    async with await open_store(tmp_path / "s.db") as store:

        def job(tx: Any) -> list[str]:
            tx.create_index("i", "split_words(t)")
            tx.put("a", {"t": "x y"})
            found = document_indexes.get_from_index(tx.connection, "i", ["y"])
            return [document.doc_id for document in found]

        assert await store.transact(job) == ["a"]


async def test_last_through_reopening_and_leave_nothing_when_deleted(tmp_path: Path) -> None:
    def objects(connection: Connection) -> set[str]:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        return {name for name in found if not name.startswith("sqlite_stat")}

    async with await filled(tmp_path, {"k": ["a", "b"]}, {"k": "c"}) as store:
        before = await store.read(objects)
        await store.create_index("i", "k")
        await store.create_index("j", "split_words(k)", "lower(k)")
    async with await open_store(tmp_path / "s.db") as store:
        assert await ids(store, "*") == ["d0", "d1"]
        await store.create_doc({"k": "bb"}, "new")
        assert await ids(store, "b*") == ["d0", "new"]
        await store.transact(lambda tx: document_indexes.rebuild(tx.connection))
        assert await ids(store, "*") == ["d0", "new", "d1"]
        await store.delete_index("i")
        await store.delete_index("j")
        assert await store.read(objects) == before


async def test_an_old_store_learns_of_indexes(tmp_path: Path) -> None:
    async with await filled(tmp_path, {"k": "a"}) as store:
        await store.write(lambda connection: connection.execute("DROP TABLE document_index"))
    async with await open_store(tmp_path / "s.db") as store:
        await store.create_index("i", "k")
        assert await ids(store, "a") == ["d0"]


async def test_follow_what_comes_by_sync_and_stay_here(account: Account) -> None:
    laptop, phone = await pair(account)
    await phone.store.create_index("i", "lower(name)")
    await phone.store.create_index("tags", "tags", "name")
    document = await laptop.store.create_doc({"name": "Alice", "tags": ["x", "y"]}, "a")
    await laptop.store.create_doc({"name": "Bob", "tags": "z"}, "b")
    await equal(laptop, phone)
    assert [d.doc_id for d in await phone.store.get_from_index("i", "*")] == ["a", "b"]
    assert [d.doc_id for d in await phone.store.get_from_index("tags", "y", "*")] == ["a"]
    document.content = {"name": "ÉVE", "tags": ["y", "w"]}
    await laptop.store.put_doc(document)
    await equal(laptop, phone)
    assert [d.doc_id for d in await phone.store.get_from_index("i", "éve")] == ["a"]
    assert await phone.store.get_index_keys("tags") == [("w", "ÉVE"), ("y", "ÉVE"), ("z", "Bob")]
    await laptop.store.delete_doc(document)
    await equal(laptop, phone)
    assert await phone.store.get_index_keys("tags") == [("z", "Bob")]
    assert await laptop.store.list_indexes() == []


@pytest.mark.parametrize(
    "expressions",
    [
        ("k",),
        ("k.sub",),
        ("lower(k)",),
        ("number(k, 9)",),
        ("bool(k)",),
        ("lower(k)", "number(n, 4)"),
    ],
)
async def test_queries_use_the_index_and_sort_nothing(
    tmp_path: Path, expressions: tuple[str, ...]
) -> None:
    async with await open_store(tmp_path / "s.db") as store:
        await store.create_index("i", *expressions)
        more = len(expressions) - 1

        def plans(connection: Connection) -> None:
            index = document_indexes.load(connection, "i")
            by, entries = f"document_by_{index.number}", f"document_entry_{index.number}"
            asked = {
                ("a", *["b"] * more): (f"USING INDEX {by} (<expr>=?", "USING PRIMARY KEY (c0=?"),
                ("a*", *["*"] * more): (
                    f"USING INDEX {by} (<expr>>? AND <expr><?)",
                    "USING PRIMARY KEY (c0>? AND c0<?)",
                ),
                ("*", *["*"] * more): (f"SCAN document USING INDEX {by}", f"SCAN {entries}"),
            }
            conditions = [(index.match(question), plan) for question, plan in asked.items()]
            start, end = ("a", *["b"] * more), ("c", *["d"] * more)
            conditions.append((index.between(start, end), asked["a*", *["*"] * more]))
            for (inside, listed), (plan, entry_plan) in conditions:
                assert inside is not None
                for statement, condition, expected in (
                    (index.select(inside), inside, plan),
                    (index.select(inside, "count(*)"), inside, f"COVERING INDEX {by}"),
                    (index.select_entries(listed), listed, entry_plan),
                ):
                    found = connection.execute(
                        f"EXPLAIN QUERY PLAN {statement}", condition.parameters
                    ).fetchall()
                    details = [detail for *_, detail in found]
                    assert len(details) == 1, details  # nothing is sorted
                    assert expected in details[0], details

        await store.read(plans)


async def test_single_values_are_in_the_sqlite_index_alone(tmp_path: Path) -> None:
    contents = [{"k": "Plain"}, {"k": ["a", "b"]}, {"k": "Ä"}, {"k": 5}, {}]
    async with await filled(tmp_path, *contents) as store:
        await store.create_index("i", "k")
        await store.create_index("low", "lower(k)")

        def entries(connection: Connection, name: str) -> list[str]:
            number = document_indexes.load(connection, name).number
            found = connection.execute(f"SELECT doc_id FROM document_entry_{number}")
            return [doc_id for (doc_id,) in found]

        assert await store.read(lambda c: entries(c, "i")) == ["d1", "d1"]
        assert await store.read(lambda c: entries(c, "low")) == ["d1", "d1", "d2"]
