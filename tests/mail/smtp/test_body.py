"""A mail's octets in memory and in the encrypted file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp.body import CHUNK, Body
from leap.soledad import sealed_file


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


def test_a_full_disk_breaks_the_body_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: object, at: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    body = Body(tmp_path, in_memory=0)
    body.append(b"x" * 2 * CHUNK)
    monkeypatch.setattr(sealed_file.os, "pwrite", full)
    body.spill()
    assert body.broken
    body.append(b"x" * CHUNK)
    assert body.held == 0
