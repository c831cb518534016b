"""The wrapped store key: right and wrong passphrases, damage, limits, atomic replacement."""

import json
import time
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from leap.soledad import vault
from leap.soledad.errors import SoledadError, WrongKey

Form = Literal["NFC", "NFD"]


async def test_key_comes_back_only_with_the_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "vault.json"
    key = await vault.create_vault(path, "correct horse é")
    assert len(key) == 32
    assert key not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert await vault.open_vault(path, "correct horse é") == key
    with pytest.raises(WrongKey, match="passphrase is wrong"):
        await vault.open_vault(path, "correct horse e")
    with pytest.raises(SoledadError, match="already"):
        await vault.create_vault(path, "other")
    await vault.write_vault(path, key, "new")
    assert await vault.open_vault(path, "new") == key
    assert [p.name for p in tmp_path.iterdir()] == ["vault.json"]


async def test_absent_vault_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WrongKey):
        await vault.open_vault(tmp_path / "vault.json", "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory_kib", 8),
        ("memory_kib", 2**40),
        ("time_cost", 1),
        ("time_cost", 10**9),
        ("lanes", 0),
        ("lanes", 10**6),
        ("format", 2),
        ("salt", ""),
        ("sealed_key", "AAAA"),
        ("unknown", 1),
    ],
)
async def test_changed_fields_are_refused_quickly(
    tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "vault.json"
    await vault.create_vault(path, "x")
    fields = json.loads(path.read_bytes())
    fields[field] = value
    path.write_text(json.dumps(fields))
    started = time.monotonic()
    with pytest.raises(WrongKey):
        await vault.open_vault(path, "x")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"\xff\xfe", b"null"])
async def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "vault.json"
    path.write_bytes(data)
    with pytest.raises(WrongKey):
        await vault.open_vault(path, "x")


@pytest.mark.parametrize("made", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
async def test_one_passphrase_typed_on_two_keyboards(
    tmp_path: Path, made: Form, typed: Form
) -> None:
    path = tmp_path / "vault.json"
    key = await vault.create_vault(path, unicodedata.normalize(made, "pässwörter é"))
    assert await vault.open_vault(path, unicodedata.normalize(typed, "pässwörter é")) == key


async def test_a_vault_of_before_passphrases_were_normalised_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vault.json"
    passphrase = unicodedata.normalize("NFD", "pässwörter é")
    with monkeypatch.context() as patch:
        patch.setattr(vault, "_normal", str.encode)
        key = await vault.create_vault(path, passphrase)
    assert await vault.open_vault(path, passphrase) == key
