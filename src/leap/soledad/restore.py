"""A new device for whoever has lost the passphrase: the 24 words of the recovery code let it in and set a new one.

Invariants:
* Device, passphrase and a new epoch come in one step, signed by the root key: there is no moment in which the device is
  listed but no passphrase is known.
* A new epoch and inbox key are always made: a passphrase that is lost may have been found by somebody.
* The recovery code stays the same, so that the paper stays true. The devices before stay too, until they are revoked.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial

from leap.soledad.enrol import (
    ATTEMPTS,
    Clock,
    Enrolled,
    fetch_secrets,
    material_of,
    open_secrets,
    withdraw,
)
from leap.soledad.envelope import RandomBytes
from leap.soledad.errors import KeysetMoved, SoledadError, Unreachable
from leap.soledad.remote.client import ProviderClient
from leap.soledad.renewal import Wanted, renew
from leap.soledad.secrets import derive_passphrase, derive_recovery, new_device_keys, new_kdf_params
from leap.soledad.wire import KdfParams


async def restore_account(
    client: ProviderClient,
    address: str,
    recovery_code: str,
    new_passphrase: str,
    device_name: str,
    *,
    kdf: Callable[[], KdfParams] = new_kdf_params,
    now: Clock = time.time,
    random_bytes: RandomBytes = os.urandom,
) -> Enrolled:
    """Adds this device to an account and sets its passphrase, by the recovery code.

    Raises WrongKey for mistyped words or an empty passphrase, AuthFailed for words of another account, Unreachable, and
    what `enrol_device` raises of a provider that lies. After Unreachable the new passphrase may hold or not; doing it
    again with the same words is right in both cases.
    """
    recovery = await asyncio.to_thread(derive_recovery, recovery_code)
    params = kdf()
    keys = await asyncio.to_thread(derive_passphrase, new_passphrase, params)
    device = await asyncio.to_thread(new_device_keys, device_name, random_bytes)
    await client.log_in(
        address, recovery.auth_key, device.device_id, device_name, with_recovery=True
    )
    wanted = Wanted(keys, params, epoch=True, add=device.public(now()))
    try:
        for _ in range(ATTEMPTS):
            reply = await fetch_secrets(client)
            opening = partial(open_secrets, reply, recovery, address, recovery_code)
            secrets, keyset = await asyncio.to_thread(opening)
            if keyset.device(device.device_id) is not None:  # the reply before was lost
                return Enrolled(material_of(client, secrets, device, reply.keyset))
            renewed = await asyncio.to_thread(
                renew, secrets, keyset, reply.wraps, wanted, now(), random_bytes
            )
            try:
                await client.put_keyset(renewed.put)
            except (KeysetMoved, Unreachable) as error:
                last = error
                continue
            return Enrolled(material_of(client, renewed.secrets, device, renewed.put.keyset))
        raise last
    except SoledadError:
        await withdraw(client)
        raise
