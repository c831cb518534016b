"""Changing a key of one's own: its end, subkeys, user ids. Each edit gives a new key and leaves the old one alone.

Invariants:
* Nothing is taken away: old signatures, subkeys and user ids stay, and every secret, so that old mail stays readable.
* Only what the owner's newest signatures let stand is renewed: what is revoked stays revoked.
* `now` is the time of the signatures (seconds since 1970); they are dated later when what they replace is.
* Every edit raises NoSecretKey when the primary secret is not here, RevokedCertificate when the whole key is revoked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.certification import certify, revoke_certification
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.errors import Malformed, NoSuchPart, RevokedCertificate
from leap.keymanager.openpgp.key_material import (
    make_encryption_key,
    make_post_quantum_key,
    make_signing_key,
)
from leap.keymanager.openpgp.key_state import ENCRYPT, SIGN, KeyState
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.parts import user_id_of, with_signatures
from leap.keymanager.openpgp.revocation import (
    RevocationReason,
    apply_revocation,
    revocation_certificate,
    revoke,
    revoke_subkey,
    revoke_user_id,
)
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.self_signing import Owner, Random, end_of
from leap.keymanager.openpgp.signature import (
    CERTIFICATIONS,
    Signature,
    SignatureType,
    Subpacket,
    subpacket,
)

__all__ = [
    "RevocationReason",
    "add_encryption_subkey",
    "add_signing_subkey",
    "add_user_id",
    "apply_revocation",
    "certify",
    "extend",
    "revocation_certificate",
    "revoke",
    "revoke_certification",
    "revoke_subkey",
    "revoke_user_id",
    "rotate_encryption_subkey",
    "set_expiry",
    "set_primary_user_id",
]

MAX_USER_ID = 2048  # octets of one user id; GnuPG takes no longer ones


def extend(key: SecretKey, *, expires: float, now: float, random: Random = os.urandom) -> SecretKey:
    """The key and those of its subkeys that are in use, to end at `expires`; what ends later or never stays so.

    In use is every subkey that lives now or ended with the key; of those for encryption only the newest (of each
    kind, with and without ML-KEM), since the others were replaced. Raises Malformed for an end in the past.
    """
    if expires <= now:
        raise Malformed("a key cannot be extended to a time that is over")
    head = key.certificate.keys[0]
    longer = head.expires is not None and head.expires < expires
    return _with_ends(key, expires if longer else head.expires, expires, now, random)


def set_expiry(
    key: SecretKey, *, expires: float | None, now: float, random: Random = os.urandom
) -> SecretKey:
    """The key to end at `expires` exactly, sooner or later than before; None: never.

    Its subkeys in use (see `extend`) end no sooner than that. Raises Malformed for an end before the key's birth.
    """
    return _with_ends(key, expires, expires, now, random)


def _with_ends(
    key: SecretKey, expires: float | None, subkeys: float | None, now: float, random: Random
) -> SecretKey:
    certificate = key.certificate
    owner = _owner(key, now, random)
    fresh: dict[Component, list[bytes]] = {}
    if _as_number(expires) != certificate.keys[0].expires or not _agree(certificate):
        end = end_of(certificate.primary, expires)
        head = certificate.components[0]
        if certificate.primary.version == 6 or _is_signed(owner, head, SignatureType.DIRECT_KEY):
            fresh[head] = [owner.renew_on_key(end)]
        fresh |= {name: [owner.renew_on_name(name, end)] for name in _speaking_names(certificate)}
    for component, state in _in_use(certificate, now):
        if state.expires is not None and (subkeys is None or state.expires < int(subkeys)):
            end = end_of(state.key, subkeys)
            fresh[component] = [owner.rebind(component, end, key.secret_of(state.key))]
    return key.edited(with_signatures(certificate, fresh)) if fresh else key


def _as_number(expires: float | None) -> int | None:
    return None if expires is None else int(expires)


def _agree(certificate: Certificate) -> bool:
    """Whether all user ids say the same end: programs differ in which of them they read."""
    ends = {
        signature.key_expires(certificate.primary)
        for name in _speaking_names(certificate)
        for signature in [_newest(certificate, name)]
        if signature is not None
    }
    return ends <= {certificate.keys[0].expires}


def _speaking_names(certificate: Certificate) -> list[Component]:
    """User ids and attributes whose signature says when the key ends: of version 4 all should, and of 6 some do.

    RFC 9580 5.2.3.10 leaves that to the direct signature in version 6; Sequoia writes both, and reads the user id's.
    """
    names = _standing_names(certificate)
    if certificate.primary.version == 4:
        return names
    return [n for n in names if (s := _newest(certificate, n)) is not None and s.is_about_key]


def _newest(certificate: Certificate, name: Component) -> Signature | None:
    return next(certificate.self_signatures(name, CERTIFICATIONS), None)


def _standing_names(certificate: Certificate) -> list[Component]:
    """User ids and attributes that are signed and not revoked."""
    found = []
    for component in certificate.components[1:]:
        if component.tag not in (Tag.USER_ID, Tag.USER_ATTRIBUTE):
            continue
        kinds = CERTIFICATIONS | {SignatureType.REVOKE_CERTIFICATION}
        signed = list(certificate.self_signatures(component, kinds))
        # the newest says which; of two of one second the revocation wins
        signed.sort(key=lambda s: (s.created, s.kind == SignatureType.REVOKE_CERTIFICATION))
        if signed and signed[-1].kind in CERTIFICATIONS:
            found.append(component)
    return found


def _is_signed(owner: Owner, component: Component, kind: SignatureType) -> bool:
    return next(owner.certificate.self_signatures(component, {kind}), None) is not None


def _in_use(certificate: Certificate, now: float) -> Iterable[tuple[Component, KeyState]]:
    """The subkeys whose end is to move with the key's."""
    head, *states = certificate.keys
    encrypting = [s for s in states if s.flags & ENCRYPT]
    kinds = [
        [s for s in encrypting if (s.key.algorithm == ML_KEM) is kind] for kind in (True, False)
    ]
    newest = [_newest_of(kind, now) for kind in kinds if kind]
    for state in states:
        if state.revoked is not None:
            continue
        if state.flags & ENCRYPT:
            used = any(state is chosen for chosen in newest)
        else:
            used = not state.has_expired(now) or _ended_with(state, head)
        if used:
            component = next(c for c in certificate.components[1:] if c.body == state.key.body)
            yield component, state


