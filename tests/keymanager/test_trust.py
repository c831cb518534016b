"""The rule of replacement: every line of the table, the reason in words, and each branch of it proven to be tried."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from leap.keymanager import trust
from leap.keymanager.trust import BoundKey, Level, level_named, may_replace
from tests.branches import untaken_branches

NOW = 1_000_000
OLD, NEW = "A" * 40, "B" * 40
WEAK, MIDDLE, CHECKED = Level.WEAK_CHAIN, Level.PROVIDER_TRUST, Level.FINGERPRINT


def old(level: Level = MIDDLE, **more: object) -> BoundKey:
    return BoundKey(fingerprint=OLD, level=level, **more)  # type: ignore[arg-type]


def new(level: Level = MIDDLE, **more: object) -> BoundKey:
    return BoundKey(fingerprint=NEW, level=level, **more)  # type: ignore[arg-type]


ALIVE, DEAD = NOW + 10, NOW - 10
BY_OLD = frozenset({OLD})
TABLE = [
    (None, new(WEAK), True, "there was no key for this address"),
    (None, new(WEAK, revoked=True), True, "there was no key for this address"),
    (None, new(CHECKED, blocked=True), False, "you blocked the new key"),
    (old(CHECKED), BoundKey(fingerprint=OLD, level=WEAK), True, "it is an update of the same key"),
    (
        old(CHECKED),
        BoundKey(fingerprint=OLD, level=WEAK, blocked=True, revoked=True),
        True,
        "it is an update of the same key",
    ),
    (old(), new(CHECKED), True, "you compared the new key's fingerprint"),
    (old(CHECKED), new(CHECKED), True, "you compared the new key's fingerprint"),
    (old(), new(CHECKED, revoked=True), False, "the new key is revoked"),
    (old(), new(CHECKED, expires=NOW), False, "the new key has expired"),
    (old(WEAK), new(can_encrypt=False), False, "nothing can be encrypted to the new key"),
    (old(WEAK), new(blocked=True), False, "you blocked the new key"),
    (
        old(MIDDLE, blocked=True, used_both_ways=True),
        new(MIDDLE),
        True,
        "you blocked the old key, and the new one is believed as much",
    ),
    (
        old(MIDDLE, blocked=True),
        new(WEAK, certified_by=BY_OLD),
        False,
        "you blocked the old key, but the new one is believed less",
    ),
    (old(revoked=True), new(WEAK), True, "the old key is revoked"),
    (old(), new(WEAK, certified_by=BY_OLD), True, "the old key signed the new one"),
    (
        old(MIDDLE, expires=ALIVE, used_both_ways=True),
        new(MIDDLE, certified_by=BY_OLD),
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
    (
        old(CHECKED),
        new(MIDDLE),
        False,
        "you verified the old key, so you decide (provider trust says so)",
    ),
    (
        old(CHECKED, revoked=True),
        new(WEAK),
        False,
        "you verified the old key, so you decide (the old key is revoked)",
    ),
    (
        old(CHECKED),
        new(WEAK, certified_by=BY_OLD),
        False,
        "you verified the old key, so you decide (the old key signed the new one)",
    ),
    (
        old(CHECKED),
        new(MIDDLE, declined=True),
        False,
        "you kept the old key when the new one was offered",
    ),
]


@pytest.mark.parametrize(("before", "offered", "allowed", "reason"), TABLE)
def test_who_may_replace_whom(
    before: BoundKey | None, offered: BoundKey, allowed: bool, reason: str
) -> None:
    decision = may_replace(before, offered, now=NOW)
    assert (decision.allowed, decision.reason) == (allowed, reason)


def may_by_the_issue(before: BoundKey | None, offered: BoundKey) -> bool:
    """The sentences of the issue, each by itself, in its order, whatever the others say; nothing of trust.py."""
    levels = [
        "weak-chain",
        "provider-trust",
        "provider-endorsement",
        "third-party-endorsement",
        "third-party-consensus",
        "historically-auditing",
        "known-key",
        "fingerprint",
    ]
    if before is None:
        return True  # there is none yet
    rank = {word: place for place, word in enumerate(levels)}
    more = rank[offered.level.word] - rank[before.level.word]
    ended = before.expires is not None and before.expires <= NOW
    sentences = [
        offered.fingerprint == before.fingerprint,  # it is an update of the same fingerprint
        offered.level.word == "fingerprint",  # the person checked the new fingerprint
        ended and more >= 0,  # the old expired and the new level is not lower
        before.expires is None and more > 0,  # the old has no expiry and the new level is higher
        not before.used_both_ways and more > 0,  # the old was never used both ways
        before.fingerprint in offered.certified_by,  # the new is certified by the old
        before.revoked,  # and the old is revoked
    ]
    return any(sentences)


def all_pairs() -> list[tuple[BoundKey | None, BoundKey]]:
    """Every level with every level, and every state of the old key and of the new one."""
    found: list[tuple[BoundKey | None, BoundKey]] = []
    ends, yes_no = (None, DEAD, NOW, ALIVE), (False, True)
    news = [
        BoundKey(fingerprint=f, level=level, expires=end, revoked=revoked, certified_by=by)
        for f, level, end, revoked, by in itertools.product(
            (OLD, NEW), Level, (None, DEAD, ALIVE), yes_no, (frozenset(), BY_OLD)
        )
    ]
    for level, end, revoked, used in itertools.product(Level, ends, yes_no, yes_no):
        before = old(level, expires=end, revoked=revoked, used_both_ways=used)
        found += [(before, offered) for offered in news]
    return found + [(None, offered) for offered in news]


def test_the_whole_table_agrees_with_the_sentences_of_the_issue() -> None:
    """Two things come before the sentences: a dead key replaces nothing, a verified one only the person replaces."""
    allowed = alerts = 0
    for before, offered in all_pairs():
        decision = may_replace(before, offered, now=NOW)
        wanted = may_by_the_issue(before, offered)
        same = before is None or before.fingerprint == offered.fingerprint
        dead = offered.revoked or (offered.expires is not None and offered.expires <= NOW)
        verified = before is not None and before.level is Level.FINGERPRINT
        if not same and dead:
            assert not decision.allowed
            assert not decision.alert
        elif not same and verified and offered.level is not Level.FINGERPRINT:
            assert not decision.allowed
            assert decision.alert == (wanted or offered.level > Level.WEAK_CHAIN)
        else:
            assert decision.allowed == wanted, (before, offered, decision)
            assert not decision.alert
        assert not decision.inherits or (decision.allowed and offered.certified_by)
        allowed += decision.allowed
        alerts += decision.alert
    assert allowed > 1000
    assert alerts > 100


def test_what_the_person_blocked_or_declined_stands_above_all_sources() -> None:
    for before, offered in all_pairs()[::7]:
        if before is None or before.fingerprint == offered.fingerprint:
            continue
        assert not may_replace(before, replace(offered, blocked=True), now=NOW).allowed
        if offered.level is not Level.FINGERPRINT:
            declined = may_replace(before, replace(offered, declined=True), now=NOW)
            assert not declined.alert


def test_every_branch_of_the_rule_is_taken() -> None:
    """By the table above alone: what is added to the rule without a line there fails here."""

    def run() -> None:
        for before, offered, _, _ in TABLE:
            may_replace(before, offered, now=NOW)
        for level in Level:
            assert level_named(level.word).words
        level_named("something-newer")

    assert untaken_branches(trust, run) == []
    without_one_line = [line for line in TABLE if "has expired, but" not in line[3]]
    missed = untaken_branches(
        trust, lambda: [may_replace(b, o, now=NOW) for b, o, _, _ in without_one_line]
    )
    assert "_by_the_rules" in {function for function, _, _ in missed}


def test_no_level_below_the_persons_own_check_replaces_a_key_in_use() -> None:
    before = old(WEAK, expires=ALIVE, used_both_ways=True)
    allowed = [level for level in Level if may_replace(before, new(level), now=NOW).allowed]
    assert allowed == [Level.FINGERPRINT]


def test_levels_have_words_and_unknown_words_are_the_lowest() -> None:
    assert [level_named(level.word) for level in Level] == list(Level)
    assert Level.PROVIDER_TRUST.words == "provider trust"
    assert level_named("something-newer") is Level.WEAK_CHAIN
    assert sorted(Level)[0] is Level.WEAK_CHAIN
