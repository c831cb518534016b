"""Reads ENVELOPE and BODYSTRUCTURE back by the ABNF of RFC 9051 9, strictly: what is not in it raises."""

from __future__ import annotations

import re
from typing import Any

_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NUMBER = re.compile(rb"\d+")


class NotImap(Exception):
    """The bytes are not what the grammar allows."""


class _Tokens:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def value(self) -> Any:
        """A list (with single spaces between its values, none between lists), bytes, int or None."""
        data, at = self.data, self.position
        if data.startswith(b"(", at):
            self.position += 1
            out: list[Any] = []
            while not data.startswith(b")", self.position):
                if out:
                    touching = isinstance(out[-1], list) and data.startswith(b"(", self.position)
                    if not touching:
                        self.expect(b" ")
                out.append(self.value())
            self.position += 1
            return out
        if data.startswith(b"NIL", at):
            self.position += 3
            return None
        if found := _QUOTED.match(data, at):
            self.position = found.end()
            return re.sub(rb"\\(.)", rb"\1", found[1])
        if found := _LITERAL.match(data, at):
            end = found.end() + int(found[1])
            text = data[found.end() : end]
            if len(text) != int(found[1]) or b"\0" in text:
                raise NotImap("a literal is cut short or holds NUL")
            self.position = end
            return text
        if found := _NUMBER.match(data, at):
            self.position = found.end()
            return int(found[0])
        raise NotImap(f"nothing known at {at}: {data[at : at + 20]!r}")

    def expect(self, octets: bytes) -> None:
        if not self.data.startswith(octets, self.position):
            raise NotImap(f"{octets!r} expected at {self.position}")
        self.position += len(octets)


def read_value(data: bytes) -> Any:
    tokens = _Tokens(data)
    value = tokens.value()
    if tokens.position != len(data):
        raise NotImap("something follows")
    return value


def check_envelope(envelope: Any) -> None:
    """envelope = "(" date subject from sender reply-to to cc bcc in-reply-to message-id ")" """
    _check(isinstance(envelope, list) and len(envelope) == 10, "ten fields")
    for at in (0, 1, 8, 9):
        _nstring(envelope[at])
    for addresses in envelope[2:8]:
        if addresses is None:
            continue
        _check(isinstance(addresses, list) and len(addresses) > 0, "1*address")
        depth = 0
        for address in addresses:
            _check(isinstance(address, list) and len(address) == 4, "four fields of an address")
            for item in address:
                _nstring(item)
            if address[3] is None:
                depth += 1 if address[2] is not None else -1
                _check(depth in (0, 1), "groups open and close")
            else:
                _check(address[2] is not None, "a mailbox has a local part")
        _check(depth == 0, "the last group is closed")


def check_body(body: Any, *, extended: bool) -> int:
    """body of BODY or BODYSTRUCTURE; answers the number of parts."""
    _check(isinstance(body, list) and bool(body), "a body is a list")
    if isinstance(body[0], list):
        parts = 0
        while body and isinstance(body[0], list):
            parts += check_body(body[0], extended=extended)
            body = body[1:]
        _string(body[0])
        _check(len(body) == (5 if extended else 1), "fields of a multipart")
        if extended:
            _params(body[1])
            _extension(body[2:])
        return parts + 1
    kind, subtype = body[0].upper(), body[1].upper()
    for at in (0, 1, 5):
        _string(body[at])
    _params(body[2])
    _nstring(body[3])
    _nstring(body[4])
    _check(isinstance(body[6], int), "octets")
    rest = body[7:]
    parts = 1
    if kind == b"MESSAGE" and subtype == b"RFC822":
        check_envelope(rest[0])
        parts += check_body(rest[1], extended=extended)
        _check(isinstance(rest[2], int), "lines")
        rest = rest[3:]
    elif kind == b"TEXT":
        _check(isinstance(rest[0], int), "lines")
        rest = rest[1:]
    _check(kind != b"MULTIPART", "a multipart has parts")
    _check(len(rest) == (4 if extended else 0), "extension data")
    if extended:
        _nstring(rest[0])
        _extension(rest[1:])
    return parts


def _extension(values: list[Any]) -> None:
    disposition, language, location = values
    if disposition is not None:
        _check(len(disposition) == 2, "disposition")
        _string(disposition[0])
        _params(disposition[1])
    if isinstance(language, list):
        _check(bool(language), "languages")
        for tag in language:
            _string(tag)
    else:
        _nstring(language)
    _nstring(location)


def _params(value: Any) -> None:
    if value is None:
        return
    _check(isinstance(value, list) and len(value) >= 2 and len(value) % 2 == 0, "pairs")
    for item in value:
        _string(item)


def _string(value: Any) -> None:
    _check(isinstance(value, bytes), "a string")


def _nstring(value: Any) -> None:
    _check(value is None or isinstance(value, bytes), "a string or NIL")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise NotImap(what)
