"""IMAP's `nstring` (RFC 9051 9): the three ways to write a value so that any IMAP4rev1 program can read it.

nstring = string / nil      string = quoted / literal
quoted = DQUOTE *QUOTED-CHAR DQUOTE       ; no CR, LF, 8-bit; `\\` and `"` escaped
literal = "{" number "}" CRLF *CHAR8      ; CHAR8 = %x01-ff: NUL cannot be written at all
"""

from __future__ import annotations

import re

_NEEDS_LITERAL = re.compile(rb"[\r\n\x80-\xff]")
_MAX_QUOTED = (
    4096  # some programs read quoted strings into small buffers; literals announce their size
)


def nstring(value: bytes | None) -> bytes:
    """`value` as quoted string or literal, None as NIL. NUL octets, which IMAP cannot say, are left out."""
    if value is None:
        return b"NIL"
    if b"\0" in value:
        value = value.replace(b"\0", b"")
    if len(value) > _MAX_QUOTED or _NEEDS_LITERAL.search(value):
        return b"{%d}\r\n%b" % (len(value), value)
    if b"\\" in value or b'"' in value:
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % value


def token(value: str) -> bytes:
    """A name that the scanner has read as a MIME token: always writable as a quoted string."""
    return nstring(value.encode("latin-1", "replace"))
