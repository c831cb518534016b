"""Opening an account's secrets by the passphrase, and changing them so that neither a crash nor a lost reply harms.

    1  vault.json.next   the store's key under the new passphrase, beside the vault under the old one
    2  a note            in the encrypted store, durably: the change as it will be sent
    3  the provider      one compare and swap of keyset, wraps and verifiers
    4  vault.json        the new vault takes the place of the old one
    5  the store         goes over to the new keyset, its epoch and inbox key
    6  the note          is removed

Invariants:
* Until step 4 both passphrases open this device (`open_either_vault`), from then on the new one only.
* While there is a note, the outcome is found out by sending the same change again: it takes place at most once, as the
  version it replaces is named in it. So a change that was begun is finished, or has become impossible and is undone.
* A vault beside the vault without a note was never told to the provider, and is removed.
* The root seed and the passphrases live in memory during these calls only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import msgspec

from leap.soledad.enrol import Clock, fetch_secrets, log_in_again, open_secrets
from leap.soledad.envelope import RandomBytes
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    ChangeUnderWay,
    ForgedEnvelope,
    HeadMoved,
    KeysetMoved,
    PassphraseChanged,
    Refused,
    SoledadError,
    Unreachable,
    WrongKey,
)
from leap.soledad.keyset import Keyset, open_keyset
from leap.soledad.material import AccountMaterial, follow_keyset
from leap.soledad.remote.client import ProviderClient
from leap.soledad.renewal import Renewed, Wanted, renew
from leap.soledad.secrets import (
    AccountSecrets,
    PassphraseKeys,
    derive_passphrase,
    new_kdf_params,
)
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import save_setting
from leap.soledad.vault import (
    drop_next_vault,
    keep_next_vault,
    next_vault,
    open_vault,
    write_next_vault,
    write_vault,
)
from leap.soledad.wire import KdfParams, KeysetPut, SecretsReply, decode, encode

NOTE = "soledad.secrets_change"

Outcome = Literal["done", "undone", "open"]


class Adopter(Protocol):
    """Who goes over to a new keyset between two syncs: the sync engine."""

    async def adopt_keyset(self, signed: bytes) -> None: ...


class Opened(NamedTuple):
    """The account's secrets for the length of one command."""

    secrets: AccountSecrets
    keyset: Keyset
    reply: SecretsReply
    keys: PassphraseKeys
    store_key: bytes | None

    def __repr__(self) -> str:
        return "Opened()"


class _Note(msgspec.Struct, frozen=True):
    put: bytes
    before: bytes  # SHA-256 of the passphrase's wrap which the change replaces
    passphrase: bool  # whether it brings a new passphrase

    def __repr__(self) -> str:
        return f"_Note(passphrase={self.passphrase})"


