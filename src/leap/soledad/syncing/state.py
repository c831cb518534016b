"""What a device remembers of the log between two syncs, kept in the store's settings.

Invariants:
* A commit is written down here, durably, before it is sent: after a crash it is recognised or sent again.
* The accepted head, the digest and the applied items change in one transaction.
* Of the marks of attempts whose outcome is open, the newest `MAX_MARKS` are kept, and counters are never used again.
  An older one was refused for what it held, and so often others after it, that only a provider which contradicts
  itself can show it: that is found (as ForkJoined), for a mark which is not kept is never accepted.
"""

from __future__ import annotations

import msgspec

from leap.soledad.digest import EMPTY, SetDigest
from leap.soledad.envelope import Epoch
from leap.soledad.head import Head, HeadRecord, Mark, OwnHeads
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import find_setting, save_setting

STATE = "sync.state"
STAGED_TO = "sync.staged_to"  # pulled, not accepted yet: up to this seq
STAGED_WHOLE = (
    "sync.staged_whole"  # what lies aside was pulled from the beginning of this generation
)
CHECK_BLOBS = "sync.check_blobs"  # the provider may lack blobs that it had: compare its list
ALARM = "sync.alarm"
PURGED_AT = "sync.purged_at"  # when this device last looked for tombstones to purge
OPEN_PAGE = "sync.open_page."  # and the name of the schema
MAX_MARKS = 32
MAX_HEADS = 10_000  # accepted heads remembered, for who founds the log anew from an older state


class Pending(msgspec.Struct, frozen=True):
    """A commit that may have been sent. Its items are in `pending_item`; the first `staged` go ahead of it."""

    head: bytes
    record: HeadRecord
    hash: bytes
    parent: bytes
    digest: bytes
    count: int
    push_id: str | None
    staged: int
    purged: list[bytes] = []
    founding: int | None = None  # the generation that it begins


class Founding(msgspec.Struct, frozen=True):
    """This device is about to found the log anew: see `HeadRecord.founded_on`; `seq` is the highest one seen."""

    generation: int
    founded_on: dict[str, int]
    seq: int


class KeptPush(msgspec.Struct, frozen=True):
    """Items staged for a commit that came too late; they are good for the next one as they are."""

    push_id: str
    staged: int


class SyncState(msgspec.Struct, frozen=True):
    """`record` and `hash` are of the head accepted last; `digest` is the sum over `log_item` under `epoch`."""

    device_id: str
    complete: bool = False  # the first pull was
    record: HeadRecord | None = None
    hash: bytes = b""
    digest: bytes = EMPTY
    epoch: int = 0
    committed: Mark | None = None
    attempts: list[Mark] = []
    attempt: int = 0  # counter of the last attempt ever made
    pending: Pending | None = None
    kept: KeptPush | None = None
    founding: Founding | None = None

    @property
    def bringing_all(self) -> bool:
        """Whether this device founds the log anew and has not pushed all of its state yet."""
        return self.founding is not None or (self.record is not None and self.record.partial)

    @property
    def seq(self) -> int:
        return self.record.seq if self.record is not None else 0

    @property
    def head(self) -> Head | None:
        return None if self.record is None else Head(self.record, self.hash)

    @property
    def own(self) -> OwnHeads:
        return OwnHeads(self.device_id, self.committed, tuple(self.attempts))

    def accepted(
        self, head: Head, digest: SetDigest, epoch: Epoch, kept: KeptPush | None
    ) -> SyncState:
        """After the log was applied up to `head`: nothing is pending any more."""
        return msgspec.structs.replace(
            self,
            complete=True,
            record=head.record,
            hash=head.hash,
            digest=digest.to_bytes(),
            epoch=epoch.number,
            committed=head.mark_of(self.device_id),
            attempts=[],
            pending=None,
            kept=kept,
            founding=None,
        )

    def attempting(self, pending: Pending) -> SyncState:
        """Before `pending` is sent."""
        counter = pending.record.devices[self.device_id].counter
        return msgspec.structs.replace(
            self,
            attempts=[*self.attempts, Mark(counter, pending.hash)][-MAX_MARKS:],
            attempt=counter,
            pending=pending,
            kept=None,
        )

    def abandoned(self) -> SyncState:
        """After the provider refused the pending commit for what it holds.

        Its mark stays: should it have taken place after all, it is recognised.
        """
        return msgspec.structs.replace(self, pending=None, kept=None)


def load_state(connection: Connection, device_id: str) -> SyncState:
    found = find_setting(connection, STATE)
    if found is None:
        return SyncState(device_id)
    return msgspec.msgpack.decode(found, type=SyncState)


def save_state(connection: Connection, state: SyncState) -> None:
    save_setting(connection, STATE, msgspec.msgpack.encode(state))


def save_accepted(connection: Connection, state: SyncState) -> None:
    """After `SyncState.accepted`: the head is remembered among those of its generation, too."""
    save_state(connection, state)
    record = state.record
    assert record is not None
    entry = record.devices[record.author]
    connection.execute(
        "INSERT INTO accepted_head (seq, author, counter, time) VALUES (?, ?, ?, ?)",
        (record.seq, record.author, entry.counter, record.time),
    )
    connection.execute(
        "DELETE FROM accepted_head WHERE number <= (SELECT max(number) FROM accepted_head) - ?",
        (MAX_HEADS,),
    )


def forget_aside(connection: Connection, whole: int | None = None) -> None:
    """What was pulled and not accepted; with `whole`, the next pull takes all of that generation."""
    connection.execute("DELETE FROM pulled_item")
    save_setting(connection, STAGED_TO, None)
    save_setting(connection, STAGED_WHOLE, whole)
