"""Sealing what a new epoch brings to each device and to the recovery code; it travels inside the keyset.

    0     suite   0x01: HPKE base mode as for the inbox (see `inbox_seal`)
    1..   the encapsulated key and the ciphertext, as HPKE's single-shot seal gives them; in it MessagePack of
          `EpochPayload`

Invariants:
* `info` binds label, suite, account, number of the epoch and recipient: what is sealed to one of them opens for no
  other, in no other epoch.
* Anybody can seal. A seal counts because the root key signed the keyset it stands in; nothing here checks that.
* The payload names its epoch itself, and an inbox key that it brings is one the keyset lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag

from leap.soledad.envelope import Epoch, with_lengths
from leap.soledad.errors import BadKeyset, UnknownSuite
from leap.soledad.inbox_seal import (
    HPKE,
    SUITE_MLKEM768_X25519,
    InboxPrivateKey,
    load_public,
    private_of,
)
from leap.soledad.keyset import EpochEntry, Keyset

_LABEL = b"leap.soledad epoch 1"


class EpochPayload(msgspec.Struct, frozen=True):
    """The key of an epoch, and the inbox key that was made with it, if one was."""

    epoch: Epoch
    inbox_key: InboxPrivateKey | None = None

    def __repr__(self) -> str:
        return f"EpochPayload({self.epoch!r})"


def seal_epoch(payload: EpochPayload, public: bytes, account: str, recipient: str) -> bytes:
    """The payload for one recipient: a device id, or "recovery". Raises BadKeyset for an unusable key."""
    suite = bytes([SUITE_MLKEM768_X25519])
    info = _info(account, payload.epoch.number, recipient)
    try:
        return suite + HPKE.encrypt(msgspec.msgpack.encode(payload), load_public(public), info=info)
    except ValueError:  # an X25519 point of low order
        raise BadKeyset("the keyset lists a key one cannot seal to") from None


def open_epoch(entry: EpochEntry, seed: bytes, account: str, recipient: str) -> EpochPayload:
    """What the entry of an epoch holds for this recipient; raises BadKeyset or UnknownSuite."""
    sealed = entry.sealed.get(recipient, b"")
    if not sealed:
        raise BadKeyset(f"the keyset has nothing sealed to {_who(recipient)} for a new epoch")
    if sealed[0] != SUITE_MLKEM768_X25519:
        raise UnknownSuite(
            f"an epoch is sealed by suite {sealed[0]}, which this version does not know"
        )
    info = _info(account, entry.number, recipient)
    try:
        opened = HPKE.decrypt(memoryview(sealed)[1:], private_of(seed), info=info)
        payload = msgspec.msgpack.decode(opened, type=EpochPayload)
    except (InvalidTag, msgspec.MsgspecError, ValueError, RecursionError):
        raise BadKeyset(f"an epoch sealed to {_who(recipient)} does not open") from None
    if payload.epoch.number != entry.number:
        raise BadKeyset("an epoch's seal holds the key of another epoch")
    return payload


def open_missing(
    keyset: Keyset, known: Iterable[Epoch], seed: bytes, recipient: str
) -> list[EpochPayload]:
    """The payloads of all epochs of a checked keyset that are not known yet. About 1 ms of CPU each.

    Raises BadKeyset when one is not there for this recipient, or brings an inbox key the keyset does not list.
    """
    numbers = {epoch.number for epoch in known}
    listed = {key.key_id: key for key in keyset.inbox_keys}
    payloads = []
    for entry in keyset.epochs:
        if entry.number in numbers:
            continue
        payload = open_epoch(entry, seed, keyset.account_id, recipient)
        key = payload.inbox_key
        if key is not None and (
            key.key_id not in listed or key.public.public != listed[key.key_id].public
        ):
            raise BadKeyset("an epoch's seal holds an inbox key which the keyset does not list")
        payloads.append(payload)
    return payloads


def seal_to_all(
    payload: EpochPayload, recipients: Mapping[str, bytes], account: str
) -> dict[str, bytes]:
    """The `sealed` of a new epoch: the payload for every recipient (id -> public key). About 1 ms of CPU each."""
    return {name: seal_epoch(payload, public, account, name) for name, public in recipients.items()}


def _info(account: str, number: int, recipient: str) -> bytes:
    return with_lengths(
        _LABEL,
        bytes([SUITE_MLKEM768_X25519]),
        account.encode(),
        number.to_bytes(4, "big"),
        recipient.encode(),
    )


def _who(recipient: str) -> str:
    return "the recovery code" if recipient == "recovery" else "this device"
