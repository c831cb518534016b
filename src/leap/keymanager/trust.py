"""How far a key is believed to belong to an address, and when another may take its place. Pure.

The levels and rules are LEAP's transitional key validation. A level says how the *binding* of key and address was
found, not how good the key is. `may_replace` is the only place that decides; its answer carries the reason in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """Lowest to highest; the gaps leave room."""

    WEAK_CHAIN = 10  # found in a mail, or at somebody else's server
    PROVIDER_TRUST = 20  # said by the provider the address is of, over a verified connection
    PROVIDER_ENDORSEMENT = 30  # signed by that provider
    THIRD_PARTY_ENDORSEMENT = 40  # signed by another one both trust
    THIRD_PARTY_CONSENSUS = 50  # several who watch agree
    HISTORICALLY_AUDITING = 60  # seen in an append-only log
    KNOWN_KEY = 70  # shipped with the program, or one's own
    FINGERPRINT = 80  # a person compared it

    @property
    def word(self) -> str:
        """The name in documents and `--json`."""
        return self.name.lower().replace("_", "-")

    @property
    def words(self) -> str:
        """The name for people."""
        return self.name.lower().replace("_", " ")


def level_named(word: str) -> Level:
    """The level of a word in a document; an unknown one (a newer program's) counts as the lowest."""
    return _BY_WORD.get(word, Level.WEAK_CHAIN)


# why a key stays although a better source names another one; people are told (decision 9)
IN_USE = "the old key is in use, and has not ended yet"

_BY_WORD = {level.word: level for level in Level}


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundKey:
    """A key as bound to an address: what the rule looks at.

    `expires`: from when on nothing can be encrypted to it, in seconds since 1970. `certified_by`: fingerprints of
    those who vouch for this key being of this address, now. `blocked`: the person does not want it for this address.
    `declined`: the person kept the old key when this one was offered before.
    """

    fingerprint: str
    level: Level
    expires: int | None = None
    revoked: bool = False
    can_encrypt: bool = True
    used_both_ways: bool = False  # encrypted to it, and saw a good signature by it
    certified_by: frozenset[str] = frozenset()
    blocked: bool = False
    declined: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`alert`: only the person may decide, and is told. `inherits`: the new key is believed as much as the old was."""

    allowed: bool
    reason: str
    alert: bool = False
    inherits: bool = False


def may_replace(old: BoundKey | None, new: BoundKey, *, now: float) -> Decision:
    """Whether `new` may become the key of an address that has `old`."""
    if old is not None and new.fingerprint == old.fingerprint:
        return Decision(True, "it is an update of the same key")
    if new.blocked:
        return Decision(False, "you blocked the new key")
    if old is None:
        return Decision(True, "there was no key for this address")
    if new.revoked:
        return Decision(False, "the new key is revoked")
    if new.expires is not None and new.expires <= now:
        return Decision(False, "the new key has expired")
    if new.level is Level.FINGERPRINT:
        return Decision(True, "you compared the new key's fingerprint")
    if not new.can_encrypt:
        return Decision(False, "nothing can be encrypted to the new key")
    if old.blocked:  # whoever made the person block it could send another one by mail
        if new.level >= old.level:
            return Decision(True, "you blocked the old key, and the new one is believed as much")
        return Decision(False, "you blocked the old key, but the new one is believed less")
    decision = _by_the_rules(old, new, now)
    if old.level is Level.FINGERPRINT:
        return _for_the_person(new, decision)
    return decision


def _for_the_person(new: BoundKey, decision: Decision) -> Decision:
    """A verified key changes by the person's word alone: who stole it can certify another, and revoke it."""
    if new.declined:
        return Decision(False, "you kept the old key when the new one was offered")
    # Anybody can send a mail with some key in it: that must not stop mail to a verified contact.
    if not decision.allowed and new.level is Level.WEAK_CHAIN:
        return decision
    because = decision.reason if decision.allowed else f"{new.level.words} says so"
    return Decision(False, f"you verified the old key, so you decide ({because})", alert=True)


def _by_the_rules(old: BoundKey, new: BoundKey, now: float) -> Decision:
    if old.revoked:
        return Decision(True, "the old key is revoked")
    if old.fingerprint in new.certified_by:
        return Decision(True, "the old key signed the new one", inherits=True)
    if old.expires is not None and old.expires <= now:
        if new.level >= old.level:
            return Decision(True, "the old key has expired, and the new one is believed as much")
        return Decision(False, "the old key has expired, but the new one is believed less")
    if new.level > old.level:
        if old.expires is None:
            return Decision(True, "the new key is believed more, and the old one has no end")
        if not old.used_both_ways:
            return Decision(
                True, "the new key is believed more, and the old one was never used both ways"
            )
        return Decision(False, IN_USE)
    return Decision(False, "the new key is not believed more than the old one")
