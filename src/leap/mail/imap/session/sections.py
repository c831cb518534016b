"""From BODY[section] to octets (RFC 3501 6.4.5), on the offsets the scanner found; nothing is decoded or changed."""

from __future__ import annotations

from leap.mail.imap.wire.fetching import BodySection
from leap.mail.message import Message
from leap.mail.message.chosen_fields import chosen_fields, field_names
from leap.mail.message.header import iter_fields


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
    names = field_names(wanted.fields)
    if wanted.text == "HEADER.FIELDS":
        return chosen_fields(header, names)
    kept = b"".join(
        field.raw
        for field in iter_fields(header)
        if field.name.lower().encode("latin-1") not in names
    )
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    return kept + b"\r\n"  # the empty line belongs to every subset


def sliced(octets: bytes, partial: tuple[int, int] | None) -> bytes:
    """A partial fetch; beyond the end there is nothing (RFC 3501 6.4.5)."""
    if partial is None:
        return octets
    return octets[partial[0] : partial[0] + partial[1]]
