"""From the provider's inbox to a message in INBOX: claim, open, store, push, ack.

    claim (leased) -> engine.sync_log(), for what other devices made of these items
                   -> a few items at a time, in the order of their arrival:
                      made ready (`workshop`) -> deliver + note consumed      (one durable transaction)
                      what cannot be unsealed -> quarantine + note consumed   (one durable transaction)
                      what is stored begins to be pushed while the next ones are opened
    all of the batch -> engine.sync() -> ack -> note acked

Invariants:
* An item is acked only after what became of it is on this disk and pushed; nothing is lost by a crash between
  any two steps, nor when a lease runs out.
* An item which brings this program down is opened where it cannot, the next time, and then quarantined.
* The row's id is derived from the sealed bytes: two devices, or one after a crash, store one row.
* Whatever one item does, those behind it are stored. Only the store or the network failing stops a batch, and then
  what was not stored is released.
* What another device pushed before its claim on an item ended is known here before the item is stored, so
  nothing it expunged comes back: the pull comes after the claim.
* A device whose first pull is not complete claims nothing.
* Notices with nothing behind them, and items that come again and again, cost ever less (`looks`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from leap.mail.incoming import begun, consumed, quarantine
from leap.mail.incoming.delivery import OURS, Delivery, Result
from leap.mail.incoming.looks import Looks
from leap.mail.incoming.lots import Item, Lot, in_lots
from leap.mail.incoming.needs import Engine, Keys, Mailbox, Remote
from leap.mail.incoming.quarantined_mail import QuarantinedMail
from leap.mail.incoming.ready import Ready, Refused
from leap.mail.incoming.workshop import Workshop
from leap.mail.outgoing.addresses import domain_of
from leap.soledad.changes import ChangeSet
from leap.soledad.errors import NotOpen, SoledadError, Unreachable
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import InboxClaim, InboxItem

logger = logging.getLogger(__name__)

LEASE = 120  # seconds; a batch takes one or two, and a slow line some more
BATCH = 1000
AHEAD = 2  # so many lots are being opened while one is stored
PULL_PATIENCE = 20.0  # seconds of the lease; a sync under way may be sending a large import
POLL = 60.0  # seconds between looks when nobody wakes us
FIRST_RETRY = 2.0
LONGEST_RETRY = 300.0
_HASH_OFF_LOOP = 1024 * 1024  # octets


class IncomingMail:
    """The way in of one account on this device."""

    def __init__(
        self,
        account: Mailbox,
        store: Soledad,
        keymanager: Keys,
        remote: Remote,
        engine: Engine,
        *,
        may_claim: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`may_claim` says no while the device is provisional; `jitter` gives [0, 1)."""
        self._store = store
        self._remote = remote
        self._engine = engine
        self._may_claim = may_claim
        self._now = now
        self._jitter = jitter
        own_domain = domain_of(account.address)
        self.workshop = Workshop(store, keymanager, own_domain, now)
        self._delivery = Delivery(account, store, keymanager, own_domain, self._note_stored)
        self.quarantined = QuarantinedMail(store, self.workshop, self._delivery)
        self._looks = Looks(clock)
        self._news = 0  # items of the last batch that were not stored before
        self._woken = asyncio.Event()
        self._slot = 0  # of the documents of consumed ids: where this batch notes its items
        self._retry_quarantine = True
        self._keys_tried: frozenset[str] = frozenset()
        self._pushing: asyncio.Future[Any] | None = None

    def wake(self) -> None:
        """Looks into the inbox now; called when the provider says that mail came."""
        self._woken.set()

    async def run(self) -> None:
        """Receives until cancelled."""
        unsubscribe = self._store.on_change(self._follow)
        failures = 0
        try:
            while True:
                self._woken.clear()
                timeout = POLL
                try:
                    if self._retry_quarantine or self._keys_tried != self._key_ids():
                        await self._open_quarantined()
                    await self._look()
                    failures = 0
                except Exception as error:
                    self._looks.in_vain()
                    logger.info("receiving stops for now: %s", type(error).__name__)
                    timeout = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 12))
                    timeout *= 0.75 + self._jitter() / 2
                    failures += 1
                await asyncio.sleep(self._looks.pause())
                # Not wait_for: before Python 3.12 it can swallow a cancellation (gh-86296).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._woken.wait()
        finally:
            unsubscribe()
            if self._pushing is not None:
                self._pushing.cancel()

    async def _open_quarantined(self) -> None:
        self._retry_quarantine = False
        self._keys_tried = self._key_ids()
        await self.quarantined.retry()

    async def _look(self) -> None:
        """Takes batch after batch until nothing is there."""
        news = 0
        while await self.process_once():
            news += self._news
            if not self._news:
                self._looks.in_vain()  # a crash leaves one such batch; a provider could go on for ever
                await asyncio.sleep(self._looks.pause())
        if not news:
            self._looks.in_vain()

    async def process_once(self) -> int:
        """Takes one batch all the way; answers how many items it had.

        Raises what the store and the network raise; whatever was not acked comes again.
        """
        if not self._may_claim():
            return 0
        claimed = await self._remote.claim_inbox(InboxClaim(limit=BATCH, ttl=LEASE))
        if not claimed.items:
            return 0
        await self._learn_what_others_stored(claimed.items)
        known = await self._begin_batch()
        self._news = 0
        results = await self._store_all(claimed.items, known)
        failed = [one for one in results if isinstance(one[1], Exception)]
        stored = [(item, row_id) for item, row_id in results if isinstance(row_id, str)]
        if failed:
            with contextlib.suppress(SoledadError):
                await self._remote.release_inbox([item.inbox_id for item, _ in failed])
        if stored:
            await self._engine.sync()
            await self._remote.ack_inbox([item.inbox_id for item, _ in stored])
            row_ids = [row_id for _, row_id in stored]
            slots = {
                known[key] for row_id in row_ids if (key := consumed.item_key(row_id)) in known
            }
            slots.add(self._slot)

            def note(tx: Transaction) -> None:
                own = sorted(slot for slot in slots if slot >= 0)
                consumed.note_acked(tx, self._device_id, own, row_ids, self._now())

            await self._store.transact(note)
        if failed:
            error = failed[0][1]
            assert isinstance(error, Exception)
            raise error
        return len(claimed.items)

    async def _learn_what_others_stored(self, items: Sequence[InboxItem]) -> None:
        """Pulls, now that nobody else can claim these items: the ids which others consumed come with it."""
        try:
            async with asyncio.timeout(PULL_PATIENCE):
                await self._engine.sync_log()
        except (Unreachable, NotOpen):
            with contextlib.suppress(SoledadError):
                await self._remote.release_inbox([item.inbox_id for item in items])
            raise
        except (TimeoutError, SoledadError) as error:
            # Sync stands still or is busy for long. Mail that is not shown would be worse than one that
            # could come back: it is stored here, and acked only when a sync succeeds.
            logger.info("mail is stored without a pull before it: %s", type(error).__name__)

    # -- a batch ------------------------------------------------------------------------------

    async def _store_all(
        self, claimed: Sequence[InboxItem], known: Mapping[str, int]
    ) -> list[Result]:
        """Stores items in the order they came; what this machine fails at is told for each."""
        self.workshop.begin_batch(len(claimed))
        self._delivery.begin_batch()
        results: list[Result] = []
        items: list[tuple[InboxItem, Item]] = []
        for one in claimed:
            row_id = await self._row_id(one.sealed)
            if consumed.item_key(row_id) in known:
                results.append((one, row_id))
            else:
                self._news += 1
                items.append((one, Item(row_id, one.key_id, one.received, one.sealed)))
        making: deque[tuple[Lot, asyncio.Task[list[Ready | Refused]]]] = deque()
        waiting = in_lots(items)
        try:
            while True:
                while len(making) < AHEAD and (lot := next(waiting, None)):
                    begun_before = await self._store.transact(partial(_note_begun, lot))
                    work = self.workshop.make(
                        [item.sealed for _, item in lot], apart=bool(begun_before)
                    )
                    making.append((lot, asyncio.create_task(work)))
                if not making:
                    return results
                lot, task = making.popleft()
                try:
                    outcomes = await task
                except OURS as error:
                    results += [(one, error) for one, _ in lot]
                    continue
                results += await self._delivery.store_lot(lot, outcomes)
                if making:
                    self._push_meanwhile()
        finally:
            for _, task in making:
                task.cancel()

    def _note_stored(self, row_ids: Sequence[str], tx: Transaction) -> None:
        begun.forget(tx.connection, row_ids)
        consumed.note_stored(tx, self._device_id, self._slot, row_ids, self._now())

    def _push_meanwhile(self) -> None:
        """Lets the engine send what is stored; whether that works is seen by the sync at the end of the batch."""
        if self._pushing is None or self._pushing.done():
            self._pushing = asyncio.ensure_future(self._engine.send_contents())
            self._pushing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _row_id(self, sealed: bytes) -> str:
        if len(sealed) < _HASH_OFF_LOOP:
            digest = hashlib.sha256(sealed).digest()
        else:
            digest = (await asyncio.to_thread(hashlib.sha256, sealed)).digest()
        return self._store.row_key(digest)

    # -- what is known ------------------------------------------------------------------------

    async def _begin_batch(self) -> dict[str, int]:
        """Chooses the slot for a batch; answers the keys stored before, with our slot of each or -1."""
        found = await self._store.find_docs(consumed.CONSUMED)
        contents = {one.doc_id: one.content for one in found}
        device_id, now = self._device_id, self._now()
        own = {consumed.document_id(device_id, slot): slot for slot in range(consumed.SLOTS + 1)}
        slot = consumed.free_slot(contents, device_id, now)
        if consumed.ids_of(contents.get(consumed.document_id(device_id, slot))):
            await self._store.transact(lambda tx: consumed.begin_batch(tx, device_id, slot, now))
            if slot < consumed.SLOTS:
                contents.pop(consumed.document_id(device_id, slot))
        self._slot = slot
        return {
            key: own.get(doc_id, -1)
            for doc_id, content in contents.items()
            for key in consumed.ids_of(content)
        }

    @property
    def _device_id(self) -> str:
        material = self._store.material
        if material is None:
            raise SoledadError("the account is not set up on this device")
        return material.device.device_id

    def _key_ids(self) -> frozenset[str]:
        material = self._store.material
        return frozenset(key.key_id for key in material.inbox_keys) if material else frozenset()

    def _follow(self, changes: ChangeSet) -> None:
        if changes.from_sync and any(
            one.after is not None and one.after.get("type") == quarantine.QUARANTINE
            for one in changes.docs
        ):
            self._retry_quarantine = True
            self.wake()


def _note_begun(lot: Lot, tx: Transaction) -> frozenset[str]:
    return begun.note(tx.connection, [item.row_id for _, item in lot])
