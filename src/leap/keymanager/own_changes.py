"""Changes of one's own keys: a later end, new parts, a new key, and taking one back.

Each change is kept durably in one step before anybody hears of it, so that stopping at any moment and doing it
again is safe; publishing comes afterwards (`publishing`).

Invariants:
* An own key does not end while its primary secret is here: its end moves by a year from 60 days before it, and
  also when it has passed.
* No change takes a secret away: what was encrypted to a former part opens for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

from leap.keymanager.errors import KeyRefused
from leap.keymanager.key_kind import KeyKind, has_post_quantum_part, kind_of
from leap.keymanager.openpgp import Certificate, NoSecretKey, OpenPGPError, SecretKey, generate
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.component import address_of
from leap.keymanager.openpgp.editing import (
    RevocationReason,
    add_encryption_subkey,
    add_user_id,
    apply_revocation,
    certify,
    extend,
    revoke,
    rotate_encryption_subkey,
)
from leap.keymanager.openpgp.key_state import ENCRYPT, SIGN, KeyState
from leap.keymanager.own_keys import Kept, OwnKeys

DAY = 24 * 3600
EXTENDED_BEFORE = 60 * DAY  # correspondents who ask once a month still hear of it in time
EXTENDED_BY = 365 * DAY
MAX_VOUCHING = 5  # former keys; each adds some 120 octets to the certificate
_SOFT = frozenset({RevocationReason.SUPERSEDED, RevocationReason.RETIRED})


class OwnKeyChanges:
    """What can be changed on one account's own keys."""

    def __init__(self, own: OwnKeys) -> None:
        self._own = own

    async def is_due(self) -> bool:
        """Whether the end of the key in use is near or past, and can be moved. Raises NoOwnKey."""
        key = await self._own.key()
        return not key.certificate.revoked and is_due(key.certificate, self._own.now())

    async def extend_if_due(self) -> bool:
        """Moves the end of the key in use by a year if it is near or past; True if it did.

        Raises NoOwnKey; KeyRefused when that has to be done elsewhere.
        """
        if not await self.is_due():
            return False
        key = await self._own.key()
        now = self._own.now()
        try:
            longer = await asyncio.to_thread(extended, key, now)
        except NoSecretKey:
            raise KeyRefused(
                f"your key {key.fingerprint} ends soon or has ended, and its primary secret key is not here: extend it"
                " where that is, and import it again"
            ) from None
        if longer is key:
            return False
        await self._own.add(longer, source="extended here")
        return True

    async def name_aliases(self, aliases: Sequence[str]) -> bool:
        """Gives the key in use a user id of each further address of the account; True if it lacked one.

        A user id that is there stays when the address is the account's no more: it is not published then. Raises
        NoOwnKey, KeyRefused.
        """
        key = await self._own.key()
        known = key.certificate.addresses
        missing = [one for one in aliases if one not in known]
        if not missing or key.certificate.revoked:
            return False
        change = partial(_with_names, key, missing, self._own.address, self._own.now())
        await self._own.add(await self._changed(key, change), source="named here")
        return True

    async def rotate_subkey(self, *, post_quantum: bool = False) -> SecretKey:
        """A new part to encrypt to, for the key in use; the old one opens old mail. Raises NoOwnKey, KeyRefused.

        `post_quantum`: with ML-KEM, too. A key that has such a part gets a new one of it in any case.
        """
        await self.extend_if_due()  # the new part ends with the key
        key = await self._own.key()
        change = partial(_with_new_subkeys, key, self._own.now(), post_quantum)
        await self._own.add(await self._changed(key, change), source="rotated here")
        return await self._own.key()

    async def rotate_key(
        self, *, version: int | None = None, post_quantum: bool | None = None
    ) -> SecretKey:
        """A whole new key; the one in use is kept for reading, and vouches for the new one if it can.

        It cannot when it is revoked, or its primary secret is not here. Former keys that stand vouch with it: some
        correspondents have only those yet. What is not said of the new one's kind is as with the old one. Raises
        NoOwnKey.
        """
        with contextlib.suppress(KeyRefused):
            await self.extend_if_due()  # who has expired cannot vouch
        old = await self._own.key()
        kind = kind_of(old.certificate)
        kind = KeyKind(
            kind.version if version is None else version,
            kind.post_quantum if post_quantum is None else post_quantum,
        )
        new = await self._new_key(old, kind, vouched=not old.certificate.revoked)
        await self._own.add(new, source="made here", use=True)
        return await self._own.key()

    async def _new_key(self, old: SecretKey, kind: KeyKind, *, vouched: bool) -> SecretKey:
        address, now = self._own.address, self._own.now()
        new = await asyncio.to_thread(_stranger, old, kind, address, now)
        if not vouched:
            return new
        vouching = [old, *(key for key in await self._own.keys() if _can_vouch(key, old, address))]
        return await asyncio.to_thread(_vouched, new, vouching[:MAX_VOUCHING], address, now)

    async def _changed(self, key: SecretKey, change: partial[SecretKey]) -> SecretKey:
        if key.certificate.revoked:
            raise KeyRefused(
                f"your key {key.fingerprint} is revoked, which is for ever; `bitmask keys rotate --primary` makes a"
                " new one"
            )
        try:
            return await asyncio.to_thread(change)
        except NoSecretKey:
            raise KeyRefused(
                f"the primary secret key of {key.fingerprint} is not here: change it where that is, and import it again"
            ) from None

    async def revoke(
        self, name: str, *, reason: RevocationReason, text: str = "", replace: bool = False
    ) -> SecretKey:
        """Takes one of the own keys back, by its primary secret or by the revocation kept since its birth.

        `replace`: if it is the one in use, a new one takes its place; unless the old one was compromised, it vouches
        for the new one. Otherwise there is no usable key until a person makes or chooses one. Doing it again changes
        nothing, but makes the new key if that is asked for now. Raises NoSuchKey, KeyRefused.
        """
        kept = await self._own.find(name)
        now = self._own.now()
        revoked = await asyncio.to_thread(_revoked, kept, reason, text, now)
        together = [Kept(revoked, kept.revocation)]
        new: SecretKey | None = None
        if replace and (await self._own.key()).fingerprint == kept.key.fingerprint:
            vouches = reason in _SOFT and not kept.key.certificate.revoked
            new = await self._new_key(kept.key, kind_of(kept.key.certificate), vouched=vouches)
            together.append(Kept(new, ""))
        await self._own.add_all(together, source="revoked here", use=new)
        return (await self._own.find(kept.key.fingerprint)).key


