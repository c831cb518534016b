"""What events make of an address's binding: an offer taken or refused, use, and the person's word. Pure.

Invariant: the level is the best that the evidence gives; whatever lowers it takes evidence away.
"""

from __future__ import annotations

import msgspec

from leap.keymanager.binding_merge import most_believed, worth_keeping
from leap.keymanager.documents import (
    MAX_HISTORY,
    PERSON,
    Alert,
    Binding,
    Change,
    Evidence,
    trimmed,
)
from leap.keymanager.trust import Decision, Level, level_named

# Seconds. The same from the same source again is written at most so often: every mail brings its sender's key.
SEEN_AGAIN = 12 * 3600

replace = msgspec.structs.replace


def taken(
    binding: Binding | None, fingerprint: str, address: str, evidence: Evidence, reason: str
) -> Binding:
    """After an allowed change: of the same key the higher level stays, another key has its own."""
    moment, level = evidence.when, level_named(evidence.level)
    change = Change(
        when=moment,
        fingerprint=fingerprint,
        level=evidence.level,
        reason=reason,
        source=evidence.source,
        replaced="" if binding is None else binding.fingerprint,
    )
    if binding is None or binding.fingerprint != fingerprint:
        before = () if binding is None else binding.history
        return Binding(
            address=address,
            fingerprint=fingerprint,
            level=evidence.level,
            first_seen=moment,
            last_seen=moment,
            evidence=(evidence,),
            history=trimmed((*before, change), MAX_HISTORY),
            refused=() if binding is None else _without(binding.refused, fingerprint),
        )
    if evidence.source == PERSON and level is Level.FINGERPRINT:
        binding = kept(binding, moment)  # who verifies the old key has decided against the new one
    raised = level > level_named(binding.level)
    said = _what_is_said(evidence)
    if not raised and any(
        _what_is_said(e) == said and moment - SEEN_AGAIN < e.when <= moment
        for e in binding.evidence
    ):
        return binding
    # the same source saying the same again is no new evidence, only newer
    others = [e for e in binding.evidence if _what_is_said(e) != said]
    change = replace(change, replaced="", reason=f"it is believed more now: {level.words}")
    return replace(
        binding,
        level=evidence.level if raised else binding.level,
        last_seen=max(binding.last_seen, moment),
        evidence=worth_keeping([*others, evidence]),
        history=trimmed((*binding.history, change), MAX_HISTORY) if raised else binding.history,
    )


def refused(binding: Binding, fingerprint: str, evidence: Evidence, decision: Decision) -> Binding:
    """After an offer that was not taken: noted once for each key and reason; an alert when the person must decide."""
    change = Change(
        when=evidence.when,
        fingerprint=fingerprint,
        level=evidence.level,
        reason=decision.reason,
        source=evidence.source,
    )
    known = any(
        (c.fingerprint, c.level, c.reason) == (fingerprint, change.level, change.reason)
        for c in binding.refused
    )
    noted = binding.refused if known else most_believed((*binding.refused, change))
    alert = binding.alert
    if decision.alert:
        new = Alert(
            fingerprint=fingerprint,
            level=evidence.level,
            source=evidence.source,
            when=evidence.when,
            reason=decision.reason,
            detail=evidence.detail,
        )
        # One is open at a time: a flood of keys cannot hide the most believed of them.
        if alert is None or level_named(new.level) > level_named(alert.level):
            alert = new
    return replace(binding, refused=noted, alert=alert)


def used(binding: Binding, *, encrypted_to: bool, signature_seen: bool) -> Binding:
    """After mail was encrypted to the key, or well signed by it."""
    return replace(
        binding,
        encrypted_to=binding.encrypted_to or encrypted_to,
        signature_seen=binding.signature_seen or signature_seen,
    )


def kept(binding: Binding, moment: int) -> Binding:
    """After the person kept the key that stands, against the one of the alert."""
    alert = binding.alert
    if alert is None:
        return binding
    change = Change(
        when=moment,
        fingerprint=alert.fingerprint,
        level=alert.level,
        reason="you kept the old key",
        source=PERSON,
    )
    return replace(
        binding,
        alert=None,
        declined=tuple(sorted({*binding.declined, alert.fingerprint})),
        refused=most_believed((*binding.refused, change)),
    )


def unverified(binding: Binding, moment: int, reason: str) -> Binding:
    """After the person took back that they compared the fingerprint: the best of the other evidence counts."""
    rest = tuple(
        e
        for e in binding.evidence
        if not (e.source == PERSON and level_named(e.level) is Level.FINGERPRINT)
    )
    level = max((level_named(e.level) for e in rest), default=Level.WEAK_CHAIN)
    change = Change(
        when=moment,
        fingerprint=binding.fingerprint,
        level=level.word,
        reason=reason,
        source=PERSON,
    )
    return replace(
        binding,
        level=level.word,
        evidence=rest,
        history=trimmed((*binding.history, change), MAX_HISTORY),
        alert=None,
        declined=(),
    )


def _without(changes: tuple[Change, ...], fingerprint: str) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.fingerprint != fingerprint)


def _what_is_said(evidence: Evidence) -> tuple[str, str, str]:
    return evidence.source, evidence.detail, evidence.level
