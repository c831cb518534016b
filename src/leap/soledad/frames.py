"""Frames: values of the protocol one after the other in one body, so that each counts as soon as it is there.

    body   = *frame
    frame  = length value          ; length: 4 octets, big-endian, of the value; value: MessagePack, never empty

Sans-IO; both sides import it.

Invariants:
* No more than one unfinished frame is held, and none is longer than the reader's limit.
* Bytes from outside raise WireError and nothing else.
"""

from __future__ import annotations

from leap.soledad.wire import MAX_COMMIT_BYTES, WireError

FRAMES_TYPE = "application/vnd.leap.frames"
MAX_FRAME = (
    MAX_COMMIT_BYTES + 1024 * 1024
)  # the items of one page or request, and what is around them

_LENGTH = 4


def frame(value: bytes) -> bytes:
    """One frame around an encoded value."""
    return len(value).to_bytes(_LENGTH, "big") + value


class FrameReader:
    """Cuts a body into its frames again, however it arrives in pieces."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """`limit`: octets of the longest value."""
        self._limit = limit
        self._held = bytearray()
        self._need = _LENGTH  # octets until the next length or value is whole
        self._in_value = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The values that are whole now. Raises WireError for a length that is 0 or above the limit."""
        self._held += piece
        values: list[bytes] = []
        start = 0
        while len(self._held) - start >= self._need:
            part = bytes(memoryview(self._held)[start : start + self._need])
            start += self._need
            if self._in_value:
                values.append(part)
                self._need = _LENGTH
            else:
                self._need = int.from_bytes(part, "big")
                if not 0 < self._need <= self._limit:
                    raise WireError(f"a frame of {self._need} octets is not in the protocol")
            self._in_value = not self._in_value
        del self._held[:start]
        return values

    def end(self) -> None:
        """The body is over. Raises WireError in the middle of a frame."""
        if self._held or self._in_value:
            raise WireError("the body is cut in the middle of a frame")
