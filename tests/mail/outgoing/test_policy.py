"""The whole decision table of sending."""

from __future__ import annotations

import itertools

import pytest

from leap.mail.outgoing.policy import (
    Absent,
    Clear,
    Encrypt,
    KeyState,
    Policy,
    Recipient,
    Refuse,
    Unclear,
    Unusable,
    Usable,
    Wait,
    decide,
    stricter,
)

KEY, NONE, OLD, LOST = Usable(), Absent(), Unusable("expired on 3 May 2026"), Unclear("no answer")

# (policy of all, keys) -> kind of answer
TABLE: list[tuple[Policy, tuple[KeyState, ...], type]] = [
    ("prefer", (KEY,), Encrypt),
    ("prefer", (NONE,), Clear),
    ("prefer", (OLD,), Refuse),
    ("prefer", (LOST,), Wait),
    ("prefer", (KEY, KEY), Encrypt),
    ("prefer", (KEY, NONE), Refuse),
    ("prefer", (KEY, OLD), Refuse),
    ("prefer", (KEY, LOST), Wait),
    ("prefer", (NONE, NONE), Clear),
    ("prefer", (NONE, OLD), Refuse),
    ("prefer", (NONE, LOST), Wait),
    ("prefer", (OLD, LOST), Refuse),
    ("prefer", (LOST, LOST), Wait),
    ("prefer", (KEY, NONE, LOST), Refuse),
    ("require", (KEY,), Encrypt),
    ("require", (NONE,), Refuse),
    ("require", (OLD,), Refuse),
    ("require", (LOST,), Wait),
    ("require", (KEY, NONE), Refuse),
    ("require", (KEY, LOST), Wait),
    ("require", (NONE, LOST), Refuse),
    ("require", (NONE, NONE), Refuse),
    ("never", (KEY,), Clear),
    ("never", (NONE,), Clear),
    ("never", (OLD,), Clear),
    ("never", (LOST,), Clear),
    ("never", (KEY, NONE), Clear),
]


@pytest.mark.parametrize(("policy", "keys", "kind"), TABLE)
def test_decision_table(policy: Policy, keys: tuple[KeyState, ...], kind: type) -> None:
    for order in itertools.permutations(keys):
        recipients = [Recipient(f"r{i}@example.org", key, policy) for i, key in enumerate(order)]
        assert type(decide(recipients)) is kind


def test_clear_only_when_all_lookups_said_none_or_the_person_said_never() -> None:
    states: tuple[KeyState, ...] = (KEY, NONE, OLD, LOST)
    policies: tuple[Policy, ...] = ("require", "prefer", "never")
    for pairs in itertools.product(itertools.product(policies, states), repeat=3):
        decision = decide(
            [Recipient(f"{i}@x", key, policy) for i, (policy, key) in enumerate(pairs)]
        )
        if isinstance(decision, Clear):
            assert all(p == "never" or (p == "prefer" and k == NONE) for p, k in pairs)
            assert len({p == "never" for p, _ in pairs}) == 1
        if isinstance(decision, Encrypt):
            assert all(k == KEY and p != "never" for p, k in pairs)


def test_a_refusal_names_those_without_a_key_and_nobody_else() -> None:
    decision = decide([Recipient("bob@example.org", KEY), Recipient("carol@example.org", NONE)])
    assert isinstance(decision, Refuse)
    assert "carol@example.org" in decision.sentence
    assert "bob@example.org" not in decision.sentence


def test_a_refusal_for_an_expired_key_gives_the_reason() -> None:
    decision = decide([Recipient("bob@example.org", OLD)])
    assert isinstance(decision, Refuse)
    assert "the key of bob@example.org expired on 3 May 2026" in decision.sentence


def test_mixed_wishes_are_refused() -> None:
    decision = decide([Recipient("a@x", KEY, "never"), Recipient("b@x", KEY, "prefer")])
    assert isinstance(decision, Refuse)
    assert "a@x" in decision.sentence


def test_no_recipients_is_refused() -> None:
    assert isinstance(decide([]), Refuse)


@pytest.mark.parametrize(
    ("policy", "wish", "result"),
    [
        ("prefer", "require", "require"),
        ("prefer", " Never ", "never"),
        ("prefer", "", "prefer"),
        ("prefer", "please", "prefer"),
        ("require", "never", "require"),
        ("never", "require", "require"),
        ("never", "never", "never"),
    ],
)
def test_what_one_message_may_ask_for(policy: Policy, wish: str, result: Policy) -> None:
    assert stricter(policy, wish) == result
