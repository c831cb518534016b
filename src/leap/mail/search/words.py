"""From folded text to the terms of the index, and from a needle to what the terms of a match must look like.

A character of folded text is one of four kinds:

    word       letters and digits; a run of them is a term; one longer than LONGEST becomes overlapping pieces
    run        scripts written without spaces (Han, kana, Thai, ...); each two neighbours are a term, or one alone
    symbol     arrows, pictures, emoji: each is a term
    separator  everything else

In a header field, ASCII punctuation counts as word characters: so an address is one term. There it is written as
U+E020 to U+E07E, and a term begins with the mark of its field; folded text has no characters of that range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

LONGEST = 40  # characters of a term; a longer word is the overlapping pieces of it
STEP = LONGEST // 2  # so that each STEP characters of a long word lie in one piece
MAX_TERMS = 20_000  # of one message; what has more is read again whenever it could be meant
MAX_LONG = (
    200  # words longer than LONGEST in one message: what has more is encoded data rather than words
)

_RUN = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_SYMBOL = "\u2190-\u2bff\U0001f000-\U0001faff"
_APART = "\x00-\x20\x7f-\xbf\u2000-\u206f\u3000-\u303f"  # separators in fields too
_PUNCTUATION = "\x21-\x2f\x3a-\x60\x7b-\x7e"
_BODY_WORD = f"[^{_APART}{_PUNCTUATION}{_RUN}{_SYMBOL}]+"
_FIELD_WORD = f"[^{_APART}{_RUN}{_SYMBOL}]+"
_ASCII_WORDS = {code: chr(code) if chr(code).isalnum() else " " for code in range(128)}
_BODY = re.compile(f"(?P<word>{_BODY_WORD})|(?P<run>[{_RUN}]+)|(?P<symbol>[{_SYMBOL}])")
_FIELD = re.compile(f"(?P<word>{_FIELD_WORD})|(?P<run>[{_RUN}]+)|(?P<symbol>[{_SYMBOL}])")
_HIDDEN = {code: 0xE000 + code for code in range(0x21, 0x7F) if not chr(code).isalnum()}

_ASCII_FIELD_WORDS = dict.fromkeys((*range(0x21), 0x7F), " ") | {
    code: chr(hidden) for code, hidden in _HIDDEN.items()
}

Field = Literal["body", "from", "to", "subject", "name"]
MARKS: dict[Field, str] = {
    "body": "",
    "from": "\ue000",
    "to": "\ue001",
    "subject": "\ue002",
    "name": "\ue003",
}
ATTACHMENT = "\ue004"  # the term of every message with an attachment
Shape = Literal["contains", "begins", "ends", "is"]


class Terms(NamedTuple):
    """The terms of one message, as one text with spaces between; `partial`: some were left out; `head`: its header's
    signature."""

    text: str
    partial: bool
    head: bytes = b""

    def __repr__(self) -> str:
        return f"Terms({len(self.text)} characters)"


class Piece(NamedTuple):
    """What some term of a match must be like."""

    shape: Shape
    text: str


class Pieces(NamedTuple):
    """A match has a term for each piece; `exact`: and what has is a match, without reading it."""

    pieces: list[Piece]
    exact: bool


def body_terms(folded: str) -> set[str]:
    """The terms of a text; words may still be too long."""
    if folded.isascii():
        return set(folded.translate(_ASCII_WORDS).split())
    return set(_terms(_BODY, folded))


def field_terms(field: Field, folded: str) -> set[str]:
    """The terms of a header field, each with the field's mark."""
    mark = MARKS[field]
    if folded.isascii():
        return {mark + term for term in folded.translate(_ASCII_FIELD_WORDS).split()}
    return {mark + term for term in _terms(_FIELD, folded)}


def shortened(terms: set[str], limit: int = LONGEST) -> tuple[set[str], bool]:
    """Terms with the long ones in pieces, and whether any had to be left out. Marks count as part of a term."""
    partial = False
    if terms and max(map(len, terms)) > limit:
        long = [term for term in terms if len(term) > limit]
        terms = terms.difference(long)
        partial = len(long) > MAX_LONG
        for term in long[:MAX_LONG]:
            mark, word = (term[0], term[1:]) if term[0] in _ALL_MARKS else ("", term)
            terms.update(mark + piece for piece in _overlapping(word))
    if len(terms) > MAX_TERMS:
        return set(sorted(terms)[:MAX_TERMS]), True
    return terms, partial


_ALL_MARKS = frozenset("".join(MARKS.values()))


def _terms(pattern: re.Pattern[str], folded: str) -> Iterator[str]:
    for found in pattern.finditer(folded):
        text = found[0]
        if found.lastgroup == "run" and len(text) > 1:
            yield from _pairs(text)
        elif found.lastgroup == "word":
            yield text.translate(_HIDDEN)
        else:
            yield text


def _pairs(run: str) -> Iterator[str]:
    return (run[at : at + 2] for at in range(len(run) - 1))


def _overlapping(word: str) -> Iterator[str]:
    """[0, 40), [20, 60), ... to the first that reaches the end."""
    if len(word) <= LONGEST:
        yield word
        return
    start = 0
    while True:
        yield word[start : start + LONGEST]
        if start + LONGEST >= len(word):
            return
        start += STEP


def pieces(folded: str, *, in_field: bool) -> Pieces:
    """What the terms of a text that holds the needle must be like; none when the index cannot tell."""
    out: list[Piece] = []
    exact = False
    for found in (_FIELD if in_field else _BODY).finditer(folded):
        whole_left, whole_right = found.start() > 0, found.end() < len(folded)
        text = found[0]
        alone = not whole_left and not whole_right
        if found.lastgroup == "word":
            out.append(_word_piece(text.translate(_HIDDEN), whole_left, whole_right))
            exact = alone and len(text) <= STEP
        elif found.lastgroup == "run" and len(text) == 1:
            out.append(Piece("contains", text))
            exact = alone
        elif found.lastgroup == "run":
            out.extend(Piece("is", pair) for pair in _pairs(text))
            exact = alone and len(text) == 2
        else:
            out.append(Piece("is", text))
            exact = alone
    return Pieces(list(dict.fromkeys(out)), exact)


def _word_piece(word: str, whole_left: bool, whole_right: bool) -> Piece:
    """`whole`: the needle shows that the word begins, or ends, there."""
    if whole_left and whole_right:
        return Piece("is", word) if len(word) <= LONGEST else Piece("begins", word[:STEP])
    if whole_left:
        return Piece("begins", word[:STEP])
    if whole_right:
        return Piece("ends", word[-STEP:])
    return Piece("contains", word[:STEP])
