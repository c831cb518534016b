"""Answers of an IMAP server as values (RFC 3501 9, `response`). Pure; raises only BadReply.

A reply is one line and the literals in it: [b'* 1 FETCH (BODY[] {3}', b'abc', b')'] -> ["*", "1", "FETCH", [...]]
Strings and literals become bytes, NIL None, lists lists, all else `Atom`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Value: TypeAlias = "Atom | bytes | list[Value] | None"

MAX_DEPTH = 20  # lists in lists; FLAGS and LIST need two
LITERAL = re.compile(rb"\{(\d{1,12})\}\r?\n?\Z")
# An atom may hold brackets with anything in it, as BODY[HEADER.FIELDS (X)] does
_TOKEN = re.compile(
    rb' *(?:(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\\r\n]|\\.)*)"|(?P<literal>\{\d+\}\r?\n?\Z)'
    rb'|(?P<atom>(?:[^\s()"\[{]|\[[^\]]*\])(?:[^\s()"\[]|\[[^\]]*\])*))'
)
_ESCAPED = re.compile(rb"\\(.)")


class BadReply(Exception):
    """The server said something that is no IMAP, or more than we take."""


class Atom(bytes):
    """A word that stood without quotes."""


class Fetched(NamedTuple):
    """What FETCH gave of one message."""

    uid: int
    size: int | None
    flags: tuple[str, ...]
    internal_date: bytes | None
    body: bytes | None


def parse_reply(pieces: Sequence[bytes]) -> list[Value]:
    """Lines (even places) and the literals between them, as values."""
    stack: list[list[Value]] = [[]]
    for at in range(0, len(pieces), 2):
        line, position = pieces[at].rstrip(b"\r\n"), 0
        while position < len(line):
            found = _TOKEN.match(line, position)
            if found is None:
                if line[position:].strip() == b"":
                    break
                raise BadReply("The server's answer cannot be read.")
            position = found.end()
            if found["open"]:
                if len(stack) > MAX_DEPTH:
                    raise BadReply("The server's answer is nested too deeply.")
                inner: list[Value] = []
                stack[-1].append(inner)
                stack.append(inner)
            elif found["close"]:
                if len(stack) == 1:
                    raise BadReply("The server's answer has a bracket too many.")
                stack.pop()
            elif found["quoted"] is not None:
                stack[-1].append(_ESCAPED.sub(rb"\1", found["quoted"]))
            elif found["literal"]:
                if at + 1 >= len(pieces):
                    raise BadReply("A literal is missing in the server's answer.")
                stack[-1].append(pieces[at + 1])
            else:
                word = found["atom"]
                stack[-1].append(None if word.upper() == b"NIL" else Atom(word))
    if len(stack) != 1:
        raise BadReply("A bracket is missing in the server's answer.")
    return stack[0]


def parse_fetched(values: Sequence[Value]) -> Fetched | None:
    """An untagged FETCH; None for another answer, or one without a UID."""
    if len(values) < 4 or values[0] != b"*" or not isinstance(values[2], Atom):
        return None
    if values[2].upper() != b"FETCH" or not isinstance(values[1], Atom) or not values[1].isdigit():
        return None  # "A2 OK Fetch completed" is the end of one
    items = values[3]
    if not isinstance(items, list) or len(items) % 2:
        raise BadReply("The server's FETCH cannot be read.")
    uid, size, date, body = 0, None, None, None
    flags: tuple[str, ...] = ()
    for name, value in zip(items[::2], items[1::2], strict=True):
        match name.upper() if isinstance(name, Atom) else b"":
            case b"UID":
                uid = number(value)
            case b"RFC822.SIZE":
                size = number(value)
            case b"INTERNALDATE" if isinstance(value, bytes):
                date = value
            case b"BODY[]":
                body = value if isinstance(value, bytes) else b""
            case b"FLAGS" if isinstance(value, list):
                flags = tuple(
                    one.decode("ascii", "replace") for one in value if isinstance(one, bytes)
                )
    return Fetched(uid, size, flags, date, body) if uid else None


def number(value: Value) -> int:
    """Raises BadReply for what is no number of at most 64 bits."""
    if not isinstance(value, Atom) or not value.isdigit() or len(value) > 19:
        raise BadReply("The server's answer has no number where one belongs.")
    return int(value)
