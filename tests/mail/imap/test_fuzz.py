"""Fuzzing, with the transcripts as seeds: a slice of what `make soak ARGS=imap-fuzz` does."""

from __future__ import annotations

from tests.mail.imap.fuzzing import (
    MOST_HELD,
    fuzz_framing,
    fuzz_grammar,
    fuzz_sessions,
    mutated,
    seeds,
)

SEED = 20261126


def test_the_grammar_raises_nothing_but_syntax_errors() -> None:
    report = fuzz_grammar(5_000, SEED)
    assert 0 < report.parsed < report.commands
    assert report.slowest < 1.0


def test_sessions_answer_whatever_comes_however_it_was_cut() -> None:
    report = fuzz_sessions(40, SEED)
    assert report.slowest < 10.0


def test_framing_holds_no_more_than_the_limits() -> None:
    assert fuzz_framing(300, SEED) < MOST_HELD


def test_the_seeds_are_real_commands_and_mutations_change_them() -> None:
    import random

    chance = random.Random(SEED)
    commands = seeds()
    assert any(command.startswith(b"UID FETCH") for command in commands)
    assert sum(mutated(command, chance) != command for command in commands) > len(commands) // 2
