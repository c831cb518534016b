"""IMAP BODY and BODYSTRUCTURE as wire bytes (RFC 9051 7.5.2 and 9; RFC 3501 7.4.2).

    body = "(" (body-type-1part / body-type-mpart) ")"
    body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
    body-type-msg   = media-message SP body-fields SP envelope SP body SP body-fld-lines
    body-type-text  = media-text SP body-fields SP body-fld-lines
    body-fields     = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets

Names are written in capitals, as in the RFCs' examples: they are case-insensitive, but not every program knows.
message/global is written as a basic part: IMAP4rev1 programs know an envelope only in message/rfc822.
"""

from __future__ import annotations

from collections.abc import Mapping

from leap.mail.message.envelope import envelope
from leap.mail.message.header import content_fields, iter_fields
from leap.mail.message.nstring import nstring, token
from leap.mail.message.parameters import parse_disposition
from leap.mail.message.scanner import Part


def body_structure(raw: bytes, part: Part, *, extended: bool = True) -> bytes:
    """BODYSTRUCTURE of a part, or BODY when not `extended`. The scanner bounds the depth of this recursion."""
    fields = content_fields(raw, part.header_start, part.body_start)
    if part.is_multipart:
        inner = b"".join(body_structure(raw, child, extended=extended) for child in part.children)
        if not extended:
            return b"(%b %b)" % (inner, token(part.subtype.upper()))
        # body-ext-mpart = body-fld-param SP body-fld-dsp SP body-fld-lang SP body-fld-loc
        return b"(%b %b %b %b)" % (
            inner,
            token(part.subtype.upper()),
            _params(part.params),
            _extension(fields),
        )
    params: Mapping[str, bytes] = part.params
    if not part.typed and part.type == "text":
        params = {"charset": b"US-ASCII"}  # RFC 2045 5.2, what a message without the field means
    out = b"%b %b %b %b %b %b %d" % (
        token(part.type.upper()),
        token(part.subtype.upper()),
        _params(params),
        nstring(fields.get(b"id")),
        nstring(fields.get(b"description")),
        token(part.encoding.upper()),
        part.size,
    )
    if part.type == "message" and part.subtype == "rfc822":
        message = part.children[0]
        out += b" %b %b %d" % (
            envelope(iter_fields(raw, message.header_start, message.body_start)),
            body_structure(raw, message, extended=extended),
            _lines(raw, part),
        )
    elif part.type == "text":
        out += b" %d" % _lines(raw, part)
    if not extended:
        return b"(%b)" % out
    # body-ext-1part = body-fld-md5 SP body-fld-dsp SP body-fld-lang SP body-fld-loc
    return b"(%b %b %b)" % (out, nstring(fields.get(b"md5")), _extension(fields))


def _lines(raw: bytes, part: Part) -> int:
    return raw.count(b"\n", part.body_start, part.end)


def _params(params: Mapping[str, bytes]) -> bytes:
    if not params:
        return b"NIL"
    return b"(%b)" % b" ".join(
        b"%b %b" % (token(name.upper()), nstring(value)) for name, value in params.items()
    )


def _extension(fields: dict[bytes, bytes]) -> bytes:
    """body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    disposition = b"NIL"
    if (value := fields.get(b"disposition")) and (parsed := parse_disposition(value)):
        disposition = b"(%b %b)" % (token(parsed[0].upper()), _params(parsed[1]))
    language = b"NIL"
    if value := fields.get(b"language"):
        tags = [tag for piece in value.split(b",") if (tag := piece.strip())]
        if tags:
            language = b"(%b)" % b" ".join(map(nstring, tags))
    return b"%b %b %b" % (disposition, language, nstring(fields.get(b"location")))
