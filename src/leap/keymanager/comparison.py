"""What two people compare: a fingerprint in groups, eight words, or the text of a QR code. Pure.

    words = the first 88 bits of scrypt(both sides' address and fingerprint, sorted, under a label), 11 bits a word

Invariants:
* The words are the same on both sides: each has its own key and the other's.
* 88 bits alone would be found twice in 2^44 tries by who stands between both and gives each a key of theirs; scrypt
  makes a try cost 16 MiB and tens of milliseconds, so that this takes ten thousand years of a computer.
"""

from __future__ import annotations

import asyncio
import hashlib
import re

import msgspec
from mnemonic import Mnemonic

from leap.keymanager.canonical import canonical
from leap.keymanager.errors import KeyRefused

WORDS, BITS = 8, 11
_LABEL = b"leap.keymanager comparison 1"
_COST = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}
_HEX = re.compile(r"[0-9A-F]+\Z")
_LENGTHS = {40: "4", 64: "6"}  # hex digits of a fingerprint, by version of the key (RFC 9580 5.5.4)
QR_SCHEME = "OPENPGP4FPR:"  # what OpenKeychain and Delta Chat scan


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One key of another, in every form in which it can be compared."""

    fingerprint: str
    groups: str
    words: tuple[str, ...]
    qr: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two people compare: the key that stands for an address, and the one that an alert offers, if any."""

    address: str
    own: str
    own_qr: str
    verified: bool
    key: Compared
    offered: Compared | None = None


def grouped(fingerprint: str) -> str:
    """A fingerprint as people read it: groups of four."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def read_fingerprint(text: str) -> str:
    """A fingerprint as somebody typed or scanned it, as upper hex; raises KeyRefused.

    Spaces, colons, lower case, a leading "0x" and the scheme of a QR code are allowed.
    """
    found = re.sub(r"[\s:]", "", text.strip().upper().removeprefix(QR_SCHEME)).removeprefix("0X")
    if not _HEX.match(found) or len(found) not in _LENGTHS:
        raise KeyRefused(
            f"that is not a fingerprint: it has {' or '.join(map(str, _LENGTHS))} digits from 0 to 9 and A to F"
        )
    return found


def qr_text(fingerprint: str) -> str:
    """What a QR code of a key holds."""
    return QR_SCHEME + fingerprint


def comparison_words(own: tuple[str, str], other: tuple[str, str]) -> tuple[str, ...]:
    """Eight words that both of two people see, if each has the other's true key.

    `own` and `other` are an address and a fingerprint. CPU: 50 ms.
    """
    sides = sorted(
        f"{canonical(address)} {fingerprint}".encode() for address, fingerprint in (own, other)
    )
    packed = b"".join(len(side).to_bytes(4, "big") + side for side in sides)
    hashed = hashlib.scrypt(packed, salt=_LABEL, dklen=WORDS * BITS // 8, **_COST)
    value = int.from_bytes(hashed, "big")
    listed = Mnemonic("english").wordlist
    return tuple(
        listed[(value >> (BITS * (WORDS - 1 - place))) & (2**BITS - 1)] for place in range(WORDS)
    )


async def compare(own: tuple[str, str], other: tuple[str, str]) -> Compared:
    """All forms of one key; the work leaves the event loop."""
    return Compared(
        fingerprint=other[1],
        groups=grouped(other[1]),
        words=await asyncio.to_thread(comparison_words, own, other),
        qr=qr_text(other[1]),
    )
