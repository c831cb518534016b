"""All that lists and `show` say of one key, as one value."""

from __future__ import annotations

import msgspec

from leap.keymanager.documents import Alert, Block, Change, Evidence
from leap.keymanager.explanation import KeyPart, alerts_of, parts_of, reasons_of
from leap.keymanager.keyring import Bound
from leap.keymanager.openpgp import Certificate
from leap.keymanager.trust import Level


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One key with why it is believed; times in seconds since 1970.

    `alerts` are what the person must know, as sentences; `reasons` the whole trail, as lines.
    """

    address: str
    fingerprint: str
    level: str
    own: bool
    created: int
    expires: int | None
    revoked: bool
    can_encrypt: bool
    user_ids: tuple[str, ...]
    parts: tuple[KeyPart, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    history: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()
    first_seen: int = 0
    last_seen: int = 0
    encrypted_to: bool = False
    signature_seen: bool = False
    blocked: bool = False
    policy: str = ""
    blocks: tuple[Block, ...] = ()
    alert: Alert | None = None
    alerts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def info_of_own(address: str, certificate: Certificate, now: float) -> KeyInfo:
    """What is said of a key of one's own."""
    return _info(address, certificate, Level.KNOWN_KEY.word, now, own=True)


def info_of(bound: Bound, now: float) -> KeyInfo:
    """What is said of a key of another."""
    binding, contact = bound.binding, bound.contact
    plain = _info(binding.address, bound.certificate, binding.level, now, own=False)
    return msgspec.structs.replace(
        plain,
        evidence=binding.evidence,
        history=binding.history,
        refused=binding.refused,
        first_seen=binding.first_seen,
        last_seen=binding.last_seen,
        encrypted_to=binding.encrypted_to,
        signature_seen=binding.signature_seen,
        blocked=bound.blocked,
        policy=contact.policy,
        blocks=contact.blocked,
        alert=binding.alert,
        alerts=tuple(alerts_of(bound, now)),
        reasons=tuple(reasons_of(bound)),
    )


def _info(address: str, certificate: Certificate, level: str, now: float, *, own: bool) -> KeyInfo:
    return KeyInfo(
        address=address,
        fingerprint=certificate.fingerprint,
        level=level,
        own=own,
        created=certificate.created,
        expires=certificate.expires,
        revoked=certificate.revoked,
        can_encrypt=certificate.can_encrypt(now),
        user_ids=certificate.user_ids,
        parts=parts_of(certificate),
    )
