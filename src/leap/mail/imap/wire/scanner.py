"""Reads one command from left to right: the lexical rules of RFC 3501 section 9.

Invariants: every method takes a token whole or raises ImapSyntaxError; the position never goes back; error texts
hold nothing of what the client sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.imap.wire.mailbox_names import canonical_name, decode_name
from leap.mail.imap.wire.numbers import NumberSet

# atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
_ATOM = re.compile(rb'[^(){ \x00-\x1f\x7f%*"\\\]\x80-\xff]+')
# ASTRING-CHAR = ATOM-CHAR / resp-specials; octets over 127 are taken for programs which send raw UTF-8
_ASTRING = re.compile(rb'[^(){ \x00-\x1f\x7f%*"\\]+')
_LIST_CHARS = re.compile(rb'[^(){ \x00-\x1f\x7f"\\]+')
_TAG = re.compile(rb'[^(){ \x00-\x1f\x7f%*"\\+\x80-\xff]+')
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPED = re.compile(rb"\\(.)")
_LITERAL = re.compile(rb"~?\{\d+\+?\}\r\n")
_NUMBER = re.compile(rb"\d{1,20}")
_ONE = re.compile(rb"\d+|\*")
_SET = re.compile(rb"[\d*][\d*:,]*")
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}(?![A-Za-z0-9_-])")
_FLAG = re.compile(rb'\\?[^(){ \x00-\x1f\x7f%*"\\\]\x80-\xff]+')
_SYSTEM_FLAGS = {
    flag.lower(): flag
    for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", "\\Recent")
}


class Scanner:
    """A position in one command."""

    def __init__(
        self,
        text: bytes,
        literals: tuple[bytes, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        *,
        utf8: bool = False,
        charsets: bool = True,
    ) -> None:
        """`utf8`: names are UTF-8 (RFC 9755, RFC 9051 5.1); `charsets`: SEARCH may name one (RFC 9755 3: not there)."""
        self.text = text
        self.position = 0
        self.limits = limits
        self.utf8 = utf8
        self.charsets = charsets
        self._literals = iter(literals)

    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """The text of a token; `what` names it in the error."""
        found = pattern.match(self.text, self.position)
        if found is None:
            raise ImapSyntaxError(f"Here should be {what}.")
        self.position = found.end()
        return found[0]

    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def end(self) -> None:
        """Nothing follows; spaces at the end of a line are let pass."""
        if self.text[self.position :].strip(b" "):
            raise ImapSyntaxError("Too many arguments.")

    def at(self, start: bytes) -> bool:
        """Whether the text goes on so; nothing is taken."""
        return self.text.startswith(start, self.position)

    def skip(self, sign: bytes) -> bool:
        """Takes `sign` if it is there."""
        if self.at(sign):
            self.position += len(sign)
            return True
        return False

    def expect(self, sign: bytes) -> None:
        if not self.skip(sign):
            raise ImapSyntaxError(f"Here should be {sign.decode()!r}.")

    def space(self) -> None:
        if not self.skip(b" "):
            raise ImapSyntaxError(
                "Arguments are missing." if self.at_end() else "A space is missing."
            )
        while self.skip(b" "):  # several are let pass, as other servers do
            pass

    # -- tokens

    def tag(self) -> bytes:
        return self.match(_TAG, "a tag")

    def atom(self) -> bytes:
        return self.match(_ATOM, "a word")

    def keyword(self) -> str:
        """An atom which is a word of the protocol, in upper case."""
        return self.atom().decode("ascii").upper()

    def number(self, maximum: int = 2**32 - 1) -> int:
        value = int(self.match(_NUMBER, "a number"))
        if value > maximum:
            raise ImapSyntaxError("The number is too great.")
        return value

    def number_set(self) -> NumberSet:
        if self.skip(b"$"):  # RFC 5182 2: it stands alone
            return NumberSet((), saved=True)
        return NumberSet.parse(self.match(_SET, "a set of numbers"), self.limits.set_ranges)

    def one_number(self) -> NumberSet:
        """seq-number = nz-number / "*" """
        return NumberSet.parse(self.match(_ONE, "a message number"), 1)

    def object_id(self) -> bytes:
        """objectid = 1*255(ALPHA / DIGIT / "_" / "-")   (RFC 8474 7)"""
        return self.match(_OBJECT_ID, "an object id")

    def at_string(self) -> bool:
        return self.at(b'"') or self.at(b"{") or self.at(b"~{")

    def string(self) -> bytes:
        if self.at(b'"'):
            quoted = self.match(_QUOTED, "a quoted string")[1:-1]
            return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        return self.literal()

    def literal(self) -> bytes:
        self.match(_LITERAL, "a string or literal")
        octets = next(self._literals, None)
        if octets is None:
            raise ImapSyntaxError("A literal is missing.")
        return octets

    def astring(self) -> bytes:
        return self.string() if self.at_string() else self.match(_ASTRING, "a string")

    def nstring(self) -> bytes | None:
        if self.at_string():
            return self.string()
        if self.keyword() != "NIL":
            raise ImapSyntaxError("Here should be a string or NIL.")
        return None

    def mailbox(self) -> str:
        name = self.astring()
        if b"\x00" in name:
            raise ImapSyntaxError("A mailbox name has no NUL.")
        return canonical_name(decode_name(name, self.utf8))

    def list_mailbox(self) -> str:
        raw = self.string() if self.at_string() else self.match(_LIST_CHARS, "a pattern")
        return decode_name(raw, self.utf8)

    def flag(self) -> str:
        """A flag; system flags in their usual letters, others as sent (RFC 3501 2.3.2)."""
        flag = self.match(_FLAG, "a flag").decode("ascii")
        if len(flag) > self.limits.keyword:
            raise ImapSyntaxError("A keyword is too long.")
        if not flag.startswith("\\"):
            return flag
        try:
            return _SYSTEM_FLAGS[flag.lower()]
        except KeyError:
            raise ImapSyntaxError("There is no such system flag.") from None

    def flags(self) -> tuple[str, ...]:
        """flag-list = "(" [flag *(SP flag)] ")" """
        self.expect(b"(")
        found: list[str] = []
        while not self.skip(b")"):
            if found:
                self.space()
            found.append(self.flag())
            if len(found) > self.limits.flags:
                raise ImapSyntaxError("Too many flags.")
        return distinct(found)


def distinct(flags: Iterable[str]) -> tuple[str, ...]:
    """Each flag once, as it came first; those that differ by case alone are one (RFC 9051 2.3.2)."""
    once: dict[str, str] = {}
    for flag in flags:
        once.setdefault(flag.lower(), flag)
    return tuple(once.values())
