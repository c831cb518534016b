"""Accounts and devices for tests of the formats: alice, her second device, bob."""

import hashlib

from leap.soledad.inbox_seal import public_of
from leap.soledad.keyset import EpochEntry, Keyset
from leap.soledad.secrets import (
    AccountSecrets,
    DeviceKeys,
    create_account_secrets,
    new_device_keys,
)

NOW = 1_790_000_000.0


def seeded(seed: str):
    """Reproducible octets in the place of os.urandom."""
    counter = 0

    def random_bytes(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed} {counter}".encode()).digest(size)

    return random_bytes


def secrets_of(name: str) -> AccountSecrets:
    return create_account_secrets(f"{name}@example.test", NOW, seeded(name))


def device_of(name: str) -> DeviceKeys:
    return new_device_keys(name, seeded(f"device {name}"))


def keyset_of(secrets: AccountSecrets, *devices: DeviceKeys) -> Keyset:
    return Keyset(
        account_id=secrets.account_id,
        address=secrets.address,
        version=1,
        root_public=secrets.root_public,
        devices=[device.public(NOW) for device in devices],
        epochs=[EpochEntry(epoch.number, int(NOW)) for epoch in secrets.epochs],
        inbox_keys=[key.public for key in secrets.inbox_keys],
        recovery_public=public_of(b"r" * 96),
        previous=b"",
    )
