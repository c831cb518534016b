"""Head records: what a device signs with every commit, and the rules by which another device accepts it.

A sealed head is an envelope of kind "head" (item id of 32 zeros, version 0) around MessagePack [record, signature];
the signature is Ed25519 by the author over label ‖ account ‖ record. Its hash is SHA-256 of the sealed bytes.

Every device has an entry in the record: a version vector, as in SUNDR (Li, Krohn, Mazières, Shasha 2004, section
3.3).
* `counter` counts the device's attempts to commit, failed ones too, so no two heads of a device share it.
* `last_hash` is the hash of that device's newest head; in a head it wrote itself, of the one before (a record
  cannot hold its own hash), or empty if there was none.
* `acked_seq` is how far that device had applied the log.
* `time` is when it wrote its newest head, in seconds since 1970 (0 in heads of older versions): for people only.

Invariants:
* Signed, then encrypted: the provider sees neither counters nor digest, and cannot put a head together.
* Only a listed device signs; of a revoked one, only heads up to the counter in the keyset count. The record names
  keyset version and hash.
* A head is sealed under the newest epoch of the keyset version it names: a device that was told of a new epoch cannot
  be made to go on under an old one, and who knows only old ones cannot write under a new version.
* A head is accepted only if this device's own entry is its last committed or a pending attempt, no counter falls,
  and equal counters have equal hashes. So a lost reply is recognised, a rollback or a joined fork is not accepted,
  and old heads need not be kept.
* A later generation begins anew, and only one that the root-signed keyset names is accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from leap.soledad.digest import DIGEST_SIZE
from leap.soledad.envelope import HEADER, Epoch, open_envelope, seal, with_lengths
from leap.soledad.errors import ForgedHead, ForkJoined, ForkShown, KeysetBehind, RolledBack
from leap.soledad.keyset import Device, DeviceId, Hash, Keyset

FIRST_GENERATION = 1
NO_PARENT = b""
MAX_SIZE = 1024 * 1024

_KIND = "head"
_ITEM_ID = bytes(32)
_LABEL = b"leap.soledad head 1"

Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
HashOrNone = Annotated[bytes, msgspec.Meta(max_length=32)]


class DeviceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a head says of one device."""

    counter: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    last_hash: HashOrNone
    acked_seq: Seq
    time: Seq = 0  # seconds since 1970, when that device wrote this; 0: before heads said so


class HeadRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state of the log after one commit. `time` is seconds since 1970, for people; nothing is decided by it.

    In a log that was founded anew, `founded_on` says up to which counter of each device the founder had seen the
    former log, and `partial` that the founder has more to bring: until then the log is nobody's but its own.
    """

    generation: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    seq: Seq
    parent: HashOrNone
    digest: Annotated[bytes, msgspec.Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
    keyset_version: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    keyset_hash: Hash
    devices: dict[DeviceId, DeviceEntry]
    purge_seq: Seq
    time: Seq
    author: DeviceId
    founded_on: dict[DeviceId, Annotated[int, msgspec.Meta(ge=1, lt=2**53)]] = {}
    partial: bool = False


class Head(NamedTuple):
    """A record and the hash of its sealed bytes."""

    record: HeadRecord
    hash: bytes

    def mark_of(self, device_id: str) -> Mark | None:
        """Counter and newest head of a device, as this head knows them."""
        entry = self.record.devices.get(device_id)
        if entry is None:
            return None
        written_here = device_id == self.record.author
        return Mark(entry.counter, self.hash if written_here else entry.last_hash)


class Mark(NamedTuple):
    """One attempt of one device: its counter and the hash of the head it sent."""

    counter: int
    hash: bytes


class OwnHeads(NamedTuple):
    """What this device remembers of itself.

    `committed` is its last attempt known to have been accepted, `pending` those after it whose outcome is unknown,
    written down before they were sent. `attempts` is the highest counter ever used: a refused head stays in the
    provider's hands, so its counter is never given to another one.
    """

    device_id: str
    committed: Mark | None = None
    pending: tuple[Mark, ...] = ()
    attempts: int = 0

    @property
    def next_counter(self) -> int:
        """The counter of the next attempt."""
        used = [mark.counter for mark in (self.committed, *self.pending) if mark]
        return max([self.attempts, *used]) + 1

    def attempted(self, mark: Mark) -> OwnHeads:
        """With one more attempt on its way. Must be stored durably before the head is sent."""
        return self._replace(
            pending=(*self.pending, mark), attempts=max(self.attempts, mark.counter)
        )

    def settled(self, accepted: Head) -> OwnHeads:
        """After `accepted` was checked: what it holds of this device is committed, nothing is pending."""
        committed = accepted.mark_of(self.device_id)
        return OwnHeads(self.device_id, committed, (), self.next_counter - 1)


def head_hash(sealed: bytes) -> bytes:
    """By which commits and entries name a head."""
    return hashlib.sha256(sealed).digest()


def sign_and_seal(
    record: HeadRecord, signing_key: Ed25519PrivateKey, epoch: Epoch, account: str
) -> bytes:
    """The sealed head; raises ValueError for a record that contradicts itself."""
    problem = _contradiction(record)
    if problem:
        raise ValueError(problem)
    body = msgspec.msgpack.encode(record)
    signed = msgspec.msgpack.encode([body, signing_key.sign(_signed_bytes(body, account))])
    return seal(
        signed,
        kind=_KIND,
        account=account,
        item_id=_ITEM_ID,
        version=0,
        epoch=epoch,
        compress=False,
    )


def open_head(
    sealed: bytes,
    keyset: Keyset,
    epochs: Mapping[int, Epoch],
    account: str,
    *,
    seq: int | None = None,
) -> HeadRecord:
    """The record of a head, its signature checked against `keyset`; `seq` is what the provider says it is at.

    Raises ForgedEnvelope or UnknownEpoch if it does not open, ForgedHead if it is not rightly signed, KeysetBehind if
    a newer keyset than `keyset` is needed to tell.
    """
    opened = open_envelope(
        sealed,
        kind=_KIND,
        account=account,
        item_id=_ITEM_ID,
        version=0,
        epochs=epochs,
        max_size=MAX_SIZE,
    )
    try:
        body, signature = msgspec.msgpack.decode(opened, type=tuple[bytes, bytes])
        record = msgspec.msgpack.decode(body, type=HeadRecord)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ForgedHead("a head record is malformed") from None
    if record.keyset_version > keyset.version:
        raise KeysetBehind(
            f"a head names keyset version {record.keyset_version},"
            f" but the newest one the provider gives is {keyset.version}"
        )
    device = keyset.device(record.author)
    if device is None:
        raise KeysetBehind(
            "a head is signed by a device which the newest keyset that the provider gives does not list"
        )
    try:
        key = Ed25519PublicKey.from_public_bytes(device.signing_public)
        key.verify(signature, _signed_bytes(body, account))
    except (InvalidSignature, ValueError):
        raise ForgedHead(f"a head is not signed by the device {device.name!r} it names") from None
    _check_not_revoked(device, record)
    if HEADER.unpack_from(sealed)[1] != keyset.epoch_at(record.keyset_version):
        raise ForgedHead("a head is sealed under another epoch than the one then in force")
    if record.keyset_version == keyset.version and record.keyset_hash != keyset.hash:
        raise ForgedHead("a head names another keyset than the one the provider gave")
    problem = _contradiction(record)
    if problem:
        raise ForgedHead(problem)
    if seq is not None and record.seq != seq:
        raise ForgedHead(f"a head signed for seq {record.seq} is shown at seq {seq}")
    return record


def next_record(
    parent: Head | None,
    own: OwnHeads,
    keyset: Keyset,
    *,
    items: int,
    digest: bytes,
    time: float,
    purge_seq: int | None = None,
) -> HeadRecord:
    """The record of this device's next attempt, `items` items after `parent` (None: the first head of the log).

    The device acknowledges all up to the parent and its own items.
    """
    seq = (parent.record.seq if parent else 0) + items
    devices = dict(parent.record.devices) if parent else {}
    if parent:
        author = parent.record.author
        devices[author] = msgspec.structs.replace(devices[author], last_hash=parent.hash)
    devices[own.device_id] = DeviceEntry(
        counter=own.next_counter,
        last_hash=own.committed.hash if own.committed else b"",
        acked_seq=seq,
        time=int(time),
    )
    return HeadRecord(
        generation=parent.record.generation if parent else FIRST_GENERATION,
        seq=seq,
        parent=parent.hash if parent else NO_PARENT,
        digest=digest,
        keyset_version=keyset.version,
        keyset_hash=keyset.hash,
        devices=devices,
        purge_seq=max(purge_seq or 0, parent.record.purge_seq if parent else 0),
        time=int(time),
        author=own.device_id,
        founded_on=parent.record.founded_on if parent else {},
    )


def founding_record(
    own: OwnHeads,
    keyset: Keyset,
    *,
    seq: int,
    digest: bytes,
    time: float,
    founded_on: Mapping[str, int],
) -> HeadRecord:
    """The first record of the generation which `keyset` names: a log without parent, begun by this device."""
    entry = DeviceEntry(counter=own.next_counter, last_hash=b"", acked_seq=seq, time=int(time))
    return HeadRecord(
        generation=keyset.generation,
        seq=seq,
        parent=NO_PARENT,
        digest=digest,
        keyset_version=keyset.version,
        keyset_hash=keyset.hash,
        devices={own.device_id: entry},
        purge_seq=0,
        time=int(time),
        author=own.device_id,
        founded_on=dict(founded_on),
    )


def check_successor(
    own: OwnHeads, seen: Head | None, new: Head, founded: int = FIRST_GENERATION
) -> None:
    """Raise RolledBack or ForkJoined unless `new` may follow `seen`, the head accepted last (None before the first).

    Pure; `new` was opened by `open_head`. The same head again is accepted. `founded` is the generation in the newest
    keyset: up to it, a head of a later generation than the one seen begins anew, whatever was seen.
    """
    if new.record.generation > founded:
        raise ForkJoined("the log was founded anew, but not by this account's root key")
    if seen is not None and new.record.generation > seen.record.generation:
        return
    _check_own(own, seen, new)
    if seen is None or new.hash == seen.hash:
        return
    _check_monotonic(seen.record, new.record)
    for device_id, before in seen.record.devices.items():
        mark, later = new.mark_of(device_id), new.record.devices.get(device_id)
        if mark is None or later is None or later.counter < before.counter:
            if _went_on(seen, new):
                raise ForkShown(
                    "a head is shown in which other devices went on without what this device has seen"
                )
            raise RolledBack(
                "a head is shown that is older than what this device has seen of another one"
            )
        if mark.counter == before.counter:
            same = (later.acked_seq, later.time) == (before.acked_seq, before.time)
            if mark != seen.mark_of(device_id) or not same:
                raise ForkJoined("two different heads of one device have the same counter")
            continue
        if later.acked_seq < before.acked_seq:
            raise RolledBack("a device appears to have taken back what it acknowledged")
    if new.record.parent == seen.hash:
        _check_direct(seen, new)


def _check_not_revoked(device: Device, record: HeadRecord) -> None:
    """A revoked device's heads count up to the one which the revocation names, for that one stays in place.

    Counters are never used again: in a log that was founded anew, what it had used before counts no more.
    """
    if device.revoked_at is None:
        return
    entry = record.devices.get(device.device_id)
    used = record.founded_on.get(device.device_id, 0)
    if entry is None or not used < entry.counter <= (device.revoked_counter or 0):
        raise ForgedHead(f"a head is signed by the device {device.name!r}, which was revoked")


def _check_own(own: OwnHeads, seen: Head | None, new: Head) -> None:
    mark = new.mark_of(own.device_id)
    if mark == own.committed or mark in own.pending:
        return
    if mark is None or (own.committed is not None and mark.counter < own.committed.counter):
        if seen is not None and _went_on(seen, new):
            raise ForkShown(
                "a head is shown in which other devices went on without what this device committed"
            )
        raise RolledBack("a head is shown that is older than what this device committed itself")
    raise ForkJoined("a head names a commit of this device which it never made")


def _went_on(seen: Head, new: Head) -> bool:
    """Whether some device did something in `new` that is not in `seen`."""
    before = seen.record.devices
    return any(
        name not in before or entry.counter > before[name].counter
        for name, entry in new.record.devices.items()
    )


def _check_monotonic(before: HeadRecord, after: HeadRecord) -> None:
    if after.generation < before.generation:
        raise RolledBack("the provider shows the log as it was before it was founded anew")
    if after.seq < before.seq:
        raise RolledBack(f"the log ends at {after.seq}, this device has seen it at {before.seq}")
    if after.purge_seq < before.purge_seq or after.keyset_version < before.keyset_version:
        raise RolledBack(
            "a head is shown that names an older keyset or purge than this device has seen"
        )
    if after.founded_on != before.founded_on or after.partial > before.partial:
        raise ForkJoined("a head changes on what its log was founded")
    if after.keyset_version == before.keyset_version and after.keyset_hash != before.keyset_hash:
        raise ForkJoined("two heads name different keysets of the same version")


def _check_direct(seen: Head, new: Head) -> None:
    """The next head after `seen` changes no entry but its author's."""
    author = new.record.author
    for device_id in seen.record.devices.keys() | new.record.devices.keys():
        if device_id != author and new.mark_of(device_id) != seen.mark_of(device_id):
            raise ForkJoined("a head changes what another device has written of itself")
    own_before, own_after = seen.mark_of(author), new.record.devices[author]
    if own_after.last_hash != (own_before.hash if own_before else b""):
        raise ForkJoined("a device does not continue from its own last head")


def _contradiction(record: HeadRecord) -> str | None:
    """Why a record cannot be true, whatever came before it."""
    if record.author not in record.devices:
        return "a head record has no entry of its author"
    if len(record.parent) not in (0, 32):
        return "a head record's parent is not a hash"
    if any(len(entry.last_hash) not in (0, 32) for entry in record.devices.values()):
        return "a head record holds an entry that is not a hash"
    if any(not entry.last_hash for name, entry in record.devices.items() if name != record.author):
        return "a head record does not name the head of every other device"
    if any(entry.acked_seq > record.seq for entry in record.devices.values()):
        return "a head record acknowledges more than the log holds"
    if record.purge_seq > record.seq:
        return "a head record purges more than the log holds"
    if not record.parent and len(record.devices) > 1:
        return "a first head record names other devices"
    if record.generation == FIRST_GENERATION and (record.founded_on or record.partial):
        return "a head record of the first log says that it was founded on another"
    return None


def _signed_bytes(body: bytes, account: str) -> bytes:
    return with_lengths(_LABEL, account.encode(), body)
