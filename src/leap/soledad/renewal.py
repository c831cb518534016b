"""What of an account's secrets is made anew: passphrase, recovery code, epoch, inbox key; and who is let in or out.

Pure: out of the opened secrets and the keyset comes one `KeysetPut`, which takes place as a whole or not at all.

Invariants:
* A new epoch is sealed to every device that is not revoked, and to the recovery code in force after it; with it
  comes a new inbox key, and the ones before are retired.
* The wrap under the passphrase is made anew each time and holds all epochs. The one under the recovery code stays
  unless the code is new: what it lacks is sealed to the code in the keyset (`complete_by_recovery`).
* Epochs and inbox keys are never dropped: what was sealed before stays readable.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from leap.soledad.envelope import Epoch, RandomBytes
from leap.soledad.epoch_seal import EpochPayload, open_missing, seal_to_all
from leap.soledad.inbox_seal import InboxKey, generate_inbox_key, public_of
from leap.soledad.keyset import RECOVERY, Device, EpochEntry, Keyset, sign_keyset
from leap.soledad.secrets import (
    AccountSecrets,
    PassphraseKeys,
    derive_recovery,
    make_recovery_verifier,
    make_verifier,
    new_recovery_code,
    recovery_entropy,
    recovery_sealing_seed,
    wrap,
    wrap_context,
)
from leap.soledad.wire import KdfParams, KeysetPut, Wraps


class Revocation(NamedTuple):
    """A device to let out: its heads count up to `counter`, and `head` (its hash) must still be the log's newest."""

    device_id: str
    counter: int
    head: bytes


class Wanted(NamedTuple):
    """What to make anew.

    `passphrase` are the keys to wrap under from now on; `kdf` is given with those of a new one.
    """

    passphrase: PassphraseKeys
    kdf: KdfParams | None = None
    epoch: bool = False
    recovery: bool = False
    revoke: Revocation | None = None
    add: Device | None = None


class Renewed(NamedTuple):
    """The change to send, and the recovery code if it is a new one: it is to be shown."""

    put: KeysetPut
    secrets: AccountSecrets
    recovery_code: str | None

    def __repr__(self) -> str:
        return "Renewed()"


def renew(
    secrets: AccountSecrets,
    keyset: Keyset,
    wraps: Wraps,
    wanted: Wanted,
    now: float,
    random_bytes: RandomBytes = os.urandom,
) -> Renewed:
    """The next keyset and what goes with it. CPU: some ms, and one for each device. `now` is seconds since 1970.

    `secrets` hold all epochs of `keyset` (`check_belongs`), `wraps` are those now at the provider.
    """
    devices = [_revoked(device, wanted.revoke, now) for device in keyset.devices]
    if wanted.add is not None:
        devices.append(wanted.add)
    code, recovery_public = None, keyset.recovery_public
    if wanted.recovery:
        code = new_recovery_code(random_bytes)
        secrets = msgspec.structs.replace(secrets, recovery_entropy=recovery_entropy(code))
        recovery_public = public_of(recovery_sealing_seed(code))
    inside = {device.device_id: device for device in devices if device.revoked_at is None}
    epochs = [_kept_seals(entry, inside.keys(), recovery=code is None) for entry in keyset.epochs]
    inbox_keys = keyset.inbox_keys
    if wanted.epoch:
        payload = EpochPayload(
            Epoch(keyset.epochs[-1].number + 1, random_bytes(32)),
            generate_inbox_key(now, random_bytes),
        )
        recipients = {name: device.sealing_public for name, device in inside.items()}
        epochs.append(
            EpochEntry(
                payload.epoch.number,
                int(now),
                seal_to_all(payload, {**recipients, RECOVERY: recovery_public}, secrets.account_id),
                since_version=keyset.version + 1,
            )
        )
        assert payload.inbox_key is not None
        inbox_keys = [*(retired(key, now) for key in inbox_keys), payload.inbox_key.public]
        secrets = with_epochs(secrets, [payload])
    after = keyset.successor(
        devices=devices, epochs=epochs, inbox_keys=inbox_keys, recovery_public=recovery_public
    )
    put = KeysetPut(
        expected_version=keyset.version,
        keyset=sign_keyset(after, secrets.root_key),
        wraps=_wraps(secrets, wraps, wanted.passphrase, code, random_bytes),
        passphrase=(
            None
            if wanted.kdf is None
            else make_verifier(secrets.address, wanted.passphrase, wanted.kdf)
        ),
        recovery=(
            None if code is None else make_recovery_verifier(secrets.address, derive_recovery(code))
        ),
        head=None if wanted.revoke is None else wanted.revoke.head,
    )
    return Renewed(put, secrets, code)


def complete_by_recovery(secrets: AccountSecrets, keyset: Keyset, code: str) -> AccountSecrets:
    """The secrets out of the recovery code's wrap, with the epochs that began after it was made, and the code itself.

    Raises BadKeyset when one of them is not sealed to the code, or does not open.
    """
    brought = open_missing(keyset, secrets.epochs, recovery_sealing_seed(code), RECOVERY)
    return msgspec.structs.replace(
        with_epochs(secrets, brought), recovery_entropy=recovery_entropy(code)
    )


def with_epochs(secrets: AccountSecrets, brought: list[EpochPayload]) -> AccountSecrets:
    """The secrets with these epochs and their inbox keys."""
    return msgspec.structs.replace(
        secrets,
        epochs=[*secrets.epochs, *(payload.epoch for payload in brought)],
        inbox_keys=[
            *secrets.inbox_keys,
            *(payload.inbox_key for payload in brought if payload.inbox_key is not None),
        ],
    )


def _wraps(
    secrets: AccountSecrets,
    before: Wraps,
    passphrase: PassphraseKeys,
    code: str | None,
    random_bytes: RandomBytes,
) -> Wraps:
    address = secrets.address
    recovery = before.recovery
    if code is not None:
        bare = msgspec.structs.replace(secrets, recovery_entropy=b"")
        key, context = derive_recovery(code).wrap_key, wrap_context(address, with_recovery=True)
        recovery = wrap(bare, key, context, random_bytes)
    return Wraps(
        passphrase=wrap(secrets, passphrase.wrap_key, wrap_context(address), random_bytes),
        recovery=recovery,
    )


def _revoked(device: Device, revocation: Revocation | None, now: float) -> Device:
    if revocation is None or device.device_id != revocation.device_id:
        return device
    return msgspec.structs.replace(device, revoked_at=int(now), revoked_counter=revocation.counter)


def _kept_seals(entry: EpochEntry, inside: Collection[str], *, recovery: bool) -> EpochEntry:
    """Without what is sealed to a device that is out, or to a recovery code that ends: nobody opens it any more."""
    kept = {
        name: sealed
        for name, sealed in entry.sealed.items()
        if name in inside or (recovery and name == RECOVERY)
    }
    return msgspec.structs.replace(entry, sealed=kept)


def retired(key: InboxKey, now: float) -> InboxKey:
    """The key, which nobody seals to any more from `now` (seconds since 1970)."""
    return key if key.retired is not None else msgspec.structs.replace(key, retired=int(now))
