"""What an independent reader, written from the documents, makes of the vectors."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.formats import reader
from tests.formats.reader import Unreadable

FOLDER = Path(__file__).parents[2] / "docs" / "formats" / "vectors"


def load(name: str, part: str = "cases") -> list[Any]:
    found = json.loads((FOLDER / f"{name}.json").read_text())[part]
    return [pytest.param(case, id=case.get("name")) for case in found]


def epochs(case: dict[str, Any]) -> dict[int, bytes]:
    return {case["epoch"]: bytes.fromhex(case["epoch_key"])}


def envelope(case: dict[str, Any]) -> bytes:
    return reader.open_envelope(
        bytes.fromhex(case["sealed"]),
        case["kind"],
        case["account"],
        bytes.fromhex(case["item_id"]),
        case["version"],
        epochs(case),
    )


def blob(case: dict[str, Any]) -> bytes:
    return reader.open_blob(
        bytes.fromhex(case["sealed"]),
        case["account"],
        case["blob_id"],
        case["sha256"],
        case["size"],
        epochs(case),
    )


def head(case: dict[str, Any]) -> dict[str, Any]:
    keyset = msgspec.msgpack.decode(bytes.fromhex(case["keyset"])[65:])
    devices = {
        one["device_id"]: one["signing_public"]
        for one in keyset["devices"]
        if one["revoked_at"] is None
    }
    sealed = bytes.fromhex(case["sealed"])
    return reader.open_head(sealed, case["account"], epochs(case), devices, case["seq"])


def test_it_is_independent() -> None:
    tree = ast.parse(Path(reader.__file__).read_text())
    names = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert names
    assert not [name for name in names if name.split(".")[0] in ("leap", "tests")]


@pytest.mark.parametrize("case", load("envelope"))
def test_an_envelope(case: dict[str, Any]) -> None:
    assert envelope(case).hex() == case["plaintext"]


@pytest.mark.parametrize("case", load("envelope", "refused"))
def test_no_envelope(case: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        envelope(case)


@pytest.mark.parametrize("case", load("blob"))
def test_a_blob(case: dict[str, Any]) -> None:
    text, size = bytes.fromhex(case["plaintext"]["repeat"]), case["plaintext"]["octets"]
    assert blob(case) == (text * (size // len(text) + 1))[:size]


@pytest.mark.parametrize("case", load("blob", "refused"))
def test_no_blob(case: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        blob(case)


@pytest.mark.parametrize("case", load("head"))
def test_a_head(case: dict[str, Any]) -> None:
    record = head(case)

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shown(one) for key, one in value.items()}
        return value.hex() if isinstance(value, bytes) else value

    assert shown(record) == case["record"]


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in load("head", "refused")
        # What a record may not say of itself, and keysets that are newer, is beyond a reader of bytes
        if not any(word in case.values[0]["why"] for word in ("contradicts", "keyset"))
    ],
)
def test_no_head(case: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        head(case)


@pytest.mark.parametrize("case", load("digest"))
def test_a_set_digest(case: dict[str, Any]) -> None:
    items = [
        (bytes.fromhex(one["item_id"]), one["version"], bytes.fromhex(one["sha256"]))
        for one in reversed(case["items"])
    ]
    made = reader.set_digest(bytes.fromhex(case["epoch_key"]), case["account"], items)
    assert made.hex() == case["digest"]


@pytest.mark.parametrize("case", load("sizes"))
def test_padding(case: dict[str, Any]) -> None:
    assert reader.padme(case["octets"]) == case["padded"]
