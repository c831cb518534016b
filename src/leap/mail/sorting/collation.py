"""The order of texts in SORT: i;unicode-casemap (RFC 5051). Pure."""

from __future__ import annotations

import unicodedata


def casemap(text: str) -> str:
    """What is compared, octet by octet in UTF-8, instead of `text`: titlecase, fully decomposed (RFC 5051 2)."""
    if text.isascii():
        return text.upper().replace("\0", "")
    titled = "".join(_title(letter) for letter in text if letter != "\0")
    return unicodedata.normalize("NFKD", titled).encode("utf-8", "replace").decode()


def _title(letter: str) -> str:
    """The simple mapping: a letter whose titlecase has several stays as it is (RFC 5051 2 (1))."""
    titled = letter.title()
    return titled if len(titled) == 1 else letter
