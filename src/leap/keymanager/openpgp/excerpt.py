"""Less than a whole certificate: what fits into a mail header, and what counts now, for publishing.

The form for mail headers is Autocrypt's (Autocrypt 1.1, "OpenPGP Based key data"): primary key, one user id with its
newest self-signature, one encryption subkey with its newest binding, which are five packets.
Two things go beyond or beside that:

* The signature directly on the key goes along where the user id's own does not say as much: always for version 6,
  whose keys should speak of themselves nowhere else (RFC 9580 5.2.3.10).
* A subkey with ML-KEM is taken only when there is no other. Programs of old cannot encrypt to it, there is room for
  one subkey, and those who can find it with the whole certificate, in the provider's directory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.component import Component, address_in
from leap.keymanager.openpgp.errors import NoEncryptionKey, NoSuchPart
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.self_signatures import REVOCATIONS
from leap.keymanager.openpgp.signature import CERTIFICATIONS, Signature, SignatureType

if TYPE_CHECKING:
    from leap.keymanager.openpgp.certificate import Certificate
    from leap.keymanager.openpgp.key_state import KeyState

_ENCRYPT = 0x04 | 0x08  # mail and storage, RFC 9580 5.2.3.29


def minimal_components(certificate: Certificate, address: str, at: float | None) -> list[Component]:
    """The parts of the minimal form; raises NoSuchPart, NoEncryptionKey."""
    name, binding = _user_id(certificate, canonical(address), at)
    head = Component(Tag.PUBLIC_KEY, certificate.primary.body, _direct(certificate, binding, at))
    parts = [head, name._replace(signatures=(binding.body,))]
    key = _encryption_key(certificate, at).key
    if key != certificate.primary:
        found = (c for c in certificate.components if c.body == key.body)
        bindings = (_newest(certificate, c, {SignatureType.SUBKEY_BINDING}, at) for c in found)
        parts += [
            Component(Tag.PUBLIC_SUBKEY, key.body, (b.body,)) for b in bindings if b is not None
        ]
    return parts


def _newest(
    certificate: Certificate, component: Component, kinds: Iterable[int], at: float | None
) -> Signature | None:
    return next(certificate.self_signatures(component, kinds, at), None)


def _user_id(
    certificate: Certificate, address: str, at: float | None
) -> tuple[Component, Signature]:
    """The newest user id with that address, and what binds it."""
    found = [
        (component, binding)
        for component in certificate.components[1:]
        if component.tag == Tag.USER_ID
        and address_in(component.body) == address
        and certificate.vouches_for(component, at)
        and (binding := _newest(certificate, component, CERTIFICATIONS, at)) is not None
    ]
    if not found:
        raise NoSuchPart(f"the key has no user id with the address {address}")
    return max(found, key=lambda pair: pair[1].created)


def _direct(certificate: Certificate, binding: Signature, at: float | None) -> tuple[bytes, ...]:
    primary = certificate.primary
    signed = _newest(certificate, certificate.components[0], {SignatureType.DIRECT_KEY}, at)
    if signed is None:
        return ()
    head = (certificate.keys if at is None else certificate.keys_at(at))[0]
    same = binding.key_flags == head.flags and binding.key_expires(primary) == head.expires
    return () if same and primary.version == 4 else (signed.body,)


def _encryption_key(certificate: Certificate, at: float | None) -> KeyState:
    states = certificate.keys if at is None else certificate.keys_at(at)
    if states[0].revoked is not None:
        raise NoEncryptionKey("the certificate is revoked")
    fit = [s for s in states if s.flags & _ENCRYPT and s.key.can_wrap]
    fit = [s for s in fit if (s.revoked is None if at is None else s.is_alive(at))]
    if not fit:
        raise NoEncryptionKey("the certificate has no key one could encrypt to")
    return max(fit, key=lambda s: (s.key.algorithm != ML_KEM, s.key.created))


def current_components(certificate: Certificate) -> list[Component]:
    """Every part with what the owner says of it now, and all revocations: no older statements, nothing by others.

    A statement with an end of its own is kept together with the one that counts after it.
    """
    found = []
    for component in certificate.components:
        kept: list[Signature] = list(certificate.self_signatures(component, REVOCATIONS))
        for kinds in (CERTIFICATIONS, {SignatureType.DIRECT_KEY}, {SignatureType.SUBKEY_BINDING}):
            for signature in certificate.self_signatures(component, kinds):
                kept.append(signature)
                direct = signature.kind == SignatureType.DIRECT_KEY
                if signature.expires is None and not (direct and not signature.is_about_key):
                    break
        bodies = {signature.body for signature in kept}
        if bodies or component.tag == Tag.PUBLIC_KEY:
            in_order = tuple(body for body in component.signatures if body in bodies)
            found.append(component._replace(signatures=in_order))
    return found