class AccountKeys:
    """What needs the passphrase, for one account on one device.

    `vault` is the vault file, or None where the caller keeps the store's key itself.
    """

    def __init__(
        self,
        store: Soledad,
        client: ProviderClient,
        engine: Adopter,
        vault: Path | None = None,
        *,
        kdf: Callable[[], KdfParams] = new_kdf_params,
        now: Clock = time.time,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self.store = store
        self._client = client
        self._engine = engine
        self._vault = vault
        self._kdf = kdf
        self._now = now
        self._random = random_bytes
        self._lock = asyncio.Lock()  # one change at a time, as there is one note

    @property
    def material(self) -> AccountMaterial:
        material = self.store.material
        if material is None:
            raise SoledadError("this store belongs to no account yet")
        return material

    async def open(self, passphrase: str) -> Opened:
        """The account's secrets. Settles first what a change before has left open.

        Raises WrongKey, PassphraseChanged when another device has changed it, Unreachable, AuthFailed, and ProviderLies
        when what the provider gives cannot be true.
        """
        store_key = None if self._vault is None else await open_vault(self._vault, passphrase)
        if await self.settle(passphrase) == "open":
            raise ChangeUnderWay(
                "whether the change before took place is not known yet; try again later"
            )
        address = self.material.address
        params = await self._client.kdf_of(address)
        keys = await asyncio.to_thread(derive_passphrase, passphrase, params)
        reply = await self._fetch(passphrase)
        try:
            secrets, keyset = await asyncio.to_thread(open_secrets, reply, keys, address)
        except ForgedEnvelope:
            if not await self.is_passphrase(passphrase):
                raise self._wrong() from None
            raise
        await asyncio.to_thread(follow_keyset, self.material, reply.keyset)
        return Opened(secrets, keyset, reply, keys, store_key)

    async def _fetch(self, passphrase: str) -> SecretsReply:
        try:
            return await fetch_secrets(self._client)
        except AuthFailed:  # this device's log-in has ended
            try:
                token = await log_in_again(self._client, self.material, passphrase)
            except AuthFailed:
                raise self._wrong() from None
            await self.store.update_material(lambda now: now.with_token(token))
            return await fetch_secrets(self._client)

    def _wrong(self) -> WrongKey:
        if self._vault is None:
            return WrongKey("the passphrase is wrong")
        return PassphraseChanged("the passphrase of this account was changed on another device")

    async def change(
        self, opened: Opened, wanted: Wanted, new_passphrase: str | None = None
    ) -> Renewed:
        """Makes anew what is wanted, at the provider and here. With `new_passphrase`, that is the one from now on.

        Raises KeysetMoved and HeadMoved when another device was first (nothing was changed: open and try again),
        Refused, and ChangeUnderWay when no answer came: then it is settled later.
        """
        if new_passphrase is not None:
            params = self._kdf()
            keys = await asyncio.to_thread(derive_passphrase, new_passphrase, params)
            wanted = wanted._replace(passphrase=keys, kdf=params)
        renewed = await asyncio.to_thread(
            renew,
            opened.secrets,
            opened.keyset,
            opened.reply.wraps,
            wanted,
            self._now(),
            self._random,
        )
        async with self._lock:
            return await self._carry_out(opened, renewed, new_passphrase)

    async def _carry_out(
        self, opened: Opened, renewed: Renewed, new_passphrase: str | None
    ) -> Renewed:
        if await self._load() is not None:
            raise ChangeUnderWay("another change of this account is under way; try again later")
        if self._vault is not None and new_passphrase is not None:
            assert opened.store_key is not None
            await write_next_vault(self._vault, opened.store_key, new_passphrase)
        before = hashlib.sha256(opened.reply.wraps.passphrase).digest()
        note = _Note(encode(renewed.put), before, new_passphrase is not None)
        await self._save(note)
        try:
            await self._client.put_keyset(renewed.put)
        except (Unreachable, KeysetMoved):
            # Moved, perhaps by this very change: a request is sent twice when its connection breaks.
            return await self._look_up(note, renewed)
        except Refused as error:
            if _proves_nothing(error):
                return await self._look_up(note, renewed)
            await self._undo()
            raise
        await self._finish(note)
        return renewed

    async def _look_up(self, note: _Note, renewed: Renewed) -> Renewed:
        outcome = await self._settle(note, None)
        if outcome == "done":
            return renewed
        if outcome == "undone":
            raise KeysetMoved("keyset-moved", "another device changed the account meanwhile", 409)
        raise ChangeUnderWay(
            "the provider did not answer whether the change took place; it is settled as soon as it does"
        )

    # -- after a crash or a lost reply ----------------------------------------------------------

    async def pending(self) -> Literal["passphrase", "keys"] | None:
        """Whether the outcome of a change is not known, and whether it is of the passphrase or of other keys only."""
        note = await self._load()
        if note is None:
            return None
        return "passphrase" if note.passphrase else "keys"

    async def settle(self, passphrase: str | None = None) -> Outcome | None:
        """Finds out what became of a change, and finishes or undoes it here; None if there was none.

        `passphrase` helps where another device has changed the account again in between. Raises ProviderLies.
        """
        async with self._lock:
            note = await self._load()
            if note is None:
                if self._vault is not None:
                    await drop_next_vault(self._vault)
                return None
            return await self._settle(note, passphrase)

    async def _settle(self, note: _Note, passphrase: str | None) -> Outcome:
        put = decode(note.put, KeysetPut)
        try:
            await self._client.put_keyset(put)
        except KeysetMoved:
            return await self._compare(note, put, passphrase)
        except Unreachable:
            return "open"
        except HeadMoved:
            await self._undo()
            return "undone"
        except Refused as error:
            if _proves_nothing(error):
                return "open"
            await self._undo()
            return "undone"
        await self._finish(note)
        return "done"

    async def _compare(self, note: _Note, put: KeysetPut, passphrase: str | None) -> Outcome:
        """The version that was to be replaced is gone: by this change and others after it, or by others alone."""
        assert put.wraps is not None
        try:
            reply = await fetch_secrets(self._client)
        except (Unreachable, Refused):
            return "open"
        if reply.wraps.passphrase == put.wraps.passphrase or self._follows(reply, put):
            await self._finish(note)
            return "done"
        theirs = open_keyset(reply.keyset, root_public=self.material.root_public)
        as_before = hashlib.sha256(reply.wraps.passphrase).digest() == note.before
        # What replaced the version which this change was to replace brought the wraps that are there.
        instead = theirs.version == put.expected_version + 1
        if as_before or instead or not note.passphrase:
            await self._undo()
            return "undone"
        return await self._by_passphrase(note, passphrase)

    async def _by_passphrase(self, note: _Note, passphrase: str | None) -> Outcome:
        """Others have wrapped the secrets anew since: whose passphrase holds, only a log-in tells."""
        if passphrase is None or self._vault is None:
            return "open"
        try:
            if not await self.is_passphrase(passphrase):
                return "open"
        except (Unreachable, Refused):
            return "open"
        if await _opens(self._vault, passphrase):
            await self._undo()
            return "undone"
        if not await _opens(next_vault(self._vault), passphrase):
            return "open"  # neither: one from a backup, or which another device has set since
        await self._finish(note)
        return "done"

    def _follows(self, reply: SecretsReply, put: KeysetPut) -> bool:
        """Whether the keyset at the provider comes right after the one of the change, and of no other change.

        A change of nothing but the passphrase leaves no mark in the keyset: that of any other device is the same.
        """
        pinned = self.material.root_public
        ours = open_keyset(put.keyset, root_public=pinned)
        if put.recovery is None and ours.epochs[-1].since_version != ours.version:
            return False
        theirs = open_keyset(reply.keyset, root_public=pinned)
        return theirs.hash == ours.hash or theirs.previous == ours.hash

    async def _finish(self, note: _Note) -> None:
        """The change took place."""
        if note.passphrase and self._vault is not None:
            await keep_next_vault(self._vault)
        put = decode(note.put, KeysetPut)
        if self.material.open_keyset().version <= put.expected_version:
            try:
                await self._engine.adopt_keyset(put.keyset)
            except BadKeyset:
                if self.material.open_keyset().version <= put.expected_version:
                    raise  # else sync has brought a newer one in the meantime
        await self._save(None)

    async def _undo(self) -> None:
        """The change did not take place, and cannot any more."""
        await self._save(None)
        if self._vault is not None:
            await drop_next_vault(self._vault)

    # ------------------------------------------------------------------------------------------

    async def take_passphrase(self, passphrase: str, store_key: bytes) -> None:
        """A passphrase which another device has set: logs in with it, and from now on it opens this device too.

        Raises AuthFailed, Unreachable, and ProviderLies when it does not open this account's own secrets.
        """
        token = await log_in_again(self._client, self.material, passphrase)
        await self.store.update_material(lambda now: now.with_token(token))
        params = await self._client.kdf_of(self.material.address)
        keys = await asyncio.to_thread(derive_passphrase, passphrase, params)
        reply = await fetch_secrets(self._client)
        secrets, _ = await asyncio.to_thread(open_secrets, reply, keys, self.material.address)
        if secrets.root_public != self.material.root_public:
            raise ForgedEnvelope("the provider gave the secrets of another account")
        async with self._lock:
            if self._vault is not None:
                await write_vault(self._vault, store_key, passphrase)

    async def is_passphrase(self, passphrase: str) -> bool:
        """Whether the provider lets this passphrase in. This device's own log-in is not touched."""
        client = ProviderClient(self._client.api_url, ca_pem=self._client.ca_pem)
        try:
            device_id = self._random(16).hex()
            derive = partial(derive_passphrase, passphrase)
            await client.log_in_with(self.material.address, derive, device_id, "a check")
            await client.log_out()
        except AuthFailed:
            return False
        finally:
            await client.close()
        return True

    async def _load(self) -> _Note | None:
        found = await self.store.setting(NOTE)
        return None if found is None else msgspec.msgpack.decode(found, type=_Note)

    async def _save(self, note: _Note | None) -> None:
        value = None if note is None else msgspec.msgpack.encode(note)

        def job(connection: Connection) -> None:
            save_setting(connection, NOTE, value)

        await self.store.write(job, durable=True)


async def _opens(vault: Path, passphrase: str) -> bool:
    try:
        await open_vault(vault, passphrase)
    except WrongKey:
        return False
    return True


def _proves_nothing(error: Refused) -> bool:
    """Whether the provider may have refused for a reason that ends: no log-in, no room, too many requests, a fault."""
    return error.status in (401, 403, 429) or error.status >= 500
