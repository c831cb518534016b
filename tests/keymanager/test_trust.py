"""The rule of replacement: every line of the table, and the reason in words."""

from __future__ import annotations

import pytest

from leap.keymanager.trust import BoundKey, Level, level_named, may_replace

NOW = 1_000_000
OLD, NEW = "A" * 40, "B" * 40
WEAK, MIDDLE, CHECKED = Level.WEAK_CHAIN, Level.PROVIDER_TRUST, Level.FINGERPRINT


def old(level: Level = MIDDLE, **more: object) -> BoundKey:
    return BoundKey(fingerprint=OLD, level=level, **more)  # type: ignore[arg-type]


def new(level: Level = MIDDLE, **more: object) -> BoundKey:
    return BoundKey(fingerprint=NEW, level=level, **more)  # type: ignore[arg-type]


ALIVE, DEAD = NOW + 10, NOW - 10
TABLE = [
    (None, new(WEAK), True, "there was no key for this address"),
    (old(CHECKED), BoundKey(fingerprint=OLD, level=WEAK), True, "it is an update of the same key"),
    (old(), new(CHECKED), True, "you compared the new key's fingerprint"),
    (old(CHECKED), new(CHECKED), True, "you compared the new key's fingerprint"),
    (old(), new(CHECKED, revoked=True), False, "the new key is revoked"),
    (old(), new(CHECKED, expires=NOW), False, "the new key has expired"),
    (old(revoked=True), new(WEAK), True, "the old key is revoked"),
    (
        old(CHECKED),
        new(WEAK, certified_by=frozenset({OLD})),
        False,
        "the old key signed the new one, but the new one is believed less",
    ),
    (
        old(MIDDLE, expires=ALIVE, used_both_ways=True),
        new(MIDDLE, certified_by=frozenset({OLD})),
        True,
        "the old key signed the new one",
    ),
    (
        old(expires=DEAD),
        new(MIDDLE),
        True,
        "the old key has expired, and the new one is believed as much",
    ),
    (
        old(expires=NOW),
        new(WEAK),
        False,
        "the old key has expired, but the new one is believed less",
    ),
    (old(WEAK), new(MIDDLE), True, "the new key is believed more, and the old one has no end"),
    (
        old(WEAK, used_both_ways=True),
        new(MIDDLE),
        True,
        "the new key is believed more, and the old one has no end",
    ),
    (
        old(WEAK, expires=ALIVE),
        new(MIDDLE, expires=ALIVE),
        True,
        "the new key is believed more, and the old one was never used both ways",
    ),
    (
        old(WEAK, expires=ALIVE, used_both_ways=True),
        new(MIDDLE),
        False,
        "the old key is in use, and has not ended yet",
    ),
    (old(MIDDLE), new(MIDDLE), False, "the new key is not believed more than the old one"),
    (old(CHECKED), new(WEAK), False, "the new key is not believed more than the old one"),
]


@pytest.mark.parametrize(("before", "offered", "allowed", "reason"), TABLE)
def test_who_may_replace_whom(
    before: BoundKey | None, offered: BoundKey, allowed: bool, reason: str
) -> None:
    decision = may_replace(before, offered, now=NOW)
    assert (decision.allowed, decision.reason) == (allowed, reason)


def test_no_level_below_the_persons_own_check_replaces_a_key_in_use() -> None:
    before = old(WEAK, expires=ALIVE, used_both_ways=True)
    allowed = [level for level in Level if may_replace(before, new(level), now=NOW).allowed]
    assert allowed == [Level.FINGERPRINT]


def test_levels_have_words_and_unknown_words_are_the_lowest() -> None:
    assert [level_named(level.word) for level in Level] == list(Level)
    assert Level.PROVIDER_TRUST.words == "provider trust"
    assert level_named("something-newer") is Level.WEAK_CHAIN
    assert sorted(Level)[0] is Level.WEAK_CHAIN
