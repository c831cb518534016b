"""From a kept mail to the bytes that leave: one encrypted copy for those it names, one for each Bcc, one in clear.

Invariants:
* A Bcc recipient's key id is in nobody else's copy, and nobody else's in theirs (RFC 3156 says nothing of
  Bcc; RFC 9580 5.1 shows key ids to every reader).
* A copy is for at most `TOGETHER` people: readers refuse messages encrypted to very many keys, and what one
  reader refuses must not be lost for all.
* All copies have the same Message-ID and Date, inside and outside.
* A copy made anew is for those of the old one's recipients who are given, under its submission id, and for nobody else.
* What was encrypted by the mail program travels as it is, in one copy; so does what it signed, when it goes in clear.
* Who gets clear text is in one copy of its own, which names Bcc recipients nowhere; who gets an encrypted one gets no
  other.
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
from leap.mail.outbox_contract import Handling
from leap.mail.outgoing.addresses import mentioned_addresses, normal, only_address
from leap.mail.outgoing.field_lines import begins_with_continuation, header_fields, values_of
from leap.mail.outgoing.header_protection import fold, protect
from leap.mail.outgoing.names import GUARD
from leap.mail.outgoing.outbox_entries import Copy, Entry
from leap.mail.outgoing.outer_header import outer_fields
from leap.mail.outgoing.pgp_mime import wrap
from leap.mail.outgoing.signed_mail import is_signed, signed_mail

TOGETHER = 100  # people a copy is encrypted to; our own reader takes 512 keys, others fewer


@dataclass(frozen=True, slots=True)
class Addressee:
    """`certificate`: what to encrypt to; None: it goes in clear."""

    address: str
    certificate: Certificate | None


def autocrypt_address(entry: Entry) -> str | None:
    """The From address an Autocrypt field of ours would be of; None when the message has one, or no one From."""
    fields = header_fields(entry.message)
    if values_of(fields, AUTOCRYPT.lower()):
        return None
    return only_address(values_of(fields, "from"))


def untouched_copy(entry: Entry, new_id: Callable[[], str]) -> list[Copy]:
    """One copy of what the mail program encrypted, for all."""
    return [Copy(new_id(), entry.waiting, _in_clear(entry, None), how="as-is")]


async def make_copies(
    entry: Entry,
    addressees: Sequence[Addressee],
    signer: SecretKey | None,
    *,
    sign_clear: bool,
    autocrypt: str | None,
    now: float,
    new_id: Callable[[], str],
    instead_of: Sequence[Copy] = (),
    new_boundary: Callable[[], str] = lambda: "=_" + secrets.token_hex(16),
) -> list[Copy]:
    """The copies, encrypted or in clear as each addressee is; `autocrypt` is the value of their Autocrypt field.

    `signer` is needed for what is encrypted or signed. Raises OpenPGPError when the engine refuses a key, CannotSign.
    """
    visible = mentioned_addresses(_values(entry, "to") + _values(entry, "cc"))
    payload: bytes | None = None
    clear: tuple[bytes, Handling] | None = None
    copies = []
    # Entry.created, not now: what is made again after a crash says the same.
    outer = outer_fields(
        header_fields(entry.message),
        sender=entry.sender,
        message_id=entry.message_id,
        now=entry.created,
    )
    for name, group in _plan(addressees, visible, instead_of, new_id):
        certificates = {c.fingerprint: c for one in group if (c := one.certificate) is not None}
        addresses = tuple(one.address for one in group)
        if not certificates:
            if clear is None:
                clear = await _clear(entry, signer if sign_clear else None, autocrypt, now)
            copies.append(Copy(name, addresses, clear[0], how=clear[1]))
            continue
        assert signer is not None, "what is encrypted is signed"
        if payload is None:
            gossip = await _gossip(addressees, visible, now)
            payload = protect(entry.message, outer, entry.added, gossip)
        armored = await openpgp.encrypt(payload, list(certificates.values()), signer, now=now)
        message = wrap(outer, autocrypt, armored, new_boundary())
        keys = {one.address: key_of(one.certificate, now) for one in group}
        copies.append(Copy(name, addresses, message, keys, how="encrypted"))
    return copies


def key_of(certificate: Certificate | None, now: float) -> str:
    """Which key a copy made at `now` is encrypted to: the fingerprints of the certificate and of its encryption key.

    "" for clear text. Raises ExpiredCertificate, NoEncryptionKey.
    """
    if certificate is None:
        return ""
    return f"{certificate.fingerprint} {certificate.encryption_key(now).fingerprint.hex().upper()}"


def for_other_keys(entry: Entry, addressees: Sequence[Addressee], now: float) -> list[Copy]:
    """The copies that are not for the keys which those who wait have now."""
    keys = {one.address: key_of(one.certificate, now) for one in addressees}
    return [
        copy
        for copy in entry.copies
        if any(one in keys and copy.keys.get(one, "") != keys[one] for one in copy.recipients)
    ]


async def _gossip(
    addressees: Sequence[Addressee], visible: Collection[str], now: float
) -> list[str]:
    introduced = {
        normal(one.address): one.certificate
        for one in addressees
        if one.certificate is not None and normal(one.address) in visible
    }
    if len(introduced) < 2:
        return []
    return await asyncio.to_thread(write_gossip, introduced, now)


async def _clear(
    entry: Entry, signer: SecretKey | None, autocrypt: str | None, now: float
) -> tuple[bytes, Handling]:
    if is_signed(entry.message):
        return _in_clear(entry, None), "signed"  # by the mail program, which speaks for its key
    if signer is None:
        return _in_clear(entry, autocrypt), "clear"
    signed = await signed_mail(entry.message, entry.added, signer, autocrypt=autocrypt, now=now)
    return signed, "signed"


def _in_clear(entry: Entry, autocrypt: str | None) -> bytes:
    """The message as it was submitted, with what was added and an Autocrypt field in front."""
    added = list(entry.added)
    if autocrypt is not None:
        added.append(fold(f"{AUTOCRYPT}: {autocrypt}"))
    guard = GUARD if added and begins_with_continuation(entry.message) else b""
    return b"".join([*added, guard, entry.message])


def _values(entry: Entry, name: str) -> list[bytes]:
    return values_of(header_fields(entry.message), name)


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
    """Those who may share an encrypted copy, each who may not, and all who get clear text."""
    encrypted = [one for one in addressees if one.certificate is not None]
    together = [one for one in encrypted if normal(one.address) in visible]
    groups = [together[at : at + TOGETHER] for at in range(0, len(together), TOGETHER)]
    groups += [[one] for one in encrypted if normal(one.address) not in visible]
    clear = [one for one in addressees if one.certificate is None]
    return groups + ([clear] if clear else [])
