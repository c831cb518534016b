"""The keyset: which devices, epochs and inbox keys an account has, signed by its root key.

    0      format     0x01
    1..64  signature  Ed25519 by the root key over label ‖ body
    65..   body       MessagePack of `Keyset`, in the one canonical form (fields in order, no unknown ones; those of
                      `LEFT_OUT` only where they say something)

Readable by the provider: it seals incoming mail to the inbox key listed here. It can replace nothing, as devices
pin the root key.

Invariants:
* The account id is the hash of the root key: whoever has the id can check the keyset, and two accounts never share
  an id.
* A successor has version + 1, names its predecessor's hash, keeps root and address, and drops or un-revokes no
  device. One of a new generation may follow another branch: a provider restored from a backup shows an old keyset.
* An epoch says since which version of the keyset it is in force: heads which name that version, or a later one, are
  sealed under it or a newer one.
* Bytes from outside raise BadKeyset and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from leap.soledad.errors import BadKeyset
from leap.soledad.inbox_seal import PUBLIC_SIZE, InboxKey, Moment

FORMAT = 1
SIGNATURE_SIZE = 64
BODY_START = 1 + SIGNATURE_SIZE
# A device is about 1.4 kB, and 1.4 kB more for each epoch which began while it was there.
MAX_SIZE = 4 * 1024 * 1024
# Fields which came after the first keysets were signed: without them those keep their one form, and their hash.
LEFT_OUT = {"generation": 1, "revoked_counter": None, "since_version": 1}
RECOVERY = "recovery"  # to whom an epoch is sealed besides devices

_LABEL = b"leap.soledad keyset 1\0"

AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
DeviceId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Address = Annotated[
    str, msgspec.Meta(min_length=3, max_length=320)
]  # RFC 5321 4.5.3.1: 64 + "@" + 255
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
SigningPublic = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
SealingPublic = Annotated[bytes, msgspec.Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]
EpochNumber = Annotated[int, msgspec.Meta(ge=1, lt=2**32)]


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device: its Ed25519 key signs heads, its HPKE key receives new epochs. Times are seconds since 1970.

    Of a revoked one, heads count up to `revoked_counter`, the last that was accepted (None: no head counts).
    """

    device_id: DeviceId
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
    signing_public: SigningPublic
    sealing_public: SealingPublic
    added: Moment
    revoked_at: Moment | None = None
    revoked_counter: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None


class EpochEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An epoch's public face: `sealed` holds its key, sealed to devices (by id) and to "recovery".

    `since_version` is the version of the keyset which brought it. See `epoch_seal`.
    """

    number: EpochNumber
    created: Moment
    sealed: dict[str, bytes] = {}
    since_version: Annotated[int, msgspec.Meta(ge=1, lt=2**53)] = 1


class Keyset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the root key signs. `previous` is the hash of the keyset before, empty in version 1.

    `generation` counts how often the log was founded anew: heads of a higher one are not accepted.
    """

    account_id: AccountId
    address: Address
    version: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    root_public: SigningPublic
    devices: list[Device]
    epochs: list[EpochEntry]
    inbox_keys: list[InboxKey]
    recovery_public: SealingPublic
    previous: bytes
    generation: Annotated[int, msgspec.Meta(ge=1, lt=2**53)] = 1

    @property
    def hash(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(encode_keyset(self)).digest()

    def device(self, device_id: str) -> Device | None:
        """The device of this id, revoked or not."""
        return next((device for device in self.devices if device.device_id == device_id), None)

    def inbox_key(self) -> InboxKey:
        """The newest inbox key which is not retired: the one to seal mail to."""
        usable = [key for key in self.inbox_keys if key.retired is None]
        if not usable:
            raise BadKeyset("the keyset lists no inbox key in use")
        return max(usable, key=lambda key: (key.created, key.key_id))

    def epoch_at(self, version: int) -> int:
        """The number of the newest epoch that was in force in a version of the keyset, this one or one before."""
        return max((e.number for e in self.epochs if e.since_version <= version), default=0)

    def with_device(self, device: Device) -> Keyset:
        """The next version, with one device more."""
        return self.successor(devices=[*self.devices, device])

    def successor(
        self,
        *,
        devices: list[Device] | None = None,
        epochs: list[EpochEntry] | None = None,
        inbox_keys: list[InboxKey] | None = None,
        recovery_public: bytes | None = None,
        generation: int | None = None,
    ) -> Keyset:
        """The next version with what is given replaced; not signed yet."""
        return msgspec.structs.replace(
            self,
            version=self.version + 1,
            previous=self.hash,
            devices=self.devices if devices is None else devices,
            epochs=self.epochs if epochs is None else epochs,
            inbox_keys=self.inbox_keys if inbox_keys is None else inbox_keys,
            recovery_public=self.recovery_public if recovery_public is None else recovery_public,
            generation=self.generation if generation is None else generation,
        )


def account_id_of(root_public: bytes) -> str:
    """The account's id, bound to its root key."""
    return hashlib.sha256(b"leap.soledad account 1\0" + root_public).hexdigest()[:32]


def sign_keyset(keyset: Keyset, root_key: Ed25519PrivateKey) -> bytes:
    """The signed bytes of a keyset; raises BadKeyset if it contradicts itself or names another root key."""
    if root_key.public_key().public_bytes_raw() != keyset.root_public:
        raise BadKeyset("the keyset names another root key than the one that is to sign it")
    _check_consistent(keyset)
    body = encode_keyset(keyset)
    return bytes([FORMAT]) + root_key.sign(_LABEL + body) + body


def open_keyset(data: bytes, *, root_public: bytes | None) -> Keyset:
    """A keyset whose signature holds.

    `root_public` is the pinned root key. None accepts the key named inside: only for a provider at sign-up, which
    pins it. Raises BadKeyset.
    """
    if not BODY_START < len(data) <= MAX_SIZE:
        raise BadKeyset("a keyset has an impossible size")
    if data[0] != FORMAT:
        raise BadKeyset(f"a keyset has format {data[0]}, which this version does not know")
    signature, body = bytes(data[1:BODY_START]), bytes(data[BODY_START:])
    if root_public is not None:
        _check_signature(root_public, signature, body)
    try:
        keyset = msgspec.msgpack.decode(body, type=Keyset)
        canonical = encode_keyset(keyset)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadKeyset("a keyset is malformed") from None
    if canonical != body:
        raise BadKeyset("a keyset is not in the canonical form")
    if root_public is None:
        _check_signature(keyset.root_public, signature, body)
    elif keyset.root_public != root_public:
        raise BadKeyset("a keyset names another root key than the one that signed it")
    _check_consistent(keyset)
    return keyset


def check_successor(known: Keyset, new: Keyset) -> None:
    """Raise BadKeyset unless `new`, already opened, may replace `known`: the same one, or a later version of it.

    One of a later generation may come from another line of keysets, which went on from an older backup: when an epoch
    began, and when a device was revoked, may differ there. That both lines' devices are revoked, and known by the same
    keys, may not.
    """
    if new.account_id != known.account_id or new.root_public != known.root_public:
        raise BadKeyset("the new keyset belongs to another account")
    if new.address != known.address:
        raise BadKeyset("the new keyset names another address")
    founded = new.generation > known.generation
    if new.version < known.version:
        raise BadKeyset(
            f"keyset version {new.version} is shown after version {known.version}: it was rolled back"
        )
    if new.version == known.version:
        if new.hash != known.hash:
            raise BadKeyset(f"there are two different keysets of version {new.version}")
        return
    if new.generation < known.generation:
        raise BadKeyset("the new keyset takes back that the log was founded anew")
    follows = new.version == known.version + 1 and new.generation == known.generation
    if follows and new.previous != known.hash:
        raise BadKeyset("the new keyset does not follow the one known")
    for device in known.devices:
        later = new.device(device.device_id)
        if later is None:
            raise BadKeyset(f"the new keyset has lost the device {device.name!r}")
        revoked = (device.revoked_at, device.revoked_counter)
        if (
            msgspec.structs.replace(later, revoked_at=revoked[0], revoked_counter=revoked[1])
            != device
        ):
            raise BadKeyset(f"the new keyset changes the keys of the device {device.name!r}")
        taken_back = (
            later.revoked_at is None
            if founded
            else revoked != (later.revoked_at, later.revoked_counter)
        )
        if device.revoked_at is not None and taken_back:
            raise BadKeyset(
                f"the new keyset takes back the revocation of the device {device.name!r}"
            )
    later_epochs = {epoch.number: epoch for epoch in new.epochs}
    for epoch in known.epochs:
        after = later_epochs.pop(epoch.number, None)
        if after is None:
            raise BadKeyset("the new keyset has lost an epoch")
        if not founded and (after.created, after.since_version) != (
            epoch.created,
            epoch.since_version,
        ):
            raise BadKeyset("the new keyset changes when an epoch began")
    if not founded and any(
        epoch.since_version <= known.version or epoch.number < known.epochs[-1].number
        for epoch in later_epochs.values()
    ):
        raise BadKeyset("the new keyset has an epoch which began before it")


def _check_signature(root_public: bytes, signature: bytes, body: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(root_public).verify(signature, _LABEL + body)
    except (InvalidSignature, ValueError):
        raise BadKeyset("a keyset is not signed by the account's root key") from None


def _check_consistent(keyset: Keyset) -> None:
    if keyset.account_id != account_id_of(keyset.root_public):
        raise BadKeyset("the keyset's account id does not belong to its root key")
    if "@" not in keyset.address or keyset.address != keyset.address.lower():
        raise BadKeyset("the keyset's address is not a lower-case mail address")
    if len(keyset.previous) != (0 if keyset.version == 1 else 32):
        raise BadKeyset("the keyset does not name its predecessor rightly")
    if not keyset.devices or not keyset.epochs or not keyset.inbox_keys:
        raise BadKeyset("the keyset lists no device, no epoch or no inbox key")
    _check_distinct("device", (device.device_id for device in keyset.devices))
    _check_distinct("signing key", (device.signing_public for device in keyset.devices))
    _check_distinct("inbox key", (key.key_id for key in keyset.inbox_keys))
    numbers = [epoch.number for epoch in keyset.epochs]
    if numbers != sorted(set(numbers)):
        raise BadKeyset("the keyset's epochs are not in order")
    since = [epoch.since_version for epoch in keyset.epochs]
    if since != sorted(set(since)) or since[0] != 1 or since[-1] > keyset.version:
        raise BadKeyset("the keyset's epochs did not begin one after the other")
    if any(
        device.revoked_at is None and device.revoked_counter is not None
        for device in keyset.devices
    ):
        raise BadKeyset("the keyset counts the heads of a device as if it were revoked")


def encode_keyset(keyset: Keyset) -> bytes:
    """The one form of a body."""
    body: dict[str, Any] = msgspec.to_builtins(keyset, builtin_types=(bytes,))
    for part in (body, *body["devices"], *body["epochs"]):
        for name, value in LEFT_OUT.items():
            if name in part and part[name] == value:
                del part[name]
    return msgspec.msgpack.encode(body)


def _check_distinct(what: str, values: Iterable[object]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise BadKeyset(f"the keyset lists a {what} twice")
