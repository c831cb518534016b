"""The text of a mail as DATA and BDAT bring it (RFC 5321 4.1.1.4, RFC 3030 2): octets in, a `Body` out.

Sans-IO. What a peer sent raises nothing here: what is wrong with it is a value.

Invariants:
* After DATA only CR LF "." CR LF ends the text: other ends are how mail is smuggled past a server. After
  BDAT only the number of octets does.
* A mail with a bare CR, a bare LF or a NUL is refused either way: the next server might see another end.
* The result is the same whatever the pieces are in which the octets arrive.
* A mail over the limit, or refused already, costs no memory: it is read to its end and thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leap.mail.smtp.body import Body
from leap.mail.smtp.wire import CRLF, Reply

END_OF_TEXT = b"\r\n.\r\n"
TextFault = Literal["too-large", "bare-line-end", "nul", "line-too-long", "not-kept"]
_GRAVEST_FIRST: tuple[TextFault, ...] = ("too-large", "bare-line-end", "nul", "line-too-long")


@dataclass(frozen=True, slots=True)
class Text:
    """A mail as it came, dot-stuffing undone (RFC 5321 4.5.2); with a `fault` nothing of it is kept.

    `size` is what RFC 1870 counts: all octets sent, without the stuffing and without the final dot.
    """

    body: Body
    size: int
    fault: TextFault | None = None


class Arriving:
    """A mail that comes: counted, looked over and kept, piece by piece. No piece may divide a CR LF."""

    def __init__(self, max_size: int, max_line: int, body: Body | None = None) -> None:
        self._max_size = max_size
        self._max_line = max_line
        self.body = Body() if body is None else body
        self._line = 0  # octets of the present line so far
        self._faults: set[TextFault] = set()  # all of them, so that the pieces make no difference
        self.size = 0

    def take(self, piece: bytes) -> None:
        if not piece:
            return
        self.size += len(piece)
        self._look_for_faults(piece)
        if self._faults:
            self.body.discard()
        else:
            self.body.append(piece)

    @property
    def fault(self) -> TextFault | None:
        """The gravest thing that is wrong so far."""
        for fault in _GRAVEST_FIRST:
            if fault in self._faults:
                return fault
        return "not-kept" if self.body.broken else None

    @property
    def in_line(self) -> bool:
        """Whether the last line lacks its end."""
        return self._line > 0

    def whole(self) -> Text:
        """It has come to its end."""
        return Text(self.body, self.size, self.fault)

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


class TextReader:
    """Reads the text of one mail after 354."""

    def __init__(self, max_size: int, max_line: int, body: Body | None = None) -> None:
        self.mail = Arriving(max_size, max_line, body)
        self._held = CRLF  # end of what came: it may begin the end; the text begins at a line start
        self._ahead = 2  # octets of `_held` which are not the mail's

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
        return self.mail.whole()

    def _take(self, piece: bytes) -> None:
        # Pieces are cut only before a CR, so that a CR LF, and the "." behind it, lie in one piece.
        piece = piece.replace(b"\r\n.", CRLF)
        if self._ahead and piece:
            piece = piece[self._ahead :]
            self._ahead = 0
        self.mail.take(piece)


class ChunkReader:
    """Reads the chunks of one mail, each after its BDAT. Nothing is stuffed in them, and nothing undone."""

    def __init__(self, max_size: int, max_line: int, body: Body | None = None) -> None:
        self.mail = Arriving(max_size, max_line, body)
        self._held = b""  # a CR whose LF may be in the next piece, or in the next chunk
        self._missing = 0  # octets of the present chunk
        self.last = False
        self.refusal: Reply | None = None  # then the octets are read and forgotten

    def begin(self, size: int, last: bool) -> None:
        """BDAT promised so many octets."""
        self._missing = size
        self.last = last

    def feed(self, buffer: bytearray) -> bool:
        """Takes what belongs to the chunk off the front of `buffer`; whether the chunk is whole."""
        taken = min(self._missing, len(buffer))
        data = self._held + bytes(memoryview(buffer)[:taken])
        del buffer[:taken]
        self._missing -= taken
        whole = self._missing == 0
        if self.refusal is not None:
            self.mail.body.discard()
            return whole
        self._held = b"\r" if data.endswith(b"\r") and not (whole and self.last) else b""
        self.mail.take(data.removesuffix(self._held) if self._held else data)
        if whole and self.last and self.mail.in_line:
            # DATA cannot bring a mail without it, and no later hop could pass such a one on (RFC 5321 4.1.1.4).
            self.mail.take(CRLF)
        return whole


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
