"""What `bitmask keys list` says of the state of a key: the most urgent first."""

from __future__ import annotations

from typing import Any

import pytest

from leap.bitmask.cli.keys import row_of

PLAIN: dict[str, Any] = {
    "address": "bob@example.test",
    "fingerprint": "A" * 40,
    "own": False,
    "level_words": "weak chain",
    "source": "autocrypt",
    "revoked": False,
    "can_encrypt": True,
    "blocked": False,
    "alerts": [],
    "offered": "",
}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, ""),
        ({"offered": "B" * 40}, "another key is offered"),
        ({"offered": "B" * 40, "can_encrypt": False}, "cannot be encrypted to"),
        ({"can_encrypt": False, "revoked": True}, "revoked"),
        ({"revoked": True, "blocked": True}, "blocked"),
        ({"blocked": True, "alerts": ["The key may have changed."]}, "ATTENTION"),
        ({"own": True, "in_use": True}, "in use"),
        ({"own": True, "in_use": False}, "opens mail only"),
    ],
)
def test_each_state_has_its_words(what: dict[str, Any], said: str) -> None:
    assert row_of({**PLAIN, **what})[-1] == said
