"""The rebase table: every pair of operations on a row, in both orders, and the merge of documents by field."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.soledad.rebase import merge_fields, merge_row, merge_set
from tests.soledad.schemas import NOTE

BASE: dict[str, Any] = {"row_id": "r", **dict.fromkeys(NOTE.fixed, 0)}
BASE |= {"folder": "in", "title": "old", "flags": "a b"}

EDITS: dict[str, dict[str, Any] | None] = {
    "nothing": {},
    "flag": {"flags": "a b c"},
    "unflag": {"flags": "a"},
    "move": {"folder": "archive"},
    "move elsewhere": {"folder": "trash"},
    "move and flag": {"folder": "archive", "flags": "a b c"},
    "title": {"title": "new"},
    "expunge": None,
}

# (local, remote): what differs from BASE afterwards; None: the row is gone
TABLE: dict[tuple[str, str], dict[str, Any] | None] = {
    ("flag", "flag"): {"flags": "a b c"},
    ("flag", "unflag"): {"flags": "a c"},
    ("flag", "move"): {"flags": "a b c", "folder": "archive"},
    ("flag", "move elsewhere"): {"flags": "a b c", "folder": "trash"},
    ("flag", "move and flag"): {"flags": "a b c", "folder": "archive"},
    ("flag", "title"): {"flags": "a b c", "title": "new"},
    ("flag", "expunge"): None,
    ("unflag", "flag"): {"flags": "a c"},
    ("unflag", "unflag"): {"flags": "a"},
    ("unflag", "move"): {"flags": "a", "folder": "archive"},
    ("unflag", "move elsewhere"): {"flags": "a", "folder": "trash"},
    ("unflag", "move and flag"): {"flags": "a c", "folder": "archive"},
    ("unflag", "title"): {"flags": "a", "title": "new"},
    ("unflag", "expunge"): None,
    ("move", "flag"): {"flags": "a b c", "folder": "archive"},
    ("move", "unflag"): {"flags": "a", "folder": "archive"},
    ("move", "move"): {"folder": "archive"},
    ("move", "move elsewhere"): {"folder": "archive"},  # who pushes second decides
    ("move", "move and flag"): {"folder": "archive", "flags": "a b c"},
    ("move", "title"): {"folder": "archive", "title": "new"},
    ("move", "expunge"): {"folder": "archive"},  # it was removed from where it no longer is
    ("move elsewhere", "flag"): {"flags": "a b c", "folder": "trash"},
    ("move elsewhere", "unflag"): {"flags": "a", "folder": "trash"},
    ("move elsewhere", "move"): {"folder": "trash"},
    ("move elsewhere", "move elsewhere"): {"folder": "trash"},
    ("move elsewhere", "move and flag"): {"folder": "trash", "flags": "a b c"},
    ("move elsewhere", "title"): {"folder": "trash", "title": "new"},
    ("move elsewhere", "expunge"): {"folder": "trash"},
    ("move and flag", "flag"): {"folder": "archive", "flags": "a b c"},
    ("move and flag", "unflag"): {"folder": "archive", "flags": "a c"},
    ("move and flag", "move"): {"folder": "archive", "flags": "a b c"},
    ("move and flag", "move elsewhere"): {"folder": "archive", "flags": "a b c"},
    ("move and flag", "move and flag"): {"folder": "archive", "flags": "a b c"},
    ("move and flag", "title"): {"folder": "archive", "flags": "a b c", "title": "new"},
    ("move and flag", "expunge"): {"folder": "archive", "flags": "a b c"},
    ("title", "flag"): {"flags": "a b c", "title": "new"},
    ("title", "unflag"): {"flags": "a", "title": "new"},
    ("title", "move"): {"folder": "archive", "title": "new"},
    ("title", "move elsewhere"): {"folder": "trash", "title": "new"},
    ("title", "move and flag"): {"folder": "archive", "flags": "a b c", "title": "new"},
    ("title", "title"): {"title": "new"},
    ("title", "expunge"): None,
    ("expunge", "flag"): None,
    ("expunge", "unflag"): None,
    ("expunge", "move"): {"folder": "archive"},
    ("expunge", "move elsewhere"): {"folder": "trash"},
    ("expunge", "move and flag"): {"folder": "archive", "flags": "a b c"},
    ("expunge", "title"): None,
    ("expunge", "expunge"): None,
}
for _name, _edit in EDITS.items():
    TABLE["nothing", _name] = _edit
    TABLE[_name, "nothing"] = _edit


def edited(edit: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if edit is None else BASE | edit


@pytest.mark.parametrize("pair", list(itertools.product(EDITS, EDITS)), ids=" on ".join)
def test_row(pair: tuple[str, str]) -> None:
    local, remote = pair
    merged = merge_row(NOTE, BASE, edited(EDITS[local]), edited(EDITS[remote]))
    assert merged == edited(TABLE[pair])


def test_a_row_made_on_both_devices_is_the_remote_one_with_local_edits() -> None:
    made = BASE | {"flags": "a b"}
    seen = made | {"flags": "a b seen"}
    theirs = BASE | {"head_id": 7, "flags": "a b"}
    assert merge_row(NOTE, made, seen, theirs) == theirs | {"flags": "a b seen"}
    assert merge_row(NOTE, None, made, None) == made
    assert merge_row(NOTE, None, None, made) == made


words = st.frozensets(st.sampled_from("abcdef"))


def text(members: frozenset[str]) -> str:
    return " ".join(sorted(members))


@given(words, words, words)
def test_sets_merge_member_by_member_whatever_the_order(
    base: frozenset[str], local: frozenset[str], remote: frozenset[str]
) -> None:
    merged = merge_set(text(base), text(local), text(remote))
    assert merged == merge_set(text(base), text(remote), text(local))
    for word in "abcdef":
        changed = (word in local) != (word in base)
        assert (word in merged.split()) == (word in (local if changed else remote))


@pytest.mark.parametrize(
    ("base", "local", "remote", "merged"),
    [
        ({"a": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": 2, "b": 1}),
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a": 1}, {"a": 1}, None, None),
        ({"a": 1}, None, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, None, {"a": 2}),
        ({"a": 1}, None, {"a": 2}, {"a": 2}),
        (None, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({"d": {"x": 1}}, {"d": {"x": 2}}, {"d": {"x": 1, "y": 1}}, {"d": {"x": 2, "y": 1}}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1, 3]}, {"l": [1, 2]}),
        ({"a": 1}, {"a": None}, {"a": 1}, {"a": None}),
    ],
)
def test_fields(base: Any, local: Any, remote: Any, merged: Any) -> None:
    assert merge_fields(base, local, remote) == merged
