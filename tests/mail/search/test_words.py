"""The index is never wrong about a needle: what the terms say agrees with looking for it in the text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.mail.search.folding import fold
from leap.mail.search.words import (
    MARKS,
    Field,
    Piece,
    body_terms,
    field_terms,
    pieces,
    shortened,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GRÖSSE", "größe"),
        ("Straße", "STRASSE"),
        ("İstanbul", "ISTANBUL"),
        ("\u0131ş\u0131k", "IŞIK"),
        ("ﬁnal", "final"),
        ("Cafe\u0301", "café"),
        ("Łódź", "lodz"),
        ("\uff26\uff55ll\u3000width", "full width"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("각", "각"),
        ("co\u00adoperate", "cooperate"),
        ("👩\u200d💻", "👩💻"),
        ("a \r\n\t b", "A b"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
    ],
)
def test_what_people_take_for_the_same_is_folded_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("か", "が"), ("가", "각"), ("a.b", "ab")])
def test_different_letters_stay_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


LETTERS = "abe012 .,-@_'\"\n\u00a0\u00adßİ\u0131éŁﬁ\u0301東京都がｶﾞ가กข👩\u200d💻→“”·ªΣς\ue001\ue040\ud800एि"
TEXTS = st.text(st.sampled_from(LETTERS), max_size=30) | st.text(max_size=10)
LONG = st.builds(lambda a, n, b: a + "xyz0123456789abc" * n + b, TEXTS, st.integers(1, 9), TEXTS)


def agrees(term: str, mark: str, piece: Piece) -> bool:
    if not term.startswith(mark) or (not mark and term[:1] in "\ue000\ue001\ue002\ue003"):
        return False
    word = term[len(mark) :]
    match piece.shape:
        case "contains":
            return piece.text in word
        case "begins":
            return word.startswith(piece.text)
        case "ends":
            return word.endswith(piece.text)
        case "is":
            return word == piece.text


def check(text: str, needle: str, field: Field) -> None:
    folded, wanted = fold(text), fold(needle)
    made = body_terms(folded) if field == "body" else field_terms(field, folded)
    terms, partial = shortened(made)
    assert not partial
    found = pieces(wanted, in_field=field != "body")
    said = all(any(agrees(term, MARKS[field], p) for term in terms) for p in found.pieces)
    if found.exact:
        assert said is (wanted in folded)
    elif wanted in folded:
        assert said
    for term in terms:
        assert term.encode("utf-8")
        assert all(c.isdigit() or "a" <= c <= "z" or ord(c) > 127 for c in term), ascii(term)


@settings(max_examples=40, deadline=None)
@given(TEXTS | LONG, st.data(), st.sampled_from(["body", "from", "subject"]))
def test_a_needle_cut_from_a_text_is_found(text: str, data: st.DataObject, field: Field) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    check(text, text[start:end], field)


@settings(max_examples=40, deadline=None)
@given(TEXTS | LONG, TEXTS, st.sampled_from(["body", "from", "subject"]))
@example("a 東b", "東", "body")
@example("foo-bar", "o-b", "body")
@example("foo-bar", "o-b", "subject")
def test_any_needle_is_judged_rightly(text: str, needle: str, field: Field) -> None:
    check(text, needle, field)
