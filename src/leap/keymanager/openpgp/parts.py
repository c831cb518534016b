"""Finding the part of a certificate that is to be changed, and putting new signatures on parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component, readable
from leap.keymanager.openpgp.errors import NoSuchPart
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import CERTIFICATIONS


def subkey_of(certificate: Certificate, fingerprint: str) -> Component:
    """The bound subkey with that fingerprint (hex, spaces allowed); raises NoSuchPart."""
    wanted = "".join(fingerprint.split()).upper()
    for state in certificate.keys[1:]:
        if state.key.fingerprint.hex().upper() == wanted:
            return next(c for c in certificate.components[1:] if c.body == state.key.body)
    raise NoSuchPart(f"the key {certificate.fingerprint} has no subkey with this fingerprint")


def user_id_of(certificate: Certificate, user_id: str) -> Component:
    """The user id of that whole text which the owner once signed, revoked ones too; raises NoSuchPart."""
    wanted = user_id.encode("utf-8", "surrogatepass")
    for component in certificate.components[1:]:
        named = component.tag == Tag.USER_ID and (
            component.body == wanted or readable(component.body) == user_id
        )
        if named and any(certificate.self_signatures(component, CERTIFICATIONS)):
            return component
    raise NoSuchPart(f"the key {certificate.fingerprint} has no such user id")


def with_signatures(
    certificate: Certificate, fresh: Mapping[Component, Sequence[bytes]]
) -> Certificate:
    """The certificate with more signatures (bodies) on some of its components."""
    return Certificate(
        [
            c._replace(signatures=(*c.signatures, *fresh[c])) if c in fresh else c
            for c in certificate.components
        ]
    )
