"""One form of a mail address, however it was written."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp import address_of


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        (" Bob@Example.ORG ", "bob@example.org"),
        ("bob@Bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@XN--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("bob@BU\u0308CHER.example", "bob@xn--bcher-kva.example"),  # a letter and its dots
        ("bob@straße.example", "bob@xn--strae-oqa.example"),
        ("Bücher@example.org", "bücher@example.org"),
        ("bob@☃\u200b.example", "bob@☃\u200b.example"),  # no name of the DNS
        ("bob", "bob"),
    ],
)
def test_one_form(written: str, compared: str) -> None:
    assert canonical(written) == compared


def test_a_user_id_has_its_address_in_that_form() -> None:
    assert address_of("Bob <Bob@Bücher.example>") == "bob@xn--bcher-kva.example"


@settings(max_examples=40, deadline=1000)
@given(st.text(max_size=60), st.text(max_size=300))
@example("a", "ü." * 200)
@example("İ", "İ.example")
def test_any_text_has_one_form_which_is_its_own(local: str, domain: str) -> None:
    once = canonical(f"{local}@{domain}")
    assert canonical(once) == once
