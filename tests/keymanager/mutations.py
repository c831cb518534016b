"""Changing OpenPGP data: octets at random, and on purpose where lengths, counts, types and orders stand.

`mutate` knows nothing of the format. `mutate_structure` takes whole packets apart and tells lies at the places that
readers believe: what comes out is mostly well framed, and so gets past the framing into what lies below.
"""

from __future__ import annotations

import bz2
import random
import zlib

from leap.keymanager.openpgp.armor import armor, dearmor, is_armored
from leap.keymanager.openpgp.errors import OpenPGPError
from leap.keymanager.openpgp.packets import Packet, Tag, length_octets, packet, read_packets

_EDGES = (0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xDF, 0xE0, 0xFE, 0xFF)
_WIDE = (0, 1, 2, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TITLE = "MESSAGE"  # nobody who reads looks at it


def mutate(data: bytes, source: random.Random) -> bytes:
    """`data` with a few flips, a cut, a doubled or a dropped piece."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        at = source.randrange(len(changed) + 1)
        match source.randrange(6):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 2 if at < len(changed):
                changed[at] = source.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 3:
                changed[at:at] = source.randbytes(source.choice((1, 4, 40)))
            case 4:
                del changed[at : at + source.choice((1, 8, 60))]
            case _:
                del changed[at:]
    return bytes(changed)


def mutate_structure(data: bytes, source: random.Random) -> bytes:
    """`data`, armored or not, with its packets changed; what is no packets is changed as text."""
    armored = is_armored(data)
    if armored and source.randrange(8) == 0:
        return _mutate_text(data, source)
    try:
        packets = list(read_packets(dearmor(data)))
    except OpenPGPError:
        return _mutate_text(data, source)
    for _ in range(source.choice((1, 1, 2, 4))):
        packets = _mutate_order(packets, source)
    lied = source.randrange(len(packets)) if packets and source.randrange(3) == 0 else -1
    octets = b"".join(
        _frame(item, source) if number == lied else packet(item.tag & 0x3F, item.body)
        for number, item in enumerate(packets)
    )
    if source.randrange(12) == 0:
        octets = _packed(octets, source)
    return armor(octets, _TITLE, checksum=source.randrange(2) == 0) if armored else octets


def _mutate_order(packets: list[Packet], source: random.Random) -> list[Packet]:
    packets = list(packets)
    if not packets:
        return [Packet(source.choice(list(Tag)), source.randbytes(source.randrange(40)))]
    at, other = source.randrange(len(packets)), source.randrange(len(packets))
    tag, body = packets[at]
    match source.randrange(12):
        case 0:
            del packets[at]
        case 1:
            packets[at:at] = [packets[other]] * source.choice((1, 1, 1, 2, 70, 300))
        case 2:
            packets[at], packets[other] = packets[other], packets[at]
        case 3:
            packets[at] = Packet(source.choice((*Tag, source.randrange(64))), body)
        case 4:
            packets.insert(
                at, Packet(source.choice(list(Tag)), source.randbytes(source.choice((0, 1, 30))))
            )
        case 5 | 6 if tag in (Tag.SIGNATURE, Tag.ONE_PASS):
            packets[at] = Packet(tag, _mutate_statements(body, source))
        case _:
            packets[at] = Packet(tag, mutate_fields(body, source))
    return packets


def mutate_fields(body: bytes, source: random.Random) -> bytes:
    """A packet's body with other versions, numbers and lengths: they stand mostly at its beginning."""
    changed = bytearray(body)
    span = len(body) if source.randrange(4) == 0 else min(len(body), 24)
    at = source.randrange(span + 1)
    match source.randrange(6):
        case 0 | 1 | 2:
            changed[at : at + 1] = bytes([source.choice(_EDGES)])
        case 3:
            changed[at : at + 2] = (source.choice(_WIDE) & 0xFFFF).to_bytes(2, "big")
        case 4:
            changed[at : at + 4] = source.choice(_WIDE).to_bytes(4, "big")
        case _:
            cut = source.choice((1, 2, 16, len(body) // 2))
            if source.randrange(2):
                del changed[len(changed) - cut :]
            else:
                changed += source.randbytes(cut)
    return bytes(changed)


def _mutate_statements(body: bytes, source: random.Random) -> bytes:
    """A signature's body with statements more, fewer, or with other lengths (RFC 9580 5.2.3.7)."""
    if len(body) < 10 or body[0] not in (4, 6):
        return mutate_fields(body, source)
    width = 2 if body[0] == 4 else 4
    start = 4 + width
    end = start + int.from_bytes(body[4:start], "big")
    area = body[start:end]
    kind = source.randrange(48) | source.choice((0, 0x80))
    match source.randrange(5):
        case 0:  # whatever, critical or not
            area += _statement(kind, source.randbytes(source.choice((0, 1, 4, 21, 40))))
        case 1:  # many
            area += _statement(kind, b"x") * source.choice((10, 300))
        case 2:  # itself, inside itself
            inner = body
            for _ in range(source.choice((1, 4, 40))):
                inner = body[:4] + (len(area) + 6 + len(inner)).to_bytes(width, "big") + area
                inner += _statement(32, body)
            area += _statement(32, inner)
        case 3 if area:  # a length that lies
            area = bytes([source.choice(_EDGES)]) + area[1:]
        case _ if area:
            area = mutate(area, source)
    length = source.choice(_WIDE) if source.randrange(6) == 0 else len(area)
    return body[:4] + (length % (1 << 8 * width)).to_bytes(width, "big") + area + body[end:]


def _statement(kind: int, data: bytes) -> bytes:
    return length_octets(len(data) + 1) + bytes([kind]) + data


def _frame(item: Packet, source: random.Random) -> bytes:
    """A packet in another form, or with a length that is not its own (RFC 9580 4.2)."""
    tag, body = item.tag & 0x3F, item.body
    match source.randrange(6):
        case 0:
            return (
                bytes([0xC0 | tag])
                + length_octets(max(0, len(body) + source.choice((-1, 1, 8))))
                + body
            )
        case 1:
            return bytes([0xC0 | tag, 0xFF]) + source.choice(_WIDE).to_bytes(4, "big") + body
        case 2:  # until the end
            return bytes([0x80 | (tag & 0x0F) << 2 | 3]) + body
        case 3:
            return (
                bytes([0x80 | (tag & 0x0F) << 2 | 1])
                + (len(body) & 0xFFFF).to_bytes(2, "big")
                + body
            )
        case 4:  # in pieces, as large or as small as one likes
            power = source.choice((0, 1, 5, 9))
            size = 1 << power
            whole = len(body) // size * size
            pieces = b"".join(
                bytes([0xE0 | power]) + body[at : at + size] for at in range(0, whole, size)
            )
            return bytes([0xC0 | tag]) + pieces + length_octets(len(body) - whole) + body[whole:]
        case _:
            return bytes([0xC0 | tag, 0xE0 | source.choice((0, 9, 20, 30))]) + body


def _packed(octets: bytes, source: random.Random) -> bytes:
    """Compressed, once or several times, in each of the three ways."""
    for _ in range(source.choice((1, 1, 3, 6))):
        kind = source.randrange(4)
        if kind == 1:
            squeeze = zlib.compressobj(wbits=-15)
            packed = squeeze.compress(octets) + squeeze.flush()
        else:
            packed = {0: bytes, 2: zlib.compress, 3: bz2.compress}[kind](octets)
        octets = packet(Tag.COMPRESSED, bytes([kind]), packed)
    return octets


def _mutate_text(data: bytes, source: random.Random) -> bytes:
    """Armor with lines doubled, dropped, swapped or changed."""
    lines = data.split(b"\n")
    at, other = source.randrange(len(lines)), source.randrange(len(lines))
    match source.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = lines[other : other + source.choice((1, 3, 50))]
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] += source.choice((b"=", b"==", b"\r", b" ", b"\xff", b"-----", b":"))
        case 4:
            lines.insert(
                at,
                source.choice((b"", b"Hash: x", b"=AAAA", b"-----BEGIN PGP MESSAGE-----", b"- -")),
            )
        case _:
            return mutate(data, source)
    return b"\n".join(lines)
