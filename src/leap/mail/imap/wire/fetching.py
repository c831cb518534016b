"""What FETCH may ask for (RFC 3501 6.4.5), as values.

fetch      = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
fetch-att  = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] / "BODY" ["STRUCTURE"]
             / "UID" / "MODSEQ" / "EMAILID" / "THREADID" / "SAVEDATE" / "BODY" section ["<" number "." nz-number ">"]
             / "PREVIEW" [SP "(" "LAZY" ")"] / "BODY.PEEK" section [...]
             / "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
section    = "[" [section-spec] "]"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.responses import astring
from leap.mail.imap.wire.scanner import Scanner

SectionText = Literal["", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"]
Simple = Literal[
    "FLAGS",
    "UID",
    "MODSEQ",
    "EMAILID",
    "THREADID",
    "INTERNALDATE",
    "SAVEDATE",
    "RFC822.SIZE",
    "ENVELOPE",
    "BODY",
    "BODYSTRUCTURE",
]
_ITEM = re.compile(rb"[A-Za-z0-9.]+")
_SIMPLE: dict[str, Simple] = {
    name: name
    for name in (
        "FLAGS",
        "UID",
        "MODSEQ",  # RFC 7162 3.1.4.2
        "EMAILID",  # RFC 8474 5
        "THREADID",
        "INTERNALDATE",
        "SAVEDATE",  # RFC 8514 4.2
        "RFC822.SIZE",
        "ENVELOPE",
        "BODY",
        "BODYSTRUCTURE",
    )
}
_FAST: tuple[Simple, ...] = ("FLAGS", "INTERNALDATE", "RFC822.SIZE")
_MACROS: dict[str, tuple[Simple, ...]] = {
    "FAST": _FAST,
    "ALL": (*_FAST, "ENVELOPE"),
    "FULL": (*_FAST, "ENVELOPE", "BODY"),
}
_SECTION = re.compile(
    rb"(?P<path>[1-9]\d{0,4}(?:\.[1-9]\d{0,4}){0,99})?(?P<dot>\.)?"
    rb"(?P<text>HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?",
    re.IGNORECASE,
)
_BINARY: dict[str, Literal["octets", "size"]] = {
    "BINARY": "octets",
    "BINARY.PEEK": "octets",
    "BINARY.SIZE": "size",
}
_BINARY_PATH = re.compile(rb"\[(?:[1-9]\d{0,4}(?:\.[1-9]\d{0,4}){0,99})?\]")
_PARTIAL = re.compile(rb"<(\d{1,19})\.(\d{1,19})>")  # RFC 9051 9: number64


@dataclass(frozen=True, slots=True)
class BodySection:
    """Octets of a message: `label` is what the answer calls them, without the origin of a partial."""

    label: bytes
    path: tuple[int, ...] = ()
    text: SectionText = ""
    fields: tuple[bytes, ...] = ()
    partial: tuple[int, int] | None = None
    peek: bool = False
    binary: Literal["", "octets", "size"] = ""  # RFC 3516 4.2: with its transfer encoding undone

    @property
    def header_only(self) -> bool:
        """Whether the message's own header is enough to answer."""
        return not self.path and self.text.startswith("HEADER")


@dataclass(frozen=True, slots=True)
class Preview:
    """RFC 8970: the first words of a message; `lazy`: only if they are at hand."""

    lazy: bool = False


FetchItem = Simple | BodySection | Preview
_LAZY = re.compile(rb" \(LAZY(?: LAZY)*\)", re.IGNORECASE)
_RFC822 = {
    "RFC822": BodySection(b"RFC822"),
    "RFC822.PEEK": BodySection(b"RFC822", peek=True),  # RFC 1730; Outlook still asks for it
    "RFC822.HEADER": BodySection(b"RFC822.HEADER", text="HEADER", peek=True),
    "RFC822.TEXT": BodySection(b"RFC822.TEXT", text="TEXT"),
    "RFC822.TEXT.PEEK": BodySection(b"RFC822.TEXT", text="TEXT", peek=True),
}


