"""Header fields chosen by name, and those that are kept for lists of messages."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message.chosen_fields import chosen_fields, field_names
from leap.mail.message.kept_fields import LEFT_OUT, LEFT_OUT_PREFIXES, are_kept, kept_fields

HEADER = (
    b"Return-Path: <a@example.test>\r\nReceived: from x\r\n\tby y;\r\n Sun\r\nFrom: a\r\nDKIM-Signature: v=1;\r\n"
    b" b=AA\r\nSubject: folded\r\n more\r\nARC-Seal: i=1\r\nX-Spam-Score: 1\r\nTo : b\r\n\r\n"
)


def by_expression(header: bytes, names: frozenset[bytes]) -> bytes:
    """The same, said by a regular expression."""
    if not names:
        return b"\r\n"
    chosen = b"|".join(map(re.escape, names))
    pattern = rb"(?im)^(?:" + chosen + rb")[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)"
    kept = b"".join(found[0] for found in re.finditer(pattern, header))
    return kept + (b"\r\n\r\n" if kept and not kept.endswith(b"\n") else b"\r\n")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"B", b"ab", b":", b" ", b"\t", b"\r\n", b"\n", b"\xff"])))
def test_chosen_fields_are_those_the_grammar_finds(pieces: list[bytes]) -> None:
    header, names = b"".join(pieces), field_names([b"A", b"ab", b"no name"])
    assert chosen_fields(header, names) == by_expression(header, names)


def test_traces_of_the_way_are_left_out() -> None:
    assert kept_fields(HEADER) == b"From: a\r\nSubject: folded\r\n more\r\nTo : b\r\n\r\n"
    assert kept_fields(b"Received: x") == b""
    assert kept_fields(b"") == b""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"Received: x\r\n", b"ARC-x:\n", b" more\r\n", b"To: a\r\n", b"to:", b"\tb\n", b"X\r\n", b"\r\n"]
        )
    )
)  # fmt: skip
def test_what_is_kept_answers_as_the_whole_header_does(pieces: list[bytes]) -> None:
    header, names = b"".join(pieces), field_names([b"to", b"subject", b"x-spammer"])
    assert are_kept(names)
    assert chosen_fields(kept_fields(header), names) == chosen_fields(header, names)


def test_fields_left_out_are_not_answered_from_what_is_kept() -> None:
    assert not any(are_kept([name.upper()]) for name in LEFT_OUT)
    assert not any(are_kept([prefix + b"any"]) for prefix in LEFT_OUT_PREFIXES)
