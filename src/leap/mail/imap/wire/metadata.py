"""GETMETADATA and SETMETADATA (RFC 5464 5).

getmetadata = "GETMETADATA" [SP "(" option *(SP option) ")"] SP mailbox SP entries
entries     = entry / "(" entry *(SP entry) ")"
option      = "MAXSIZE" SP number / "DEPTH" SP ("0" / "1" / "infinity")
setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")"
value       = nstring / literal8

The options are taken behind the mailbox as well, and several entries without brackets, for the examples of
RFC 5464 4.2 and 4.4 have them so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.responses import astring, mailbox, nstring
from leap.mail.imap.wire.scanner import Scanner

MAX_ENTRIES = 200  # in one command
INFINITY = -1  # of DEPTH
# RFC 5464 3.2, of names that are asked for: these may be the roots too
_ENTRY = re.compile(rb"/(?:private|shared)(?:/[!-$&-)+-.0-~]+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """`mailbox` is None for the server; entries are in lower case."""

    mailbox: str | None
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class SetMetadata:
    mailbox: str | None
    values: tuple[tuple[str, bytes | None], ...]


def parse_get_metadata(scanner: Scanner) -> GetMetadata:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    scanner.space()
    max_size, depth = _options(scanner)
    place = _place(scanner)
    scanner.space()
    if max_size is None and not depth and _options_ahead(scanner):
        max_size, depth = _options(scanner)
    return GetMetadata(place, parse_entries(scanner), max_size, depth)


def parse_entries(scanner: Scanner) -> tuple[str, ...]:
    """Names of entries, each once, in brackets or up to the end of the line. Raises ImapSyntaxError."""
    entries: list[str] = []
    brackets = scanner.skip(b"(")
    while True:
        entries.append(_entry(scanner))
        if len(entries) > MAX_ENTRIES:
            raise ImapSyntaxError("Too many entries.")
        if brackets and scanner.skip(b")"):
            break
        if not brackets and scanner.at_end():
            break
        scanner.space()
    return tuple(dict.fromkeys(entries))


def parse_set_metadata(scanner: Scanner) -> SetMetadata:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    scanner.space()
    place = _place(scanner)
    scanner.space()
    scanner.expect(b"(")
    values: list[tuple[str, bytes | None]] = []
    while not scanner.skip(b")"):
        if values:
            scanner.space()
        entry = _entry(scanner)
        scanner.space()
        values.append((entry, scanner.nstring()))
        if len(values) > MAX_ENTRIES:
            raise ImapSyntaxError("Too many entries.")
    if not values:
        raise ImapSyntaxError("Arguments are missing.")
    return SetMetadata(place, tuple(values))


def _place(scanner: Scanner) -> str | None:
    return scanner.mailbox() or None


def _entry(scanner: Scanner) -> str:
    name = scanner.astring()
    if not _ENTRY.fullmatch(name):  # RFC 5464 3.2: BAD
        raise ImapSyntaxError("An entry is called /private/... or /shared/...")
    return name.decode("ascii").lower()


def _options_ahead(scanner: Scanner) -> bool:
    following = scanner.text[scanner.position : scanner.position + 9].upper()
    return following.startswith((b"(MAXSIZE ", b"(DEPTH "))


def _options(scanner: Scanner) -> tuple[int | None, int]:
    max_size, depth = None, 0
    if not scanner.skip(b"("):
        return max_size, depth
    while True:
        word = scanner.keyword()
        scanner.space()
        if word == "MAXSIZE":
            max_size = scanner.number()
        elif word == "DEPTH":
            value = scanner.keyword()
            if value not in ("0", "1", "INFINITY"):
                raise ImapSyntaxError("DEPTH is 0, 1 or infinity.")
            depth = INFINITY if value == "INFINITY" else int(value)
        else:
            raise ImapSyntaxError("There is no such option of GETMETADATA.")
        if scanner.skip(b")"):
            break
        scanner.space()
    if not scanner.at_end() and scanner.at(b" "):
        scanner.space()
    return max_size, depth


def format_value(value: bytes | None) -> bytes:
    """A value as an nstring, or as literal8 when a literal cannot hold it (RFC 5464 5)."""
    if value is not None and b"\x00" in value:
        return b"~{%d}\r\n%s" % (len(value), value)
    return nstring(value)


def format_entry(name: str) -> bytes:
    return astring(name.encode("ascii"))


def format_place(name: str | None, utf8: bool = False) -> bytes:
    """The mailbox as METADATA answers name it; the server is the empty string."""
    return b'""' if name is None else mailbox(name, utf8)
