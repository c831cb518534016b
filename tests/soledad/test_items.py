"""Log items: what travels, and that nothing but ForgedEnvelope comes out of bad payloads."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.soledad.documents import DocumentItem, Version
from leap.soledad.envelope import item_id_of
from leap.soledad.errors import ForgedEnvelope
from leap.soledad.syncing.items import PageItem, decode_item, encode_item, name_of, page_of, rows_of
from tests.soledad.schemas import NOTE

ID_KEY = bytes(32)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    texts,
    st.binary(min_size=16, max_size=32).map(bytes.hex),
)


def through(item: Any) -> Any:
    return decode_item(encode_item(item), item_id_of(ID_KEY, name_of(item)), ID_KEY)


@given(st.lists(st.tuples(texts, *[cells] * 9, texts), max_size=5, unique_by=lambda row: row[0]))
def test_rows_travel_in_pages(rows: list[tuple[Any, ...]]) -> None:
    names = ("row_id", *NOTE.columns)
    page = through(page_of("p1", NOTE, rows))
    assert list(rows_of(page, NOTE).values()) == [
        dict(zip(names, row, strict=True)) for row in rows
    ]


def test_hex_takes_half_the_room() -> None:
    row = ("ab" * 32, *[None] * 9, "")
    assert page_of("p", NOTE, [row]).columns[0] == [b"\xab" * 32]
    upper = ("AB" * 32, *[None] * 9, "")
    assert page_of("p", NOTE, [upper]).columns[0] == ["AB" * 32]


@given(texts.filter(lambda t: t and "\0" not in t), st.dictionaries(texts, st.integers(0, 9)))
def test_documents_travel(doc_id: str, content: dict[str, int]) -> None:
    text = msgspec.json.encode(content).decode()
    item = DocumentItem(doc_id, "1:x", text, [Version("2:y", None)])
    assert through(item) == item


def test_an_item_under_the_id_of_another() -> None:
    payload = encode_item(DocumentItem("a", "1:x", "{}"))
    with pytest.raises(ForgedEnvelope, match="id of another"):
        decode_item(payload, item_id_of(ID_KEY, "document/b"), ID_KEY)
    with pytest.raises(ForgedEnvelope, match="id of another"):
        decode_item(payload, item_id_of(ID_KEY, "page/a"), ID_KEY)


@pytest.mark.parametrize(
    "item",
    [
        DocumentItem("", "1:x", "{}"),
        DocumentItem("a", "1:x", "["),
        DocumentItem("a", "1:x", "[1]"),
        DocumentItem("a", "1:x", "{}", [Version("1:y", "nonsense")]),
        PageItem("p", "note", [], []),
        PageItem("p", "note", ["folder"], [["x"]]),
        PageItem("p", "note", ["row_id", "folder"], [["x"]]),
        PageItem("p", "note", ["row_id", "folder"], [["x"], ["a", "b"]]),
        PageItem("p", "note", ["row_id"], [[1]]),
        PageItem("p", "note", ["row_id", "flags"], [["x"], [None]]),
        PageItem("p", "note", ["row_id", "folder"], [["x"], [["list"]]]),
        PageItem("p", "note", ["row_id", "date"], [["x"], [2**63]]),
    ],
)
def test_items_that_cannot_be(item: Any) -> None:
    with pytest.raises(ForgedEnvelope):
        rows_of(through(item), NOTE)


@given(st.one_of(st.binary(max_size=80), st.dictionaries(texts, cells).map(msgspec.msgpack.encode)))
def test_any_other_payload(payload: bytes) -> None:
    with pytest.raises(ForgedEnvelope):
        decode_item(payload, bytes(32), ID_KEY)


def test_columns_a_page_lacks_are_empty_and_those_it_has_too_many_are_passed_over() -> None:
    page = PageItem("p", "note", ["row_id", "newer"], [["x"], [1]])
    row = rows_of(through(page), NOTE)["x"]
    assert row["flags"] == ""
    assert row["folder"] is None
    assert "newer" not in row
