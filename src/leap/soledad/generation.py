"""A new generation of an account's log, signed by its root key: the first step of founding the log anew.

The root key lies only in the wraps at the provider, so this needs the passphrase. The keyset that is put has the
next generation; with it come this device's secrets, in case the provider lost some (a backup is older than its keyset
and wraps).

Invariants:
* The wraps have to hold the root key that this device has pinned; nothing the provider shows is taken for it.
* The new keyset lists every device, epoch and inbox key that this device or the provider knows: what either of them
  revoked stays revoked.
* Under a passphrase from before an epoch, that epoch is not wrapped: whoever knew that passphrase would have it.
* This device goes over to it with every epoch it lists: the log is founded under the newest one.
* Where two lines of keysets went on from one backup, each with epochs of its own under the same numbers, a newer epoch
  is made, which all devices of both are given; the log is founded under it.
* It may be repeated at any point: each time makes one more generation.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from leap.soledad.enrol import Clock
from leap.soledad.envelope import Epoch, RandomBytes
from leap.soledad.epoch_seal import EpochPayload, open_missing, seal_to_all
from leap.soledad.errors import (
    BadKeyset,
    DeviceRevoked,
    ForgedEnvelope,
    KeysetMoved,
    MissingSecrets,
    SoledadError,
    Unreachable,
)
from leap.soledad.inbox_seal import InboxPrivateKey, generate_inbox_key, public_of
from leap.soledad.keyset import (
    RECOVERY,
    Device,
    EpochEntry,
    Keyset,
    open_keyset,
    sign_keyset,
)
from leap.soledad.login import identity_of, srp_verifier
from leap.soledad.material import AccountMaterial
from leap.soledad.remote.client import ProviderClient
from leap.soledad.renewal import retired, with_epochs
from leap.soledad.secrets import (
    AccountSecrets,
    derive_passphrase,
    new_kdf_params,
    recovery_sealing_seed,
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
    now: Clock = time.time,
    random_bytes: RandomBytes = os.urandom,
) -> int:
    """Puts a keyset of the next generation, keeps it here, and answers the generation.

    `passphrase` is the one which the provider knows now; `new_passphrase` takes its place in the same step. Raises
    AuthFailed (after a restore from a backup, the passphrase of that time is the right one), OldPassphrase,
    DeviceRevoked, MissingSecrets, ForgedEnvelope or BadKeyset when what the provider gives cannot be true, Unreachable.
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
        joined = await asyncio.to_thread(_join, material, shown, secrets, now(), random_bytes)
        signed, whole = sign_keyset(joined.keyset, secrets.root_key), joined.secrets
        if verifier is None and any(epoch not in secrets.epochs for epoch in joined.former_epochs):
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
            now_there = await client.secrets()
            if (now_there.keyset, now_there.wraps.passphrase) != (signed, wrapped):
                error = unreachable
                continue
        brought = _payloads(whole)
        kept = await store.update_material(
            lambda at, signed=signed, brought=brought: at.with_keyset(signed, brought)  # type: ignore[misc]
        )
        return kept.open_keyset().generation
    assert error is not None
    raise error


class _Joined(NamedTuple):
    keyset: Keyset
    secrets: AccountSecrets
    former_epochs: list[Epoch]  # without one that was made just now

    def __repr__(self) -> str:
        return "_Joined()"


def _join(
    material: AccountMaterial,
    shown: Keyset,
    secrets: AccountSecrets,
    now: float,
    random_bytes: RandomBytes,
) -> _Joined:
    """The next keyset, and the secrets that go with it. CPU: some ms, and one for each device.

    Raises DeviceRevoked, and BadKeyset when an epoch of the keyset is neither wrapped nor sealed to this device.
    """
    keyset = merged(material.open_keyset(), shown)
    device = material.device
    own = keyset.device(device.device_id)
    if own is None or own.revoked_at is not None:
        raise DeviceRevoked(
            "this device was removed from the account; found the log anew from another one"
        )
    whole = with_what_is_here(secrets, material)
    whole = with_epochs(
        whole, open_missing(keyset, whole.epochs, device.sealing_seed, device.device_id)
    )
    former = whole.epochs
    if _went_apart(secrets, material):
        keyset, whole = _with_new_epoch(keyset, whole, now, random_bytes)
    code = whole.recovery_code
    if code is not None and public_of(recovery_sealing_seed(code)) != keyset.recovery_public:
        # The code was replaced after the backup: what the wraps hold is not to be shown to a person any more.
        whole = msgspec.structs.replace(whole, recovery_entropy=b"")
    return _Joined(keyset, whole, former)


def _went_apart(secrets: AccountSecrets, material: AccountMaterial) -> bool:
    """Whether there are two epochs of one number."""
    here = material.epochs_by_number
    return any(here.get(epoch.number, epoch) != epoch for epoch in secrets.epochs)


def _with_new_epoch(
    keyset: Keyset, secrets: AccountSecrets, now: float, random_bytes: RandomBytes
) -> tuple[Keyset, AccountSecrets]:
    """With an epoch that both lines of devices are given: what each of them knows by an older number differs."""
    payload = EpochPayload(
        Epoch(keyset.epochs[-1].number + 1, random_bytes(32)), generate_inbox_key(now, random_bytes)
    )
    assert payload.inbox_key is not None
    recipients = {
        one.device_id: one.sealing_public for one in keyset.devices if one.revoked_at is None
    }
    sealed = seal_to_all(
        payload, {**recipients, RECOVERY: keyset.recovery_public}, secrets.account_id
    )
    # One version more: the epochs began one after the other, each in a version of its own.
    entry = EpochEntry(payload.epoch.number, int(now), sealed, since_version=keyset.version + 1)
    inbox_keys = [*(retired(key, now) for key in keyset.inbox_keys), payload.inbox_key.public]
    changed = msgspec.structs.replace(
        keyset,
        version=keyset.version + 1,
        epochs=[*keyset.epochs, entry],
        inbox_keys=inbox_keys,
    )
    return changed, with_epochs(secrets, [payload])


def _payloads(secrets: AccountSecrets) -> list[EpochPayload]:
    """All epochs and inbox keys, as a keyset brings them."""
    newest = secrets.epochs[-1]
    return [
        *(EpochPayload(epoch) for epoch in secrets.epochs),
        *(EpochPayload(newest, key) for key in secrets.inbox_keys),
    ]


def merged(here: Keyset, shown: Keyset) -> Keyset:
    """The keyset of the next generation: what this device knows, and what only the provider knows."""
    newer, older = (here, shown) if here.version >= shown.version else (shown, here)
    devices = {device.device_id: device for device in newer.devices}
    for device in older.devices:
        known = devices.get(device.device_id)
        devices[device.device_id] = device if known is None else _more_revoked(known, device)
    by_number = {epoch.number: epoch for epoch in (*older.epochs, *newer.epochs)}
    epochs: list[EpochEntry] = []
    for number in sorted(by_number):
        epoch = by_number[number]
        if (
            epochs and epoch.since_version <= epochs[-1].since_version
        ):  # of the other line of keysets
            epoch = msgspec.structs.replace(epoch, since_version=epochs[-1].since_version + 1)
        epochs.append(epoch)
    inbox_keys = {key.key_id: key for key in (*older.inbox_keys, *newer.inbox_keys)}
    after = newer.successor(
        devices=list(devices.values()),
        epochs=epochs,
        inbox_keys=list(inbox_keys.values()),
        generation=max(here.generation, shown.generation) + 1,
    )
    return msgspec.structs.replace(after, version=max(after.version, epochs[-1].since_version))


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
