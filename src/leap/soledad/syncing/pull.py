"""Pull: fetch the log's news (`fetch`), verify all of it against a signed head, apply it in one transaction.

Invariants:
* Pulled items lie aside, unused, until a head accepted by the rules of `head` signs for exactly the set of
  items which this device would then hold. A cut leaves them there: the next pull goes on behind them.
* What fails raises a ProviderLies and changes nothing that a person could see.
* Items, head and digest are applied in one transaction. A pending commit is settled in it: if the head
  names it, it took place; if the head moved on without it, it never will, for its parent is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from leap.soledad.digest import SetDigest
from leap.soledad.envelope import HEADER, Epoch, open_envelope
from leap.soledad.errors import (
    DigestMismatch,
    KeysetBehind,
    ProviderLies,
    RolledBack,
    UnknownEpoch,
)
from leap.soledad.head import Head, HeadRecord, head_hash, open_head
from leap.soledad.keyset import Keyset
from leap.soledad.material import AccountMaterial, follow_keyset
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.apply import MANY_PAGES, VerifiedItem, acknowledge, apply_items
from leap.soledad.syncing.fetch import Progress, fetch_news
from leap.soledad.syncing.items import KIND, decode_item
from leap.soledad.syncing.rejoin import (
    drop_missing,
    keep_unshared,
    retire_log,
    settle_former,
)
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import (
    CHECK_BLOBS,
    STAGED_TO,
    STAGED_WHOLE,
    KeptPush,
    SyncState,
    forget_aside,
    load_state,
    save_accepted,
    save_state,
)
from leap.soledad.syncing.tombstones import Tombstone, count_out, forget, list_tombstones
from leap.soledad.transaction import Transaction, find_setting, save_setting


class Pulled(NamedTuple):
    """An item that lies aside and counts in the digest; it is opened when it is applied, one after the other."""

    item_id: bytes
    version: int
    ct_hash: bytes
    seq: int


@dataclass
class _Verified:
    items: list[Pulled]
    digest: SetDigest
    epoch: Epoch
    committed: bool  # the pending commit is in the log
    pending_hashes: dict[bytes, bytes]
    whole: bool  # these are all items of the log
    purged: list[Tombstone]


class Puller:
    """Pulls for one store."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        *,
        progress: Progress | None = None,
    ) -> None:
        self._store = store
        self._remote = remote
        self._progress = progress

    async def pull(self) -> int:
        """Brings the store up to the provider's head; answers how many items were new.

        Raises ProviderLies, Unreachable, Refused.
        """
        count = await self._pull_once()
        if count is None:
            count = await self._pull_once(afresh=True)
        assert count is not None
        return count

    async def _pull_once(self, afresh: bool = False) -> int | None:
        """None, if what lay aside could not be verified; it is forgotten then. `afresh` raises why."""
        state = await self.state()
        sealed, head = await fetch_news(
            self._store, self._remote, state, self._open_head, self._progress
        )
        if head is None:
            if not state.complete:
                await self._save_complete()
            return 0
        if head.hash == state.hash:
            await self._forget_staged()  # behind an accepted head there is nothing
            return 0
        epoch = self._epoch_of(sealed)
        try:
            verified = await self._store.read(lambda c: self._verify(c, state, head, epoch))
        except ProviderLies as error:
            # What lies aside may come from pulls that were cut, or from a lie told before: only a fresh pull proves
            # anything. Tombstones may have been purged which this device counts: then only all of the log does.
            if afresh:
                await self._store.write(forget_aside)
                raise
            whole = _generation_of(state) if isinstance(error, DigestMismatch) else None
            await self._store.write(lambda c: forget_aside(c, whole))
            return None
        return await self._accept(state, head, verified)

    async def state(self) -> SyncState:
        device_id = self._material.device.device_id
        return await self._store.read(lambda c: load_state(c, device_id))

    @property
    def _material(self) -> AccountMaterial:
        material = self._store.material
        assert material is not None
        return material

    # -- what lies aside ------------------------------------------------------------------------

    async def _forget_staged(self) -> None:
        for name in (STAGED_TO, STAGED_WHOLE):
            if await self._store.setting(name) is not None:
                await self._store.write(forget_aside)
                return

    async def _save_complete(self) -> None:
        device_id = self._material.device.device_id

        def job(connection: Connection) -> None:
            state = load_state(connection, device_id)
            save_state(connection, msgspec.structs.replace(state, complete=True))

        await self._store.write(job)

    # -- verifying ----------------------------------------------------------------------------

    async def _open_head(self, sealed: bytes, seq: int) -> Head:
        try:
            record = self._open_record(sealed, seq, self._material.open_keyset())
        except (KeysetBehind, UnknownEpoch):
            keyset = await self._fetch_keyset()
            record = self._open_record(sealed, seq, keyset)
        return Head(record, head_hash(sealed))

    def _open_record(self, sealed: bytes, seq: int, keyset: Keyset) -> HeadRecord:
        material = self._material
        return open_head(sealed, keyset, material.epochs_by_number, material.account_id, seq=seq)

    async def fetch_keyset(self) -> Keyset:
        """The newest keyset, as `_fetch_keyset` does when a head asks for it."""
        return await self._fetch_keyset()

    async def _fetch_keyset(self) -> Keyset:
        """The newest keyset, kept if it may follow the one known; raises BadKeyset, DeviceRevoked."""
        return await self.adopt_keyset((await self._remote.secrets()).keyset)

    async def adopt_keyset(self, signed: bytes) -> Keyset:
        """Keeps a keyset that may follow the one known, with the epochs and inbox keys it brings this device."""
        material = self._material
        if signed == material.keyset:
            return material.open_keyset()
        keyset, brought = await asyncio.to_thread(follow_keyset, material, signed)
        await self._store.update_material(lambda now: now.with_keyset(signed, brought))
        return keyset

    def _epoch_of(self, sealed: bytes) -> Epoch:
        return self._material.epochs_by_number[HEADER.unpack_from(sealed)[1]]

    def _verify(
        self, connection: Connection, state: SyncState, head: Head, epoch: Epoch
    ) -> _Verified:
        """Compares the sum of what lies aside with the head; runs in a reader thread."""
        material = self._material
        whole = find_setting(connection, STAGED_WHOLE) is not None
        known: dict[bytes, tuple[int, bytes]] = {}
        if whole:
            digest = SetDigest(epoch, material.account_id)
        else:
            known = _load_known(connection, touched_only=state.epoch == epoch.number)
            digest = self._digest(state, epoch, known)
        hashes: dict[bytes, bytes] = {}
        mark = head.mark_of(state.device_id)
        committed = (
            state.pending is not None and mark is not None and (mark.hash == state.pending.hash)
        )
        if committed:
            for item_id, version, sealed in connection.execute(
                "SELECT item_id, version, sealed FROM pending_item"
            ):
                hashes[item_id] = hashlib.sha256(sealed).digest()
                if not whole:  # else it is among the pulled ones
                    _count(digest, known, item_id, version, hashes[item_id])
        gone: list[Tombstone] = []
        if (
            not whole
            and state.record is not None
            and head.record.purge_seq > state.record.purge_seq
        ):
            gone = list_tombstones(connection, self._store.tables, head.record.purge_seq)
        # What was made anew under a name whose tombstone was purged begins at version 1 again.
        forgotten = {tombstone.item_id for tombstone in gone}
        items: list[Pulled] = []
        for item_id, version, sealed, seq in connection.execute(
            "SELECT item_id, version, sealed, seq FROM pulled_item ORDER BY seq"
        ):
            ct_hash = hashlib.sha256(sealed).digest()
            before = known.get(item_id)
            if before == (version, ct_hash):
                continue
            if before is not None and version <= before[0] and item_id not in forgotten:
                raise RolledBack(
                    "an item of the log is shown in an older version, or in another form"
                )
            items.append(Pulled(item_id, version, ct_hash, seq))
            _count(digest, known, item_id, version, ct_hash)
        fresh = {item.item_id for item in items}
        purged = [tombstone for tombstone in gone if tombstone.item_id not in fresh]
        if purged:
            count_out(digest, purged)
        if not digest.matches(head.record.digest):
            raise DigestMismatch(
                "the provider withholds items of the log, or shows some that do not belong to it"
            )
        return _Verified(items, digest, epoch, committed, hashes, whole, purged)

    def _digest(
        self, state: SyncState, epoch: Epoch, known: dict[bytes, tuple[int, bytes]]
    ) -> SetDigest:
        account = self._material.account_id
        if state.epoch == epoch.number:
            return SetDigest(epoch, account, state.digest)
        triples = ((item_id, version, ct_hash) for item_id, (version, ct_hash) in known.items())
        return SetDigest.of(epoch, account, triples)

    # -- accepting ----------------------------------------------------------------------------

    async def _accept(self, state: SyncState, head: Head, verified: _Verified) -> int:
        tables, merges = self._store.tables, self._store.merges

        def job(tx: Transaction) -> None:
            connection = tx.connection
            kept: KeptPush | None = None
            if verified.committed and state.pending is not None:
                acknowledge(connection, tables, state.pending, verified.pending_hashes)
            elif not verified.whole:
                kept = _keep_staged(connection, state, verified)
            unshared: set[str] = set()
            # A founding of this device's own that took place, and whose reply was lost, is a commit like others.
            founded_anew = (state.founding is not None and not verified.committed) or (
                state.record is not None and state.record.generation < head.record.generation
            )
            if verified.whole or founded_anew:
                retire_log(connection)
            if founded_anew:
                unshared = keep_unshared(connection, tables, head.record.founded_on)
                save_setting(connection, CHECK_BLOBS, 1)
            many = len(verified.items) > MANY_PAGES
            opened = self._opened(connection, verified.items)
            adopted = apply_items(tx, opened, tables, merges, many=many)
            if (verified.whole or founded_anew) and not head.record.partial:
                drop_missing(tx, tables, unshared)
            elif state.bringing_all and not head.record.partial:
                settle_former(connection)
            forget(connection, [tombstone.item_id for tombstone in verified.purged])
            forget_aside(connection)
            save_accepted(
                connection,
                state.accepted(head, verified.digest, verified.epoch, None if adopted else kept),
            )

        await self._store.transact_as(job, durable=False, from_sync=True)
        return len(verified.items)

    def _opened(self, connection: Connection, items: Sequence[Pulled]) -> Iterator[VerifiedItem]:
        """What the items hold. Raises ForgedEnvelope, which undoes the transaction."""
        material = self._material
        epochs = material.epochs_by_number
        for item_id, version, ct_hash, seq in items:
            (sealed,) = connection.execute(
                "SELECT sealed FROM pulled_item WHERE item_id = ?", (item_id,)
            ).fetchone()
            payload = open_envelope(
                sealed,
                kind=KIND,
                account=material.account_id,
                item_id=item_id,
                version=version,
                epochs=epochs,
            )
            item = decode_item(payload, item_id, material.id_key)
            yield VerifiedItem(item_id, version, ct_hash, item, seq)


