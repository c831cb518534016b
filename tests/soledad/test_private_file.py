"""Small files are whole, private and in place, or not there at all."""

import stat
from pathlib import Path

import pytest

from leap.soledad import private_file
from leap.soledad.private_file import move_private, remove_private, write_private


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_for_its_owner_whatever_was_there(tmp_path: Path):
    path = tmp_path / "vault.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "fdopen"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch, step):
    path = tmp_path / "vault.json"
    write_private(path, b"old")

    def fails(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_file.os, step, fails)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["vault.json"]


def test_the_folder_is_synced_after_each_change_of_names(tmp_path: Path, monkeypatch):
    synced = []
    monkeypatch.setattr(private_file, "sync_folder", lambda folder: synced.append(names(folder)))
    write_private(tmp_path / "a", b"1")
    move_private(tmp_path / "a", tmp_path / "b")
    remove_private(tmp_path / "b")
    remove_private(tmp_path / "b")
    assert synced == [["a"], ["b"], [], []]
