"""What a mail program makes of the server's octets: whole responses, literals included, and the items of a FETCH."""

from __future__ import annotations

import asyncio
import re

_LITERAL_AT_END = re.compile(rb"\{(\d+)\}\r\n\Z")
_ATOM = re.compile(rb"(?:[^ ()\r\n\[]|\[[^\]]*\])+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")

Item = bytes | list["Item"]


async def read_response(reader: asyncio.StreamReader) -> bytes:
    """One response with its literals and its line end; nothing when the connection ended."""
    said = bytearray()
    while True:
        line = await reader.readline()
        if not line:
            return b""
        said += line
        literal = _LITERAL_AT_END.search(line)
        if literal is None:
            return bytes(said)
        said += await reader.readexactly(int(literal[1]))


def items_of(text: bytes) -> dict[str, Item]:
    """The pairs of "(UID 1 FLAGS (...))", by name."""
    found, end = _list(text, 1)
    assert text[end:] == b"\r\n", "something follows the items of FETCH"
    assert len(found) % 2 == 0, text[:200]
    pairs: dict[str, Item] = {}
    for place in range(0, len(found), 2):
        name = found[place]
        assert isinstance(name, bytes)
        assert name.decode() not in pairs, "an item came twice in one FETCH"
        pairs[name.decode()] = found[place + 1]
    return pairs


def _list(text: bytes, at: int) -> tuple[list[Item], int]:
    found: list[Item] = []
    while True:
        sign = text[at : at + 1]
        if sign == b")":
            return found, at + 1
        if sign == b" ":
            at += 1
        elif sign == b"(":
            inner, at = _list(text, at + 1)
            found.append(inner)
        elif quoted := _QUOTED.match(text, at):
            found.append(re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL))
            at = quoted.end()
        elif literal := _LITERAL.match(text, at):
            at = literal.end() + int(literal[1])
            found.append(text[literal.end() : at])
        else:
            atom = _ATOM.match(text, at)
            assert atom is not None, text[max(0, at - 60) : at + 60]
            found.append(atom[0])
            at = atom.end()


def flags_of(item: Item) -> frozenset[str]:
    assert isinstance(item, list)
    return frozenset(flag.decode() for flag in item if isinstance(flag, bytes))


def number_of(item: Item) -> int:
    """A number, or one in brackets as MODSEQ has it."""
    if isinstance(item, list):
        [item] = item
    assert isinstance(item, bytes)
    return int(item)


def numbers_in(text: bytes) -> list[int]:
    """A set as the server writes them: no stars."""
    found: list[int] = []
    for piece in text.split(b","):
        low, _, high = piece.partition(b":")
        found.extend(range(int(low), int(high or low) + 1))
    return found
