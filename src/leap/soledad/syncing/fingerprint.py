"""Eight words that two devices of an account show alike when they are in step, and only then.

    words = the first 88 bits of SHA-256(label ‖ account ‖ generation ‖ seq ‖ hash of the head), 11 bits a word (BIP 39)

A provider can show each device a log of its own, or keep one on an old log, for as long as it never joins them. No
device can find that alone; two people, or one with two devices, compare eight words. 88 bits: to find two logs with
one fingerprint, a provider would need 2^44 heads that our own devices signed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mnemonic import Mnemonic

from leap.soledad.envelope import with_lengths
from leap.soledad.head import Head

WORDS, BITS = 8, 11
_LABEL = b"leap.soledad fingerprint 1"


@dataclass(frozen=True)
class Fingerprint:
    """`words` is empty before the first head. With `unsynced` changes here, another device cannot show the same."""

    words: tuple[str, ...]
    generation: int
    seq: int
    unsynced: int


def words_of(head: Head, account: str) -> tuple[str, ...]:
    """The words of an accepted head."""
    record = head.record
    numbers = [number.to_bytes(8, "big") for number in (record.generation, record.seq)]
    hashed = hashlib.sha256(with_lengths(_LABEL, account.encode(), *numbers, head.hash)).digest()
    value = int.from_bytes(hashed[: WORDS * BITS // 8], "big")
    listed = Mnemonic("english").wordlist
    return tuple(
        listed[(value >> (BITS * (WORDS - 1 - place))) & (2**BITS - 1)] for place in range(WORDS)
    )
