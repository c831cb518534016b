"""SMTP bytes to values and back: replies, command lines, and the text of a mail.

Sans-IO and pure. What a peer sent raises nothing here: what is wrong with it is a value.

Invariants:
* Only CR LF ends a line (RFC 5321 2.3.8). Neither a bare CR nor a bare LF ends a command, and only
  CR LF "." CR LF ends the text of a mail: other ends are how mail is smuggled past a server.
* The result is the same whatever the pieces are in which the bytes arrive.
* A line or a mail over its limit costs no memory: it is read to its end and thrown away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

CRLF = b"\r\n"
END_OF_TEXT = b"\r\n.\r\n"
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


TextFault = Literal["too-large", "bare-line-end", "nul", "line-too-long"]
_GRAVEST_FIRST: tuple[TextFault, ...] = ("too-large", "bare-line-end", "nul", "line-too-long")


@dataclass(frozen=True, slots=True)
class Text:
    """A mail as it came, dot-stuffing undone (RFC 5321 4.5.2); with a `fault`, `content` is b"".

    `size` is what RFC 1870 counts: all octets sent, without the stuffing and without the final dot.
    """

    content: bytes
    size: int
    fault: TextFault | None = None


class TextReader:
    """Reads the text of one mail (after 354) from pieces of any size."""

    def __init__(self, max_size: int, max_line: int) -> None:
        self._max_size = max_size
        self._max_line = max_line
        self._held = CRLF  # end of what came: it may begin the end; the text begins at a line start
        self._ahead = 2  # octets of `_held` which are not the mail's
        self._pieces: list[bytes] = []
        self._line = 0  # octets of the present line so far
        self._faults: set[TextFault] = set()  # all of them, so that the pieces make no difference
        self.size = 0

    def feed(self, buffer: bytearray) -> Text | None:
        """Takes what belongs to the mail off the front of `buffer`; the mail when its end has come."""
        data = self._held + bytes(buffer)
        end = data.find(END_OF_TEXT)
        if end < 0:
            keep = _begun_end(data)
            self._held = data[len(data) - keep :]
            buffer.clear()
            self._take(data[: len(data) - keep])
            return None
        del buffer[: end + len(END_OF_TEXT) - len(self._held)]
        self._take(data[: end + 2])
        for fault in _GRAVEST_FIRST:
            if fault in self._faults:
                return Text(b"", self.size, fault)
        return Text(b"".join(self._pieces), self.size)

    def _take(self, piece: bytes) -> None:
        # Pieces are cut only before a CR, so that a CR LF, and the "." behind it, lie in one piece.
        piece = piece.replace(b"\r\n.", CRLF)
        if self._ahead and piece:
            piece = piece[self._ahead :]
            self._ahead = 0
        self.size += len(piece)
        self._look_for_faults(piece)
        if self._faults:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _look_for_faults(self, piece: bytes) -> None:
        if self.size > self._max_size:
            self._faults.add("too-large")
        if _has_bare_line_end(piece):
            self._faults.add("bare-line-end")
        if b"\0" in piece:
            self._faults.add("nul")
        if self._longest_line(piece) > self._max_line:
            self._faults.add("line-too-long")

    def _longest_line(self, piece: bytes) -> int:
        last_end = piece.rfind(CRLF)
        if last_end < 0:
            self._line += len(piece)
            return self._line
        longest = self._line + piece.find(CRLF)
        self._line = len(piece) - last_end - 2
        if len(piece) > self._max_line:  # else no line inside it can be too long
            longest = max(longest, max(map(len, piece.split(CRLF))))
        return max(longest, self._line)


def _has_bare_line_end(piece: bytes) -> bool:
    """Whether a CR or LF stands alone; four times as fast as counting them."""
    joined = CRLF.join(piece.splitlines())  # of octets: splits at CR LF, CR and LF only
    return not piece.startswith(joined) or piece[len(joined) :] not in (b"", CRLF)


def _begun_end(data: bytes) -> int:
    """How many octets at the end of `data` may be the beginning of the end of the text."""
    for length in range(min(len(data), len(END_OF_TEXT) - 1), 0, -1):
        if END_OF_TEXT.startswith(data[-length:]):
            return length
    return 0
