"""The recommendation: every row of the table for one recipient and for several."""

from __future__ import annotations

from itertools import product

import pytest

from leap.keymanager.autocrypt.header import PreferEncrypt
from leap.keymanager.autocrypt.peers import Peer
from leap.keymanager.autocrypt.recommendation import (
    STALE,
    Advice,
    Recommendation,
    recommend,
    recommend_together,
)

NOW = 1_790_000_000


def peer(prefer: PreferEncrypt, stale: bool) -> Peer:
    return Peer(
        address="alice@a.test",
        last_seen=NOW,
        autocrypt_timestamp=NOW - STALE - stale,
        prefer_encrypt=prefer,
    )


def test_nobody_known_means_disable() -> None:
    for reply in (False, True):
        answer = recommend(
            None, public_usable=True, gossip_usable=True, own="mutual", reply_to_encrypted=reply
        )
        assert answer == Recommendation("disable", None)


# public key, gossip key, stale, both mutual, a reply -> advice, which key
ROWS: list[tuple[tuple[int, int, int, int, int], Recommendation]] = [
    ((0, 0, 0, 0, 0), Recommendation("disable", None)),
    ((0, 0, 0, 0, 1), Recommendation("disable", None)),
    ((0, 0, 0, 1, 0), Recommendation("disable", None)),
    ((0, 0, 0, 1, 1), Recommendation("disable", None)),
    ((0, 0, 1, 0, 0), Recommendation("disable", None)),
    ((0, 0, 1, 0, 1), Recommendation("disable", None)),
    ((0, 0, 1, 1, 0), Recommendation("disable", None)),
    ((0, 0, 1, 1, 1), Recommendation("disable", None)),
    ((0, 1, 0, 0, 0), Recommendation("discourage", "gossip")),
    ((0, 1, 0, 0, 1), Recommendation("encrypt", "gossip")),
    ((0, 1, 0, 1, 0), Recommendation("discourage", "gossip")),
    ((0, 1, 0, 1, 1), Recommendation("encrypt", "gossip")),
    ((0, 1, 1, 0, 0), Recommendation("discourage", "gossip")),
    ((0, 1, 1, 0, 1), Recommendation("encrypt", "gossip")),
    ((0, 1, 1, 1, 0), Recommendation("discourage", "gossip")),
    ((0, 1, 1, 1, 1), Recommendation("encrypt", "gossip")),
    ((1, 0, 0, 0, 0), Recommendation("available", "public")),
    ((1, 0, 0, 0, 1), Recommendation("encrypt", "public")),
    ((1, 0, 0, 1, 0), Recommendation("encrypt", "public")),
    ((1, 0, 0, 1, 1), Recommendation("encrypt", "public")),
    ((1, 0, 1, 0, 0), Recommendation("discourage", "public")),
    ((1, 0, 1, 0, 1), Recommendation("encrypt", "public")),
    ((1, 0, 1, 1, 0), Recommendation("discourage", "public")),
    ((1, 0, 1, 1, 1), Recommendation("encrypt", "public")),
    ((1, 1, 0, 0, 0), Recommendation("available", "public")),
    ((1, 1, 0, 0, 1), Recommendation("encrypt", "public")),
    ((1, 1, 0, 1, 0), Recommendation("encrypt", "public")),
    ((1, 1, 0, 1, 1), Recommendation("encrypt", "public")),
    ((1, 1, 1, 0, 0), Recommendation("discourage", "public")),
    ((1, 1, 1, 0, 1), Recommendation("encrypt", "public")),
    ((1, 1, 1, 1, 0), Recommendation("discourage", "public")),
    ((1, 1, 1, 1, 1), Recommendation("encrypt", "public")),
]


def test_the_table_has_every_row() -> None:
    assert [row for row, _ in ROWS] == list(product((0, 1), repeat=5))


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_one_recipient(row: tuple[int, int, int, int, int], expected: Recommendation) -> None:
    public, gossip, stale, mutual, reply = map(bool, row)
    preferences: list[tuple[PreferEncrypt, PreferEncrypt]] = [("mutual", "mutual")]
    if not mutual:
        preferences = [
            ("nopreference", "nopreference"),
            ("mutual", "nopreference"),
            ("nopreference", "mutual"),
        ]
    for theirs, own in preferences:
        answer = recommend(
            peer(theirs, stale),
            public_usable=public,
            gossip_usable=gossip,
            own=own,
            reply_to_encrypted=reply,
        )
        assert answer == expected


@pytest.mark.parametrize(
    ("advices", "together"),
    [
        ([], "disable"),
        (["disable"], "disable"),
        (["encrypt", "disable"], "disable"),
        (["discourage", "disable"], "disable"),
        (["available", "disable"], "disable"),
        (["encrypt"], "encrypt"),
        (["encrypt", "encrypt"], "encrypt"),
        (["encrypt", "discourage"], "discourage"),
        (["available", "discourage"], "discourage"),
        (["discourage"], "discourage"),
        (["encrypt", "available"], "available"),
        (["available", "available"], "available"),
        (["encrypt", "available", "discourage"], "discourage"),
        (["encrypt", "available", "discourage", "disable"], "disable"),
    ],
)
def test_several_recipients(advices: list[Advice], together: Advice) -> None:
    assert recommend_together(advices) == together
    assert recommend_together(reversed(advices)) == together
