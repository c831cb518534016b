"""How a device comes to an account: signing up, enrolling one more device, logging in again.

    sign_up             makes the account's secrets (the only place that does), the first keyset and the first device
    enrol_device        log in, unwrap, add this device to the keyset (compare and swap, signed by the root key)
    enrol_by_recovery   the same with the 24 words
    log_in_again        a new token for a device that is listed already

`restore` is for whoever has lost the passphrase.

Invariants:
* Nothing the provider says makes secrets: a log-in that finds none raises MissingSecrets.
* The keyset is checked against the root key that came out of the wrapped secrets, not against one the provider names.
* The root seed lives in memory during these calls only; AccountMaterial has no place for it.
* A lost reply is looked up, not guessed at: the step counts as done only if the provider shows exactly what was sent.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from leap.soledad.envelope import RandomBytes
from leap.soledad.errors import (
    AuthFailed,
    BadKeyset,
    KeysetMoved,
    MissingSecrets,
    Refused,
    SoledadError,
    Unreachable,
)
from leap.soledad.inbox_seal import public_of
from leap.soledad.keyset import EpochEntry, Keyset, open_keyset, sign_keyset
from leap.soledad.material import AccountMaterial
from leap.soledad.remote.client import ProviderClient
from leap.soledad.renewal import complete_by_recovery
from leap.soledad.secrets import (
    AccountSecrets,
    DeviceKeys,
    PassphraseKeys,
    check_belongs,
    create_account_secrets,
    derive_passphrase,
    derive_recovery,
    make_recovery_verifier,
    make_verifier,
    new_device_keys,
    new_kdf_params,
    new_recovery_code,
    recovery_entropy,
    recovery_sealing_seed,
    unwrap,
    wrap_both,
    wrap_context,
)
from leap.soledad.wire import KdfParams, KeysetPut, SecretsReply, Signup

ATTEMPTS = 5  # enrolments of other devices that may come between before a person is told

Clock = Callable[[], float]


class Enrolled(NamedTuple):
    """A device that belongs to its account now. `recovery_code` is there after signing up only: show it once."""

    material: AccountMaterial
    recovery_code: str | None = None

    def __repr__(self) -> str:
        return f"Enrolled({self.material!r})"


async def sign_up(
    client: ProviderClient,
    address: str,
    passphrase: str,
    device_name: str,
    *,
    kdf: Callable[[], KdfParams] = new_kdf_params,
    now: Clock = time.time,
    random_bytes: RandomBytes = os.urandom,
) -> Enrolled:
    """Make an account and log this device in.

    Raises Refused (address-taken, signup-closed), Unreachable, WrongKey for an empty passphrase. After Unreachable
    the account may exist without its recovery code being known; `enrol_device` then opens it.
    """
    made = await asyncio.to_thread(
        _prepare, address, passphrase, device_name, kdf(), now(), random_bytes
    )
    try:
        await client.signup(made.signup)
    except Unreachable:
        if not await _arrived(client, made):
            raise
    else:
        await client.log_in(address, made.keys.auth_key, made.device.device_id, device_name)
    return Enrolled(
        material_of(client, made.secrets, made.device, made.signup.keyset), made.recovery_code
    )


async def enrol_device(
    client: ProviderClient,
    address: str,
    passphrase: str,
    device_name: str,
    *,
    now: Clock = time.time,
    random_bytes: RandomBytes = os.urandom,
) -> Enrolled:
    """Add this device to an account by its passphrase.

    Raises AuthFailed, MissingSecrets, ForgedEnvelope or BadKeyset when what the provider gives cannot be true, and
    Unreachable. When it raises, the device's token was withdrawn as far as the provider can be reached.
    """
    device = await asyncio.to_thread(new_device_keys, device_name, random_bytes)
    derive = partial(derive_passphrase, passphrase)
    keys = await client.log_in_with(address, derive, device.device_id, device_name)
    return await _enrol(client, address, keys, device, now)


async def enrol_by_recovery(
    client: ProviderClient,
    address: str,
    recovery_code: str,
    device_name: str,
    *,
    now: Clock = time.time,
    random_bytes: RandomBytes = os.urandom,
) -> Enrolled:
    """As `enrol_device`, by the 24 words of the recovery code; raises WrongKey when they are mistyped."""
    device = await asyncio.to_thread(new_device_keys, device_name, random_bytes)
    keys = await asyncio.to_thread(derive_recovery, recovery_code)
    await client.log_in(address, keys.auth_key, device.device_id, device_name, with_recovery=True)
    return await _enrol(client, address, keys, device, now, code=recovery_code)


async def log_in_again(client: ProviderClient, material: AccountMaterial, passphrase: str) -> str:
    """A new token for a device of the account; the client keeps it. Raises AuthFailed or Unreachable."""
    derive = partial(derive_passphrase, passphrase)
    await client.log_in_with(
        material.address, derive, material.device.device_id, material.device.name
    )
    if client.token is None:
        raise AuthFailed("unauthorized", "the provider gave no token", 401)
    return client.token


class _Prepared(NamedTuple):
    secrets: AccountSecrets
    keys: PassphraseKeys
    device: DeviceKeys
    signup: Signup
    recovery_code: str

    def __repr__(self) -> str:
        return "_Prepared()"


def _prepare(
    address: str,
    passphrase: str,
    device_name: str,
    kdf: KdfParams,
    now: float,
    random_bytes: RandomBytes,
) -> _Prepared:
    address = address.lower()
    secrets = create_account_secrets(address, now, random_bytes)
    device = new_device_keys(device_name, random_bytes)
    keys = derive_passphrase(passphrase, kdf)
    code = new_recovery_code(random_bytes)
    secrets = msgspec.structs.replace(secrets, recovery_entropy=recovery_entropy(code))
    recovery = derive_recovery(code)
    keyset = Keyset(
        account_id=secrets.account_id,
        address=address,
        version=1,
        root_public=secrets.root_public,
        devices=[device.public(now)],
        epochs=[EpochEntry(epoch.number, int(now)) for epoch in secrets.epochs],
        inbox_keys=[key.public for key in secrets.inbox_keys],
        recovery_public=public_of(recovery_sealing_seed(code)),
        previous=b"",
    )
    signup = Signup(
        address=address,
        passphrase=make_verifier(address, keys, kdf),
        recovery=make_recovery_verifier(address, recovery),
        wraps=wrap_both(secrets, keys, recovery, random_bytes),
        keyset=sign_keyset(keyset, secrets.root_key),
    )
    return _Prepared(secrets, keys, device, signup, code)


async def _arrived(client: ProviderClient, made: _Prepared) -> bool:
    """Whether a sign-up whose reply was lost was done: only if its keys log in and its keyset is there."""
    try:
        await client.log_in(
            made.signup.address, made.keys.auth_key, made.device.device_id, made.device.name
        )
        return (await client.secrets()).keyset == made.signup.keyset
    except (Unreachable, Refused):
        return False


async def _enrol(
    client: ProviderClient,
    address: str,
    keys: PassphraseKeys,
    device: DeviceKeys,
    now: Clock,
    *,
    code: str | None = None,
) -> Enrolled:
    try:
        for _ in range(ATTEMPTS):
            reply = await fetch_secrets(client)
            secrets, keyset = await asyncio.to_thread(open_secrets, reply, keys, address, code)
            if (
                keyset.device(device.device_id) is not None
            ):  # an attempt before, whose reply was lost
                return Enrolled(material_of(client, secrets, device, reply.keyset))
            signed = sign_keyset(keyset.with_device(device.public(now())), secrets.root_key)
            try:
                await client.put_keyset(KeysetPut(expected_version=keyset.version, keyset=signed))
            except (KeysetMoved, Unreachable) as error:
                last = error
                continue
            return Enrolled(material_of(client, secrets, device, signed))
        raise last
    except SoledadError:
        await withdraw(client)
        raise


async def fetch_secrets(client: ProviderClient) -> SecretsReply:
    """What the provider has of the account's secrets; raises MissingSecrets when it says there are none."""
    try:
        reply = await client.secrets()
    except Refused as error:
        if error.status == 404:
            raise MissingSecrets("the provider has no secrets of this account any more") from error
        raise
    if not reply.wraps.passphrase or not reply.wraps.recovery or not reply.keyset:
        raise MissingSecrets("the provider has no secrets of this account any more")
    return reply


