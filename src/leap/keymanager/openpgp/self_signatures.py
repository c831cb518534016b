"""Which signatures on a certificate its own primary key really made: each is computed once, and not too many of them.

Whoever makes or passes on a certificate decides how many signatures it carries, and can name the primary key in
all of them. Without a limit one certificate keeps a program busy for minutes.

Invariants:
* A signature that was not computed does not count.
* Revocations have a limit of their own: a flood of other signatures does not hide one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.errors import OpenPGPError
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.signature import Signature, SignatureType

MAX_VERIFIED = 100  # per certificate, besides revocations; real ones have a few dozen
MAX_REVOCATIONS_VERIFIED = 200  # per certificate; one is enough, and it must be found
MAX_CHECKED = (
    32  # per component, newest first: one alone cannot use up what name, key and subkey need
)

MAX_BACKS = 16  # signatures back looked at for one binding; one is enough

REVOCATIONS = frozenset(
    {
        SignatureType.REVOKE_KEY,
        SignatureType.REVOKE_SUBKEY,
        SignatureType.REVOKE_CERTIFICATION,
    }
)
_STATEMENTS = frozenset(SignatureType) - REVOCATIONS


def pieces_of(
    primary: PublicKey, component: Component, version: int | None = None
) -> tuple[bytes, ...]:
    """What signatures on a component hash (RFC 9580 5.2.4); raises Malformed, Unsupported.

    `version`: of the signature, which decides how keys are framed; None: as the primary key's own signatures are.
    """
    head = primary.hashed if version is None else primary.framed(version)
    if component.tag == Tag.PUBLIC_KEY:
        return (head,)
    if component.tag == Tag.PUBLIC_SUBKEY:
        return (head, PublicKey(component.body).hashed)
    lead = b"\xb4" if component.tag == Tag.USER_ID else b"\xd1"
    return (head, lead, len(component.body).to_bytes(4, "big"), component.body)


def read_signatures_on(component: Component) -> Iterator[Signature]:
    """The signatures of a component that can be read."""
    for body in component.signatures:
        try:
            yield Signature(body)
        except OpenPGPError:
            continue


def has_ended(signature: Signature, at: float | None) -> bool:
    """Whether a signature is past its own end (RFC 9580 5.2.3.18); revocations have none."""
    if at is None or signature.kind in REVOCATIONS:
        return False
    return signature.expires is not None and at >= signature.expires


def _hash_is_good(signature: Signature) -> bool:
    """Whether its hash is good enough for a signature on a key."""
    try:
        scheme = algorithms.hash_algorithm(signature.hash_number)
    except OpenPGPError:
        return False
    if not scheme.weak:
        return True
    return scheme.name == "sha1" and signature.created < algorithms.SHA1_SELF_SIGNATURES_UNTIL


class SelfSignatures:
    """The signatures of one primary key on the components of its certificate."""

    def __init__(self, primary: PublicKey) -> None:
        self._primary = primary
        self._known: dict[tuple[int, bytes, bytes], bool] = {}
        self._candidates: dict[tuple[int, bytes, tuple[bytes, ...]], tuple[Signature, ...]] = {}
        self._left = {True: MAX_REVOCATIONS_VERIFIED, False: MAX_VERIFIED}

    def newest(
        self, component: Component, kinds: Iterable[int], at: float | None = None
    ) -> Iterator[Signature]:
        """True ones of these kinds, newest first, without those past their own end at a time."""
        wanted = frozenset(kinds)
        most = None if wanted <= REVOCATIONS else MAX_CHECKED
        fit = [s for s in self._claimed(component) if s.kind in wanted]
        for signature in fit[:most]:
            if not has_ended(signature, at) and self.holds(signature, component):
                yield signature

    def _claimed(self, component: Component) -> tuple[Signature, ...]:
        """Those that name the primary key, newest first, read once."""
        found = self._candidates.get(component)
        if found is None:
            fit = [s for s in read_signatures_on(component) if s.may_be_by(self._primary)]
            found = tuple(sorted(fit, key=lambda s: s.created, reverse=True))
            self._candidates[component] = found
        return found

    def true_on(self, component: Component) -> frozenset[bytes]:
        """The bodies of those on a component which the primary key made, as far as they were computed."""
        found = (*self.newest(component, REVOCATIONS), *self.newest(component, _STATEMENTS))
        return frozenset(signature.body for signature in found)

    def holds(self, signature: Signature, component: Component) -> bool:
        """Whether the primary key made it on this component."""
        return self._is_by(self._primary, signature, component)

    def is_agreed(self, binding: Signature, component: Component, at: float | None = None) -> bool:
        """Whether the subkey of a component signed back on this binding (RFC 9580 5.2.1.9), not past its end at a time.

        GnuPG writes that into the unsigned area, where anybody can cut it out or put in what is none: every form of
        the binding is looked at.
        """
        try:
            subkey = PublicKey(component.body)
        except OpenPGPError:
            return False
        same = (s for s in read_signatures_on(component) if s.signed == binding.signed)
        backs = dict.fromkeys(body for form in same for body in form.embedded[:4])
        return any(
            self._holds_back(body, subkey, component, at) for body in islice(backs, MAX_BACKS)
        )

    def _holds_back(
        self, body: bytes, subkey: PublicKey, component: Component, at: float | None
    ) -> bool:
        try:
            back = Signature(body)
        except OpenPGPError:
            return False
        fit = back.kind == SignatureType.PRIMARY_BINDING and not has_ended(back, at)
        return fit and self._is_by(subkey, back, component)

    def _is_by(self, key: PublicKey, signature: Signature, component: Component) -> bool:
        if signature.unusable or not _hash_is_good(signature):
            return False
        name = (component.tag, component.body, signature.body)
        known = self._known.get(name)
        if known is None:
            revokes = signature.kind in REVOCATIONS
            if not self._left[revokes]:
                return False
            self._left[revokes] -= 1
            try:
                known = signature.is_over(pieces_of(self._primary, component), key)
            except OpenPGPError:
                known = False
            self._known[name] = known
        return known
