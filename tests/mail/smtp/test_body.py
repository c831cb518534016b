"""A mail's octets in memory and in the encrypted file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp import body as module
from leap.mail.smtp.body import CHUNK, Body


def filled(folder: Path, size: int = 3 * CHUNK) -> Body:
    body = Body(folder, in_memory=CHUNK)
    for _ in range(size // 1_000):
        body.append(b"secret".ljust(1_000, b"-"))
        if body.is_heavy:
            body.spill()
    return body


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, CHUNK), max_size=12), st.booleans())
def test_what_was_appended_is_read_back(sizes: list[int], often: bool) -> None:
    body = Body(in_memory=0 if often else CHUNK)
    wanted = b""
    for number, size in enumerate(sizes):
        piece = bytes([number + 65]) * size
        body.append(piece)
        wanted += piece
        if body.is_heavy:
            body.spill()
        assert len(body) == len(wanted)
    assert body.read() == wanted
    assert body.read() == wanted, "and again"
    body.close()


def test_little_stays_in_memory(tmp_path: Path) -> None:
    body = filled(tmp_path)
    assert body.held <= 2 * CHUNK
    assert body.spilled >= CHUNK


def test_the_file_has_no_name_and_is_the_owners_only(tmp_path: Path) -> None:
    body = filled(tmp_path)
    assert body._file is not None
    status = os.fstat(body._file)
    assert status.st_nlink == 0
    assert status.st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_the_file_holds_nothing_in_clear_and_no_two_like_chunks(tmp_path: Path) -> None:
    body = Body(tmp_path, in_memory=0)
    for _ in range(3):
        body.append(b"secret" * 50_000)
    body.spill()
    assert body._file is not None
    data = os.pread(body._file, 10 * CHUNK, 0)
    assert b"secret" not in data
    parts = [data[at : at + CHUNK] for at in (0, CHUNK + 16, 2 * (CHUNK + 16))]
    assert len(set(parts)) == 3


def test_an_altered_or_exchanged_chunk_is_noticed(tmp_path: Path) -> None:
    for change in ("altered", "exchanged", "cut"):
        body = filled(tmp_path, 4 * CHUNK)
        assert body._file is not None
        if change == "altered":
            os.pwrite(body._file, b"x", 100)
        elif change == "cut":
            os.ftruncate(body._file, CHUNK)
        else:
            second = os.pread(body._file, CHUNK + 16, CHUNK + 16)
            os.pwrite(body._file, second, 0)
        with pytest.raises(InvalidTag):
            body.read()


def test_a_full_disk_breaks_the_body_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: object, at: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    body = Body(tmp_path, in_memory=0)
    body.append(b"x" * 2 * CHUNK)
    monkeypatch.setattr(module.os, "pwrite", full)
    body.spill()
    assert body.broken
    body.append(b"x" * CHUNK)
    assert body.held == 0


def test_a_file_goes_with_its_body(tmp_path: Path) -> None:
    body = filled(tmp_path)
    file = body._file
    assert file is not None
    del body
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)


def test_a_file_system_without_nameless_files_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module.os, "O_TMPFILE")
    body = filled(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert body.read().startswith(b"secret")
