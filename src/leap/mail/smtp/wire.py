"""SMTP bytes to values and back: replies and command lines; `text` reads the mails between them.

Sans-IO and pure. What a peer sent raises nothing here: what is wrong with it is a value.

Invariants:
* Only CR LF ends a line (RFC 5321 2.3.8): neither a bare CR nor a bare LF ends a command.
* The result is the same whatever the pieces are in which the bytes arrive.
* A line over its limit costs no memory: it is read to its end and thrown away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

CRLF = b"\r\n"
MAX_COMMAND_LINE = 2_048  # RFC 5321 4.5.3.1.4 has 512, and each extension adds to it
MAX_AUTH_LINE = 12_288  # RFC 4954 4: a base64 line of an authentication exchange
MAX_RUNAWAY_LINE = 1024 * 1024  # whoever sends this much without a line end does not speak SMTP
MAX_REPLY_TEXT = 480  # RFC 5321 4.5.3.1.5: 512 octets with code, enhanced code and line end

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a command (RFC 5321 4.2): a code, an enhanced code (RFC 2034) or "", and a sentence.

    A text of several lines makes a reply of several lines; lines too long are broken at a space.
    """

    code: int
    enhanced: str
    text: str

    @property
    def positive(self) -> bool:
        """Whether the command was done, or may go on."""
        return self.code < 400

    def encode(self) -> bytes:
        """The octets to send; what is not ASCII becomes "?"."""
        lines = [part for line in self.text.split("\n") for part in _wrap(line)]
        enhanced = f"{self.enhanced} " if self.enhanced else ""
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{enhanced}{line}\r\n"
            for number, line in enumerate(lines)
        ).encode("ascii", "replace")


def _wrap(line: str) -> list[str]:
    line = _UNPRINTABLE.sub(" ", line)
    parts = []
    while len(line) > MAX_REPLY_TEXT:
        space = line.rfind(" ", 1, MAX_REPLY_TEXT)
        cut = space if space > 0 else MAX_REPLY_TEXT
        parts.append(line[:cut])
        line = line[cut:].lstrip(" ")
    return [*parts, line]


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its CR LF; `fault` says why it cannot be understood, and then `content` is b""."""

    content: bytes
    fault: Literal["", "too-long", "bare-line-end", "nul"] = ""


class Runaway:
    """There is no end of line in sight; the connection is not worth keeping."""


class LineReader:
    """Takes lines off the front of a buffer, which it shares with whoever reads the text of a mail."""

    def __init__(self, buffer: bytearray, limit: int = MAX_AUTH_LINE) -> None:
        self._buffer = buffer
        self._limit = limit
        self._searched = 0  # no CR LF begins before this place
        self._skipped = 0  # octets of the present line thrown away already

    def next_line(self) -> Line | Runaway | None:
        """The next line; None when it has not arrived whole."""
        buffer = self._buffer
        end = buffer.find(CRLF, self._searched)
        if end < 0:
            return self._partial_line()
        length = self._skipped + end
        content = bytes(buffer[:end]) if length <= self._limit else b""
        del buffer[: end + 2]
        self.reset()
        if length > MAX_RUNAWAY_LINE:
            return Runaway()
        if length > self._limit:
            return Line(b"", "too-long")
        if b"\n" in content or b"\r" in content:
            return Line(b"", "bare-line-end")
        if b"\0" in content:
            return Line(b"", "nul")
        return Line(content)

    def _partial_line(self) -> Runaway | None:
        buffer = self._buffer
        kept = 1 if buffer.endswith(b"\r") else 0  # it may be the first half of the line end
        length = len(buffer) - kept
        if self._skipped + length > MAX_RUNAWAY_LINE:
            return Runaway()
        if self._skipped + length > self._limit:
            self._skipped += length
            del buffer[:length]
            length = 0
        self._searched = length
        return None

    def reset(self) -> None:
        """Forgets what was seen of the present line: the buffer was changed by another reader."""
        self._searched = 0
        self._skipped = 0
