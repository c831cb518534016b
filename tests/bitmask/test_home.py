"""The home directory: addresses, private files, locks."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from leap.bitmask.home import Home, HomeError, Lock, normal_address
from leap.soledad.private_file import write_private


@pytest.mark.parametrize(
    ("given", "normal"),
    [("Alice@Example.Test", "alice@example.test"), (" a.b+c@x.y ", "a.b+c@x.y")],
)
def test_addresses_are_kept_in_one_form(given: str, normal: str) -> None:
    assert normal_address(given) == normal


@pytest.mark.parametrize(
    "given", ["alice", "@x.y", "a@", "../../etc@x", "a/b@x.y", "a@x/y", "a..b@x.y", "a\0@x.y"]
)
def test_what_could_leave_the_accounts_folder_is_no_address(given: str) -> None:
    with pytest.raises(HomeError):
        normal_address(given)


def test_a_home_is_for_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home")
    home.prepare()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    write_private(home.settings_file, b"{}")
    assert stat.S_IMODE(home.settings_file.stat().st_mode) == 0o600


def test_a_home_that_is_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="Cannot use"):
        Home(tmp_path / "home").prepare()


def test_a_failed_write_leaves_the_old_file_and_no_remains(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write_private(path, b"old")
    with pytest.raises(TypeError):
        write_private(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings.json"]


def test_damaged_settings_are_named_not_ignored(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.settings_file.write_text("{")
    with pytest.raises(HomeError, match=r"settings\.json"):
        home.settings()


def test_only_accounts_with_a_vault_are_listed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    home.account("bob@example.test").mkdir()
    home.account("alice@example.test").mkdir()
    home.vault("alice@example.test").write_text("{}")
    assert home.accounts() == ["alice@example.test"]


def test_a_lock_keeps_a_second_holder_out(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


def test_sockets_get_a_short_path_in_a_deep_home(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("x" * 100))
    deep.prepare()
    assert len(str(deep.runtime_folder())) < 80
