"""The set digest: one number that says which items, in which versions and bytes, the log holds.

    digest = Σ HMAC-SHA-512(key, item id ‖ version ‖ SHA-256 of the sealed item)   modulo 2^512

An item is added or taken out in one step, and the order does not matter.

Invariants:
* The key comes from the epoch and the sum travels only inside sealed heads: sums that can be seen fall to lattice
  attacks (Wagner's generalised birthday too), which find other sets with the same sum.
* A different epoch means a different key: after a change of epoch the digest is built anew from the items.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from leap.soledad.envelope import Epoch, derive_key, with_lengths

DIGEST_SIZE = 64
EMPTY = bytes(DIGEST_SIZE)

_MODULUS = 1 << (8 * DIGEST_SIZE)


class SetDigest:
    """A running digest. A few microseconds an item; not safe to change from two threads at once."""

    def __init__(self, epoch: Epoch, account: str, value: bytes = EMPTY) -> None:
        """`value` is a digest made under the same epoch and account."""
        if len(value) != DIGEST_SIZE:
            raise ValueError(f"a set digest has {DIGEST_SIZE} octets, not {len(value)}")
        info = with_lengths(b"leap.soledad set digest 1", account.encode())
        self._key = derive_key(epoch.key, b"", info, DIGEST_SIZE)
        self._sum = int.from_bytes(value, "big")

    @classmethod
    def of(cls, epoch: Epoch, account: str, items: Iterable[tuple[bytes, int, bytes]]) -> SetDigest:
        """The digest of (item id, version, ciphertext hash) triples."""
        digest = cls(epoch, account)
        for item_id, version, ct_hash in items:
            digest.add(item_id, version, ct_hash)
        return digest

    def add(self, item_id: bytes, version: int, ct_hash: bytes) -> None:
        """Count an item in."""
        self._sum = (self._sum + self._term(item_id, version, ct_hash)) % _MODULUS

    def remove(self, item_id: bytes, version: int, ct_hash: bytes) -> None:
        """Take out an item that was counted in before."""
        self._sum = (self._sum - self._term(item_id, version, ct_hash)) % _MODULUS

    def copy(self) -> SetDigest:
        """Another digest with the same key and sum, to try changes on."""
        twin = object.__new__(SetDigest)
        twin._key, twin._sum = self._key, self._sum
        return twin

    def to_bytes(self) -> bytes:
        """64 octets."""
        return self._sum.to_bytes(DIGEST_SIZE, "big")

    def matches(self, value: bytes) -> bool:
        """Whether this is the digest `value`, compared in constant time."""
        return hmac.compare_digest(self.to_bytes(), value)

    def __repr__(self) -> str:
        return "SetDigest()"

    def _term(self, item_id: bytes, version: int, ct_hash: bytes) -> int:
        if len(item_id) != 32 or len(ct_hash) != 32:
            raise ValueError("item ids and ciphertext hashes have 32 octets")
        message = item_id + version.to_bytes(8, "big") + ct_hash
        return int.from_bytes(hmac.digest(self._key, message, "sha512"), "big")