def is_due(certificate: Certificate, at: float) -> bool:
    """Whether a part in use of a key ends within 60 days, or has ended."""
    return any(end - at <= EXTENDED_BEFORE for end in _ends(certificate, at))


def extended(key: SecretKey, at: float) -> SecretKey:
    """The key with all ends a year after the first of them, or after `at` if that has passed; raises NoSecretKey."""
    first = min(_ends(key.certificate, at))
    return extend(key, expires=max(first, int(at)) + EXTENDED_BY, now=at)


def _ends(certificate: Certificate, at: float) -> list[int]:
    """When the parts that are needed end: the primary key, of those to encrypt to the newest, those that sign now."""
    head, *subkeys = certificate.keys
    needed = [head]
    standing = [state for state in subkeys if state.revoked is None]
    for ml_kem in (True, False):
        kind = [s for s in standing if s.flags & ENCRYPT and (s.key.algorithm == ML_KEM) == ml_kem]
        needed += [max(kind, key=_created)] if kind else []
    needed += [s for s in standing if s.flags & SIGN and not s.has_expired(at)]
    return [state.expires for state in needed if state.expires is not None]


def _created(state: KeyState) -> int:
    return state.key.created


def _with_new_subkeys(key: SecretKey, at: float, post_quantum: bool) -> SecretKey:
    end = key.certificate.keys[0].expires
    changed = rotate_encryption_subkey(key, now=at, expires=end)
    if post_quantum and not has_post_quantum_part(changed.certificate):
        changed = add_encryption_subkey(changed, now=at, expires=end, post_quantum=True)
    return changed


def _can_vouch(key: SecretKey, old: SecretKey, address: str) -> bool:
    """Whether correspondents may have this former key and trust it."""
    certificate = key.certificate
    return (
        certificate.fingerprint != old.fingerprint
        and not certificate.revoked
        and address in certificate.addresses
    )


def _vouched(new: SecretKey, by: Sequence[SecretKey], address: str, at: float) -> SecretKey:
    """The new key with the word of each of these that can give it."""
    for old in by:
        with contextlib.suppress(OpenPGPError):  # has expired, or its primary secret is elsewhere
            new = new.edited(certify(old, new.certificate, address, now=at))
    return new


def _stranger(old: SecretKey, kind: KeyKind, address: str, at: float) -> SecretKey:
    """A new key for an address, with the name of the old one, which says nothing about it."""
    return generate(
        address,
        name=_name_on(old.certificate, address),
        now=lambda: at,
        version=kind.version,
        post_quantum=kind.post_quantum,
    )


def _with_names(key: SecretKey, addresses: Sequence[str], own: str, at: float) -> SecretKey:
    name = _name_on(key.certificate, own)
    for address in addresses:
        key = add_user_id(key, f"{name} <{address}>" if name else address, now=at)
    return key


def _name_on(certificate: Certificate, address: str) -> str:
    for user_id in certificate.user_ids:
        if address_of(user_id) == address and (name := user_id.partition("<")[0].strip()):
            return "" if "@" in name or any(c in "<>\r\n\0" for c in name) else name
    return ""


def _revoked(kept: Kept, reason: RevocationReason, text: str, at: float) -> SecretKey:
    key = kept.key
    before = key.certificate.keys[0].revoked
    if before is not None and (before == 0 or reason in _SOFT):
        return key
    try:
        return revoke(key, reason=reason, text=text, now=at)
    except NoSecretKey:
        if not kept.revocation:
            raise KeyRefused(
                f"the primary secret key of {key.fingerprint} is not here, and no revocation was kept: revoke it"
                " where the secret is, and import it again"
            ) from None
        return key.edited(apply_revocation(key.certificate, kept.revocation.encode("ascii")))
