"""A spool gives back what was written to it, in order, up to where its files are whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leap.soledad.errors import StoreFull
from leap.soledad.spool import FILE_OCTETS, Record, Spool, files, load

KEY = bytes(range(32))


def filled(folder: Path, *bodies: bytes, first: int = 1) -> Spool:
    spool = Spool(folder, KEY, first)
    assert spool.append(bodies) == first
    return spool


def numbered(first: int, *bodies: bytes) -> list[Record]:
    return [Record(number, body) for number, body in enumerate(bodies, first)]


def test_records_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    spool = filled(tmp_path / "s", b"one", b"", b"three", first=7)
    assert spool.append([b"four"]) == 10
    assert load(tmp_path / "s", KEY, 0) == numbered(7, b"one", b"", b"three", b"four")
    assert load(tmp_path / "s", KEY, 8) == numbered(9, b"three", b"four")


def test_a_process_that_comes_later_writes_files_of_its_own(tmp_path: Path) -> None:
    filled(tmp_path / "s", b"one", b"two")
    filled(tmp_path / "s", b"three", first=3)
    assert load(tmp_path / "s", KEY, 0) == numbered(1, b"one", b"two", b"three")


def test_a_folder_that_was_never_made_is_an_empty_spool(tmp_path: Path) -> None:
    assert load(tmp_path / "none", KEY, 0) == []


def test_what_lies_on_disk_is_sealed_and_private(tmp_path: Path) -> None:
    filled(tmp_path / "s", b"a secret of alice " * 20)
    [path] = files(tmp_path / "s")
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert load(tmp_path / "s", bytes(32), 0) == []


def test_two_files_are_sealed_under_different_keys(tmp_path: Path) -> None:
    for name in ("a", "b"):
        filled(tmp_path / name, b"the same")
    [[one], [other]] = [files(tmp_path / name) for name in ("a", "b")]
    assert one.read_bytes()[33:] != other.read_bytes()[33:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.data())
def test_a_file_cut_anywhere_gives_the_records_that_are_whole(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    filled(folder, *bodies)
    [path] = files(folder)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    ends = [33]
    for body in bodies:
        ends.append(ends[-1] + 4 + len(body) + 16)
    assert load(folder, KEY, 0) == numbered(1, *bodies)[: sum(end <= cut for end in ends[1:])]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_file_altered_anywhere_gives_nothing_that_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    bodies = [b"one", b"second", b"the third"]
    filled(folder, *bodies)
    [path] = files(folder)
    octets = bytearray(path.read_bytes())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(octets)
    found = load(folder, KEY, 0)
    assert found == numbered(1, *bodies)[: len(found)]
    assert len(found) < len(bodies)


def test_a_file_under_another_number_opens_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "s", b"one")
    [path] = files(tmp_path / "s")
    path.rename(path.with_name(f"{5:016x}"))
    assert load(tmp_path / "s", KEY, 0) == []


def test_a_full_disk_is_named_and_what_was_begun_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = filled(tmp_path / "s", b"one")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        write(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreFull):
        spool.append([b"two", b"three"])
    monkeypatch.undo()
    assert spool.append([b"other"]) == 2
    assert load(tmp_path / "s", KEY, 0) == numbered(1, b"one", b"other")


def test_after_a_first_record_that_failed_the_next_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "s", KEY, 1)
    write = os.write
    for fails_at in (1, 2):  # the header, the record
        left = fails_at

        def full(descriptor: int, data: bytes) -> int:
            nonlocal left
            left -= 1
            if not left:
                raise OSError(errno.ENOSPC, "full")
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreFull):
            spool.append([b"one"])
        monkeypatch.undo()
    assert spool.append([b"other"]) == 1
    assert load(tmp_path / "s", KEY, 0) == numbered(1, b"other")


def test_files_go_when_all_they_hold_is_released(tmp_path: Path) -> None:
    large = bytes(FILE_OCTETS)
    spool = filled(tmp_path / "s", large)
    spool.append([b"in another file"])
    assert len(files(tmp_path / "s")) == 2
    spool.release(1)
    assert load(tmp_path / "s", KEY, 0) == numbered(2, b"in another file")
    spool.release(2)  # the file that is written to stays
    assert spool.append([b"more"]) == 3
    spool.close(2)
    assert load(tmp_path / "s", KEY, 0) == numbered(2, b"in another file", b"more")
    spool.release(3)
    assert files(tmp_path / "s") == []


def test_files_of_an_earlier_process_go_with_what_they_held(tmp_path: Path) -> None:
    filled(tmp_path / "s", b"one", b"two")
    later = Spool(tmp_path / "s", KEY, 3)
    later.release_with(files(tmp_path / "s"), 2)
    later.release(1)
    assert len(files(tmp_path / "s")) == 1
    later.release(2)
    assert files(tmp_path / "s") == []