def open_secrets(
    reply: SecretsReply, keys: PassphraseKeys, address: str, code: str | None = None
) -> tuple[AccountSecrets, Keyset]:
    """The secrets, opened by the keys of the passphrase or of the recovery `code`, and the keyset that goes with them.

    Raises ForgedEnvelope and BadKeyset when what the provider gave cannot be true.
    """
    with_recovery = code is not None
    wrapped = reply.wraps.recovery if with_recovery else reply.wraps.passphrase
    context = wrap_context(address, with_recovery=with_recovery)
    secrets = unwrap(wrapped, keys.wrap_key, context)
    keyset = open_keyset(reply.keyset, root_public=secrets.root_public)
    if code is not None:
        secrets = complete_by_recovery(secrets, keyset, code)
    check_belongs(secrets, keyset, address)
    if keyset.version != reply.keyset_version:
        raise BadKeyset("the provider counts another version than the keyset itself")
    return secrets, keyset


async def withdraw(client: ProviderClient) -> None:
    """Gives a token back that led to nothing."""
    try:
        await client.log_out()
    except (Unreachable, Refused):
        pass  # the token expires unused; what went wrong before is what a person needs to know


def material_of(
    client: ProviderClient, secrets: AccountSecrets, device: DeviceKeys, keyset: bytes
) -> AccountMaterial:
    """What the device keeps."""
    return AccountMaterial(
        account_id=secrets.account_id,
        address=secrets.address,
        root_public=secrets.root_public,
        id_key=secrets.id_key,
        epochs=secrets.epochs,
        inbox_keys=secrets.inbox_keys,
        device=device,
        keyset=keyset,
        api_url=client.api_url,
        ca_pem=client.ca_pem,
        token=client.token,
    )
