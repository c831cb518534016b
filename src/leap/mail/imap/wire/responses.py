"""Values as IMAP writes them in answers (RFC 3501 9: string, literal, flags, response codes)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from leap.mail.imap.wire.mailbox_names import encode_name

_ATOM = re.compile(rb'[^(){ \x00-\x1f\x7f%*"\\\]\x80-\xff]+\Z')
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1000}\Z")
_SPECIAL = re.compile(rb'(["\\])')


def quoted(value: bytes) -> bytes:
    """A quoted string if the octets allow it, else a literal; an empty one is always ""."""
    if _QUOTABLE.match(value):
        return b'"' + _SPECIAL.sub(rb"\\\1", value) + b'"'
    return literal(value)


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else quoted(value)


def literal(value: bytes) -> bytes:
    """Octets as they are; none at all is "" (Apple's Mail fails on {0})."""
    return b"{%d}\r\n%s" % (len(value), value) if value else b'""'


def literal8(value: bytes) -> bytes:
    """Octets with NUL among them, which a literal cannot hold (RFC 3516 4.2); else a literal."""
    return b"~" + literal(value) if b"\0" in value else literal(value)


def astring(value: bytes) -> bytes:
    return value if _ATOM.match(value) and value.upper() != b"NIL" else quoted(value)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name as an astring in modified UTF-7, or with `utf8` in UTF-8 (RFC 9755 3); quoted unless plain."""
    if utf8:
        octets = name.encode("utf-8", "replace")
        return octets if _PLAIN.match(octets) else b'"' + _SPECIAL.sub(rb"\\\1", octets) + b'"'
    encoded = encode_name(name)
    return encoded if _PLAIN.match(encoded) else quoted(encoded)


_PLAIN = re.compile(rb"[A-Za-z0-9_./-]+\Z")


_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")


def object_id(value: str) -> bytes:
    """An id of ours as RFC 8474 allows one: as it is, or else a hash of it, which is as stable."""
    if _OBJECT_ID.match(value):
        return value.encode("ascii")
    return b"h" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest().encode("ascii")


def flag_list(flags: Iterable[str]) -> bytes:
    return b"(" + " ".join(flags).encode("ascii", "replace") + b")"


def text_line(value: str) -> bytes:
    """Words for people: printable ASCII only, so that no text can end the line or forge a code."""
    return re.sub(rb"[^\x20-\x7e]+", b" ", value.encode("ascii", "replace")).strip(b" [") or b"-"
