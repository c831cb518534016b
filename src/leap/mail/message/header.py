"""Header fields as ranges of bytes: what stands there, where, and what it means as text.

Nothing is changed or put in order: a field knows its exact octets, so that a header can be served, filtered or
copied field by field without a byte altered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from leap.mail.message.header_lines import FIELD_NAME
from leap.mail.message.words import decode_words, unfold

MAX_CONTENT_FIELDS = 50  # of different names; the standards know about twenty
MAX_FIELDS = (
    20_000  # headers of 100,000 fields are attacks; what follows stays part of the raw bytes only
)

# field = field-name *WSP ":" unstructured, with its folded lines (RFC 5322 2.2, 4.5)
_FIELD = re.compile(
    rb"^(" + FIELD_NAME + rb")[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+\n?)", re.MULTILINE
)
# Of those the ones named Content-..., with the line end before them: one known octet makes searching fast
_CONTENT = re.compile(
    rb"\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-([A-Za-z0-9-]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
)
_FIRST_CONTENT = re.compile(_CONTENT.pattern[2:])
_MESSAGE_ID = re.compile(rb"<[^<>\s]{1,998}>")


class Field(msgspec.Struct, frozen=True, gc=False):
    """One field of `source`: octets [start, end) with its line end, value from `value_start`."""

    source: bytes
    start: int
    value_start: int
    end: int
    name: str  # as written; compare `key`

    @property
    def key(self) -> str:
        return self.name.lower()

    @property
    def raw(self) -> bytes:
        """The field as it stands, with folding and line end."""
        return self.source[self.start : self.end]

    @property
    def value(self) -> bytes:
        """The value unfolded (RFC 5322 2.2.3), outer white space removed, otherwise as it stands."""
        return unfold(self.source[self.value_start : self.end])

    @property
    def text(self) -> str:
        """The value for people: encoded words and charsets decoded."""
        return decode_words(self.source[self.value_start : self.end])

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.start}, {self.end})"  # values are the person's: never in a log


def iter_fields(raw: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields in raw[start:end], which is a header as the scanner found it; lines that are none are skipped."""
    limit = len(raw) if end is None else end
    for found in islice(_FIELD.finditer(raw, start, limit), MAX_FIELDS):
        name = found[1].decode("latin-1")
        yield Field(raw, found.start(), found.start(2), found.end(), name)


def content_fields(raw: bytes, start: int, end: int) -> dict[bytes, bytes]:
    """Of the fields in a header those that begin with "Content-": the rest of their names in lower case, and the
    unfolded values, of several with one name the first."""
    out: dict[bytes, bytes] = {}
    found = _FIRST_CONTENT.match(raw, start, end) or _CONTENT.search(raw, start, end)
    while found is not None and len(out) < MAX_CONTENT_FIELDS:
        name = found[1].lower()
        if name not in out:
            out[name] = unfold(found[2])
        found = _CONTENT.search(raw, found.end(), end)
    return out


def find_field(fields: Iterable[Field], name: str) -> Field | None:
    """The first field of that name."""
    key = name.lower()
    return next((field for field in fields if field.key == key), None)


def message_ids(value: bytes) -> list[str]:
    """The `<...>` ids in a Message-ID, In-Reply-To or References value, in order, each once."""
    found = (token.decode("utf-8", "replace") for token in _MESSAGE_ID.findall(unfold(value)))
    return list(dict.fromkeys(found))
