"""From BODY[section] to octets (RFC 3501 6.4.5), on the offsets the scanner found; nothing is decoded or changed."""

from __future__ import annotations

import re
from functools import lru_cache

from leap.mail.imap.wire.fetching import BodySection
from leap.mail.message import Message
from leap.mail.message.header import iter_fields
from leap.mail.message.header_lines import FIELD_NAME


def section(message: Message, wanted: BodySection) -> bytes | None:
    """The octets of a section before any partial; None where the message has no such section."""
    if not wanted.path and not wanted.text:
        return message.raw
    part = message.part(wanted.path) if wanted.path else message.root
    if part is None:
        return None
    if wanted.path:
        if not wanted.text:
            return message.body(part)
        if wanted.text == "MIME":
            return message.header(part)
        # HEADER and TEXT of a part exist only where it is a whole message
        if not part.is_message or not part.children:
            return None
        part = part.children[0]
    if wanted.text == "TEXT":
        return message.body(part)
    return header_section(message.header(part), wanted)


def header_section(header: bytes, wanted: BodySection) -> bytes:
    """HEADER, HEADER.FIELDS or HEADER.FIELDS.NOT of a header with its empty line."""
    if wanted.text == "HEADER":
        return header
    named = _named(wanted.fields)
    if wanted.text == "HEADER.FIELDS":
        kept = _fields(header, named)
    else:
        kept = b"".join(
            field.raw
            for field in iter_fields(header)
            if field.name.lower().encode("latin-1") not in named
        )
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    return kept + b"\r\n"  # the empty line belongs to every subset


def _fields(header: bytes, named: frozenset[bytes]) -> bytes:
    """The fields of these names, by lines: a regular expression takes three times as long.

    field = field-name *WSP ":" unstructured, with its folded lines (RFC 5322 2.2, 4.5)
    """
    kept: list[bytes] = []
    keeps = False
    for line in header.split(b"\n"):
        if line[:1] not in _FOLDED:
            name, colon, _ = line.partition(b":")
            keeps = bool(colon) and _plain(name) in named
        if keeps:
            kept.append(line)
    if kept and not keeps:  # else the last line ended with the header
        kept.append(b"")
    return b"\n".join(kept)


_FOLDED = (b" ", b"\t")
_NAME = re.compile(FIELD_NAME + rb"\Z")


@lru_cache(maxsize=64)
def _named(fields: tuple[bytes, ...]) -> frozenset[bytes]:
    """Programs ask the same list for every message."""
    return frozenset(field.lower() for field in fields if _NAME.match(field))


@lru_cache(maxsize=1024)
def _plain(name: bytes) -> bytes:
    """Messages share the names of their fields."""
    return name.rstrip(b" \t").lower()


def sliced(octets: bytes, partial: tuple[int, int] | None) -> bytes:
    """A partial fetch; beyond the end there is nothing (RFC 3501 6.4.5)."""
    if partial is None:
        return octets
    return octets[partial[0] : partial[0] + partial[1]]
