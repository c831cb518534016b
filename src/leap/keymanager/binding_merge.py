"""Two devices' edits of one address's binding, or of one contact, made one. Pure.

    the same key on both      each field by itself: who changed it since the base wins; both: the more careful value
    different keys            the one about which the person said something since the base stands, else the more
                              believed one, of equals the newest; the other becomes an alert, if the one that stands
                              was verified by the person, and an entry of the history else
    deleted on one            stays deleted, unless the other device heard the person's own word meanwhile

Invariants:
* Both orders of the two edits give the same.
* A key the person verified is never silently replaced by what another device found at the same time.
* What one device took away (an alert that was decided, a block that was lifted) the other does not bring back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import msgspec

from leap.keymanager.documents import (
    MAX_EVIDENCE,
    MAX_HISTORY,
    MAX_REFUSED,
    PERSON,
    Alert,
    Binding,
    Block,
    Change,
    Contact,
    Content,
    Evidence,
    content_of,
    trimmed,
    value_of,
)
from leap.keymanager.trust import Level, level_named

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

SYNCED_BESIDE = "another device of yours took it at the same time"

# How much is lost by a wrong guess: clear text against a wish is worst.
_STRICTNESS = {"": 0, "never": 1, "prefer": 2, "require": 3}


def merge_bindings(
    base: Content | None, local: Content | None, remote: Content | None
) -> Content | None:
    """The three-way merge of binding documents."""
    if local in (base, remote):
        return remote
    if remote == base:
        return local
    was = None if base is None else value_of(base, Binding)
    if local is None or remote is None:
        rest = local if remote is None else remote
        assert rest is not None, "both deleted is the same on both"
        return rest if _has_persons_word(value_of(rest, Binding), was) else None
    both = [value_of(c, Binding) for c in (local, remote)]
    mine, theirs = sorted(both, key=lambda one: _rank(one, was))
    if mine.fingerprint == theirs.fingerprint:
        return content_of(_of_one_key(was, mine, theirs))
    return content_of(_of_two_keys(was, mine, theirs))


def _rank(binding: Binding, base: Binding | None) -> tuple[bool, Level, int, bytes]:
    """Which of two stands; the octets only make both devices agree."""
    newest = binding.history[-1].when if binding.history else binding.first_seen
    level = level_named(binding.level)
    return _was_decided(binding, base), level, newest, msgspec.json.encode(binding)


def _was_decided(binding: Binding, base: Binding | None) -> bool:
    """Whether the person chose this key since: compared or accepted it, or kept it against another one."""
    same = base is not None and base.fingerprint == binding.fingerprint
    kept = set(binding.declined) - set(base.declined if base is not None and same else ())
    return bool(kept) or _has_persons_word(binding, base)


def _has_persons_word(binding: Binding, base: Binding | None) -> bool:
    before = base.evidence if base is not None and base.fingerprint == binding.fingerprint else ()
    return any(e.source == PERSON and e not in before for e in binding.evidence)


def _of_one_key(was: Binding | None, one: Binding, other: Binding) -> Binding:
    if was is not None and was.fingerprint != one.fingerprint:
        was = None
    declined = _merged_sets(was.declined if was else (), one.declined, other.declined)
    alert = _changed(was.alert if was else None, one.alert, other.alert, _newest_alert)
    evidence = _merged_evidence(was, one, other)
    levels = [e.level for e in evidence] or [Level.WEAK_CHAIN.word]
    level = max(levels, key=lambda word: (level_named(word), word))
    decided = level_named(level) is not Level.FINGERPRINT  # nothing verified is at stake any more
    if alert is not None and (decided or alert.fingerprint in declined):
        alert = None
    return msgspec.structs.replace(
        one,
        level=level,
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        encrypted_to=one.encrypted_to or other.encrypted_to,
        signature_seen=one.signature_seen or other.signature_seen,
        evidence=evidence,
        history=_merged_history(one, other),
        refused=most_believed((*one.refused, *other.refused)),
        alert=alert,
        declined=declined,
    )


def _of_two_keys(was: Binding | None, goes: Binding, stands: Binding) -> Binding:
    lost = Change(
        when=max(goes.last_seen, stands.last_seen),
        fingerprint=goes.fingerprint,
        level=goes.level,
        reason=SYNCED_BESIDE,
        source=goes.evidence[-1].source if goes.evidence else "",
    )
    alert = stands.alert
    is_old = was is not None and was.fingerprint == goes.fingerprint
    verified = level_named(stands.level) is Level.FINGERPRINT
    if verified and not is_old and goes.fingerprint not in stands.declined:
        found = Alert(
            fingerprint=lost.fingerprint,
            level=lost.level,
            source=lost.source,
            when=lost.when,
            reason=lost.reason,
        )
        alert = found if alert is None else _newest_alert(alert, found)
    refused = stands.refused if is_old else most_believed((*stands.refused, lost))
    return msgspec.structs.replace(
        stands, history=_merged_history(goes, stands), refused=refused, alert=alert
    )


def merge_contacts(
    base: Content | None, local: Content | None, remote: Content | None
) -> Content | None:
    """The three-way merge of contact documents; they hold only a person's word, so an edit beats a deletion."""
    if local in (base, remote):
        return remote
    if remote == base:
        return local
    if local is None or remote is None:
        return remote if local is None else local
    was = None if base is None else value_of(base, Contact)
    one, other = (value_of(content, Contact) for content in (local, remote))
    blocked = _merged_sets(was.blocked if was else (), one.blocked, other.blocked)
    merged = Contact(
        address=one.address,
        policy=_changed(was.policy if was else "", one.policy, other.policy, _stricter),
        sign=_changed(was.sign if was else "", one.sign, other.sign, _less_signed),
        blocked=_one_for_each_key(blocked),
    )
    return content_of(merged)


