"""What a log item holds once its envelope is open: a document, or a page of rows.

The payload is MessagePack of a tagged map. A page is stored by columns, hex text as the octets it stands
for: both halve it. The id under which the provider knows an item is the HMAC of its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from leap.soledad.changes import Row
from leap.soledad.documents import DocumentItem, check_doc_id, decode_content, is_too_deep
from leap.soledad.envelope import item_id_of
from leap.soledad.errors import ForgedEnvelope, SoledadError
from leap.soledad.rows import RowSchema

KIND = "item"
MIN_PACKED = 32  # characters; shorter hex is more likely a word than a key


class PageItem(msgspec.Struct, frozen=True, tag="page"):
    """Up to 256 rows of one schema; the first column is `row_id`. Without rows, the schema may be ""."""

    page_id: str
    schema: str
    fields: list[str]
    columns: list[list[Any]]

    def __repr__(self) -> str:
        return f"PageItem({self.page_id!r})"


LogItem = DocumentItem | PageItem
_decoder: msgspec.msgpack.Decoder[LogItem] = msgspec.msgpack.Decoder(LogItem)
_INT64 = 2**63
_CELLS = (str, int, float, type(None))


def name_of(item: LogItem) -> str:
    """The name whose HMAC is the item's id."""
    if isinstance(item, DocumentItem):
        return f"document/{item.doc_id}"
    return f"page/{item.page_id}"


def encode_item(item: LogItem) -> bytes:
    return msgspec.msgpack.encode(item)


def decode_item(payload: bytes, item_id: bytes, id_key: bytes) -> LogItem:
    """The item, which must be the one that `item_id` names; raises ForgedEnvelope."""
    try:
        item = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ForgedEnvelope("an item of the log is malformed") from None
    if item_id_of(id_key, name_of(item)) != item_id:
        raise ForgedEnvelope("an item of the log is shown under the id of another")
    if isinstance(item, PageItem):
        _check_page(item)
    else:
        _check_document(item)
    return item


def _check_document(item: DocumentItem) -> None:
    try:
        check_doc_id(item.doc_id)
        texts = [item.content, *(version.content for version in item.conflicts)]
        contents = [decode_content(text) for text in texts]
    except (SoledadError, msgspec.MsgspecError, ValueError, RecursionError):
        raise ForgedEnvelope("a document of the log is malformed") from None
    if any(text is not None and is_too_deep(text) for text in texts) or not all(
        content is None or isinstance(content, dict) for content in contents
    ):
        raise ForgedEnvelope("a document of the log is malformed")


def _check_page(page: PageItem) -> None:
    if not page.fields or page.fields[0] != "row_id" or len(page.fields) != len(page.columns):
        raise ForgedEnvelope("a page of the log has the wrong columns")
    if not page.schema and any(page.columns):
        raise ForgedEnvelope("a page of the log has rows, but does not say of what")
    if len({len(column) for column in page.columns}) != 1:
        raise ForgedEnvelope("a page of the log has columns of different length")


def page_of(page_id: str, schema: RowSchema, rows: Iterable[Sequence[Any]]) -> PageItem:
    """A page of rows whose values are in the order `row_id`, then the schema's columns."""
    fields = ["row_id", *schema.columns]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in fields]
    return PageItem(page_id, schema.name, fields, [_packed(column) for column in columns])


def empty_page(page_id: str) -> PageItem:
    """A page of which no row is left, whatever its schema was (""): all rows that lie in it go."""
    return PageItem(page_id, "", ["row_id"], [[]])


def decode_page(payload: bytes) -> PageItem:
    """A page that was kept as it came."""
    page = _decoder.decode(payload)
    assert isinstance(page, PageItem)
    return page


def rows_of(page: PageItem, schema: RowSchema) -> dict[str, Row]:
    """The rows by id; columns which the page lacks are NULL or empty. Raises ForgedEnvelope."""
    given = dict(zip(page.fields, page.columns, strict=True))
    count = len(page.columns[0])
    blank: dict[str, list[Any]] = {
        name: [""] * count if name in schema.sets else [None] * count for name in schema.columns
    }
    names = ["row_id", *schema.columns]
    columns = [_unpacked(given[name]) if name in given else blank[name] for name in names]
    for name, column in zip(names, columns, strict=True):
        text_only = name == "row_id" or name in schema.sets
        if not all(isinstance(cell, str if text_only else _CELLS) for cell in column) or any(
            type(cell) is int and not -_INT64 <= cell < _INT64 for cell in column
        ):
            raise ForgedEnvelope("a page of the log holds a value of the wrong type")
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    return {row["row_id"]: row for row in rows}


def _packed(column: list[Any]) -> list[Any]:
    return [
        _pack(cell) if type(cell) is str and len(cell) >= MIN_PACKED else cell for cell in column
    ]


def _pack(text: str) -> str | bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        return text
    return octets if octets.hex() == text else text


def _unpacked(column: list[Any]) -> list[Any]:
    return [cell.hex() if type(cell) is bytes else cell for cell in column]