def _newest_of(states: Sequence[KeyState], now: float) -> KeyState:
    """The one that is written to now; if none lives, the newest, unless that was revoked: older ones were replaced."""
    alive = [state for state in states if state.is_alive(now)]
    return max(alive or states, key=lambda state: state.key.created)


def _ended_with(state: KeyState, head: KeyState) -> bool:
    return head.expires is not None and state.expires is not None and state.expires >= head.expires


# --- subkeys --------------------------------------------------------------------------------------


def add_encryption_subkey(
    key: SecretKey,
    *,
    now: float,
    expires: float | None,
    post_quantum: bool = False,
    random: Random = os.urandom,
) -> SecretKey:
    """The key with one more subkey to encrypt to: X25519, or ML-KEM-768+X25519 for those who can."""
    born = _birth(key.certificate, ENCRYPT, now)
    return _with_encryption_subkey(key, born, now, expires, post_quantum, random)


def _with_encryption_subkey(
    key: SecretKey,
    born: int,
    now: float,
    expires: float | None,
    post_quantum: bool,
    random: Random,
) -> SecretKey:
    owner = _owner(key, now, random)
    make = make_post_quantum_key if post_quantum else make_encryption_key
    subkey = make(born, key.certificate.primary.version, random)
    bound = owner.bind(subkey, ENCRYPT, end_of(subkey.public, expires))
    return key.edited(Certificate([*key.certificate.components, bound]), subkey)


def add_signing_subkey(
    key: SecretKey, *, now: float, expires: float | None, random: Random = os.urandom
) -> SecretKey:
    """The key with an Ed25519 subkey, which from now on signs mail."""
    owner = _owner(key, now, random)
    born = _birth(key.certificate, SIGN, now)
    subkey = make_signing_key(born, key.certificate.primary.version, random)
    bound = owner.bind(subkey, SIGN, end_of(subkey.public, expires))
    return key.edited(Certificate([*key.certificate.components, bound]), subkey)


def _birth(certificate: Certificate, flags: int, now: float) -> int:
    """Now, but after every subkey for the same: programs choose the newest."""
    same = (state.key.created for state in certificate.keys[1:] if state.flags & flags)
    return max(int(now), *(created + 1 for created in same), certificate.created)


