"""From octets to whole IMAP commands, literals included, with bounded memory (sans-IO).

Invariants: a command is handed out only when its last line end has come; a synchronising literal is invited
(`Continuation`) only when it will be kept; a refused non-synchronising literal is dropped octet by octet as it
comes; what is held is never more than the limits of one command plus one feed.

RFC 3501 4.3:   literal = "{" number "}" CRLF *CHAR8
RFC 7888:       literal = "{" number ["+"] "}" CRLF *CHAR8
RFC 3516:       literal8 = "~{" number ["+"] "}" CRLF *OCTET
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeGuard

from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits

_LITERAL = re.compile(rb"~?\{(\d{1,20})(\+?)\}\Z")
_ADDING = rb"[^ ]+ +(?:APPEND|(?:UID +)?REPLACE +[^ ]+) +"  # RFC 3501 6.3.11, RFC 8508 3.3
_APPEND = re.compile(_ADDING, re.IGNORECASE)
_APPEND_NAME = re.compile(_ADDING + rb"~?\{\d+\+?\}\Z", re.IGNORECASE)
_TAIL = 32  # octets of a line too long that are kept, to see whether it ends in a literal


@dataclass(frozen=True, slots=True)
class Continuation:
    """The client waits for "+" before it sends a literal."""


@dataclass(frozen=True, slots=True)
class RawCommand:
    """One command: `text` holds "{n}" CRLF where literal n of `literals` stood."""

    text: bytes
    literals: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A command over a limit, to be answered under the tag which `text` begins with."""

    text: bytes
    reason: Literal["line", "literal", "message"]


Event = Continuation | RawCommand | Refused


def is_append(event: Event | None) -> TypeGuard[RawCommand]:
    return isinstance(event, RawCommand) and _APPEND.match(event.text) is not None


class CommandReader:
    """Takes octets in any pieces; hands out commands, or single lines where the protocol awaits those."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0  # of the buffer, known to have no line end
        self._text = bytearray()
        self._literals: list[bytes] = []
        self._literal: bytearray | bytes | None = None  # octets when it came in one piece
        self._wanted = 0  # octets of the literal still to come
        self._together = 0
        self._refused: Refused | None = None
        self._tail = b""
        self.authenticated = False

    def feed(self, data: bytes) -> None:
        """Adds octets as they came."""
        if self._wanted and not self._buffer:  # of a literal: they are not copied once more
            taken = min(self._wanted, len(data))
            self._take(data[:taken])
            data = data[taken:]
        self._buffer += data

    def forget(self) -> None:
        """Drops what was received but not read yet (RFC 3501 6.2.1: after STARTTLS)."""
        self._buffer.clear()
        self._scanned = 0

    @property
    def held(self) -> int:
        """Octets in memory."""
        literal = len(self._literal) if self._literal is not None else 0
        return len(self._buffer) + len(self._text) + literal + sum(map(len, self._literals))

    def next_line(self) -> bytes | Refused | None:
        """One line without its end, where a response to "+" or DONE is due; None when more must come."""
        end = self._buffer.find(b"\n", self._scanned)
        limit = self._line_limit()
        if self._refused is not None or (end < 0 and len(self._buffer) > limit) or end > limit:
            self._refused = Refused(b"", "line")
            if end < 0:
                self._buffer.clear()
                self._scanned = 0
                return None
            del self._buffer[: end + 1]
            self._scanned = 0
            refused, self._refused = self._refused, None
            return refused
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        return self._cut(end)

    def next_command(self) -> Event | None:
        """The next event, or None when more octets must come first."""
        while True:
            if self._wanted:
                if not self._buffer:
                    return None
                self._take_literal()
                continue
            if self._literal is not None:
                self._literals.append(bytes(self._literal))
                self._literal = None
            line = self._next_part()
            if line is None:
                return None
            event = self._line(line)
            if event is not None:
                return event

    # -- parts

    def _line_limit(self) -> int:
        return self._limits.line if self.authenticated else self._limits.line_before_login

    def _cut(self, end: int) -> bytes:
        stop = end - 1 if end and self._buffer[end - 1] == 13 else end  # a bare LF is taken too
        line = bytes(self._buffer[:stop])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _next_part(self) -> bytes | None:
        """A whole line; of one that is too long only the tail, and then the command is refused."""
        end = self._buffer.find(b"\n", self._scanned)
        length = end if end >= 0 else len(self._buffer)
        if len(self._text) + length > self._line_limit() and self._refused is None:
            self._refuse("line", bytes(self._buffer[:256]))
        if end >= 0:
            line = self._cut(end)
            if self._refused is not None:  # the CR may be in the tail, when it came before the LF
                line, self._tail = (self._tail + line)[-_TAIL:].removesuffix(b"\r"), b""
            return line
        if self._refused is not None:
            self._tail = (self._tail + bytes(self._buffer[-_TAIL:]))[-_TAIL:]
            self._buffer.clear()
        self._scanned = len(self._buffer)
        return None

    def _take_literal(self) -> None:
        taken = min(self._wanted, len(self._buffer))
        self._take(bytes(memoryview(self._buffer)[:taken]))
        del self._buffer[:taken]
        self._scanned = 0

    def _take(self, octets: bytes) -> None:
        """The next octets of the literal; of one that was refused they are dropped."""
        if isinstance(self._literal, bytearray):
            whole = not self._literal and len(octets) == self._wanted
            if whole:
                self._literal = octets
            else:
                self._literal += octets
        self._wanted -= len(octets)

    def _line(self, line: bytes) -> Event | None:
        literal = _LITERAL.search(line)
        if literal is None:
            return self._finish(line)
        size, synchronising = int(literal[1]), not literal[2]
        if self._refused is None:
            self._check_literal(line, size)
        if self._refused is not None:
            if synchronising:
                return self._finish(line)
            self._wanted = size
            return None
        self._text += line + b"\r\n"
        self._literal = bytearray()
        self._wanted = size
        self._together += size
        return Continuation() if synchronising else None

    def _check_literal(self, line: bytes, size: int) -> None:
        limits = self._limits
        start = bytes(self._text[:256]) or line[:256]
        append = self.authenticated and _APPEND.match(start) is not None
        if len(self._literals) >= limits.literal_count:
            self._refuse("literal", line)
        elif append and self._is_message(line):
            if size > limits.message or self._together + size > limits.messages_together:
                self._refuse("message", line)
        elif append:
            if size > limits.literal:
                self._refuse("literal", line)
        elif self.authenticated:
            if size > limits.literal or self._together + size > limits.literals_together:
                self._refuse("literal", line)
        elif size > limits.literal_before_login or self._together + size > limits.literal:
            self._refuse("literal", line)

    def _is_message(self, line: bytes) -> bool:
        """Whether this literal of an APPEND is a message, not the mailbox's name."""
        return bool(self._text) or _APPEND_NAME.match(line) is None

    def _refuse(self, reason: Literal["line", "literal", "message"], line: bytes) -> None:
        self._refused = Refused(bytes(self._text[:256]) or line[:256], reason)
        self._literals.clear()
        self._literal = None
        self._text.clear()

    def _finish(self, line: bytes) -> RawCommand | Refused:
        event: RawCommand | Refused
        if self._refused is not None:
            event = self._refused
        else:
            event = RawCommand(bytes(self._text) + line, tuple(self._literals))
        self._text.clear()
        self._literals.clear()
        self._literal = None
        self._together = 0
        self._refused = None
        self._tail = b""
        return event
