"""App passwords: shape, revocation, comparison."""

from __future__ import annotations

import re

from leap.bitmask.app_password import app_password, matches, new_seed


def test_an_app_password_has_the_promised_shape() -> None:
    for _ in range(50):
        assert re.fullmatch(r"[A-Za-z0-9-]{16,}", app_password(new_seed(), "alice@example.test"))


def test_only_the_password_itself_matches() -> None:
    seed = new_seed()
    password = app_password(seed, "alice@example.test")
    assert matches(seed, "alice@example.test", password)
    assert not matches(seed, "alice@example.test", password[:-1])
    assert not matches(seed, "bob@example.test", password)
    assert not matches(new_seed(), "alice@example.test", password)
    assert not matches(seed, "alice@example.test", "\ud800")