def rotate_encryption_subkey(
    key: SecretKey,
    *,
    now: float,
    expires: float | None,
    old_expires: float | None = None,
    revoke_old: bool = False,
    random: Random = os.urandom,
) -> SecretKey:
    """The key with a new subkey to encrypt to, and a new one with ML-KEM beside it if there was one in use.

    The old ones still open mail. Programs encrypt to the newest, but some to all: `old_expires` (a time) gives the
    old ones an end, `revoke_old` says that they are superseded.
    """
    old = [s for s in key.certificate.keys[1:] if s.flags & ENCRYPT and s.is_alive(now)]
    born = _birth(key.certificate, ENCRYPT, now)
    changed = key
    # with ML-KEM first: of two of one age, programs take the first they can
    kinds = (True, False) if any(state.key.algorithm == ML_KEM for state in old) else (False,)
    for post_quantum in kinds:
        changed = _with_encryption_subkey(changed, born, now, expires, post_quantum, random)
    for state in old:
        name = state.key.fingerprint.hex()
        if revoke_old:
            reason = RevocationReason.SUPERSEDED
            changed = revoke_subkey(changed, name, reason=reason, now=now, random=random)
        elif old_expires is not None and (state.expires is None or state.expires > old_expires):
            changed = _end_subkey(changed, state, old_expires, now, random)
    return changed


def _end_subkey(
    key: SecretKey, state: KeyState, expires: float, now: float, random: Random
) -> SecretKey:
    certificate = key.certificate
    component = next(c for c in certificate.components[1:] if c.body == state.key.body)
    owner = _owner(key, now, random)
    body = owner.rebind(component, end_of(state.key, expires), key.secret_of(state.key))
    return key.edited(with_signatures(certificate, {component: [body]}))


# --- user ids -------------------------------------------------------------------------------------


def add_user_id(
    key: SecretKey,
    user_id: str,
    *,
    now: float,
    primary: bool = False,
    random: Random = os.urandom,
) -> SecretKey:
    """The key with one more user id, or one it had taken back; `primary`: the one to show first.

    It says of the key what the newest one said. Raises Malformed for what no user id can be.
    """
    check_user_id(user_id)
    certificate = key.certificate
    owner = _owner(key, _after_others(certificate, now) if primary else now, random)
    body = user_id.encode()
    known = [c for c in certificate.components[1:] if c.tag == Tag.USER_ID and c.body == body]
    name = known[0] if known else Component(Tag.USER_ID, body, ())
    end = end_of(certificate.primary, certificate.keys[0].expires)
    mark = [_PRIMARY] if primary else []
    signature = owner.renew_on_name(name, end, mark, without=Subpacket.PRIMARY_USER_ID)
    if not known:
        components = list(certificate.components)
        last = max(
            (i for i, c in enumerate(components) if c.tag == Tag.USER_ID), default=0
        )  # before the subkeys
        components.insert(last + 1, name._replace(signatures=(signature,)))
        return key.edited(Certificate(components))
    return key.edited(with_signatures(certificate, {name: [signature]}))


def set_primary_user_id(
    key: SecretKey, user_id: str, *, now: float, random: Random = os.urandom
) -> SecretKey:
    """The key with that user id as the one to show first; raises NoSuchPart when it has none such, or no more."""
    name = user_id_of(key.certificate, user_id)
    owner = _owner(key, _after_others(key.certificate, now), random)
    if name not in _standing_names(key.certificate):
        raise NoSuchPart("that user id was revoked: add it again first")
    end = end_of(key.certificate.primary, key.certificate.keys[0].expires)
    signature = owner.renew_on_name(name, end, [_PRIMARY], without=Subpacket.PRIMARY_USER_ID)
    return key.edited(with_signatures(key.certificate, {name: [signature]}))


def _after_others(certificate: Certificate, now: float) -> float:
    """Now, but after every user id was signed: of several primary ones the newest is (RFC 9580 5.2.3.27)."""
    names = (c for c in certificate.components[1:] if c.tag == Tag.USER_ID)
    newest = (_newest(certificate, name) for name in names)
    return max(now, *(s.created + 1 for s in newest if s is not None), 0)


_PRIMARY = subpacket(Subpacket.PRIMARY_USER_ID, b"\x01")


def check_user_id(user_id: str) -> None:
    """Raises Malformed for a text that cannot be a user id: empty, too long, or with control characters."""
    try:
        size = len(user_id.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_USER_ID or any(not c.isprintable() for c in user_id):
        raise Malformed("this cannot be a user id: it is empty, too long or not plain text")


def _owner(key: SecretKey, now: float, random: Random) -> Owner:
    if key.certificate.revoked:
        raise RevokedCertificate("the key is revoked; nothing on it can be changed any more")
    return Owner(key.certificate, key.primary_secret(), int(now), random)