def _generation_of(state: SyncState) -> int | None:
    """Of the log that this device follows, or is founding."""
    if state.founding is not None:
        return state.founding.generation
    return state.record.generation if state.record is not None else None


def _count(
    digest: SetDigest,
    known: dict[bytes, tuple[int, bytes]],
    item_id: bytes,
    version: int,
    ct_hash: bytes,
) -> None:
    before = known.get(item_id)
    if before is not None:
        digest.remove(item_id, *before)
    digest.add(item_id, version, ct_hash)
    known[item_id] = (version, ct_hash)


def _keep_staged(connection: Connection, state: SyncState, verified: _Verified) -> KeptPush | None:
    """The items staged for a commit that came too late, if nobody touched any of them meanwhile."""
    pending = state.pending
    if pending is None or pending.push_id is None or not pending.staged:
        return None
    touched = {item.item_id for item in verified.items}
    staged = connection.execute(
        "SELECT item_id FROM pending_item WHERE position < ?", (pending.staged,)
    )
    if any(item_id in touched for (item_id,) in staged):
        return None
    return KeptPush(pending.push_id, pending.staged)


def _load_known(connection: Connection, touched_only: bool) -> dict[bytes, tuple[int, bytes]]:
    """Version and hash of what is applied, of all items or of those that are about to change."""
    where = (
        " WHERE item_id IN (SELECT item_id FROM pulled_item UNION SELECT item_id FROM pending_item)"
        if touched_only
        else ""
    )
    found = connection.execute(f"SELECT item_id, version, ct_hash FROM log_item{where}")  # noqa: S608
    return {item_id: (version, ct_hash) for item_id, version, ct_hash in found}
