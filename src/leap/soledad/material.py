"""What a device keeps of its account, inside its encrypted store: never the root seed, never a passphrase.

The bytes of `encode_material` may only be written inside the SQLCipher file.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from leap.soledad.envelope import Epoch
from leap.soledad.errors import WrongKey
from leap.soledad.inbox_seal import InboxPrivateKey
from leap.soledad.keyset import Keyset, open_keyset
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

    def with_keyset(self, keyset: bytes) -> AccountMaterial:
        """The same with a newer keyset, which the caller has checked."""
        return msgspec.structs.replace(self, keyset=keyset)


def encode_material(material: AccountMaterial) -> bytes:
    """MessagePack of everything, secrets included."""
    return msgspec.msgpack.encode(material)


def decode_material(data: bytes) -> AccountMaterial:
    """What `encode_material` wrote; raises WrongKey for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=AccountMaterial)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise WrongKey("the account's keys in this store cannot be read") from None
