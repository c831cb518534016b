"""Merging what is known of a certificate with what comes in, and cleaning what comes in.

Invariants:
* Nothing of the first one is lost. Of the second one nothing is taken in that falsely names the primary key, no
  user id and no subkey that is not bound to it, and only some of what others signed.
* Of one signature there is one form. Its unsigned area can be anything: whoever passes a certificate on could make
  it grow until nothing more came in, a revocation neither.
* Of two cleaned certificates both orders give the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.self_signatures import (
    SelfSignatures,
    read_signatures_on,
)
from leap.keymanager.openpgp.signature import Signature, SignatureType

MAX_OTHERS = (
    64  # signatures of others kept per component of what is learnt: floods of them are no trust
)
ROOM_FOR_OTHERS = 1024 * 1024  # octets of a certificate from which on no more of theirs come in
_ORDER: dict[int, int] = {Tag.PUBLIC_KEY: 0, Tag.USER_ID: 1, Tag.USER_ATTRIBUTE: 2}


def merge_components(
    mine: Iterable[Component], offered: Iterable[Component], primary: PublicKey
) -> list[Component]:
    """All of `mine`, and what `offered` has besides that is properly signed by `primary`."""
    checks = SelfSignatures(primary)  # its limit is for this one offer alone
    merged = {(c.tag, c.body): list(c.signatures) for c in mine}
    size = sum(len(body) for signatures in merged.values() for body in signatures)
    most = MAX_OTHERS if size < ROOM_FOR_OTHERS else 0
    for component in offered:
        known = merged.get((component.tag, component.body))
        have = frozenset(known or ())
        fresh = tuple(s for s in component.signatures if s not in have)
        kept, own = _true_ones(component._replace(signatures=fresh), checks, primary, most)
        if known is not None:
            merged[component.tag, component.body] = _one_form_of_each(
                component, (*known, *kept), checks, primary
            )
        elif own:
            merged[component.tag, component.body] = kept
    items = sorted(merged.items(), key=lambda item: _ORDER.get(item[0][0], 3))
    return [Component(tag, body, tuple(signatures)) for (tag, body), signatures in items]


def clean_components(
    components: Sequence[Component], checks: SelfSignatures, *, most_others: int = MAX_OTHERS
) -> list[Component]:
    """Without what falsely names the primary key, what is not bound to it, and most of what others signed."""
    primary = PublicKey(components[0].body)
    found = []
    for component in components:
        kept, own = _true_ones(component, checks, primary, most_others)
        if own or component.tag == Tag.PUBLIC_KEY:
            found.append(Component(component.tag, component.body, tuple(kept)))
    return found


def _true_ones(
    component: Component, checks: SelfSignatures, primary: PublicKey, most_others: int
) -> tuple[list[bytes], bool]:
    """The signatures to keep, and whether one is the primary key's own; of others' a few are kept unread."""
    own = checks.true_on(component)
    kept: list[bytes] = []
    others = 0
    for signature in read_signatures_on(component):
        if signature.body not in own:
            if signature.may_be_by(primary) or others == most_others:
                continue
            others += 1
        kept.append(signature.body)
    return _one_form_of_each(component, kept, checks, primary), bool(own)


def _one_form_of_each(
    component: Component, bodies: Sequence[bytes], checks: SelfSignatures, primary: PublicKey
) -> list[bytes]:
    """Of signatures that differ in their unsigned areas alone the one which serves best, at the place of the first."""
    forms: dict[bytes, list[Signature]] = {}
    for signature in read_signatures_on(component._replace(signatures=tuple(bodies))):
        forms.setdefault(signature.signed, []).append(signature)
    chosen: dict[bytes, bytes] = {}
    for same in forms.values():
        best = same[0]
        if len(same) > 1:
            best = min(
                same, key=lambda s: (_lacks(s, component, checks, primary), len(s.body), s.body)
            )
        chosen |= {signature.body: best.body for signature in same}
    return list(dict.fromkeys(chosen.get(body, body) for body in bodies))


def _lacks(
    signature: Signature, component: Component, checks: SelfSignatures, primary: PublicKey
) -> tuple[bool, bool]:
    """What may be missing in the unsigned area: a signing subkey's agreement, and the name of who signed."""
    named = primary.fingerprint in signature.issuer_fingerprints
    named = named or primary.key_id in signature.issuer_key_ids
    alone = component._replace(signatures=(signature.body,))
    binds = component.tag == Tag.PUBLIC_SUBKEY and signature.kind == SignatureType.SUBKEY_BINDING
    return not (binds and checks.is_agreed(signature, alone)), not named
