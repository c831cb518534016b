"""Of which kind a new key of one's own is: its version, and whether it withstands quantum computers. Pure.

Unless a person says otherwise it is of the kind of the one it follows: a new key never falls back behind the old one.
"""

from __future__ import annotations

from dataclasses import dataclass

from leap.keymanager.openpgp import Certificate
from leap.keymanager.openpgp.algorithms import ML_KEM


@dataclass(frozen=True, slots=True)
class KeyKind:
    """`version`: 4, which every program knows, or 6 (RFC 9580); `post_quantum`: also a part with ML-KEM (RFC 9980)."""

    version: int = 4
    post_quantum: bool = False


def kind_of(certificate: Certificate) -> KeyKind:
    """Of which kind a new key is to be that takes the place of this one."""
    return KeyKind(6 if certificate.primary.version == 6 else 4, has_post_quantum_part(certificate))


def has_post_quantum_part(certificate: Certificate) -> bool:
    """Whether a part with ML-KEM stands on it, ended or not."""
    return any(s.key.algorithm == ML_KEM and s.revoked is None for s in certificate.keys)
