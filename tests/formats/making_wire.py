"""Vectors of every body of the HTTPS interface, and of an export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from leap.soledad import wire as bodies
from leap.soledad.documents import Version
from leap.soledad.maintenance.archive import ArchiveWriter
from leap.soledad.maintenance.records import (
    BlobEntry,
    Closing,
    DocumentRecord,
    Opening,
    Piece,
    RowRecord,
    Withdrawn,
)
from tests.formats.making_account import plain
from tests.soledad.people import seeded

COSTS = (2, 32 * 1024, 1)  # the least an export may have
PASSPHRASE = "keep this apart"


def kinds() -> list[type[msgspec.Struct]]:
    """Every body that is defined, by name."""
    found = [
        value
        for name, value in vars(bodies).items()
        if isinstance(value, type) and issubclass(value, bodies.Body) and value is not bodies.Body
    ]
    return sorted(found, key=lambda kind: kind.__name__)


def example(kind: inspect.Type, seed: str) -> Any:
    """A value of that type which its constraints allow; the same for the same seed."""
    draw = seeded(seed)
    if isinstance(kind, inspect.StructType):
        fields = {f.name: example(f.type, f"{seed}.{f.name}") for f in kind.fields}
        return kind.cls(**fields)
    if isinstance(kind, inspect.IntType):
        number = int.from_bytes(draw(3))
        return max(number, kind.ge or 0) if kind.lt is None else min(number, kind.lt - 1)
    if isinstance(kind, inspect.StrType):
        if kind.pattern and "[0-9a-f]{" in kind.pattern:
            return draw(int(kind.pattern.split("{")[1].split("}")[0]) // 2).hex()
        return "text of " + seed.rpartition(".")[2]
    if isinstance(kind, inspect.BytesType):
        return draw(kind.min_length or 20)
    if isinstance(kind, inspect.BoolType):
        return True
    if isinstance(kind, inspect.ListType):
        return [example(kind.item_type, f"{seed}.{n}") for n in range(2)]
    if isinstance(kind, inspect.DictType):
        return {f"key{n}": example(kind.value_type, f"{seed}.{n}") for n in range(2)}
    if isinstance(kind, inspect.UnionType):
        some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return example(some[0], seed)
    raise TypeError(f"no example of {kind}")


def wire() -> dict[str, Any]:
    cases, refused = [], []
    for kind in kinds():
        name = kind.__name__
        value = example(inspect.type_info(kind), name)
        encoded = bodies.encode(value)
        cases.append({"name": name, "fields": plain(value), "encoded": encoded.hex()})
        fields = msgspec.msgpack.decode(encoded)
        required = [f for f in msgspec.structs.fields(kind) if f.required]
        for field in required[:1]:
            less = {k: v for k, v in fields.items() if k != field.encode_name}
            refused.append(
                {
                    "name": name,
                    "encoded": msgspec.msgpack.encode(less).hex(),
                    "error": "WireError",
                    "why": f"{field.name} is missing",
                }
            )
        for field in msgspec.structs.fields(kind)[:1]:
            other = {**fields, field.encode_name: {"of": "another type"}}
            refused.append(
                {
                    "name": name,
                    "encoded": msgspec.msgpack.encode(other).hex(),
                    "error": "WireError",
                    "why": f"{field.name} is of another type",
                }
            )
        refused.append(
            {
                "name": name,
                "encoded": encoded[:-1].hex(),
                "error": "WireError",
                "why": "it is cut short",
            }
        )
    return {"format": "http 1", "text": "docs/formats/http.md", "cases": cases, "refused": refused}


RECORDS: list[Any] = [
    Opening("a" * 32, "alice@example.test", 1_790_000_000, {"note": ["folder", "flags"]}),
    RowRecord(
        "note", "r1", {"folder": "in", "flags": "seen"}, [BlobEntry(0, "ab" * 16, 5, True, False)]
    ),
    Piece(False, b"heron"),
    DocumentRecord("d", "2:ab", '{"n":1}', [Version("1:cd", None)]),
    Closing(1, 1, 1, {}),
]

# The second row's content could not be had to its end: as if the row were not there.
WITHDRAWN: list[Any] = [
    *RECORDS[:3],
    RowRecord("note", "r2", {"folder": "in"}, [BlobEntry(0, "cd" * 16, 9, True, False)]),
    Piece(False, b"crane"),
    Withdrawn(),
    *RECORDS[3:],
]


def _file(records: list[Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        writer = ArchiveWriter(path, PASSPHRASE, random_bytes=seeded("export"), costs=COSTS)
        for record in records:
            writer.add(record)
        writer.finish()
        writer.discard()
        return path.read_bytes()


def export() -> dict[str, Any]:
    good = _file(RECORDS)

    def refused(name: str, error: str, why: str, data: bytes) -> dict[str, Any]:
        return {
            "name": name,
            "passphrase": PASSPHRASE,
            "file": data.hex(),
            "error": error,
            "why": why,
        }

    return {
        "format": "export 1",
        "text": "docs/formats/export.md",
        "cases": [
            {
                "name": "a small one",
                "passphrase": PASSPHRASE,
                "records": [
                    msgspec.json.decode(msgspec.json.encode(plain_record(r))) for r in RECORDS
                ],
                "file": good.hex(),
            },
            {
                "name": "with a row that was withdrawn",
                "passphrase": PASSPHRASE,
                "records": [
                    msgspec.json.decode(msgspec.json.encode(plain_record(r))) for r in WITHDRAWN
                ],
                "file": _file(WITHDRAWN).hex(),
            },
        ],
        "refused": [
            refused("another magic", "NotAnExport", "it is something else", b"x" + good[1:]),
            refused(
                "format 2", "NotAnExport", "the format is not 1", good[:20] + b"\x02" + good[21:]
            ),
            refused(
                "too much memory asked for",
                "NotAnExport",
                "above the ceiling",
                good[:25] + b"\xff" + good[26:],
            ),
            refused(
                "salt altered",
                "WrongKey",
                "the check does not hold",
                good[:33] + bytes([good[33] ^ 1]) + good[34:],
            ),
            refused("cut short", "NotAnExport", "the last chunk's tag does not hold", good[:-1]),
            refused(
                "altered",
                "NotAnExport",
                "a chunk's tag does not hold",
                good[:-1] + bytes([good[-1] ^ 1]),
            ),
            refused("longer", "NotAnExport", "the last chunk's tag does not hold", good + b"x"),
            refused(
                "without its end",
                "NotAnExport",
                "the closing record is missing",
                _file(RECORDS[:-1]),
            ),
            refused(
                "a content missing",
                "NotAnExport",
                "a row's blob is not whole",
                _file([RECORDS[0], RECORDS[1], *RECORDS[3:]]),
            ),
            refused(
                "a complete row withdrawn",
                "NotAnExport",
                "only a row whose contents are not whole can be",
                _file([*RECORDS[:3], Withdrawn(), *RECORDS[3:]]),
            ),
        ],
    }


def plain_record(record: Any) -> Any:
    """A record as the array that it is."""
    return plain(msgspec.msgpack.decode(msgspec.msgpack.encode(record)))
