"""Why an address has the key it has, in words: evidence, history, what was refused, what must be decided. Pure.

What is said names commands of `bitmask`, because that is where people decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from leap.keymanager.comparison import grouped
from leap.keymanager.documents import PERSON, Change, Contact, Evidence
from leap.keymanager.keyring import Bound
from leap.keymanager.openpgp import Certificate
from leap.keymanager.openpgp import algorithms as numbers
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.trust import IN_USE, Level, level_named

LEVELS = {
    Level.WEAK_CHAIN: "somebody said so: a mail, a file, or a server that is not its provider's",
    Level.PROVIDER_TRUST: "the provider of the address said so, over a verified connection",
    Level.PROVIDER_ENDORSEMENT: "the provider of the address signed it",
    Level.THIRD_PARTY_ENDORSEMENT: "somebody you and they trust signed it",
    Level.THIRD_PARTY_CONSENSUS: "several who watch agree",
    Level.HISTORICALLY_AUDITING: "it stands in a log that only grows",
    Level.KNOWN_KEY: "it is known without asking anybody, like your own",
    Level.FINGERPRINT: "you compared the fingerprint",
}
SOURCES = {
    PERSON: "you",
    "directory": "your provider's key directory",
    "ring": "your keyring",
    "mail": "a mail",
    "autocrypt": "the Autocrypt header of a mail",
    "gossip": "an encrypted mail to several (Autocrypt Gossip)",
    "wkd": "the Web Key Directory of its domain",
    "vks": "a key server that checks addresses",
    "import": "a file you imported",
}
_ALGORITHMS = {
    1: "RSA",
    2: "RSA (encryption only)",
    3: "RSA (signing only)",
    16: "ElGamal",
    17: "DSA",
    18: "ECDH",
    19: "ECDSA",
    22: "EdDSA",
    25: "X25519",
    26: "X448",
    27: "Ed25519",
    28: "Ed448",
    30: "ML-DSA-65 with Ed25519",
    35: "ML-KEM-768 with X25519",
}
_CURVES = {
    numbers.CURVE25519_OID: "Curve25519",
    numbers.ED25519_OID: "Ed25519",
    **{oid: curve.name for oid, curve in numbers.NIST_CURVES.items()},
}
_CAPABILITIES = ((0x01, "certify"), (0x02, "sign"), (0x04 | 0x08, "encrypt"), (0x20, "log in"))
_POLICIES = {
    "prefer": "Mail is encrypted whenever a key is found",
    "require": "Mail is sent encrypted or not at all",
    "never": "Mail is never encrypted",
}


class Barred(NamedTuple):
    """Why a key must not be used now, as in "the key of bob@example.org {reason}", and what the person can do."""

    reason: str
    remedy: str


class KeyPart(msgspec.Struct, frozen=True, kw_only=True):
    """The primary key or a subkey; times in seconds since 1970."""

    fingerprint: str
    primary: bool
    algorithm: str
    can: tuple[str, ...]
    created: int
    expires: int | None
    revoked: bool


def day(moment: float) -> str:
    """A date as people write it; in UTC, so that all devices say the same."""
    date = datetime.fromtimestamp(moment, UTC)
    return f"{date.day} {date:%B %Y}"


def source_words(source: str) -> str:
    """Who or what a source is."""
    return SOURCES.get(source, source)


def words_for_blocked(address: str, fingerprint: str) -> Barred:
    """What is said of a key which the person blocked."""
    return Barred(
        "is blocked by you",
        f"`bitmask keys find {address}` looks for another one,"
        f" `bitmask keys block {address} {fingerprint} --undo` lifts the block.",
    )


def barred(bound: Bound) -> Barred | None:
    """Why the person's word forbids to use the key of an address now; None when it does not."""
    address, alert = bound.binding.address, bound.binding.alert
    if bound.blocked:
        return words_for_blocked(address, bound.certificate.fingerprint)
    if alert is None:
        return None
    keep = f", or keep the old one with `bitmask keys verify {address} --keep`"
    return Barred(
        f"may have changed: {source_words(alert.source)} offers another one since {day(alert.when)},"
        f" {grouped(alert.fingerprint)}",
        "Compare fingerprints with them; then take the new key with"
        f" `bitmask keys verify {address} {alert.fingerprint}`"
        + ("." if bound.certificate.revoked else f"{keep}."),
    )