# --- one field ------------------------------------------------------------------------------------


def _changed(base: T | None, one: T, other: T, both: Callable[[T, T], T]) -> T:
    if one == other or other == base:
        return one
    return other if one == base else both(one, other)


def _less_signed(one: str, other: str) -> str:
    """ "off" where either says so: no program is puzzled by a signature that is not there."""
    return "off" if "off" in (one, other) else max(one, other)


def _merged_sets(base: Iterable[H], one: Sequence[H], other: Sequence[H]) -> tuple[H, ...]:
    """What either added, without what either took away; sorted, so that both orders give the same."""
    before, mine, theirs = frozenset(base), frozenset(one), frozenset(other)
    return tuple(sorted((mine & theirs) | (mine - before) | (theirs - before), key=repr))


def _merged_evidence(was: Binding | None, one: Binding, other: Binding) -> tuple[Evidence, ...]:
    found = _merged_sets(was.evidence if was else (), one.evidence, other.evidence)
    newest: dict[tuple[str, str, str], Evidence] = {}
    for evidence in sorted(found, key=lambda e: (e.when, repr(e))):
        said = evidence.source, evidence.detail, evidence.level
        newest[said] = evidence  # said again is newer, not more
    return worth_keeping(sorted(newest.values(), key=lambda e: (e.when, repr(e))))


def worth_keeping(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The first, the most believed and the newest: what the level stands on is never dropped."""
    kept = list(evidence)
    while len(kept) > MAX_EVIDENCE:
        strongest = max(kept, key=lambda e: level_named(e.level))
        kept.remove(next(e for e in kept[1:] if e is not strongest))
    return tuple(kept)


def _merged_history(one: Binding, other: Binding) -> tuple[Change, ...]:
    both = dict.fromkeys((*one.history, *other.history))
    return trimmed(tuple(sorted(both, key=lambda c: (c.when, repr(c)))), MAX_HISTORY)


def most_believed(refused: Iterable[Change]) -> tuple[Change, ...]:
    """One for each key, of those believed most the newest; and no more than are worth knowing, oldest first."""
    best: dict[str, Change] = {}
    for change in sorted(refused, key=_believed):
        best[change.fingerprint] = change
    kept = sorted(best.values(), key=_believed)
    return tuple(sorted(kept[-MAX_REFUSED:], key=lambda c: (c.when, c.fingerprint)))


def _believed(change: Change) -> tuple[Level, int, str]:
    return level_named(change.level), change.when, repr(change)


def _newest_alert(one: Alert | None, other: Alert | None) -> Alert | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda a: (level_named(a.level), a.when, repr(a)))


def _one_for_each_key(blocked: Iterable[Block]) -> tuple[Block, ...]:
    first: dict[str, Block] = {}
    for block in sorted(blocked, key=lambda b: (b.when, repr(b))):
        first.setdefault(block.fingerprint, block)
    return tuple(first.values())


def _stricter(one: str, other: str) -> str:
    return max(one, other, key=lambda word: (_STRICTNESS.get(word, 0), word))
