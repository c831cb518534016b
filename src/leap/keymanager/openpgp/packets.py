"""OpenPGP packet framing (RFC 9580 4.2): bytes to packets and back, and a cursor that never reads past the end.

Invariants:
* Any bytes give packets or `Malformed`/`TooLarge`, in time linear in their length.
* Partial body lengths are taken only where the standard allows them: on data packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, TypeVar

from leap.keymanager.openpgp.errors import Malformed, TooLarge

MAX_PACKETS = (
    20_000  # flooded certificates of the old key servers had up to 150,000 signatures: refused
)

Octets = TypeVar("Octets", bytes, memoryview)


class Tag(IntEnum):
    """Packet types (RFC 9580 5)."""

    PKESK = 1
    SIGNATURE = 2
    SKESK = 3
    ONE_PASS = 4
    SECRET_KEY = 5
    PUBLIC_KEY = 6
    SECRET_SUBKEY = 7
    COMPRESSED = 8
    SED = 9  # encrypted without any integrity protection
    MARKER = 10
    LITERAL = 11
    TRUST = 12
    USER_ID = 13
    PUBLIC_SUBKEY = 14
    USER_ATTRIBUTE = 17
    SEIPD = 18
    MDC = 19
    OCB = 20  # GnuPG 2.3 and later, never standardised
    PADDING = 21


DATA_TAGS = frozenset({Tag.COMPRESSED, Tag.SED, Tag.LITERAL, Tag.SEIPD, Tag.OCB})


class Packet(NamedTuple):
    """One packet; its body may be a secret key, so that it does not show."""

    tag: int
    body: bytes

    def __repr__(self) -> str:
        return f"<Packet of type {self.tag}, {len(self.body)} octets>"


class Cursor:
    """Reads fields one after another; raises Malformed when they are not all there."""

    __slots__ = ("_at", "_data", "_size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._size = len(data)

    @property
    def left(self) -> int:
        return self._size - self._at

    @property
    def at(self) -> int:
        return self._at

    def take(self, count: int) -> bytes:
        start = self._at
        end = start + count
        if end > self._size:
            raise Malformed("an OpenPGP packet ends too early")
        self._at = end
        return self._data[start:end]

    def octet(self) -> int:
        at = self._at
        if at >= self._size:
            raise Malformed("an OpenPGP packet ends too early")
        self._at = at + 1
        return self._data[at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def mpi(self) -> bytes:
        """A multiprecision integer (RFC 9580 3.2), as its octets without leading length."""
        return self.take((self.number(2) + 7) // 8)

    def rest(self) -> bytes:
        return self.take(self.left)

    def end(self) -> None:
        """Raises Malformed if anything is left."""
        if self.left:
            raise Malformed("an OpenPGP packet is longer than its fields")


def mpi(octets: bytes) -> bytes:
    """Octets of a number as a multiprecision integer (RFC 9580 3.2)."""
    octets = octets.lstrip(b"\0")
    bits = len(octets) * 8 - (8 - octets[0].bit_length()) if octets else 0
    return bits.to_bytes(2, "big") + octets


def length_octets(length: int) -> bytes:
    """A length as packets and signature subpackets write it (RFC 9580 4.2.1)."""
    if length < 192:
        return bytes([length])
    if length < 8384:
        return bytes([((length - 192) >> 8) + 192, (length - 192) & 0xFF])
    return b"\xff" + length.to_bytes(4, "big")


def packet(tag: int, *body: bytes) -> bytes:
    """One packet with a new-format header and a definite length."""
    return b"".join((packet_head(tag, sum(map(len, body))), *body))


def packet_head(tag: int, length: int) -> bytes:
    """What stands before a body of `length` octets."""
    return bytes([0xC0 | tag]) + length_octets(length)


def read_packets(data: bytes | bytearray, *, limit: int = MAX_PACKETS) -> Iterator[Packet]:
    """The packets of `data`, one by one.

    Raises Malformed for bytes that are no packets, TooLarge for more than `limit` of them.
    """
    return map(Packet._make, frames(bytes(data), limit=limit))


def frames(data: Octets, *, limit: int = MAX_PACKETS) -> Iterator[tuple[int, Octets]]:
    """The same as type and body; of a memoryview the bodies are views, too, and nothing is copied."""
    at = count = 0
    end = len(data)
    while at < end:
        count += 1
        if count > limit:
            raise TooLarge(f"more than {limit} OpenPGP packets in one piece")
        header = data[at]
        at += 1
        if not header & 0x80:
            raise Malformed("these bytes are not OpenPGP packets")
        if header & 0x40:
            tag = header & 0x3F
            length, at, partial = _new_format_length(data, at)
            if partial:
                body, at = _new_format_body(data, at, tag, length)
            elif length > end - at:
                raise Malformed("an OpenPGP packet ends too early")
            else:
                body, at = data[at : at + length], at + length
        else:
            tag = (header >> 2) & 0x0F
            body, at = _old_format_body(data, at, header & 3, tag)
        if tag == 0:
            raise Malformed("a packet of type 0")  # RFC 9580 5: reserved, an error
        yield tag, body


def _slice(data: Octets, at: int, length: int) -> Octets:
    if length > len(data) - at:
        raise Malformed("an OpenPGP packet ends too early")
    return data[at : at + length]


def _new_format_body(data: Octets, at: int, tag: int, first: int) -> tuple[Octets, int]:
    """A body in pieces, the first of which has `first` octets."""
    if tag not in DATA_TAGS:
        raise Malformed("a partial length where the standard forbids it")  # RFC 9580 4.2.1.4
    body = bytearray()
    pieces, most = 0, len(data) // 64 + 16  # real writers use pieces of 512 octets and more
    length, partial = first, True
    while True:
        pieces += 1
        if pieces > most:
            raise Malformed("an OpenPGP packet in absurdly small pieces")
        body += _slice(data, at, length)
        at += length
        if not partial:
            return type(data)(body), at
        length, at, partial = _new_format_length(data, at)


def _new_format_length(data: Octets, at: int) -> tuple[int, int, bool]:
    if at >= len(data):
        raise Malformed("an OpenPGP packet ends too early")
    first = data[at]
    at += 1
    if first < 192:
        return first, at, False
    if first < 224:
        return ((first - 192) << 8) + _slice(data, at, 1)[0] + 192, at + 1, False
    if first == 255:
        return int.from_bytes(_slice(data, at, 4), "big"), at + 4, False
    return 1 << (first & 0x1F), at, True


def _old_format_body(data: Octets, at: int, kind: int, tag: int) -> tuple[Octets, int]:
    if kind == 3:  # RFC 9580 4.2.2: until the end; old GnuPG writes compressed data so
        if tag not in DATA_TAGS:
            raise Malformed("an open length where the standard forbids it")
        return data[at:], len(data)
    width = 1 << kind
    length = int.from_bytes(_slice(data, at, width), "big")
    at += width
    return _slice(data, at, length), at + length
