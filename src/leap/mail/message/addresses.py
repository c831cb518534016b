"""Address lists of header fields (RFC 5322 3.4, with the obsolete forms of 4.4), read without ever failing.

    address-list = address *("," address)        address = mailbox / group
    mailbox = [phrase] "<" [route ":"] addr-spec ">" / addr-spec      group = phrase ":" [mailbox-list] ";"

An encoded word is one word, also when commas stand in it against RFC 2047 5 (3).
The octets stay octets: encoded words and 8-bit names are decoded by who shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import idna

from leap.mail.message.words import decode_words, unfold

MAX_ADDRESSES = 50_000  # more than any list server writes
MAX_OCTETS = (
    1 << 20
)  # of all fields of one name; what is beyond is not read, which bounds the time to about 1 s

_TOKEN = re.compile(
    rb"(?P<space>[ \t\r\n]++)"
    rb"|\"(?P<quoted>(?:[^\"\\]|\\.)*+)(?:\"|\\?\Z)"
    rb"|(?P<literal>\[(?:[^\[\]\\]|\\.)*+\])"
    rb"|(?P<word>=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]{0,200}\?=)"
    rb"|(?P<special>[<>,;:@()])"
    rb"|(?P<atom>[^ \t\r\n\"\[<>,;:@()]++|[\"\[])",
    re.DOTALL,
)
_COMMENT_MARK = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """One entry as IMAP's ENVELOPE counts them: a mailbox, or (domain None) the begin of a group, named by
    `local`, or (both None) its end. Quoting is removed; octets are otherwise as they stand."""

    name: bytes | None
    route: bytes | None
    local: bytes | None
    domain: bytes | None

    @property
    def is_mailbox(self) -> bool:
        return self.domain is not None

    @property
    def address(self) -> str:
        """ "local@domain" as text; quoted again where it must be."""
        local = (self.local or b"").decode("utf-8", "replace")
        domain = (self.domain or b"").decode("utf-8", "replace")
        if local and not _PLAIN_LOCAL.fullmatch(local):
            escaped = local.replace("\\", "\\\\").replace('"', '\\"')
            local = f'"{escaped}"'
        return f"{local}@{domain}" if domain else local

    @property
    def readable(self) -> str:
        """`address` with an international domain as people read it (RFC 5890): for showing and searching, never to
        send to or to judge by, for look-alikes exist."""
        written = self.address
        if b"xn--" not in (self.domain or b"").lower() or len(written) > 320:
            return written
        local, _, domain = written.rpartition("@")
        labels = [_unicode_label(label) for label in domain.split(".")]
        return f"{local}@{'.'.join(labels)}"

    @property
    def display_name(self) -> str:
        return decode_words(self.name) if self.name else ""


def _unicode_label(label: str) -> str:
    try:
        return idna.decode(label) if label.lower().startswith("xn--") else label
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return label


_PLAIN_LOCAL = re.compile(r"[^\s\"(),:;<>@\[\\\]]+")
GROUP_END = Address(None, None, None, None)


def parse_addresses(value: bytes) -> list[Address]:
    """Every address and group mark in `value`, in order. Never raises."""
    return _Reader(unfold(value[:MAX_OCTETS])).read()


def parse_address_fields(values: Iterable[bytes]) -> list[Address]:
    """The same of several fields of one name, which count as one list."""
    out: list[Address] = []
    room = MAX_OCTETS
    for value in values:
        if room <= 0 or len(out) >= MAX_ADDRESSES:
            break
        out.extend(parse_addresses(value[:room]))
        room -= len(value)
    return out


class _Reader:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._position = 0
        self._out: list[Address] = []
        self._in_group = False
        self._words: list[
            bytes
        ] = []  # phrase or addr-spec read so far, b" " where white space stood
        self._at = -1  # index in _words after the last "@" outside quotes
        self._comment: bytes | None = None

    def read(self) -> list[Address]:
        while (token := self._next()) is not None and len(self._out) < MAX_ADDRESSES:
            kind, octets = token
            if kind == "space":
                self._words.append(b" ")
            elif kind != "special":
                self._words.append(octets)
            elif octets == b"<":
                self._angle()
            elif octets == b",":
                self._finish()
            elif octets == b";":
                self._finish()
                if self._in_group:
                    self._out.append(GROUP_END)
                    self._in_group = False
            elif octets == b":":
                self._group()
            elif octets == b"@":
                self._words.append(b"@")
                self._at = len(self._words)
            elif octets == b"(":
                self._read_comment()
            # a stray ">" or ")" says nothing
        self._finish()
        if self._in_group:
            self._out.append(GROUP_END)
        return self._out

    def _next(self) -> tuple[str, bytes] | None:
        found = _TOKEN.match(self._text, self._position)
        if found is None:
            return None
        self._position = found.end()
        kind = found.lastgroup or "atom"
        octets = found[kind]
        if kind == "quoted" and b"\\" in octets:
            octets = _ESCAPED.sub(rb"\1", octets)
        return kind, octets

    def _read_comment(self) -> None:
        start = self._position
        depth = 1
        while depth:
            found = _COMMENT_MARK.search(self._text, self._position)
            if found is None:
                self._position = len(self._text)
                self._comment = self._text[start:]
                return
            self._position = found.end()
            mark = found[0]
            if mark == b"(":
                depth += 1
            elif mark == b")":
                depth -= 1
        inner = self._text[start : self._position - 1]
        self._comment = _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner

    def _group(self) -> None:
        name = b"" if self._in_group or self._at >= 0 else _phrase(self._words)
        if not name:
            self._words.append(b":")  # no group can begin here: an octet like any other
            return
        self._out.append(Address(None, None, name, None))
        self._in_group = True
        self._reset()

    def _angle(self) -> None:
        """Reads the rest of `"<" [route ":"] addr-spec ">"`; an unclosed one ends at the next comma."""
        words: list[bytes] = []
        route: bytes | None = None
        at = -1
        while (token := self._next()) is not None:
            kind, octets = token
            if kind == "special":
                if octets == b">":
                    break
                if octets == b"(":
                    self._read_comment()
                    continue
                if octets == b":" and words[:1] == [b"@"]:
                    route, words, at = b"".join(words), [], -1  # obs-route, RFC 5322 4.4
                    continue
                if octets in b"<;" or (octets == b"," and words[:1] != [b"@"]):
                    self._position -= 1
                    break
                if octets == b"@":
                    words.append(octets)
                    at = len(words)
                    continue
            if kind != "space":
                words.append(octets)
        local, domain = _addr_spec(words, at)
        name = _phrase(self._words) or self._comment or None
        self._out.append(Address(name, route, local, domain))
        self._reset()

    def _finish(self) -> None:
        words = [word for word in self._words if word != b" "]
        if words:
            if self._at >= 0:
                at = self._at - self._words[: self._at].count(b" ")
                local, domain = _addr_spec(words, at)
            else:
                local, domain = _phrase(self._words), b""
            self._out.append(Address(self._comment or None, None, local, domain))
        self._reset()

    def _reset(self) -> None:
        self._words, self._at, self._comment = [], -1, None


def _addr_spec(words: list[bytes], at: int) -> tuple[bytes, bytes]:
    """local and domain; without an "@" the domain is empty, for None would mean a group (RFC 9051 7.5.2)."""
    if at < 0:
        return b"".join(words), b""
    return b"".join(words[: at - 1]), b"".join(words[at:])


def _phrase(words: list[bytes]) -> bytes:
    out: list[bytes] = []
    for word in words:
        if word == b" " and (not out or out[-1] == b" "):
            continue
        out.append(word)
    return b"".join(out).strip(b" ")
