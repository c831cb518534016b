"""A certificate as the ring keeps it: how large it may become, and until when it serves its address. Pure.

Invariant: what others add to a certificate never keeps out what its owner says of it.
"""

from __future__ import annotations

from leap.keymanager.errors import KeyRefused
from leap.keymanager.openpgp import Certificate
from leap.keymanager.openpgp.key_state import ENCRYPT

# Of one certificate. Whoever forges a From can send a key one has with ever more signatures of others on it; the first
# document that is too large to sync would keep the key's own revocation out.
MAX_OCTETS = 256 * 1024
MAX_SIGNATURES = 192  # on one part of it: a few dozen are its owner's


def grown(held: Certificate, news: Certificate) -> Certificate:
    """What is known of a certificate, and what came in, as far as it can be kept."""
    merged = held.merge(news)
    if _fits(merged):
        return merged
    own = held.without_others().merge(news.without_others())
    return own if _fits(own) else held  # only its owner can have made it so


def fitting(certificate: Certificate) -> Certificate:
    """A certificate as it can be kept. Raises KeyRefused."""
    for form in (certificate, certificate.without_others()):
        if _fits(form):
            return form
    raise KeyRefused(f"the key {certificate.fingerprint} is too large to be kept")


def _fits(certificate: Certificate) -> bool:
    most = max(len(component.signatures) for component in certificate.components)
    return most <= MAX_SIGNATURES and len(certificate.complete) <= MAX_OCTETS


def usable_until(certificate: Certificate) -> int | None:
    """From when on nothing can be encrypted to it, by its expiries: its own, or that of its last encryption key."""
    ends = [state.expires for state in certificate.keys if state.flags & ENCRYPT]
    parts = None if not ends or None in ends else max(end for end in ends if end is not None)
    return min((end for end in (certificate.expires, parts) if end is not None), default=None)


def end_of_service(certificate: Certificate, address: str, now: float) -> int | None:
    """From when on the key that stands for an address does not serve it: `usable_until`, or now if it ended otherwise.

    Who revokes the part to encrypt to, or the name, and makes a new key, could not be written to any more else.
    """
    until = usable_until(certificate)
    serves = certificate.can_encrypt(now) and address in certificate.addresses_at(now)
    if serves or certificate.created > now:  # not yet born: the clock is wrong
        return until
    return int(now) if until is None else min(int(now), until)
