"""The whole decision table of sending."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from leap.mail.outgoing.policy import (
    Absent,
    Clear,
    Decision,
    Encrypt,
    KeyState,
    Mixed,
    Policy,
    Recipient,
    Refuse,
    Split,
    Unclear,
    Unusable,
    Usable,
    Wait,
    decide,
    policy_named,
    stricter,
)

KEY, NONE, OLD, LOST = Usable(), Absent(), Unusable("expired on 3 May 2026"), Unclear("no answer")
KEYS: tuple[KeyState, ...] = (KEY, NONE, OLD, LOST)
POLICIES: tuple[Policy, ...] = ("require", "prefer", "never")
MIXED: tuple[Mixed, ...] = ("refuse", "clear", "split")

# What one recipient is: c clear, k key, o open (k and o in capitals when encryption is required), x refused.
ONE: dict[tuple[Policy, KeyState], str] = {
    ("require", KEY): "K",
    ("require", NONE): "x",
    ("require", OLD): "x",
    ("require", LOST): "O",
    ("prefer", KEY): "k",
    ("prefer", NONE): "c",
    ("prefer", OLD): "x",
    ("prefer", LOST): "o",
    ("never", KEY): "c",
    ("never", NONE): "c",
    ("never", OLD): "c",
    ("never", LOST): "c",
}

# Who is among the recipients -> the answer by "refuse", "clear", "split", and for a mail that answers encrypted mail.
# E encrypt, C clear, S split, W wait, R refuse.
TOGETHER = {
    "c": "CCC R",
    "k": "EEE E",
    "K": "EEE E",
    "kK": "EEE E",
    "o": "WWW W",
    "O": "WWW W",
    "oO": "WWW W",
    "ko": "WWW W",
    "kO": "WWW W",
    "Ko": "WWW W",
    "KO": "WWW W",
    "kKo": "WWW W",
    "kKO": "WWW W",
    "koO": "WWW W",
    "KoO": "WWW W",
    "kKoO": "WWW W",
    "ck": "RCS R",
    "cK": "RRS R",
    "ckK": "RRS R",
    "co": "WWW R",
    "cO": "RRW R",
    "coO": "RRW R",
    "cko": "RWW R",
    "ckO": "RRW R",
    "cKo": "RRW R",
    "cKO": "RRW R",
    "ckKo": "RRW R",
    "ckKO": "RRW R",
    "ckoO": "RRW R",
    "cKoO": "RRW R",
    "ckKoO": "RRW R",
}
LETTERS: dict[type, str] = {Encrypt: "E", Clear: "C", Split: "S", Wait: "W", Refuse: "R"}


def together(kinds: tuple[tuple[Policy, KeyState], ...]) -> str:
    """The four answers for recipients of these kinds."""
    letters = {ONE[kind] for kind in kinds}
    if "x" in letters:
        return "RRR R"
    return TOGETHER["".join(one for one in "ckKoO" if one in letters)]


def every_mail() -> Iterator[tuple[tuple[Policy, KeyState], ...]]:
    """All mails to one, two, three, four and five people of any kinds, but for their order."""
    for number in range(1, 6):
        yield from itertools.combinations_with_replacement(ONE, number)


def recipients(
    kinds: tuple[tuple[Policy, KeyState], ...], *, sign: bool = False
) -> list[Recipient]:
    return [Recipient(f"r{at}@x", key, policy, sign) for at, (policy, key) in enumerate(kinds)]


def test_the_table_has_every_policy_key_and_set_of_recipients() -> None:
    assert set(ONE) == set(itertools.product(POLICIES, KEYS))
    sets = {"".join(chosen) for n in range(1, 6) for chosen in itertools.combinations("ckKoO", n)}
    assert set(TOGETHER) == sets


def test_every_combination_is_decided_as_the_table_says() -> None:
    count = 0
    for kinds in every_mail():
        expected = together(kinds)
        asked = recipients(kinds)
        for at, mixed in enumerate(MIXED):
            found = LETTERS[type(decide(asked, mixed=mixed))]
            assert found == expected[at], (kinds, mixed)
            found = LETTERS[type(decide(asked, mixed=mixed, answers_encrypted=True))]
            assert found == expected[4], (kinds, mixed, "answers encrypted mail")
            count += 2
    assert count == 6 * (12 + 78 + 364 + 1365 + 4368)


def test_the_order_of_recipients_changes_nothing() -> None:
    for kinds in itertools.combinations_with_replacement(ONE, 3):
        for mixed in MIXED:
            kind = {
                type(decide(recipients(order), mixed=mixed))
                for order in itertools.permutations(kinds)
            }
            assert len(kind) == 1


def gets_clear(decision: Decision, asked: list[Recipient]) -> set[str]:
    if isinstance(decision, Clear):
        return {one.address for one in asked}
    return set(decision.clear) if isinstance(decision, Split) else set()


def test_no_failure_and_no_wish_of_another_ever_leads_to_clear_text() -> None:
    for kinds in every_mail():
        asked = recipients(kinds)
        for mixed in MIXED:
            decision = decide(asked, mixed=mixed)
            for one in asked:
                if one.address not in gets_clear(decision, asked) or one.policy == "never":
                    continue
                assert one.policy == "prefer", "nobody for whom encryption is required"
                assert isinstance(one.key, Absent) or (mixed == "clear" and one.key == KEY)


def test_split_names_everybody_once_and_encrypts_only_to_keys() -> None:
    for kinds in every_mail():
        asked = recipients(kinds)
        decision = decide(asked, mixed="split")
        if isinstance(decision, Split):
            assert sorted(decision.encrypted + decision.clear) == [one.address for one in asked]
            assert all(
                one.key == KEY and one.policy != "never"
                for one in asked
                if one.address in decision.encrypted
            )


@pytest.mark.parametrize(
    ("signs", "mixed", "decision"),
    [
        ((True, True), "refuse", Clear(signed=True)),
        ((True, False), "refuse", Clear(signed=False)),
        ((False, False), "refuse", Clear(signed=False)),
    ],
)
def test_clear_text_is_signed_only_when_that_is_wished_for_all(
    signs: tuple[bool, ...], mixed: Mixed, decision: Decision
) -> None:
    asked = [Recipient(f"{at}@x", NONE, sign=sign) for at, sign in enumerate(signs)]
    assert decide(asked, mixed=mixed) == decision


@pytest.mark.parametrize("sign", [True, False])
def test_of_a_split_mail_those_who_get_clear_text_decide_about_its_signature(sign: bool) -> None:
    asked = [Recipient("a@x", KEY, sign=not sign), Recipient("b@x", NONE, sign=sign)]
    assert decide(asked, mixed="split") == Split(("a@x",), ("b@x",), signed=sign)


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


def test_all_clear_because_of_one_is_refused_where_encryption_is_required_for_another() -> None:
    asked = [Recipient("a@x", NONE), Recipient("b@x", KEY, "require")]
    decision = decide(asked, mixed="clear")
    assert isinstance(decision, Refuse)
    assert "because of a@x" in decision.sentence
    assert "required for b@x" in decision.sentence


def test_a_refused_answer_says_how_to_go_on() -> None:
    decision = decide([Recipient("a@x", NONE)], answers_encrypted=True)
    assert isinstance(decision, Refuse)
    assert "X-Leap-Encrypt: never" in decision.sentence
    assert "a@x" in decision.sentence


def test_no_recipients_is_refused() -> None:
    assert isinstance(decide([]), Refuse)


@pytest.mark.parametrize(
    ("policy", "wish", "result"),
    [
        ("prefer", "require", "require"),
        ("prefer", " Never ", "never"),
        ("prefer", "", "prefer"),
        ("prefer", "split", "prefer"),
        ("prefer", "please", "prefer"),
        ("require", "never", "require"),
        ("never", "require", "require"),
        ("never", "never", "never"),
    ],
)
def test_what_one_message_may_ask_for(policy: Policy, wish: str, result: Policy) -> None:
    assert stricter(policy, wish) == result


@pytest.mark.parametrize("policy", POLICIES)
def test_a_contact_without_a_word_of_its_own_has_the_accounts_policy(policy: Policy) -> None:
    assert policy_named(None, policy) == policy
    assert policy_named("", policy) == policy
    assert policy_named("sometimes", policy) == policy
    assert policy_named("never", policy) == "never"
