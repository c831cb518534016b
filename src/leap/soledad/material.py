"""What a device keeps of its account, inside its encrypted store: never the root seed, never a passphrase.

The bytes of `encode_material` may only be written inside the SQLCipher file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from leap.soledad.envelope import Epoch
from leap.soledad.epoch_seal import EpochPayload, open_missing
from leap.soledad.errors import BadKeyset, DeviceRevoked, WrongKey
from leap.soledad.inbox_seal import InboxPrivateKey
from leap.soledad.keyset import Keyset, check_successor, open_keyset
from leap.soledad.secrets import DeviceKeys


class AccountMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """One account on one device.

    `keyset` is the signed keyset last accepted, `ca_pem` the provider's own authority if it has one.
    """

    account_id: str
    address: str
    root_public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    id_key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    epochs: list[Epoch]
    inbox_keys: list[InboxPrivateKey]
    device: DeviceKeys
    keyset: bytes
    api_url: str
    ca_pem: bytes | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"AccountMaterial(address={self.address!r}, device={self.device!r})"

    @property
    def epoch(self) -> Epoch:
        """The newest epoch: what is sealed now is sealed under it."""
        return max(self.epochs, key=lambda epoch: epoch.number)

    @property
    def epochs_by_number(self) -> dict[int, Epoch]:
        """All epochs, to open what was sealed before."""
        return {epoch.number: epoch for epoch in self.epochs}

    def open_keyset(self) -> Keyset:
        """The keyset, checked against the pinned root key; raises BadKeyset."""
        return open_keyset(self.keyset, root_public=self.root_public)

    def with_token(self, token: str | None) -> AccountMaterial:
        """The same with another token; None after logging out."""
        return msgspec.structs.replace(self, token=token)

    def with_keyset(self, keyset: bytes, brought: Sequence[EpochPayload] = ()) -> AccountMaterial:
        """The same with a newer keyset, which the caller has checked, and the epochs and inbox keys it brought.

        What is known stays: old epochs open what was sealed before, old inbox keys what is still queued.
        """
        known, held = self.epochs_by_number, {key.key_id for key in self.inbox_keys}
        keys = [payload.inbox_key for payload in brought if payload.inbox_key is not None]
        return msgspec.structs.replace(
            self,
            keyset=keyset,
            epochs=[*self.epochs, *(p.epoch for p in brought if p.epoch.number not in known)],
            inbox_keys=[*self.inbox_keys, *(key for key in keys if key.key_id not in held)],
        )


def follow_keyset(material: AccountMaterial, signed: bytes) -> tuple[Keyset, list[EpochPayload]]:
    """A keyset which may follow the one known, and what it brings this device. CPU: 1 ms for each new epoch.

    Raises BadKeyset, and DeviceRevoked when it says that this device was removed.
    """
    keyset = open_keyset(signed, root_public=material.root_public)
    check_successor(material.open_keyset(), keyset)
    own = keyset.device(material.device.device_id)
    if own is None:
        raise BadKeyset("the keyset does not list this device")
    if own.revoked_at is not None:
        raise DeviceRevoked(
            "this device was removed from the account; what is on it can still be read here, but nothing new comes"
        )
    device = material.device
    return keyset, open_missing(keyset, material.epochs, device.sealing_seed, device.device_id)


def encode_material(material: AccountMaterial) -> bytes:
    """MessagePack of everything, secrets included."""
    return msgspec.msgpack.encode(material)


class _Address(msgspec.Struct):
    address: str


def address_in(data: bytes) -> str:
    """The account's address in what `encode_material` wrote; no secret is decoded. Raises WrongKey."""
    try:
        return msgspec.msgpack.decode(data, type=_Address).address
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise WrongKey("the account's keys in this store cannot be read") from None


def decode_material(data: bytes) -> AccountMaterial:
    """What `encode_material` wrote; raises WrongKey for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=AccountMaterial)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise WrongKey("the account's keys in this store cannot be read") from None
