"""Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3) and the wildcards of LIST."""

from __future__ import annotations

import binascii
import re

from leap.mail.imap.wire.errors import ImapSyntaxError

SEPARATOR = "/"
_SHIFTED = re.compile(r"[^\x20-\x7e]+")
_ENCODED = re.compile(rb"&([^-]*)-")
_NO_LETTER = (
    "\udc26"  # for an "&" that begins nothing: no mailbox's name has it, so it is found nowhere
)


def encode_name(name: str) -> bytes:
    """A name in modified UTF-7."""
    if name.isascii() and "&" not in name and name.isprintable():
        return name.encode("ascii")
    return _SHIFTED.sub(_shift, name.replace("&", "&-")).encode("ascii")


def _shift(match: re.Match[str]) -> str:
    octets = match[0].encode("utf-16-be", "surrogatepass")
    return (
        "&"
        + binascii.b2a_base64(octets, newline=False).rstrip(b"=").replace(b"/", b",").decode()
        + "-"
    )


def decode_name(wire: bytes, utf8: bool = False) -> str:
    """A name from modified UTF-7, or plain UTF-8 as some programs send. Raises ImapSyntaxError for neither.

    In what is no modified UTF-7 the "&" becomes a sign that no mailbox's name may have: such a name is that of no
    mailbox (NO, not BAD, as the command itself is in order), and none can be made by it.
    With `utf8` (RFC 9755 3) it is UTF-8 and nothing else: "&" is a letter like any other.
    """
    if utf8 or not wire.isascii():
        try:
            return wire.decode("utf-8")
        except UnicodeDecodeError:
            raise ImapSyntaxError("The mailbox name is neither UTF-7 nor UTF-8.") from None
    if b"&" not in wire:
        return wire.decode("ascii")
    pieces: list[str] = []
    position = 0
    while (start := wire.find(b"&", position)) >= 0:
        pieces.append(wire[position:start].decode("ascii"))
        match = _ENCODED.match(wire, start)
        letters = None if match is None else _unshift(match[1])
        if match is None or letters is None:
            pieces.append(_NO_LETTER)
            position = start + 1
            continue
        pieces.append(letters)
        position = match.end()
    pieces.append(wire[position:].decode("ascii"))
    return "".join(pieces)


def _unshift(encoded: bytes) -> str | None:
    if not encoded:
        return "&"
    try:
        padded = encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4)
        return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return None


def canonical_name(name: str) -> str:
    """INBOX in any letters is INBOX, also as the first level (RFC 3501 5.1)."""
    first, separator, rest = name.partition(SEPARATOR)
    return "INBOX" + separator + rest if first.upper() == "INBOX" else name


class Pattern:
    """A LIST pattern: "*" stands for anything, "%" for anything within one level."""

    def __init__(self, pattern: str, max_wildcards: int = 20) -> None:
        collapsed = re.sub(r"[*%]*\*[*%]*", "*", re.sub(r"%+", "%", canonical_name(pattern)))
        if sum(c in "*%" for c in collapsed) > max_wildcards:
            raise ImapSyntaxError("Too many wildcards in one pattern.")
        self._pattern = collapsed

    def matches(self, name: str) -> bool:
        """Whether the whole name fits; steps through all readings at once, so no pattern is slow."""
        states = self._skip({0})
        pattern, end = self._pattern, len(self._pattern)
        for letter in name:
            following = set()
            for state in states:
                if state == end:
                    continue
                sign = pattern[state]
                if sign == "*" or (sign == "%" and letter != SEPARATOR):
                    following.add(state)
                elif sign == letter:
                    following.add(state + 1)
            if not following:
                return False
            states = self._skip(following)
        return end in states

    def _skip(self, states: set[int]) -> set[int]:
        reached = set(states)
        for state in states:
            while state < len(self._pattern) and self._pattern[state] in "*%":
                state += 1
                reached.add(state)
        return reached
