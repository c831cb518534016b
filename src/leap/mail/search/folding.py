"""Text as search sees it: letter case, accents and the breaking of lines make no difference.

Invariants:
* The index, the query and the naive scan use this one function; what they compare is folded text alone.
* White space, also several characters of it, is one space; nothing is cut off at the ends.
* ASCII punctuation stays as it is: IMAP asks for exact substrings (RFC 9051 6.4.4).

In this order: NFKC; case folding; decomposition, without accents; composition of what is left (kana keep their voicing
marks, Hangul its syllables); a few letters which Unicode does not decompose but people write without their stroke.
"""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_ACCENT = 10  # combining classes from here are accents, points and harakat; 7 to 9 change the letter itself
_STROKES = {
    "\u0131": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "ĸ": "k", "ŋ": "n",
}  # fmt: skip


class _Letters(dict[int, str]):
    """For `str.translate`: each character folded when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_letter(chr(code))
        return folded


def fold(text: str) -> str:
    """The text as it is compared. Never raises."""
    return _SPACE.sub(" ", fold_letters(text))


def fold_letters(text: str) -> str:
    """The same, but for white space, which is left as it is: the words are the same ones."""
    if text.isascii():
        return text.lower()
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return _BEYOND_ASCII.sub(lambda found: found[0].translate(_letters), text.lower())


def _fold_letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cf" or 0xFE00 <= ord(letter) <= 0xFE0F or 0xE0100 <= ord(letter) <= 0xE01EF:
        return ""  # soft hyphens, joiners, variation selectors: nobody sees or types them
    if (
        category in ("Co", "Cs", "Zl", "Zp", "Zs")
        or letter == "\x85"
        or ord(letter) & 0xFFFE == 0xFFFE
    ):
        return " "
    parts = unicodedata.normalize("NFKD", letter.casefold())
    kept = "".join(_STROKES.get(c, c) for c in parts if unicodedata.combining(c) < _ACCENT)
    return unicodedata.normalize("NFC", kept)


_letters = _Letters()
