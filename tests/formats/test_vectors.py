"""The vectors of docs/formats: they are read, or refused, as they say, and made again octet by octet."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import srp

from leap.soledad import errors, login, wire
from leap.soledad.blobs.format import BlobRef, open_blob
from leap.soledad.digest import SetDigest
from leap.soledad.envelope import Epoch, item_id_of, open_envelope, padded_size, row_key_of
from leap.soledad.head import head_hash, open_head
from leap.soledad.inbox_seal import key_id_of, open_sealed, public_of
from leap.soledad.keyset import account_id_of, open_keyset
from leap.soledad.maintenance import import_store
from leap.soledad.maintenance.archive import ArchiveReader, NotAnExport
from leap.soledad.maintenance.records import Record
from leap.soledad.secrets import (
    derive_passphrase,
    derive_recovery,
    recovery_sealing_seed,
    unwrap,
)
from leap.soledad.syncing.items import decode_item
from leap.soledad.vault import open_vault
from tests.formats.making import FOLDER, MAKERS
from tests.formats.making_account import plain
from tests.formats.making_wire import kinds, plain_record
from tests.soledad.schemas import open_store

Case = dict[str, Any]
ERRORS = {**vars(errors), "WireError": wire.WireError, "NotAnExport": NotAnExport}


def octets(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def epochs(case: Case) -> dict[int, Epoch]:
    return {case["epoch"]: Epoch(case["epoch"], octets(case, "epoch_key"))}


# -- one reader for each file: raises, or compares what it read with the rest of the case -------------


def read_envelope(case: Case, tmp_path: Path) -> None:
    opened = open_envelope(
        octets(case, "sealed"),
        kind=case["kind"],
        account=case["account"],
        item_id=octets(case, "item_id"),
        version=case["version"],
        epochs=epochs(case),
    )
    assert opened.hex() == case["plaintext"]


def read_blob(case: Case, tmp_path: Path) -> None:
    ref = BlobRef(case["blob_id"], case["sha256"], case["size"])

    def read(start: int = 0, length: int | None = None) -> bytes:
        return open_blob(
            octets(case, "sealed"),
            ref,
            account=case["account"],
            epochs=epochs(case),
            start=start,
            length=length,
        )

    text, size = octets(case["plaintext"], "repeat"), case["plaintext"]["octets"]
    assert read() == (text * (size // len(text) + 1))[:size]
    for part in case["ranges"]:
        found = read(part["start"], part["length"])
        assert hashlib.sha256(found).hexdigest() == part["sha256"]


def refuse_blob(case: Case, tmp_path: Path) -> None:
    ref = BlobRef(case["blob_id"], case["sha256"], case["size"])
    open_blob(octets(case, "sealed"), ref, account=case["account"], epochs=epochs(case))


def read_sizes(case: Case, tmp_path: Path) -> None:
    assert padded_size(case["octets"]) == case["padded"]


def read_inbox(case: Case, tmp_path: Path) -> None:
    seeds = {case["key_id"]: octets(case, "seed")}
    opened = open_sealed(octets(case, "sealed"), seeds, case["account"])
    assert opened.hex() == case["plaintext"]
    assert public_of(octets(case, "seed")).hex() == case["public"]
    assert key_id_of(octets(case, "public")) == case["key_id"]


def read_keyset(case: Case, tmp_path: Path) -> None:
    keyset = open_keyset(octets(case, "signed"), root_public=octets(case, "root_public"))
    assert plain(keyset) == case["fields"]
    assert keyset.hash.hex() == case["hash"]


def read_secrets(case: Case, tmp_path: Path) -> None:
    if "kdf" in case:
        kdf = {**case["kdf"], "salt": octets(case["kdf"], "salt")}
        keys = derive_passphrase(case["passphrase"], wire.KdfParams(**kdf))
    elif "words" in case:
        keys = derive_recovery(case["words"])
        assert recovery_sealing_seed(case["words"]).hex() == case["sealing_seed"]
    else:
        unwrap(octets(case, "wrapped"), octets(case, "wrap_key"), case["context"])
        return
    assert (keys.auth_key.hex(), keys.wrap_key.hex()) == (case["auth_key"], case["wrap_key"])
    opened = unwrap(octets(case, "wrapped"), keys.wrap_key, case["context"])
    assert plain(opened) == case["fields"]


def read_vault(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "vault.json"
    path.write_text(case["file"])
    assert asyncio.run(open_vault(path, case["passphrase"])).hex() == case["key"]


def read_head(case: Case, tmp_path: Path) -> None:
    keyset = open_keyset(octets(case, "keyset"), root_public=octets(case, "root_public"))
    sealed = octets(case, "sealed")
    record = open_head(sealed, keyset, epochs(case), case["account"], seq=case["seq"])
    assert plain(record) == case["record"]
    assert head_hash(sealed).hex() == case["hash"]


def read_digest(case: Case, tmp_path: Path) -> None:
    items = [
        (octets(one, "item_id"), one["version"], octets(one, "sha256")) for one in case["items"]
    ]
    [epoch] = epochs(case).values()
    for order in (items, items[::-1]):
        assert SetDigest.of(epoch, case["account"], order).to_bytes().hex() == case["digest"]


def read_ids(case: Case, tmp_path: Path) -> None:
    made = {
        "item": lambda: item_id_of(octets(case, "id_key"), case["text"]).hex(),
        "row": lambda: row_key_of(octets(case, "id_key"), octets(case, "octets")),
        "account": lambda: account_id_of(octets(case, "root_public")),
        "inbox key": lambda: key_id_of(octets(case, "public")),
    }[case["name"]]
    assert made() == case["id"]


def read_items(case: Case, tmp_path: Path) -> None:
    item = decode_item(octets(case, "payload"), octets(case, "item_id"), octets(case, "id_key"))
    assert plain(item) == case["fields"]


def read_login(case: Case, tmp_path: Path) -> None:
    client = login.SrpClient(case["identity"], octets(case, "auth_key"))
    client._secret, client._public = octets(case, "a"), octets(case, "A")
    proof = client.respond(octets(case, "salt"), octets(case, "B"))
    if "M1" in case:
        assert proof.hex() == case["M1"]
    client.check(octets(case, "M2"))
    if "verifier" in case:
        server = srp.Verifier(
            case["identity"],
            octets(case, "salt"),
            octets(case, "verifier"),
            octets(case, "A"),
            hash_alg=login.HASH,
            ng_type=login.GROUP,
            bytes_b=octets(case, "b"),
        )
        assert server.get_challenge()[1].hex() == case["B"]
        assert server.verify_session(proof).hex() == case["M2"]


def read_wire(case: Case, tmp_path: Path) -> None:
    [kind] = [one for one in kinds() if one.__name__ == case["name"]]
    value = wire.decode(octets(case, "encoded"), kind)
    assert plain(value) == case["fields"]


def read_export(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(octets(case, "file"))
    reader = ArchiveReader(path, case["passphrase"])
    try:
        found = [plain_record(record) for record in reader.records(Record)]
    finally:
        reader.close()
    if "records" in case:
        assert found == case["records"]
        return

    async def take() -> None:
        async with await open_store(tmp_path / "new.db") as store:
            await import_store(store, path, case["passphrase"])

    asyncio.run(take())


READERS: dict[str, Callable[[Case, Path], None]] = {
    name.removeprefix("read_"): value
    for name, value in list(globals().items())
    if name.startswith("read_")
}
REFUSERS = {**READERS, "blob": refuse_blob}


def every(part: str) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}: {case.get('name', number)} {case.get('why', '')}")
        for name in MAKERS
        for number, case in enumerate(json.loads((FOLDER / f"{name}.json").read_text())[part])
    ]


@pytest.mark.parametrize(("name", "case"), every("cases"))
def test_it_is_read(name: str, case: Case, tmp_path: Path) -> None:
    READERS[name](case, tmp_path)


@pytest.mark.parametrize(("name", "case"), every("refused"))
def test_it_is_refused_for_what_it_is(name: str, case: Case, tmp_path: Path) -> None:
    with pytest.raises(
        errors.SoledadError if case["error"] != "WireError" else wire.WireError
    ) as found:
        REFUSERS[name](case, tmp_path)
    assert found.type is ERRORS[case["error"]]
    assert case["why"]


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_made_again_octet_by_octet(name: str) -> None:
    """With the same randomness. After a format was changed on purpose: `tools/make_vectors.py`."""
    assert json.loads((FOLDER / f"{name}.json").read_text()) == json.loads(
        json.dumps(MAKERS[name]())
    )


def test_every_body_of_the_interface_has_a_vector() -> None:
    named = {case["name"] for case in json.loads((FOLDER / "wire.json").read_text())["cases"]}
    assert named == {kind.__name__ for kind in kinds()}
    assert {path.stem for path in FOLDER.glob("*.json")} == set(MAKERS)
