"""A signature of a message's header: a few hundred octets that say of most needles that they are not in it.

A Bloom filter of one hash: each three neighbouring octets of the folded header, in UTF-8, set one bit. A header that
holds a needle has the bits of all the needle's triples; one that has them may hold it, and is read.

Random names and keys in headers make this cheaper than terms: they would be a vocabulary that nobody else shares.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

BITS_EACH = 1.5  # for each triple, of which about two thirds are distinct: a quarter to two fifths are set then
_LEAST, _MOST = 8, 14  # a signature has 2^8 to 2^14 bits: 32 octets to 2 KiB
_LANE = 32  # bits of one character in UTF-32
# An octet times a factor has 30 bits, and three of these together stay in their lane. The middle bits are taken. These
# numbers, as BITS_EACH, are what the signatures of the table `mail_head` are made with.
_FACTORS = (2654435, 3266489, 2246823)
_MIDDLE = 10

MAX_HEADER = (
    65_536  # octets; of a longer header nearly all bits would be set, for milliseconds of work
)
ANYTHING = b"\xff" * (1 << _LEAST - 3)  # the signature that lets everything through
_ASKED = 256  # octets of a needle that are looked for; what has them may hold the rest


def signature(folded: str) -> bytes:
    """The signature of a header as one folded text; CPU about 30 µs for 700 characters."""
    octets = folded.encode()
    if len(octets) > MAX_HEADER:
        return ANYTHING
    width = min(_MOST, max(_LEAST, int(BITS_EACH * len(octets)).bit_length()))
    last = (1 << width) - 1
    bits = bytearray(b"0") * (last + 1)
    for one in _hashes(octets, last):
        bits[last - one] = 49  # "1"
    return int(bits, 2).to_bytes((last + 1) // 8, "little")


def _hashes(octets: bytes, most: int) -> Sequence[int]:
    """A number up to `most` (2^n - 1) for each three neighbouring octets."""
    many = len(octets) - 2
    if many < 1:
        return ()
    # All at once, each in its lane of one large number: a loop would take ten times as long
    lanes = int.from_bytes(octets.decode("latin-1").encode("utf-32-le"), "little")
    first, second, third = _FACTORS
    mixed = lanes * first + (lanes >> _LANE) * second + (lanes >> 2 * _LANE) * third
    kept = int.from_bytes(most.to_bytes(4, "little") * many, "little")
    return struct.unpack(f"<{many}I", (mixed >> _MIDDLE & kept).to_bytes(4 * many, "little"))


class Sieve:
    """Which signatures may be of a header that holds all these texts."""

    def __init__(self, folded: Iterable[str]) -> None:
        octets = [text[:_ASKED].encode()[:_ASKED] for text in folded]
        self.blind = max(map(len, octets)) < 3  # all are too short: every header may
        self._places: dict[int, list[tuple[int, int]]] = {
            0: []
        }  # an empty one is not known: it passes
        for width in range(_LEAST, _MOST + 1):
            places = {place for one in octets for place in _hashes(one, (1 << width) - 1)}
            self._places[(1 << width) // 8] = [(at >> 3, 1 << (at & 7)) for at in sorted(places)]

    def passed(self, signatures: Iterable[tuple[int, bytes]]) -> Sequence[int]:
        """The numbers of those that may."""
        out = []
        every = self._places
        for number, made in signatures:
            for at, bit in every[len(made)]:
                if not made[at] & bit:
                    break
            else:
                out.append(number)
        return out
