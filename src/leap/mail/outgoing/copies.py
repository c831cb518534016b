"""From a kept mail to the bytes that leave: one encrypted copy for those it names, one for each Bcc.

Invariants:
* A Bcc recipient's key id is in nobody else's copy, and nobody else's in theirs (RFC 3156 says nothing of
  Bcc; RFC 9580 5.1 shows key ids to every reader).
* A copy is for at most `TOGETHER` people: readers refuse messages encrypted to very many keys, and what one
  reader refuses must not be lost for all.
* All copies have the same Message-ID and Date, inside and outside.
* A copy made anew is for those of the old one's recipients who are given, under its submission id, and for nobody else.
* What was encrypted by the mail program travels as it is, in one copy.
* Gossip names only who is in To or Cc, and only inside the encryption.
* A mail has one Autocrypt field: that of the mail program, when it wrote one, else ours (Autocrypt 1.1).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from leap.keymanager.autocrypt.gossip import write_gossip
from leap.keymanager.autocrypt.header import NAME as AUTOCRYPT
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.keymanager.openpgp import offload as openpgp
from leap.mail.outgoing.addresses import mentioned_addresses, normal, only_address
from leap.mail.outgoing.field_lines import (
    begins_with_continuation,
    header_fields,
    split_header,
    values_of,
)
from leap.mail.outgoing.header_protection import fold, protect
from leap.mail.outgoing.names import GUARD
from leap.mail.outgoing.outbox_entries import Copy, Entry
from leap.mail.outgoing.outer_header import outer_fields
from leap.mail.outgoing.pgp_mime import wrap

TOGETHER = 100  # people a copy is encrypted to; our own reader takes 512 keys, others fewer


@dataclass(frozen=True, slots=True)
class Addressee:
    address: str
    certificate: Certificate


def autocrypt_address(entry: Entry) -> str | None:
    """The From address an Autocrypt field of ours would be of; None when the message has one, or no one From."""
    fields = header_fields(entry.message)
    if values_of(fields, AUTOCRYPT.lower()):
        return None
    return only_address(values_of(fields, "from"))


def unchanged_copy(
    entry: Entry, new_id: Callable[[], str], autocrypt: str | None = None
) -> list[Copy]:
    """One copy of the message as it was submitted, for all; `autocrypt` is the value of a field to put in front."""
    added = list(entry.added)
    if autocrypt is not None:
        added.append(fold(f"{AUTOCRYPT}: {autocrypt}"))
    guard = GUARD if added and begins_with_continuation(entry.message) else b""
    message = b"".join([*added, guard, entry.message])
    return [Copy(new_id(), entry.waiting, message)]


async def encrypted_copies(
    entry: Entry,
    addressees: Sequence[Addressee],
    signer: SecretKey,
    *,
    autocrypt: str | None,
    now: float,
    new_id: Callable[[], str],
    instead_of: Sequence[Copy] = (),
    new_boundary: Callable[[], str] = lambda: "=_" + secrets.token_hex(16),
) -> list[Copy]:
    """The encrypted and signed copies; `autocrypt` is the value of their Autocrypt field.

    Raises OpenPGPError when the engine refuses a key.
    """
    fields, _ = split_header(entry.message)
    # Entry.created, not now: what is made again after a crash says the same.
    outer = outer_fields(
        fields, sender=entry.sender, message_id=entry.message_id, now=entry.created
    )
    visible = mentioned_addresses(values_of(fields, "to") + values_of(fields, "cc"))
    together = [one for one in addressees if normal(one.address) in visible]
    gossip: list[str] = []
    if len(together) > 1:
        introduced = {normal(one.address): one.certificate for one in together}
        gossip = await asyncio.to_thread(write_gossip, introduced, now)
    payload = protect(entry.message, outer, entry.added, gossip)
    copies = []
    for name, group in _plan(addressees, visible, instead_of, new_id):
        certificates = list(
            {one.certificate.fingerprint: one.certificate for one in group}.values()
        )
        armored = await openpgp.encrypt(payload, certificates, signer, now=now)
        message = wrap(outer, autocrypt, armored, new_boundary())
        keys = {one.address: key_of(one.certificate, now) for one in group}
        copies.append(Copy(name, tuple(keys), message, keys))
    return copies


def key_of(certificate: Certificate, now: float) -> str:
    """Which key a copy made at `now` is encrypted to: the fingerprints of the certificate and of its encryption key.

    Raises ExpiredCertificate, NoEncryptionKey.
    """
    return f"{certificate.fingerprint} {certificate.encryption_key(now).fingerprint.hex().upper()}"


def _plan(
    addressees: Sequence[Addressee],
    visible: Collection[str],
    instead_of: Sequence[Copy],
    new_id: Callable[[], str],
) -> list[tuple[str, list[Addressee]]]:
    """The names of the copies, and whom each is for."""
    if not instead_of:
        return [(new_id(), group) for group in _groups(addressees, visible)]
    plan = []
    for old in instead_of:
        left = [one for one in addressees if one.address in old.recipients]
        for number, group in enumerate(_groups(left, visible)):
            plan.append((f"{old.name}.{number}" if number else old.name, group))
    return plan


def _groups(addressees: Sequence[Addressee], visible: Collection[str]) -> list[list[Addressee]]:
    together = [one for one in addressees if normal(one.address) in visible]
    groups = [together[at : at + TOGETHER] for at in range(0, len(together), TOGETHER)]
    return groups + [[one] for one in addressees if normal(one.address) not in visible]
