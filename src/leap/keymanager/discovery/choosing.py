"""Which of the certificates that a server gave is the one of an address. Blocking: it checks signatures."""

from __future__ import annotations

from typing import NamedTuple

from leap.keymanager.openpgp import Certificate, OpenPGPError, read_certificates
from leap.keymanager.openpgp.component import address_in
from leap.keymanager.openpgp.packets import Tag

MAX_CERTIFICATES = (
    8  # of one answer that are looked at; a directory gives the new one and a revoked one
)


class NoneOfThem(OpenPGPError):
    """There are certificates, and none names the address."""


class Chosen(NamedTuple):
    """The one to use, and the others that name the address, which may be news of the key one has."""

    best: Certificate
    others: tuple[Certificate, ...]


def choose(data: bytes, address: str, at: float) -> Chosen:
    """The certificate of an address in lower case: usable at a time before others, then the newest.

    Raises NoneOfThem, OpenPGPError.
    """
    found = [c for c in read_certificates(data)[:MAX_CERTIFICATES] if names(c, address)]
    if not found:
        raise NoneOfThem(f"none of the certificates names {address}")
    found.sort(key=lambda c: _rank(c, address, at), reverse=True)
    return Chosen(found[0], tuple(found[1:]))


def names(certificate: Certificate, address: str) -> bool:
    """Whether a certificate has a user id of an address, vouched for or not: a revoked one is news, too."""
    return any(
        component.tag == Tag.USER_ID and address_in(component.body) == address
        for component in certificate.components
    )


def _rank(certificate: Certificate, address: str, at: float) -> tuple[bool, bool, int, str]:
    return (
        address in certificate.addresses_at(at),
        certificate.can_encrypt(at),
        certificate.created,
        certificate.fingerprint,
    )
