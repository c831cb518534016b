"""Server-sent events, from octets to values: sans-IO, for the provider's push notices.

    stream  = *( *field end )
    field   = name [ ":" [ " " ] value ] end        ; ":" at the beginning: a comment, which keeps the line open
    end     = CRLF / LF / CR                         ; WHATWG HTML, section 9.2.6

A notice only says "look now": nothing is decided by its content, so whatever is not understood is passed over. A
line or an event of more than `MAX_LINE` octets raises BadReply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leap.soledad.errors import BadReply

MAX_LINE = 8 * 1024

KINDS = frozenset({"hello", "head", "inbox"})


@dataclass(frozen=True, slots=True)
class Event:
    """ "head": the log has a head at seq `data`. "inbox": `data` mails wait. "hello": the stream is open."""

    kind: str
    data: int


class EventParser:
    """Feeds on what the socket gives, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._data: str | None = None
        self._after_cr = False

    def feed(self, octets: bytes) -> list[Event]:
        """The events that these octets complete; raises BadReply for lines without end."""
        if self._after_cr and octets.startswith(b"\n"):
            octets = octets[1:]
        if octets:
            self._after_cr = octets.endswith(b"\r")
        # Only these three end a line here; bytes.splitlines() knows no others for bytes.
        lines = (self._rest + octets).splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith((b"\r", b"\n")):
            self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            raise BadReply("the provider's notices hold a line without end")
        return [event for line in lines for event in self._line(line.rstrip(b"\r\n"))]

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            yield from self._dispatch()
            return
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"event":
            self._kind = text
        elif name == b"data":
            self._data = text if self._data is None else f"{self._data}\n{text}"
            if len(self._data) > MAX_LINE:
                raise BadReply("the provider's notices hold an event without end")

    def _dispatch(self) -> Iterator[Event]:
        kind, data = self._kind, self._data
        self._kind, self._data = "", None
        if (
            kind in KINDS
            and data is not None
            and data.isascii()
            and data.isdigit()
            and len(data) < 17
        ):
            yield Event(kind, int(data))
