"""What a certificate says of one of its keys: what it may do, until when, and whether it was taken back. Pure.

Whose signatures count is settled before (`self_signatures`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.signature import Signature

CERTIFY, SIGN = 0x01, 0x02
ENCRYPT = 0x04 | 0x08  # mail and storage, RFC 9580 5.2.3.29
# RFC 9580 5.2.3.31; none given (0) or compromised (2) is hard
_SOFT_REASONS = frozenset({1, 3, 32})


class KeyState(NamedTuple):
    """What a certificate says of one of its keys. `revoked` is the time from which on; 0 means always."""

    key: PublicKey
    flags: int
    expires: int | None
    revoked: int | None

    def is_alive(self, at: float) -> bool:
        return not (self.has_expired(at) or self.is_revoked(at)) and self.key.created <= at

    def has_expired(self, at: float) -> bool:
        return self.expires is not None and at >= self.expires

    def is_revoked(self, at: float) -> bool:
        return self.revoked is not None and at >= self.revoked


def end_by(binding: Signature, key: PublicKey) -> int | None:
    """When what a binding says of a key ends: with the key, or with the binding itself."""
    return min((e for e in (binding.key_expires(key), binding.expires) if e), default=None)


def revoked_by(revocations: Iterable[Signature]) -> int | None:
    """From when on a key counts as revoked: a hard revocation counts always, a soft one from its date."""
    times = []
    for revocation in revocations:
        code, _ = revocation.revocation_reason
        times.append(revocation.created if code in _SOFT_REASONS else 0)
    return min(times, default=None)