def alerts_of(bound: Bound, now: float) -> list[str]:
    """What the person must know about the key of an address, as sentences; about a verified one above all."""
    address, certificate = bound.binding.address, bound.certificate
    found = []
    word = barred(bound)
    if word is not None and not bound.blocked:
        found.append(f"The key of {address} {word.reason}. {word.remedy}")
    if bound.level is Level.FINGERPRINT and not bound.blocked:
        if certificate.revoked:
            found.append(
                f"The key you verified for {address} was revoked by its owner. Ask them for the new one."
            )
        elif certificate.expires is not None and certificate.expires <= now:
            found.append(
                f"The key you verified for {address} expired on {day(certificate.expires)}. Ask them to extend it."
            )
        elif not certificate.can_encrypt(now):
            found.append(
                f"Nothing can be encrypted to the key you verified for {address} any more."
            )
    return found


def parts_of(certificate: Certificate) -> tuple[KeyPart, ...]:
    """The primary key, then the subkeys."""
    return tuple(
        KeyPart(
            fingerprint=state.key.fingerprint.hex().upper(),
            primary=place == 0,
            algorithm=algorithm_words(state.key),
            can=tuple(word for flag, word in _CAPABILITIES if state.flags & flag),
            created=state.key.created,
            expires=state.expires,
            revoked=state.revoked is not None,
        )
        for place, state in enumerate(certificate.keys)
    )


def algorithm_words(key: PublicKey) -> str:
    """The algorithm of a key for people, as in "RSA 3072"."""
    name = _ALGORITHMS.get(key.algorithm, f"algorithm {key.algorithm}")
    if key.bits:
        return f"{name} {key.bits}"
    if key.algorithm in (18, 19, 22):
        return f"{name} {_CURVES.get(key.fields[0], 'on another curve')}"
    return name


def evidence_words(evidence: Evidence) -> str:
    """One reason, as a line; the detail says who, where there is one."""
    said = evidence.detail or f"{source_words(evidence.source)} said so"
    rest = [
        f"from {evidence.url}" if evidence.url else "",
        f"in the mail {evidence.mail}" if evidence.mail else "",
        f"({evidence.authentication})" if evidence.authentication else "",
    ]
    words = " ".join([said, *(part for part in rest if part)])
    return f"{day(evidence.when)}, {level_named(evidence.level).words}: {words}"


def offered_instead(level: str, refused: Sequence[Change]) -> Change | None:
    """The offer that is believed more than a key of this level, and gave way only because that one is in use."""
    better = [
        one
        for one in refused
        if one.reason == IN_USE and level_named(one.level) > level_named(level)
    ]
    return max(better, key=lambda one: (level_named(one.level), one.when), default=None)


def change_words(change: Change) -> str:
    """One entry of the history, as a line."""
    by = f" from {source_words(change.source)}" if change.source and change.source != PERSON else ""
    instead = f" in the place of {grouped(change.replaced)}" if change.replaced else ""
    return f"{day(change.when)}, {grouped(change.fingerprint)}{by}{instead}: {change.reason}"


def part_words(part: KeyPart) -> str:
    """One key of a certificate, as a line."""
    end = "revoked" if part.revoked else _until(part.expires)
    kind = "primary key" if part.primary else "subkey"
    can = ", ".join(part.can) or "nothing"
    return f"{kind}, {part.algorithm}, can {can}, made {day(part.created)}, {end}"


def policy_words(contact: Contact) -> str:
    """The policy for mail to somebody, as a sentence."""
    default = "Mail to it is encrypted as `bitmask mail sending` says (nothing else was set)"
    return _POLICIES.get(contact.policy, default) + "."


def reasons_of(bound: Bound) -> list[str]:
    """Why this key: the whole trail as lines, sentences first, indented lists after them."""
    binding = bound.binding
    lines = [f"Believed because {LEVELS[bound.level]} ({bound.level.words})."]
    lines += _listed("Evidence:", [evidence_words(one) for one in binding.evidence])
    lines += _listed("How it became the key:", [change_words(one) for one in binding.history])
    lines += _listed("Offers that were refused:", [change_words(one) for one in binding.refused])
    lines.append(f"First seen {day(binding.first_seen)}, last seen {day(binding.last_seen)}.")
    lines.append(_use(binding.encrypted_to, binding.signature_seen))
    return lines


def _use(encrypted_to: bool, signature_seen: bool) -> str:
    if encrypted_to and signature_seen:
        return "Used both ways: you encrypted to it, and had mail with a good signature by it."
    if encrypted_to:
        return "You encrypted to it; no mail with a good signature by it has come yet."
    if signature_seen:
        return "Mail with a good signature by it has come; you have not encrypted to it yet."
    return "Not used yet."


def _until(expires: int | None) -> str:
    return "does not expire" if expires is None else f"until {day(expires)}"


def _listed(head: str, lines: Sequence[str]) -> list[str]:
    return [head, *(f"  {line}" for line in lines)] if lines else []
