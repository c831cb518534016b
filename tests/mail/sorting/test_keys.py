"""Sort keys of messages, and how texts are compared (RFC 5051, 5256, 5957)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import SecurityStatus
from leap.mail.model import header_record
from leap.mail.sorting.collation import casemap
from leap.mail.sorting.keys import SortKeys, sort_keys
from leap.mail.threads.facts import facts_of, ids_of


def keys(header: str) -> SortKeys:
    raw = header.encode().replace(b"\n", b"\r\n") + b"\r\n\r\ntext\r\n"
    return keys_of(raw)


def keys_of(raw: bytes) -> SortKeys:
    record = header_record(raw, SecurityStatus(encryption="local"))
    return sort_keys(record, facts_of(record))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Heron", "hERON"),
        ("É", "e\u0301"),
        ("ﬁn", "fin"),  # a ligature is decomposed, though no single letter is its titlecase
        ("\N{LATIN SMALL LETTER DZ}", "\N{LATIN CAPITAL LETTER DZ}"),
    ],
)
def test_texts_are_equal_but_for_case_and_composition(one: str, other: str) -> None:
    assert casemap(one).casefold() == casemap(other).casefold()


def test_the_order_of_octets_is_that_of_titlecase() -> None:
    words = ["_x", "zoo", "Abc", "aé", "Ünder", "aa", "1"]
    assert sorted(words, key=casemap) == ["1", "aa", "Abc", "aé", "Ünder", "zoo", "_x"]


def test_an_address_in_a_literal_is_read_too() -> None:
    found = keys('From: "J\u00fcrgen \\" X" <j@x.test>, b@x.test\nSubject: [a] Re: x')
    assert (found.sender, found.subject, found.reply) == ("J", "X", True)
    assert found.shown_sender == casemap('J\u00fcrgen " X')


def test_ids_are_its_own_and_those_before() -> None:
    first, answer = keys("Message-ID: <a@x>"), keys("Message-ID: <b@x>\nReferences: <a@x> <c@x>")
    assert ids_of(answer.ids)[1] == ids_of(first.ids)[0]
    assert len(ids_of(answer.ids)) == 3


@settings(max_examples=30)
@given(st.binary(max_size=200), st.sampled_from(["From", "To", "Subject", "Date", "References"]))
def test_any_octets_have_sort_keys(value: bytes, name: str) -> None:
    raw = name.encode() + b": " + value + b"\r\n\r\n"
    found = keys_of(raw)
    "".join(one for one in found if isinstance(one, str)).encode()
