"""What people write, and what it means; whatever they write, the answer is a query or a sentence."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import QueryError
from leap.mail.search.query import (
    And,
    Attachment,
    Days,
    Flag,
    In,
    Not,
    Or,
    Query,
    Text,
    parse_query,
)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", And(())),
        ("Größe", Text("people", "grosse")),
        ("FROM:Ann -to:bob", And((Text("from", "ann"), Not(Text("recipients", "bob"))))),
        ('subject:"two  words', Text("subject", "two words")),
        ("re:nest http://x.test", And((Text("people", "re:nest"), Text("people", "http://x.test")))),
        ("a OR -b c", And((Or((Text("people", "a"), Not(Text("people", "b")))), Text("people", "c")))),
        ('"OR" or', And((Text("people", "or"), Text("people", "or")))),
        ("has:attachment is:unread", And((Attachment(), Flag("\\Seen", False)))),
        ('in:"Old Mail" tag:$work', And((In("Old Mail"), Or((Flag("&ACQ-work"), Flag("$work")))))),
        ("before:2026-03 after:2026-1-9", And((Days(end=date(2026, 3, 1)), Days(first=date(2026, 1, 9))))),
        ('"" x', Text("people", "x")),
        ("tag:", Text("people", "tag:")),
    ],
)  # fmt: skip
def test_what_a_query_means(text: str, query: Query) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a OR", "OR stands between"),
        ("OR a", "OR stands between"),
        ("a OR OR b", "OR stands between"),
        ("has:wings", "comes attachment"),
        ("is:odd", "comes one of"),
        ("after:2026-02-30", "comes a day"),
        ("before:tomorrow", "comes a day"),
        ('from:" "', "comes a word"),
        ("a " * 51, "at most 50 words"),
        ("a" * 2_001, "at most 2000 characters"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        parse_query(text)


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.sampled_from('ab -":OR \nfromishasintgyetk2026'), max_size=40) | st.text(max_size=20)
)
def test_any_text_is_a_query_or_refused(text: str) -> None:
    try:
        parse_query(text)
    except QueryError:
        pass