def parse_items(scanner: Scanner) -> tuple[FetchItem, ...]:
    """The items in the order asked, each once. Raises ImapSyntaxError."""
    items: list[FetchItem] = []
    if scanner.skip(b"("):
        while True:
            scanner.skip(b" ")
            items.extend(_item(scanner, alone=False))
            if len(items) > scanner.limits.fetch_items:
                raise ImapSyntaxError("Too many items.")
            if scanner.skip(b")"):
                break
            if not scanner.at(b" "):
                raise ImapSyntaxError("The list of items is not closed.")
            scanner.space()
            if scanner.skip(b")"):
                break
    else:
        items.extend(_item(scanner, alone=True))
    return tuple(dict.fromkeys(items))


def _item(scanner: Scanner, *, alone: bool) -> tuple[FetchItem, ...]:
    name = scanner.match(_ITEM, "a data item").decode("ascii").upper()
    if name in ("BODY", "BODY.PEEK") and scanner.at(b"["):
        return (_section(scanner, peek=name == "BODY.PEEK"),)
    if name in _BINARY and scanner.at(b"["):
        return (_binary(scanner, name),)
    if name in _SIMPLE:
        return (_SIMPLE[name],)
    if name in _RFC822:
        return (_RFC822[name],)
    if name == "PREVIEW":
        lazy = _LAZY.match(scanner.text, scanner.position)
        if lazy is not None:
            scanner.position = lazy.end()
        return (Preview(lazy is not None),)
    if name in _MACROS and alone:
        return _MACROS[name]
    raise ImapSyntaxError("There is no such data item.")


def _section(scanner: Scanner, *, peek: bool) -> BodySection:
    scanner.expect(b"[")
    match = _SECTION.match(scanner.text, scanner.position)
    if match is None:  # the pattern matches the empty string
        raise ImapSyntaxError("The section is not closed.")
    scanner.position = match.end()
    path = tuple(int(number) for number in (match["path"] or b"").split(b".") if number)
    text: SectionText = (match["text"] or b"").decode("ascii").upper()  # type: ignore[assignment]
    if bool(match["dot"]) != bool(path and text) or (text == "MIME" and not path):
        raise ImapSyntaxError("There is no such section.")
    label = b"BODY[" + match[0].upper()
    fields: tuple[bytes, ...] = ()
    if text.startswith("HEADER.FIELDS"):
        scanner.space()
        fields = _fields(scanner)
        label += b" (" + b" ".join(astring(field) for field in fields) + b")"
    if not scanner.skip(b"]"):
        raise ImapSyntaxError("The section is not closed.")
    return BodySection(label + b"]", path, text, fields, _partial(scanner), peek)


def _binary(scanner: Scanner, name: str) -> BodySection:
    """section-binary = "[" [section-part] "]"   (RFC 3516 6)"""
    kind = _BINARY[name]
    path = scanner.match(_BINARY_PATH, "the number of a part")
    label = (b"BINARY.SIZE" if kind == "size" else b"BINARY") + path
    return BodySection(
        label,
        tuple(int(number) for number in path[1:-1].split(b".") if number),
        partial=None if kind == "size" else _partial(scanner),
        peek=name != "BINARY",
        binary=kind,
    )


def _fields(scanner: Scanner) -> tuple[bytes, ...]:
    scanner.expect(b"(")
    fields: list[bytes] = []
    while True:
        scanner.skip(b" ")
        fields.append(scanner.astring())
        if not fields[-1] or len(fields) > scanner.limits.fetch_items:
            raise ImapSyntaxError(
                "A header field has a name, and there is a limit to their number."
            )
        if scanner.skip(b")"):
            return tuple(fields)
        scanner.space()
        if scanner.skip(b")"):
            return tuple(fields)


def _partial(scanner: Scanner) -> tuple[int, int] | None:
    if not scanner.at(b"<"):
        return None
    match = _PARTIAL.match(scanner.text, scanner.position)
    if match is None or int(match[2]) == 0:
        raise ImapSyntaxError("A partial fetch is written <start.count>.")
    scanner.position = match.end()
    return int(match[1]), int(match[2])
