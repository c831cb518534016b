"""Vectors of the envelope, of blobs, and of padded sizes."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.blobs.format import BlobRef, SealedBlob, seal_blob
from leap.soledad.envelope import (
    HEADER,
    INNER,
    NONCE,
    Epoch,
    _item_key,
    padded_size,
    seal,
    zstd_compress,
)
from tests.soledad.people import seeded

ACCOUNT = "a" * 32
EPOCH = Epoch(7, bytes(range(32)))
ITEM_ID = hashlib.sha256(b"an item").digest()


def _place(**changes: Any) -> dict[str, Any]:
    place = {"kind": "item", "account": ACCOUNT, "item_id": ITEM_ID, "version": 3}
    return {**place, **changes}


def _case(sealed: bytes, name: str, **fields: Any) -> dict[str, Any]:
    place = {**_place(), "epoch": EPOCH.number, "epoch_key": EPOCH.key, **fields}
    shown = {k: v.hex() if isinstance(v, bytes) else v for k, v in place.items()}
    return {"name": name, **shown, "sealed": sealed.hex()}


def envelope() -> dict[str, Any]:
    cases = []
    for name, plaintext, compress in (
        ("empty", b"", True),
        ("stored, for it does not compress", hashlib.shake_256(b"noise").digest(200), True),
        ("one zstd frame", b"the heron stands still. " * 100, True),
        ("above 1 KiB, padded by Padme", hashlib.shake_256(b"more noise").digest(1500), True),
        ("not compressed on request", b"secrets " * 10, False),
    ):
        sealed = seal(
            plaintext, **_place(), epoch=EPOCH, compress=compress, random_bytes=seeded(name)
        )
        cases.append(_case(sealed, name, plaintext=plaintext, compress=compress, salt=sealed[5:37]))
    good = seal(b"the heron stands still", **_place(), epoch=EPOCH, random_bytes=seeded("good"))

    def refused(name: str, error: str, why: str, sealed: bytes, **fields: Any) -> dict[str, Any]:
        return {**_case(sealed, name, **fields), "error": error, "why": why}

    def made(inner: bytes) -> bytes:
        """Sealed with the right key, but with something else inside."""
        header = HEADER.pack(1, EPOCH.number, seeded("made")(32))
        key = _item_key(header, epoch=EPOCH, **_place())
        return header + AESGCM(key).encrypt(NONCE, inner, header)

    def filled(body: bytes, method: int = 0, length: int | None = None) -> bytes:
        inner = INNER.pack(method, len(body) if length is None else length) + body
        return inner + bytes(1024 - len(inner))

    bomb = zstd_compress(bytes(70 * 1024 * 1024))
    bomb_inner = INNER.pack(1, len(bomb)) + bomb
    return {
        "format": "envelope 1",
        "text": "docs/formats/envelope.md",
        "cases": cases,
        "refused": [
            refused("empty", "ForgedEnvelope", "there is nothing", b""),
            refused("format 2", "UnknownSuite", "the first octet is not 1", b"\x02" + good[1:]),
            refused(
                "cut short", "ForgedEnvelope", "shorter than header, tag and body length", good[:50]
            ),
            refused("last octet missing", "ForgedEnvelope", "the tag does not hold", good[:-1]),
            refused(
                "last octet altered",
                "ForgedEnvelope",
                "the tag does not hold",
                good[:-1] + bytes([good[-1] ^ 1]),
            ),
            refused(
                "salt altered",
                "ForgedEnvelope",
                "another salt gives another key",
                good[:9] + b"\0" + good[10:],
            ),
            refused(
                "another epoch",
                "UnknownEpoch",
                "the reader has no key of epoch 8",
                good[:4] + b"\x08" + good[5:],
            ),
            refused(
                "another item",
                "ForgedEnvelope",
                "the item id is part of the key",
                good,
                item_id=bytes(32),
            ),
            refused(
                "another version",
                "ForgedEnvelope",
                "the version is part of the key",
                good,
                version=4,
            ),
            refused(
                "another kind", "ForgedEnvelope", "the kind is part of the key", good, kind="head"
            ),
            refused(
                "another account",
                "ForgedEnvelope",
                "the account is part of the key",
                good,
                account="b" * 32,
            ),
            refused(
                "a plaintext", "NotSealed", "there is no unsealed form", b'{"doc_id": "d"}' * 10
            ),
            refused(
                "filling not zero",
                "ForgedEnvelope",
                "behind the body all is zero",
                made(filled(b"x")[:-1] + b"\1"),
            ),
            refused(
                "body longer than all",
                "ForgedEnvelope",
                "the length points behind the end",
                made(filled(b"x", length=2**40)),
            ),
            refused(
                "unknown method",
                "ForgedEnvelope",
                "only 0 and 1 are methods",
                made(filled(b"x", 2)),
            ),
            refused(
                "not a zstd frame",
                "ForgedEnvelope",
                "the body does not unpack",
                made(filled(b"no frame", 1)),
            ),
            refused(
                "a bomb",
                "CompressionBomb",
                "it claims over 64 MiB",
                made(bomb_inner + bytes(padded_size(len(bomb_inner)) - len(bomb_inner))),
            ),
        ],
    }


def _blob(name: str, data: bytes) -> SealedBlob:
    return seal_blob(data, account=ACCOUNT, epoch=EPOCH, random_bytes=seeded(f"blob {name}"))


def _plain(text: bytes, size: int) -> bytes:
    return (text * (size // len(text) + 1))[:size]


def blob() -> dict[str, Any]:
    cases = []
    text = b"the heron stands still in the water. "
    for name, size in (
        ("empty", 0),
        ("one octet", 1),
        ("one whole chunk", 65_536),
        ("a chunk and one octet", 65_537),
        ("three chunks", 150_000),
    ):
        made = _blob(name, _plain(text, size))
        ranges = [(0, size), (0, 10), (max(0, size - 5), 10), (65_530, 20), (size, 3)]
        cases.append(
            {
                "name": name,
                **_reference(made.ref),
                "plaintext": {"repeat": text.hex(), "octets": size},
                "ranges": [
                    {
                        "start": start,
                        "length": length,
                        "sha256": hashlib.sha256(
                            _plain(text, size)[start : start + length]
                        ).hexdigest(),
                    }
                    for start, length in ranges
                ],
                "salt": made.sealed[5:37].hex(),
                "sealed": made.sealed.hex(),
            }
        )
    noise = hashlib.shake_256(b"noise").digest(300)
    made = _blob("noise", noise)
    cases.append(
        {
            "name": "a chunk that does not compress",
            **_reference(made.ref),
            "plaintext": {"repeat": noise.hex(), "octets": 300},
            "ranges": [],
            "salt": made.sealed[5:37].hex(),
            "sealed": made.sealed.hex(),
        }
    )
    good = _blob("three chunks", _plain(text, 150_000))

    def refused(name: str, error: str, why: str, sealed: bytes, **fields: Any) -> dict[str, Any]:
        """With the SHA-256 of what is given: what is wrong has to be found inside."""
        reference = {**_reference(good.ref), "sha256": hashlib.sha256(sealed).hexdigest(), **fields}
        return {"name": name, **reference, "sealed": sealed.hex(), "error": error, "why": why}

    sealed = good.sealed
    start = 37 + 3 * 4 + 16
    return {
        "format": "blob 1",
        "text": "docs/formats/blob.md",
        "cases": cases,
        "refused": [
            refused(
                "another hash",
                "BlobAltered",
                "the sealed octets are not those of the reference",
                sealed,
                sha256="0" * 64,
            ),
            refused("format 2", "UnknownSuite", "the first octet is not 1", b"\x02" + sealed[1:]),
            refused(
                "another epoch",
                "UnknownEpoch",
                "the reader has no key of epoch 8",
                sealed[:4] + b"\x08" + sealed[5:],
            ),
            refused(
                "the index altered",
                "BlobAltered",
                "the index has a tag",
                sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:],
            ),
            refused(
                "a chunk altered",
                "BlobAltered",
                "each chunk has a tag",
                sealed[:start] + bytes([sealed[start] ^ 1]) + sealed[start + 1 :],
            ),
            refused(
                "cut within the index", "BlobAltered", "shorter than header and index", sealed[:50]
            ),
            refused(
                "cut within the chunks",
                "BlobAltered",
                "the index names chunks that are not there",
                sealed[: start + 10],
            ),
            refused(
                "another size", "BlobAltered", "the size is part of the key", sealed, size=140_000
            ),
            refused(
                "another id", "BlobAltered", "the id is part of the key", sealed, blob_id="0" * 32
            ),
            refused(
                "another account",
                "BlobAltered",
                "the account is part of the key",
                sealed,
                account="b" * 32,
            ),
        ],
    }


def _reference(ref: BlobRef) -> dict[str, Any]:
    return {
        "account": ACCOUNT,
        "epoch": EPOCH.number,
        "epoch_key": EPOCH.key.hex(),
        "blob_id": ref.blob_id,
        "sha256": ref.sha256,
        "size": ref.size,
    }


def sizes() -> dict[str, Any]:
    """What an inner length is padded to."""
    lengths = [
        0,
        1,
        9,
        1000,
        1023,
        1024,
        1025,
        1056,
        1057,
        1500,
        2047,
        2048,
        2049,
        4097,
        10_000,
        65_536,
        65_537,
        100_000,
        1_000_000,
        1_048_577,
        50_000_000,
        2**31 + 1,
    ]
    cases = [{"octets": length, "padded": padded_size(length)} for length in lengths]
    return {
        "format": "padding 1",
        "text": "docs/formats/envelope.md",
        "cases": cases,
        "refused": [],
    }
