"""What a person reads of sync, and of errors."""

from typing import Any

import pytest

from leap.bitmask.sentences import sentence, sync_sentence
from leap.mail.contract import SyncStatus

SYNCED: dict[str, Any] = {
    "online": True,
    "provisional": False,
    "last_sync": 1,
    "pending": 0,
    "blobs_to_send": 0,
    "blobs_to_fetch": 0,
}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, "Online, everything is synced."),
        (
            {"alarm": "the log was altered"},
            "SYNC STOPPED: the log was altered. To let it go on: bitmask sync resume.",
        ),
        ({"online": False, "error": "no route"}, "Offline, everything is synced. No route."),
        ({"blobs_to_fetch": 3}, "Online, 3 contents are still to be fetched."),
        ({"pending": 1, "blobs_to_send": 2}, "Online, 1 change and 2 contents wait to be sent."),
        (
            {"error": "this device is not logged in; run `bitmask user auth alice@example.org`"},
            "Online, but sync fails: this device is not logged in; run `bitmask user auth alice@example.org`.",
        ),
        (
            {"error": "the provider is full", "pending": 2},
            "Online, but sync fails: the provider is full. 2 changes and 0 contents wait to be sent.",
        ),
        ({"provisional": True, "error": "no"}, "Online, but sync fails: no."),
    ],
)
def test_each_state_has_its_sentence(what: dict[str, Any], said: str) -> None:
    assert sync_sentence(SyncStatus(**{**SYNCED, **what})) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("the key is revoked", "The key is revoked."),
        ("is it so?", "Is it so?"),
        ("bob@example.test has no own key 9", "bob@example.test has no own key 9."),
        ("openpgpkey.example.test answered: 500", "openpgpkey.example.test answered: 500."),
        ("/tmp/x cannot be read", "/tmp/x cannot be read."),
    ],
)
def test_an_error_becomes_a_sentence_and_names_stay_as_they_are(words: str, said: str) -> None:
    assert sentence(words) == said


@pytest.mark.parametrize(("count", "words"), [(1, "1 content is"), (2, "2 contents are")])
def test_missing_contents_are_not_called_synced(count: int, words: str) -> None:
    said = sync_sentence(SyncStatus(**SYNCED, contents_missing=count))
    assert f"{words} missing or damaged at the provider" in said
    assert "everything is synced" not in said
