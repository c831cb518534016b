"""Merging what is known of a certificate with what comes in, and cleaning what comes in.

Invariants:
* Nothing of the first one is lost. Of the second one nothing is taken in that falsely names the primary key, no
  user id and no subkey that is not bound to it, and only some of what others signed.
* Of two cleaned certificates both orders give the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.self_signatures import SelfSignatures, read_signatures_on

MAX_OTHERS = (
    64  # signatures of others kept per component of what is learnt: floods of them are no trust
)
_ORDER: dict[int, int] = {Tag.PUBLIC_KEY: 0, Tag.USER_ID: 1, Tag.USER_ATTRIBUTE: 2}


def merge_components(
    mine: Iterable[Component], offered: Iterable[Component], primary: PublicKey
) -> list[Component]:
    """All of `mine`, and what `offered` has besides that is properly signed by `primary`."""
    checks = SelfSignatures(primary)  # its limit is for this one offer alone
    merged = {(c.tag, c.body): list(c.signatures) for c in mine}
    for component in offered:
        known = merged.get((component.tag, component.body))
        have = frozenset(known or ())
        fresh = tuple(s for s in component.signatures if s not in have)
        kept, own = _true_ones(component._replace(signatures=fresh), checks, primary, MAX_OTHERS)
        if known is not None:
            known.extend(kept)
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
    return kept, bool(own)
