"""What people read of a key: everything `bitmask keys show` says, and what the sources answered. Pure."""

from __future__ import annotations

from leap.bitmask.sentences import sentence
from leap.keymanager.asking import Answer, Asked
from leap.keymanager.autocrypt.account import PeerKey
from leap.keymanager.comparison import grouped
from leap.keymanager.documents import Change, Contact, Publication
from leap.keymanager.explanation import (
    day,
    offered_instead,
    part_words,
    policy_words,
    source_words,
)
from leap.keymanager.key_info import KeyInfo
from leap.keymanager.trust import level_named


def key_lines(
    key: KeyInfo,
    published: Publication | None = None,
    advice: str = "",
    theirs: PeerKey | None = None,
) -> list[str]:
    """All about one key, most important first.

    `published` is of one's own; `advice` is Autocrypt's, in words, and `theirs` the key it would use.
    """
    lines = [
        f"{'Your key' if key.own else 'Key'} of {key.address}",
        f"  {grouped(key.fingerprint)}",
    ]
    lines += [f"  {name}" for name in key.user_ids]
    lines += [f"ATTENTION: {alert}" for alert in key.alerts]
    state = _state(key)
    if state:
        lines.append(state)
    if (offer := offered_instead(key.level, key.refused)) is not None:
        lines.append(_offered(key.address, offer))
    lines += key.reasons
    if not key.own:
        lines.append(policy_words(Contact(address=key.address, policy=key.policy)))
    if key.blocks:
        lines.append("Blocked for this address:")
        lines += [
            f"  {grouped(b.fingerprint)} since {day(b.when)}"
            + (f": {b.reason}" if b.reason else "")
            for b in key.blocks
        ]
    if advice:
        lines.append(f"Autocrypt recommends: {advice}.")
    if theirs is not None and theirs.certificate.fingerprint != key.fingerprint:
        lines.append(_other_key(theirs))
    if published is not None:
        lines.append(_published(published))
    lines.append("Parts:")
    lines += [f"  {part_words(part)}" for part in key.parts]
    return lines


def _state(key: KeyInfo) -> str:
    if key.blocked:
        return "You blocked this key: nothing is encrypted to it, and its signatures do not count."
    if key.revoked:
        who = "You" if key.own else "Its owner"
        return f"{who} revoked it: nothing can be encrypted to it."
    if not key.can_encrypt:
        return "Nothing can be encrypted to it any more: it has expired, or has no part for that."
    return ""


def _offered(address: str, offer: Change) -> str:
    """The person can ask the other one which key is theirs; nobody else can tell."""
    return (
        f"Another key is offered for this address, {grouped(offer.fingerprint)}, by {source_words(offer.source)} since"
        f" {day(offer.when)}. This one stays, as you both use it. Ask them; if the other one is theirs, take it with"
        f" `bitmask keys verify {address} {offer.fingerprint}`."
    )


def _other_key(theirs: PeerKey) -> str:
    """Somebody may have a new key, or somebody else wrote that they have: a person finds out which."""
    peer, key = theirs.peer, grouped(theirs.certificate.fingerprint)
    if theirs.gossiped:
        since = day(peer.gossip_timestamp)
        return f"{peer.gossip_from} has another key for this address: {key}, by a mail of {since}."
    return (
        f"Mail from this address names another key: {key}, since {day(peer.autocrypt_timestamp)}."
    )


def _published(state: Publication) -> str:
    if state.error:
        tried = "once" if state.attempts == 1 else f"{state.attempts} times"
        return f"Not published yet, tried {tried}: {sentence(state.error)}"
    if state.published:
        return f"Published in your provider's key directory on {day(state.when)}."
    return "Not published yet."


def asked_words(address: str, asked: Asked) -> list[str]:
    """What each source answered, and what came of it."""
    lines = [_answered(answer) for answer in asked.answers]
    found = asked.found
    if found is None and asked.failure:
        lines.append(f"Whether {address} has a key is not known now: {sentence(asked.failure)}")
    elif found is None:
        lines.append(f"No key was found for {address}.")
    elif found.barred:
        lines.append(f"The key of {address} {found.barred}. {found.remedy}")
    else:
        fingerprint = grouped(found.certificate.fingerprint)
        lines.append(f"The key of {address} is {fingerprint} ({found.level.words}).")
    return lines


def _answered(answer: Answer) -> str:
    who = source_words(answer.source)
    who = who[:1].upper() + who[1:]
    if answer.outcome == "found":
        level = level_named(answer.level).words
        return f"{who}: {grouped(answer.fingerprint)} ({level}): {answer.words}"
    if answer.outcome == "none":
        return f"{who}: no key."
    if answer.outcome == "failed":
        return f"{who}: no answer. {sentence(answer.words)}"
    return f"{who}: not asked, {answer.words}."
