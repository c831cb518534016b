"""Vectors of the log: heads, the set digest, ids, and what items hold."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leap.soledad.digest import SetDigest
from leap.soledad.documents import DocumentItem, Version
from leap.soledad.envelope import Epoch, item_id_of, row_key_of, seal, with_lengths
from leap.soledad.head import Head, HeadRecord, OwnHeads, head_hash, next_record
from leap.soledad.inbox_seal import key_id_of
from leap.soledad.keyset import Keyset, account_id_of, sign_keyset
from leap.soledad.syncing.items import encode_item, name_of, page_of
from tests.formats.making_account import plain
from tests.soledad.people import NOW, device_of, keyset_of, secrets_of, seeded
from tests.soledad.schemas import NOTE


def _sealed_head(
    record: HeadRecord, key: Ed25519PrivateKey, epoch: Epoch, account: str, seed: str
) -> bytes:
    """As docs/formats/head.md says; `head.sign_and_seal` takes no fixed salt."""
    body = msgspec.msgpack.encode(record)
    signature = key.sign(with_lengths(b"leap.soledad head 1", account.encode(), body))
    return seal(
        msgspec.msgpack.encode([body, signature]),
        kind="head",
        account=account,
        item_id=bytes(32),
        version=0,
        epoch=epoch,
        compress=False,
        random_bytes=seeded(seed),
    )


def head() -> dict[str, Any]:
    secrets, laptop, phone = secrets_of("alice"), device_of("laptop"), device_of("phone")
    keyset = keyset_of(secrets, laptop, phone)
    [epoch] = secrets.epochs
    account = secrets.account_id
    first = next_record(
        None, OwnHeads(laptop.device_id), keyset, items=3, digest=bytes(range(64)), time=NOW
    )
    sealed_first = _sealed_head(first, laptop.signing_key, epoch, account, "first")
    parent = Head(first, head_hash(sealed_first))
    second = next_record(
        parent, OwnHeads(phone.device_id), keyset, items=2, digest=bytes(64), time=NOW + 60
    )
    sealed_second = _sealed_head(second, phone.signing_key, epoch, account, "second")

    def shown(sealed: bytes, seq: int, of: Keyset = keyset) -> dict[str, Any]:
        return {
            "account": account,
            "epoch": epoch.number,
            "epoch_key": epoch.key.hex(),
            "root_public": secrets.root_public.hex(),
            "keyset": sign_keyset(of, secrets.root_key).hex(),
            "seq": seq,
            "sealed": sealed.hex(),
        }

    def refused(
        name: str, error: str, why: str, sealed: bytes, seq: int = 3, **of: Keyset
    ) -> dict[str, Any]:
        return {"name": name, **shown(sealed, seq, **of), "error": error, "why": why}

    def resealed(
        record: HeadRecord, key: Ed25519PrivateKey = laptop.signing_key, account: str = account
    ) -> bytes:
        return _sealed_head(record, key, epoch, account, "resealed")

    stranger = device_of("mallory")
    revoked = msgspec.structs.replace(
        keyset,
        devices=[
            msgspec.structs.replace(keyset.devices[0], revoked_at=int(NOW)),
            keyset.devices[1],
        ],
    )
    of_revoked = msgspec.structs.replace(first, keyset_hash=revoked.hash)
    stranger_entry = {stranger.device_id: first.devices[laptop.device_id]}
    replace = msgspec.structs.replace
    return {
        "format": "head 1",
        "text": "docs/formats/head.md",
        "cases": [
            {
                "name": name,
                **shown(sealed, record.seq),
                "salt": sealed[5:37].hex(),
                "hash": head_hash(sealed).hex(),
                "record": plain(record),
            }
            for name, record, sealed in (
                ("the first", first, sealed_first),
                ("the next, by another device", second, sealed_second),
            )
        ],
        "refused": [
            refused("shown at another seq", "ForgedHead", "the seq is signed", sealed_first, 4),
            refused(
                "altered", "ForgedEnvelope", "the tag does not hold", sealed_first[:-1] + b"\0"
            ),
            refused(
                "signed by another device's key",
                "ForgedHead",
                "the author's signature does not hold",
                resealed(first, phone.signing_key),
            ),
            refused(
                "by a device not listed",
                "KeysetBehind",
                "it may be in a newer keyset",
                resealed(
                    replace(first, author=stranger.device_id, devices=stranger_entry),
                    stranger.signing_key,
                ),
            ),
            refused(
                "of a newer keyset",
                "KeysetBehind",
                "the newest keyset is needed first",
                resealed(replace(first, keyset_version=2)),
            ),
            refused(
                "of another keyset of this version",
                "ForgedHead",
                "the keyset's hash is signed",
                resealed(replace(first, keyset_hash=bytes(32))),
            ),
            refused(
                "by a revoked device",
                "ForgedHead",
                "its key counts no more",
                resealed(of_revoked),
                of=revoked,
            ),
            refused(
                "without its author's entry",
                "ForgedHead",
                "it contradicts itself",
                resealed(replace(first, devices=stranger_entry)),
            ),
            refused(
                "a parent of 5 octets",
                "ForgedHead",
                "it contradicts itself",
                resealed(replace(first, parent=b"short")),
            ),
            refused(
                "purging what is not there",
                "ForgedHead",
                "it contradicts itself",
                resealed(replace(first, purge_seq=4)),
            ),
            refused(
                "a first one with two devices",
                "ForgedHead",
                "it contradicts itself",
                resealed(replace(second, parent=b"", seq=3), phone.signing_key),
                of=keyset,
            ),
        ],
    }


def digest() -> dict[str, Any]:
    epoch, account = Epoch(7, bytes(range(32))), "a" * 32
    items = [
        (hashlib.sha256(b"item %d" % n).digest(), n + 1, hashlib.sha256(b"sealed %d" % n).digest())
        for n in range(3)
    ]
    cases = []
    for count in range(4):
        some = items[:count]
        cases.append(
            {
                "name": f"{count} items, in any order",
                "account": account,
                "epoch": epoch.number,
                "epoch_key": epoch.key.hex(),
                "items": [
                    {"item_id": item_id.hex(), "version": version, "sha256": ct_hash.hex()}
                    for item_id, version, ct_hash in some
                ],
                "digest": SetDigest.of(epoch, account, some).to_bytes().hex(),
            }
        )
    return {"format": "set digest 1", "text": "docs/formats/head.md", "cases": cases, "refused": []}


def ids() -> dict[str, Any]:
    key = bytes(range(32))
    secrets = secrets_of("alice")
    [inbox_key] = secrets.inbox_keys
    cases: list[dict[str, Any]] = [
        {"name": "item", "id_key": key.hex(), "text": name, "id": item_id_of(key, name).hex()}
        for name in ("document/d", "document/D-äöü", "page/" + "0" * 32)
    ]
    cases += [
        {"name": "row", "id_key": key.hex(), "octets": name.hex(), "id": row_key_of(key, name)}
        for name in (b"", b"name", bytes(32))
    ]
    cases.append(
        {
            "name": "account",
            "root_public": secrets.root_public.hex(),
            "id": account_id_of(secrets.root_public),
        }
    )
    public = inbox_key.public.public
    cases.append({"name": "inbox key", "public": public.hex(), "id": key_id_of(public)})
    return {"format": "ids 1", "text": "docs/formats/envelope.md", "cases": cases, "refused": []}


def items() -> dict[str, Any]:
    key = bytes(range(32))
    made = [
        DocumentItem("d", "1:ab", '{"n":1,"type":"plain"}'),
        DocumentItem("d", "2:ab", None),
        DocumentItem("d", "3:cd", '{"n":2}', [Version("2:ab", '{"n":"ä"}'), Version("2:ef", None)]),
        page_of(
            "0" * 32,
            NOTE,
            [
                ("r1", "ab" * 16, "cd" * 32, 5, None, None, None, 17, "in", "Title", "a b"),
                ("ef" * 32, None, None, None, None, None, None, None, "in", None, ""),
            ],
        ),
        page_of("1" * 32, NOTE, []),
    ]
    cases = [
        {
            "name": name_of(item),
            "id_key": key.hex(),
            "item_id": item_id_of(key, name_of(item)).hex(),
            "fields": plain(item),
            "payload": encode_item(item).hex(),
        }
        for item in made
    ]

    def refused(name: str, why: str, value: Any, item: str = "document/d") -> dict[str, Any]:
        payload = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
        item_id = item_id_of(key, item).hex()
        return {
            "name": name,
            "id_key": key.hex(),
            "item_id": item_id,
            "payload": payload.hex(),
            "error": "ForgedEnvelope",
            "why": why,
        }

    document = {"type": "document", "doc_id": "d", "revision": "1:a", "content": "{}"}
    page = {
        "type": "page",
        "page_id": "p",
        "schema": "note",
        "fields": ["row_id"],
        "columns": [["r"]],
    }
    return {
        "format": "log items 1",
        "text": "docs/formats/items.md",
        "cases": cases,
        "refused": [
            refused("no MessagePack", "it does not decode", b"\xc1"),
            refused(
                "neither document nor page", "the type is unknown", {**document, "type": "other"}
            ),
            refused(
                "without a revision",
                "a field is missing",
                {k: v for k, v in document.items() if k != "revision"},
            ),
            refused(
                "of another name",
                "the item id is the HMAC of its name",
                {**document, "doc_id": "e"},
            ),
            refused("content that is no JSON", "it does not decode", {**document, "content": "{"}),
            refused(
                "content that is no object", "contents are objects", {**document, "content": "[]"}
            ),
            refused(
                "a page whose first column is another",
                "pages begin with row_id",
                {**page, "fields": ["other"]},
                "page/p",
            ),
            refused(
                "columns of different length",
                "each row has all columns",
                {**page, "fields": ["row_id", "a"], "columns": [["r"], []]},
                "page/p",
            ),
        ],
    }
