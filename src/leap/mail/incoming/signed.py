"""A mail, or a part of one, that has a PGP/MIME signature (RFC 3156 5): the octets covered, and the signature.

Invariants:
* What is given out is what the scanner serves as parts 1 and 2 of the same bytes: one reading, no second.
* A mail which another program could cut in another way holds no signature here: a good one would stand over
  text that nobody signed. So its header is plain, its Content-Type has one plain boundary, and that stands at
  the begin of three lines and no more, whatever counts as a line end (RFC 2046 5.1.1: a line that only
  begins with the boundary may be taken for it).
* Nothing here raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from leap.mail.message.decoding import decode_body
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.field_lines import header_fields, is_plain, values_of
from leap.mail.outgoing.pgp_mime import content_type_of

_SIGNATURE_TYPE = "application/pgp-signature"
_SIGNATURE_HEAD = b"-----BEGIN PGP SIGNATURE-----"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")  # RFC 2046 5.1.1, less the space
_IDENTITY = frozenset({b"7bit", b"8bit", b"binary"})  # RFC 2045 6.4: no other for a multipart


@dataclass(frozen=True, slots=True)
class SignedParts:
    """The two parts of a multipart/signed: the exact octets covered, and the signature decoded; `content` is where
    the first one stands."""

    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    content: Part = field(repr=False)


def find_signed(message: bytes) -> SignedParts | None:
    """The parts of a signed mail, given as it will be served but for our own fields; None when it is none."""
    kind = content_type_of(header_fields(message))
    if kind is None or kind.media_type != "multipart/signed":
        return None  # a cheap look
    return signed_in(message, scan(message))


def signed_in(message: bytes, part: Part) -> SignedParts | None:
    """The same of a part of a message, as the scanner found it; None when it is not of the strict form."""
    fields = header_fields(message[part.header_start : part.body_start])
    kind = content_type_of(fields)
    if kind is None or kind.media_type != "multipart/signed" or not kind.plain:
        return None
    # RFC 1847 2.1 asks for it; without, programs differ in whether this is a signature
    if kind.parameters.get("protocol", "").lower() != _SIGNATURE_TYPE:
        return None
    boundary = kind.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary) or not is_plain(fields):
        return None
    if part.content_type != "multipart/signed" or part.defects or len(part.children) != 2:
        return None
    encodings = [value.lower() for value in values_of(fields, "content-transfer-encoding")]
    if len(encodings) > 1 or not _IDENTITY.issuperset(encodings):
        return None
    if part.params.get("boundary") != boundary.encode("ascii"):
        return None
    delimiter = re.compile(rb"[\r\n]--" + re.escape(boundary.encode("ascii")))
    if len(delimiter.findall(message, part.body_start - 1, part.end)) != 3:
        return None
    content, signature = part.children
    if signature.content_type != _SIGNATURE_TYPE:
        return None
    armored = decode_body(message, signature)
    if _SIGNATURE_HEAD not in armored:
        return None
    return SignedParts(message[content.header_start : content.end], armored, content)
