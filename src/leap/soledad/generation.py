"""A new generation of an account's log, signed by its root key: the first step of founding the log anew.

The root key lies only in the wraps at the provider, so this needs the passphrase. The keyset that is put has the
next generation; with it come this device's secrets, in case the provider lost some (a backup is older than its keyset
and wraps).

Invariants:
* The wraps have to hold the root key that this device has pinned; nothing the provider shows is taken for it.
* The new keyset lists every device, epoch and inbox key that this device or the provider knows: what either of them
  revoked stays revoked.
* Under a passphrase from before an epoch, that epoch is not wrapped: whoever knew that passphrase would have it.
* It may be repeated at any point: each time makes one more generation.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

import msgspec

from leap.soledad.envelope import RandomBytes
from leap.soledad.errors import (
    BadKeyset,
    ForgedEnvelope,
    KeysetMoved,
    MissingSecrets,
    SoledadError,
    Unreachable,
)
from leap.soledad.inbox_seal import InboxPrivateKey
from leap.soledad.keyset import Device, Keyset, open_keyset, sign_keyset
from leap.soledad.login import identity_of, srp_verifier
from leap.soledad.material import AccountMaterial
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import (
    AccountSecrets,
    derive_passphrase,
    new_kdf_params,
    unwrap,
    wrap,
    wrap_context,
)
from leap.soledad.store import Soledad
from leap.soledad.wire import KdfParams, KeysetPut, Verifier, Wraps

ATTEMPTS = 5  # changes of the keyset by other devices that may come between


class OldPassphrase(SoledadError):
    """The wraps are from before an epoch that is known here: they are not filled up under that passphrase."""


async def begin_generation(
    store: Soledad,
    client: ProviderClient,
    passphrase: str,
    new_passphrase: str | None = None,
    *,
    kdf: Callable[[], KdfParams] = new_kdf_params,
    random_bytes: RandomBytes = os.urandom,
) -> int:
    """Puts a keyset of the next generation, keeps it here, and answers the generation.

    `passphrase` is the one which the provider knows now; `new_passphrase` takes its place in the same step. Raises
    AuthFailed (after a restore from a backup, the passphrase of that time is the right one), OldPassphrase,
    MissingSecrets, ForgedEnvelope or BadKeyset when what the provider gives cannot be true, Unreachable.
    """
    material = store.material
    assert material is not None, "a store that syncs has material"
    device, address = material.device, material.address
    derive = partial(derive_passphrase, passphrase)
    keys = await client.log_in_with(address, derive, device.device_id, device.name)
    token = client.token
    await store.update_material(lambda now: now.with_token(token))
    chosen, verifier = keys, None
    if new_passphrase is not None:
        params = kdf()
        chosen = await asyncio.to_thread(derive_passphrase, new_passphrase, params)
        salt, srp = await asyncio.to_thread(srp_verifier, identity_of(address), chosen.auth_key)
        verifier = Verifier(kdf=params, srp_salt=salt, srp_verifier=srp)
    error: Exception | None = None
    for _ in range(ATTEMPTS):
        reply = await client.secrets()
        if not reply.wraps.passphrase or not reply.keyset:
            raise MissingSecrets("the provider has no secrets of this account any more")
        material = store.material
        assert material is not None
        secrets = await asyncio.to_thread(
            unwrap, reply.wraps.passphrase, keys.wrap_key, wrap_context(address)
        )
        if secrets.root_public != material.root_public or secrets.address != address:
            raise ForgedEnvelope("the provider gave the secrets of another account")
        shown = open_keyset(reply.keyset, root_public=material.root_public)
        if shown.version != reply.keyset_version:
            raise BadKeyset("the provider counts another version than the keyset itself")
        signed = sign_keyset(merged(material.open_keyset(), shown), secrets.root_key)
        whole = with_what_is_here(secrets, material)
        if verifier is None and len(whole.epochs) > len(secrets.epochs):
            raise OldPassphrase(
                "the provider was set back to before your passphrase was changed; give the passphrase of that time,"
                " and the one from now on"
            )
        wrapped = wrap(whole, chosen.wrap_key, wrap_context(address), random_bytes)
        put = KeysetPut(
            expected_version=shown.version,
            keyset=signed,
            wraps=Wraps(passphrase=wrapped, recovery=reply.wraps.recovery),
            passphrase=verifier,
        )
        try:
            await client.put_keyset(put)
        except KeysetMoved as moved:
            error = moved
            continue
        except Unreachable as unreachable:  # it may have been put all the same
            if (await client.secrets()).keyset != signed:
                error = unreachable
                continue
        kept = await store.update_material(lambda now, signed=signed: now.with_keyset(signed))  # type: ignore[misc]
        return kept.open_keyset().generation
    assert error is not None
    raise error


def merged(here: Keyset, shown: Keyset) -> Keyset:
    """The keyset of the next generation: what this device knows, and what only the provider knows."""
    newer, older = (here, shown) if here.version >= shown.version else (shown, here)
    devices = {device.device_id: device for device in newer.devices}
    for device in older.devices:
        known = devices.get(device.device_id)
        devices[device.device_id] = device if known is None else _more_revoked(known, device)
    epochs = {epoch.number: epoch for epoch in (*older.epochs, *newer.epochs)}
    inbox_keys = {key.key_id: key for key in (*older.inbox_keys, *newer.inbox_keys)}
    return newer.successor(
        devices=list(devices.values()),
        epochs=[epochs[number] for number in sorted(epochs)],
        inbox_keys=list(inbox_keys.values()),
        generation=max(here.generation, shown.generation) + 1,
    )


def _more_revoked(one: Device, other: Device) -> Device:
    return other if one.revoked_at is None and other.revoked_at is not None else one


def with_what_is_here(secrets: AccountSecrets, material: AccountMaterial) -> AccountSecrets:
    """The account's secrets with the epochs and inbox keys that only this device has left."""
    epochs = {epoch.number: epoch for epoch in (*secrets.epochs, *material.epochs)}
    inbox_keys: dict[str, InboxPrivateKey] = {
        key.key_id: key for key in (*secrets.inbox_keys, *material.inbox_keys)
    }
    return msgspec.structs.replace(
        secrets,
        epochs=[epochs[number] for number in sorted(epochs)],
        inbox_keys=list(inbox_keys.values()),
    )
