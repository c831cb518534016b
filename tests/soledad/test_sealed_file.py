"""The file without a name: nothing in it in clear, nothing of it left, and no change of it unnoticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from leap.soledad import sealed_file
from leap.soledad.sealed_file import CHUNK, SealedFile

STORED = CHUNK + 16


def filled(folder: Path, chunks: int = 4) -> tuple[SealedFile, int]:
    file = SealedFile(folder)
    for number in range(chunks):
        file.write(f"secret {number}".encode().ljust(CHUNK, b"-"))
    descriptor = file._file
    assert descriptor is not None
    return file, descriptor


def test_what_was_written_is_read_again_and_again(tmp_path: Path) -> None:
    file, _ = filled(tmp_path)
    for _ in range(2):
        assert [one[:8] for one in file.chunks()] == [b"secret %d" % n for n in range(4)]


def test_it_has_no_name_and_is_the_owners_only(tmp_path: Path) -> None:
    _file, descriptor = filled(tmp_path)
    status = os.fstat(descriptor)
    assert status.st_nlink == 0
    assert status.st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_it_holds_nothing_in_clear_and_like_chunks_are_unlike(tmp_path: Path) -> None:
    file = SealedFile(tmp_path)
    for _ in range(3):
        file.write(b"secret".ljust(CHUNK, b"-"))
    assert file._file is not None
    data = os.pread(file._file, 10 * CHUNK, 0)
    assert b"secret" not in data
    assert len({data[at : at + CHUNK] for at in (0, STORED, 2 * STORED)}) == 3


def test_two_files_with_the_same_octets_have_different_keys(tmp_path: Path) -> None:
    (_one, first), (_other, second) = filled(tmp_path), filled(tmp_path)
    assert os.pread(first, STORED, 0) != os.pread(second, STORED, 0)


@pytest.mark.parametrize("change", ["altered", "exchanged", "cut"])
def test_a_change_is_noticed(tmp_path: Path, change: str) -> None:
    file, descriptor = filled(tmp_path)
    if change == "altered":
        os.pwrite(descriptor, b"x", 100)
    elif change == "cut":
        os.ftruncate(descriptor, STORED + 5)
    else:
        os.pwrite(descriptor, os.pread(descriptor, STORED, STORED), 0)
    with pytest.raises(OSError, match="damaged"):
        list(file.chunks())


def test_it_goes_with_its_last_owner(tmp_path: Path) -> None:
    file, descriptor = filled(tmp_path)
    del file
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


def test_a_file_system_without_nameless_files_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sealed_file.os, "O_TMPFILE")
    file, _ = filled(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(list(file.chunks())) == 4


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        SealedFile(tmp_path / "gone")
