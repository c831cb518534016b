"""Whom a person takes a mail to be from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.incoming.differences import differing
from leap.mail.incoming.shown_sender import looks_like_another, shown_sender
from leap.mail.outgoing.field_lines import Field, header_fields


def doubt(value: str) -> str:
    return shown_sender(f"From: {value}\r\n\r\n".encode()).doubt


@pytest.mark.parametrize(
    "value",
    [
        "alice@example.org",
        "Alice <alice@example.org>",
        '"alice@example.org" <alice@example.org>',
        '"Example, Alice (Dr.)" <alice@example.org>',
        "=?utf-8?q?=D0=98=D0=B2=D0=B0=D0=BD?= <ivan@example.org>",
        '"Alice @ Example" <alice@example.org>',
        "alice@bücher.example",
        "иван@почта.рф",
        "alice@łódź.example",
        "alice@日本のカメラtokyo.example",
        "alice@佐々木ラーメン.example",
        '"Alice \u0660\u0661" <alice@example.org>',
        "alice@한국.example",
        "alice@ישראל.example",
        "नीता@उदाहरण.example",
    ],
)
def test_an_honest_from_is_beyond_doubt(value: str) -> None:
    assert doubt(value) == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
        "alice@example.org, eve@example.org",
        "friends: alice@example.org;",
        '"alice@example.org" <eve@example.org>',
        "eve@example.org (alice@example.org)",
        '"alice\uff20example.org" <eve@example.org>',
        '"alice@example\ua4f8org" <eve@example.org>',
        '"alice@example\u0660org" <eve@example.org>',
        '"Alice \u202egro.elpmaxe@ecila" <eve@example.org>',
        "alice@ex\u0430mple.org",
        "alice@xn--exmple-4nf.org",
        "\u0430lice@example.org",
        "\u0440\u0430\u0443\u0440\u0430l@example.org",
        "\u0251lice@example.org",  # Latin alpha
        "alice@\u0261oogle.example",  # Latin script g
        "alice@a\u05d0.example",  # Latin and Hebrew
        "alice@ex\u10d0mple.example",  # Latin and Georgian
    ],
)
def test_a_from_that_could_be_taken_for_another_is_in_doubt(value: str) -> None:
    assert doubt(value)


def test_a_label_of_letters_that_all_look_latin_is_in_doubt() -> None:
    assert looks_like_another("x@xn--80ak6aa92e.com")  # "apple" in Cyrillic letters
    assert not looks_like_another("x@xn--b1amarcd.xn--p1ai")  # a Russian word


@given(st.binary(max_size=120), st.binary(max_size=60))
def test_no_octets_make_it_raise(value: bytes, other: bytes) -> None:
    shown_sender(b"From: " + value + b"\r\n" + other + b"\r\n\r\n")
    fields = [Field("from", b"From: " + value), *header_fields(other)]
    assert differing(fields, fields, None) == ()
    differing(fields, [Field("from", b"From: " + other)], {})
