"""What lies inside an encrypted or signed message: literal data, its signatures, compression around them.

    message  =  compressed( message ) | one-pass* literal signature* | signature* literal     (RFC 9580 10.3)

Invariants:
* Exactly one literal data packet: two could be shown as one text although only one is signed.
* Unpacking stops at the limit before the memory is taken, at every level, and at most `MAX_DEPTH` levels deep.
"""

from __future__ import annotations

import bz2
import zlib
from typing import NamedTuple

from leap.keymanager.openpgp.errors import Malformed, NotEncrypted, TooLarge, Unsupported
from leap.keymanager.openpgp.packets import Cursor, Tag, frames, packet_head

MAX_DEPTH = 4  # GnuPG writes one level; more than a few is an attack
MAX_SIGNATURES = 64
MAX_PACKETS = 1_000
_NO_NAME = b"b\0\0\0\0\0"  # binary; no name, no date
_MAX_HEAD = 1 + 1 + 255 + 4  # form, length and octets of the name, date
_OVERHEAD = 1024 * 1024  # packet headers and signatures around the literal data


class Contents(NamedTuple):
    """Literal data and the bodies of the signature packets over it."""

    data: bytes
    signatures: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"<Contents of {len(self.data)} octets>"


def read_contents(data: bytes, *, max_size: int) -> Contents:
    """The one literal packet and its signatures; raises Malformed, TooLarge, Unsupported, NotEncrypted."""
    return _read(memoryview(data), max_size, 0)


def literal(data: bytes) -> bytes:
    """A literal data packet: binary, without name or date, which would not be signed (RFC 9580 5.9)."""
    return literal_head(len(data)) + data


def literal_head(length: int) -> bytes:
    """What stands before `length` octets of data in such a packet."""
    return packet_head(Tag.LITERAL, len(_NO_NAME) + length) + _NO_NAME


def _read(data: memoryview, max_size: int, depth: int) -> Contents:
    if depth > MAX_DEPTH:
        raise Malformed("a message packed in too many layers")
    found: bytes | None = None
    signatures: list[bytes] = []
    inner: Contents | None = None
    for tag, body in frames(data, limit=MAX_PACKETS):
        if tag in (Tag.MARKER, Tag.PADDING, Tag.ONE_PASS):
            continue
        if tag == Tag.SIGNATURE:
            signatures.append(bytes(body))
            if len(signatures) > MAX_SIGNATURES:
                raise TooLarge(f"more than {MAX_SIGNATURES} signatures on one message")
        elif tag in (Tag.LITERAL, Tag.COMPRESSED):
            if found is not None or inner is not None:
                raise Malformed("a message with more than one content")
            if tag == Tag.LITERAL:
                found = _literal_data(body, max_size)
            else:
                unpacked = _decompress(body, max_size + _OVERHEAD)
                inner = _read(memoryview(unpacked), max_size, depth + 1)
        elif tag in (Tag.PKESK, Tag.SKESK, Tag.SEIPD, Tag.SED, Tag.OCB):
            raise Unsupported("a message encrypted twice")
        elif tag < 40:  # RFC 9580 4.3: unknown critical packets must be refused
            raise Malformed(f"a packet of type {tag} inside a message")
    if inner is not None:
        # A signature around compressed data is over what it contains (RFC 9580 10.3).
        return Contents(inner.data, (*signatures, *inner.signatures)[:MAX_SIGNATURES])
    if found is None:
        raise Malformed("a message without content")
    return Contents(found, tuple(signatures))


def _literal_data(body: memoryview, max_size: int) -> bytes:
    cursor = Cursor(bytes(body[:_MAX_HEAD]))
    cursor.octet()
    cursor.take(cursor.octet())
    cursor.take(4)
    if len(body) - cursor.at > max_size:
        raise TooLarge(f"the decrypted message is over the limit of {max_size} octets")
    return bytes(body[cursor.at :])


def _decompress(body: memoryview, limit: int) -> bytes | memoryview:
    kind = Cursor(bytes(body[:1])).octet()
    packed = body[1:]
    try:
        if kind == 0:
            return packed
        if kind in (1, 2):  # raw deflate, zlib (RFC 9580 9.4)
            inflate = zlib.decompressobj(-15 if kind == 1 else 15)
            clear, done = inflate.decompress(packed, limit), inflate.eof
        elif kind == 3:
            bunzip = bz2.BZ2Decompressor()
            clear, done = bunzip.decompress(packed, limit), bunzip.eof
        else:
            raise Unsupported(f"compression number {kind} is not supported")
    except (zlib.error, OSError, ValueError, EOFError):
        raise Malformed("the compressed part of a message is damaged") from None
    if len(clear) >= limit:
        raise TooLarge(f"the message unpacks to more than {limit} octets")
    if not done:
        raise Malformed("the compressed part of a message ends too early")
    return clear


def not_encrypted(tag: int) -> NotEncrypted:
    """The error for a message that begins with another packet than encrypted data."""
    kinds: dict[int, str] = {
        Tag.LITERAL: "in clear",
        Tag.COMPRESSED: "only compressed",
        Tag.ONE_PASS: "only signed",
        Tag.SIGNATURE: "only a signature",
    }
    return NotEncrypted(f"the OpenPGP data is {kinds.get(tag, 'no encrypted message')}")
