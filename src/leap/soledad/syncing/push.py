"""Push: seal what changed here, sign a head over the result, and commit by compare and swap.

Invariants:
* The commit is written down durably (head, items, payloads) before any of it is sent. Its outcome is known
  only from the provider's answer or from a later head; until then it is sent again as it was, never anew.
* A refusal for what the commit holds (its size, its staged items) lets it be made anew. After any other refusal
  (no room, no log-in, too many requests) it is sent again as it was: a provider that refuses for days sees one head.
* A refusal because the head moved is followed by a pull, which rebases; only what both touched is sealed anew,
  and items staged already stay staged: so a slow device gets its turn beside a busy one.
* Rows go into a page only when the provider has their blobs: nobody sees a row without its content.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from leap.soledad.digest import SetDigest
from leap.soledad.envelope import HEADER, seal
from leap.soledad.errors import BadPage, BadReply, BeingFounded, HeadMoved, Refused
from leap.soledad.head import Head, founding_record, head_hash, next_record, sign_and_seal
from leap.soledad.material import AccountMaterial
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.apply import acknowledge
from leap.soledad.syncing.gather import Outgoing, assign_pages, gather, rest_of_former
from leap.soledad.syncing.items import KIND
from leap.soledad.syncing.pull import Puller
from leap.soledad.syncing.rejoin import settle_former
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import (
    Founding,
    KeptPush,
    Pending,
    SyncState,
    load_state,
    save_accepted,
    save_state,
)
from leap.soledad.syncing.tombstones import Tombstone, count_out, due, forget
from leap.soledad.wire import (
    MAX_COMMIT_ITEMS,
    CommitRequest,
    Item,
    PullRequest,
    StageRequest,
)

_OF_THE_COMMIT = {400, 409, 413}  # HTTP statuses: malformed, staged items differ, too large
CHUNK_ITEMS, CHUNK_BYTES = 256, 256 * 1024  # of one frame of what is staged
# Octets of items that travel with the commit itself. What is sent while another device commits is sent in vain, so
# that larger ones go ahead; and a second attempt should be quick.
WITH_COMMIT, WITH_RETRY = 256 * 1024, 16 * 1024
MOST_COUNTED = (
    2**48
)  # of 2**53: no account comes near it, and a founding that believed more could be the last one
FOUNDING_MARGIN = 1_000  # items that others may still write while a log is founded anew
MAX_ATTEMPTS = 30  # commits refused in a row before the others have their turn without us


class Pusher:
    """Pushes for one store."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        puller: Puller,
        *,
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        progress: Callable[[int, int, int], None] = lambda items, size, total: None,
    ) -> None:
        """`progress` hears how many items of how many were sent, and their octets."""
        self._store = store
        self._remote = remote
        self._puller = puller
        self._now = now
        self._random = random
        self._progress = progress

    @property
    def _material(self) -> AccountMaterial:
        material = self._store.material
        assert material is not None
        return material

    async def push(self, *, even_empty: bool = False, purge: bool = False) -> int:
        """Commits what can be committed now; answers how many items.

        `even_empty` signs a head without items, which tells other devices how far this one is; with `purge`, it
        takes out of the log the tombstones that everybody knows.
        Raises HeadMoved when other devices were first too many times in a row, Refused, Unreachable, ProviderLies.
        """
        for attempt in range(MAX_ATTEMPTS):
            state = await self._puller.state()
            pending = state.pending or await self._prepare(
                state, even_empty, purge, WITH_RETRY if attempt else WITH_COMMIT
            )
            if pending is None:
                return 0
            fresh = state.pending is None and state.kept is None
            try:
                await self._send(pending, fresh)
            except HeadMoved:
                if attempt == MAX_ATTEMPTS - 1:
                    raise
                await self._puller.pull()
                if pending.founding and (await self._puller.state()).founding is not None:
                    raise BeingFounded(
                        "this account's log is being founded anew from another device, too: wait for it,"
                        " or begin again on one of them"
                    ) from None
                continue
            except Refused as error:
                if error.status in _OF_THE_COMMIT:
                    await self._abandon(pending)
                raise
            await self._acknowledge(pending)
            if pending.count:
                self._progress(pending.count, 0, pending.count)
            return pending.count
        raise AssertionError

    # -- before -------------------------------------------------------------------------------

    async def _prepare(
        self, state: SyncState, even_empty: bool, purge: bool, most: int
    ) -> Pending | None:
        """Gathers, seals, signs and writes down the next commit; None if there is nothing to say."""
        material, tables = self._material, self._store.tables
        await self._store.write(lambda c: assign_pages(c, tables))
        outgoing = await self._store.read(
            lambda c: gather(c, tables, material.id_key, state.kept, everything=state.bringing_all)
        )
        if not outgoing and not (even_empty or state.bringing_all):
            return None
        purge_seq, tombstones = 0, list[Tombstone]()
        if purge and not outgoing and state.record is not None:
            record, keyset, now = state.record, material.open_keyset(), self._now()
            purge_seq, tombstones = await self._store.read(
                lambda c: due(c, tables, record, keyset, now)
            )
        sealed = await asyncio.to_thread(self._seal_all, outgoing)
        hashes = [hashlib.sha256(data).digest() for data in sealed]
        digest = await self._store.read(lambda c: self._digest(c, state, outgoing, hashes))
        count_out(digest, tombstones)
        if state.founding is not None:
            record = founding_record(
                state.own,
                material.open_keyset(),
                seq=await self._first_free_seq(state.founding) + len(outgoing),
                digest=digest.to_bytes(),
                time=self._now(),
                founded_on=state.founding.founded_on,
            )
        else:
            record = next_record(
                state.head,
                state.own,
                material.open_keyset(),
                items=len(outgoing),
                digest=digest.to_bytes(),
                time=self._now(),
                purge_seq=purge_seq if tombstones else None,
            )
        if state.bringing_all:
            names = {item.name for item in outgoing}
            partial = await self._store.read(lambda c: rest_of_former(c, names))
            record = msgspec.structs.replace(record, partial=partial)
        # The counter of a refused attempt is not used again, even when it is known to be dead.
        entry = record.devices[state.device_id]
        entry = msgspec.structs.replace(entry, counter=max(entry.counter, state.attempt + 1))
        record = msgspec.structs.replace(record, devices={**record.devices, state.device_id: entry})
        head = sign_and_seal(
            record, material.device.signing_key, material.epoch, material.account_id
        )
        push_id, staged = self._plan(state.kept, sealed, most)
        pending = Pending(
            head=head,
            record=record,
            hash=head_hash(head),
            parent=state.hash,
            digest=digest.to_bytes(),
            count=len(outgoing),
            push_id=push_id,
            staged=staged,
            purged=[tombstone.item_id for tombstone in tombstones],
            founding=state.founding.generation if state.founding is not None else None,
        )
        attempting = state.attempting(pending)

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM pending_item")
            connection.executemany(
                "INSERT INTO pending_item (position, item_id, name, version, payload, sealed)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (position, item.item_id, item.name, item.version, item.payload, data)
                    for position, (item, data) in enumerate(zip(outgoing, sealed, strict=True))
                ),
            )
            save_state(connection, attempting)

        await self._store.write(job, durable=True)
        return pending

    async def _first_free_seq(self, founding: Founding) -> int:
        """A seq above every one that this device or the provider knows, and some that are just being written.

        Raises BadPage.
        """
        page = await self._remote.pull(PullRequest(since=2**53 - 1, max_items=1))
        if page.head_seq > max(founding.seq, MOST_COUNTED):
            raise BadPage(
                "the provider counts more items than any account has; nothing was founded"
            )
        return max(founding.seq, page.head_seq) + FOUNDING_MARGIN

    def _seal_all(self, outgoing: Sequence[Outgoing]) -> list[bytes]:
        material = self._material
        epoch = material.epoch
        return [
            item.sealed
            or seal(
                item.payload,
                kind=KIND,
                account=material.account_id,
                item_id=item.item_id,
                version=item.version,
                epoch=epoch,
            )
            for item in outgoing
        ]

    def _digest(
        self,
        connection: Connection,
        state: SyncState,
        outgoing: Sequence[Outgoing],
        hashes: Sequence[bytes],
    ) -> SetDigest:
        """The digest after the commit."""
        material = self._material
        epoch, account = material.epoch, material.account_id
        if state.epoch == epoch.number:
            digest = SetDigest(epoch, account, state.digest)
        else:
            digest = SetDigest.of(
                epoch,
                account,
                connection.execute("SELECT item_id, version, ct_hash FROM log_item"),
            )
        for item, ct_hash in zip(outgoing, hashes, strict=True):
            before = connection.execute(
                "SELECT version, ct_hash FROM log_item WHERE item_id = ?", (item.item_id,)
            ).fetchone()
            if before is not None:
                digest.remove(item.item_id, *before)
            digest.add(item.item_id, item.version, ct_hash)
        return digest

    def _plan(
        self, kept: KeptPush | None, sealed: Sequence[bytes], most: int
    ) -> tuple[str | None, int]:
        """Under which id, and how many of the items, go ahead of the commit, which takes `most` octets."""
        already = kept.staged if kept is not None else 0
        rest = sealed[already:]
        fits = len(rest) <= MAX_COMMIT_ITEMS and sum(map(len, rest)) <= most
        if kept is not None:
            return kept.push_id, already if fits else len(sealed)
        return (None, 0) if fits else (self._random(16).hex(), len(sealed))

    # -- sending ------------------------------------------------------------------------------

    async def _send(self, pending: Pending, fresh: bool) -> None:
        if pending.push_id is not None:
            await self._stage(pending.push_id, pending.staged, pending.count, fresh)
        items = await self._load_items(pending.staged, pending.count)
        await self._remote.commit(
            CommitRequest(
                parent=pending.parent,
                head=pending.head,
                head_seq=pending.record.seq,
                count=pending.count,
                items=items,
                push_id=pending.push_id,
                purged=pending.purged,
                founding=pending.founding,
            )
        )

    async def _stage(self, push_id: str, count: int, total: int, fresh: bool) -> None:
        """Sends items ahead, from where the provider has them without a gap; of a `fresh` push it has none."""
        first = 0
        if not fresh:
            reply = await self._remote.stage(StageRequest(push_id=push_id, first=0, items=[]))
            first = reply.staged
        if first >= count:
            return

        async def requests() -> AsyncIterator[StageRequest]:
            position, sent = first, 0
            while position < count:
                items = await self._load_chunk(position, count)
                sent += sum(len(item.sealed) for item in items)
                self._progress(position + len(items), sent, total)
                yield StageRequest(push_id=push_id, first=position, items=items)
                position += len(items)

        reply = await self._remote.stage_all(requests())
        if reply.staged < count:
            raise BadReply("the provider did not keep all that it was sent")

    async def _load_chunk(self, first: int, end: int) -> list[Item]:
        """The next items to stage: what a cut loses is no more than one such part."""
        items = await self._load_items(first, min(end, first + CHUNK_ITEMS))
        size = 0
        for number, item in enumerate(items):
            size += len(item.sealed)
            if size > CHUNK_BYTES and number:
                return items[:number]
        return items

    async def _load_items(self, first: int, end: int) -> list[Item]:
        def job(connection: Connection) -> list[Item]:
            return [
                Item(item_id=item_id, version=version, sealed=sealed)
                for item_id, version, sealed in connection.execute(
                    "SELECT item_id, version, sealed FROM pending_item"
                    " WHERE position >= ? AND position < ? ORDER BY position",
                    (first, end),
                )
            ]

        return await self._store.read(job) if first < end else []

    # -- after --------------------------------------------------------------------------------

    async def _acknowledge(self, pending: Pending) -> None:
        tables = self._store.tables
        device_id = self._material.device.device_id
        # Not the newest: a new epoch may have come while the reply was on its way.
        epoch = self._material.epochs_by_number[HEADER.unpack_from(pending.head)[1]]
        head = Head(pending.record, pending.hash)
        digest = SetDigest(epoch, self._material.account_id, pending.digest)

        def job(connection: Connection) -> None:
            state = load_state(connection, device_id)
            acknowledge(connection, tables, pending, _hashes(connection))
            forget(connection, pending.purged)
            if state.bringing_all and not pending.record.partial:
                settle_former(connection)
            save_accepted(connection, state.accepted(head, digest, epoch, None))

        await self._store.write(job)

    async def _abandon(self, pending: Pending) -> None:
        """The provider refused the commit for what it holds: it is made anew next time."""
        device_id = self._material.device.device_id

        def job(connection: Connection) -> None:
            state = load_state(connection, device_id)
            if state.pending is not None and state.pending.hash == pending.hash:
                save_state(connection, state.abandoned())

        await self._store.write(job, durable=True)


def _hashes(connection: Connection) -> dict[bytes, bytes]:
    found = connection.execute("SELECT item_id, sealed FROM pending_item")
    return {item_id: hashlib.sha256(sealed).digest() for item_id, sealed in found}
