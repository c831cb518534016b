"""Certificates of others out of a file: each is offered for each of its addresses, and what became of it is told.

Invariants:
* A file proves nothing: its keys are a weak chain, but for those whose fingerprint the person compared.
* Nothing of a file is taken when it holds a secret key, or lacks a key that was said to be in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from leap.keymanager.comparison import grouped, read_fingerprint
from leap.keymanager.documents import PERSON
from leap.keymanager.errors import HoldsSecretKeys, KeyRefused
from leap.keymanager.keyring import Keyring
from leap.keymanager.openpgp import Certificate, OpenPGPError, read_certificates
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.component import split_keys
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.trust import Level

SOURCE = "import"
MAX_IMPORTED = 2_000  # certificates of one file; a person's keyring has hundreds


class Imported(NamedTuple):
    """What became of one certificate for one of its addresses ("" when it has none)."""

    fingerprint: str
    address: str
    taken: bool
    reason: str


def holds_secret_keys(data: bytes) -> bool:
    """Whether any secret key is in `data`; raises OpenPGPError."""
    return any(group[0].tag == Tag.SECRET_KEY for group in split_keys(dearmor(data)))


async def import_certificates(
    keyring: Keyring,
    own_address: str,
    data: bytes,
    *,
    origin: str,
    verified: Sequence[str] = (),
) -> list[Imported]:
    """Offers every certificate of `data` for each address it carries; `origin` says in words what file it was.

    `verified` are fingerprints that the person compared. Raises KeyRefused when nothing of it can be taken, and
    HoldsSecretKeys.
    """
    compared = frozenset(read_fingerprint(text) for text in verified)
    certificates = await asyncio.to_thread(_read, data)
    here = {certificate.fingerprint for certificate in certificates}
    if missing := compared - here:
        raise KeyRefused(
            f"no key in {origin} has the fingerprint {grouped(min(missing))}; nothing of it was taken"
        )
    found: list[Imported] = []
    for certificate in certificates:
        addresses = await asyncio.to_thread(lambda of: of.addresses, certificate)
        if not addresses:
            reason = "it carries no mail address"
            found.append(Imported(certificate.fingerprint, "", False, reason))
        for address in addresses:
            checked = certificate.fingerprint in compared
            found.append(await _offer(keyring, own_address, certificate, address, origin, checked))
    return found


async def _offer(
    keyring: Keyring,
    own_address: str,
    certificate: Certificate,
    address: str,
    origin: str,
    checked: bool,
) -> Imported:
    fingerprint = certificate.fingerprint
    if address == own_address:
        return Imported(fingerprint, address, False, "it is your own address: its keys are yours")
    try:
        decision = await keyring.learn(
            certificate,
            address,
            Level.FINGERPRINT if checked else Level.WEAK_CHAIN,
            source=PERSON if checked else SOURCE,
            detail=f"you compared the fingerprint and imported it from {origin}"
            if checked
            else f"imported by you from {origin}",
        )
    except (KeyRefused, OpenPGPError) as error:
        return Imported(fingerprint, address, False, str(error))
    return Imported(fingerprint, address, decision.allowed, decision.reason)


def _read(data: bytes) -> list[Certificate]:
    try:
        if holds_secret_keys(data):
            raise HoldsSecretKeys("it holds a secret key, which is not a key of somebody else")
        found = read_certificates(data)
    except OpenPGPError as error:
        raise KeyRefused(f"it holds no OpenPGP keys that can be read: {error}") from error
    if len(found) > MAX_IMPORTED:
        raise KeyRefused(f"it holds {len(found)} keys; at most {MAX_IMPORTED} are taken at once")
    merged: dict[str, Certificate] = {}
    for certificate in found:
        known = merged.get(certificate.fingerprint)
        merged[certificate.fingerprint] = certificate if known is None else known.merge(certificate)
    return list(merged.values())
