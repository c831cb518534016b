"""From the provider's inbox to a message in INBOX: claim, open, store, push, ack.

    claim (leased) -> engine.sync(), for what other devices made of these items
                   -> each item: unseal -> open_mail -> deliver + note consumed   (one durable transaction)
                      what cannot be unsealed -> quarantine + note consumed       (one durable transaction)
    all of the batch -> engine.sync() -> ack -> note acked

Invariants:
* An item is acked only after what became of it is on this disk and pushed; nothing is lost by a crash between
  any two steps, nor when a lease runs out.
* The row's id is derived from the sealed bytes: two devices, or one after a crash, store one row.
* Whatever one item does, those behind it are stored. Only the store or the network failing stops a batch, and then
  what was not stored is released.
* What another device pushed before its claim on an item ended is known here before the item is stored, so
  nothing it expunged comes back: the pull comes after the claim.
* A device whose first pull is not complete claims nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from leap.mail.contract import AccountError, RowId, SecurityStatus, TooLarge
from leap.mail.incoming import consumed, quarantine
from leap.mail.incoming.opening import Opened, SignerKeys, open_mail
from leap.mail.incoming.quarantine import Quarantined
from leap.mail.incoming.security_fields import with_security_fields, without_forged
from leap.mail.outgoing.addresses import domain_of
from leap.soledad.changes import ChangeSet
from leap.soledad.errors import NotOpen, ProviderLies, SoledadError, Unreachable
from leap.soledad.inbox_seal import open_from_inbox
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import InboxClaim, InboxItem, InboxItems

logger = logging.getLogger(__name__)

LEASE = 120  # seconds; a batch takes one or two, and a slow line some more
BATCH = 100
PULL_PATIENCE = 20.0  # seconds of the lease; a sync under way may be sending a large import
AT_ONCE = 32  # items being opened: their commits are shared, and each costs a disk flush
MEMORY = 64 * 1024 * 1024  # sealed octets being opened; one larger item goes alone
POLL = 60.0  # seconds between looks when nobody wakes us
FIRST_RETRY = 2.0
LONGEST_RETRY = 300.0
_UNSEAL_OFF_LOOP = 64 * 1024  # octets; opening costs 0.2 ms and 1 ms a megabyte

_OURS = (
    SoledadError,
    AccountError,
    OSError,
    MemoryError,
)  # failures of this machine, not of a mail


class Remote(Protocol):
    """What receiving needs of `leap.soledad.remote.ProviderClient`."""

    async def claim_inbox(self, claim: InboxClaim) -> InboxItems: ...
    async def ack_inbox(self, inbox_ids: Sequence[str]) -> None: ...
    async def release_inbox(self, inbox_ids: Sequence[str]) -> None: ...


class Mailbox(Protocol):
    """What receiving needs of `leap.mail.local.LocalAccount`."""

    @property
    def address(self) -> str: ...

    async def deliver(
        self,
        served: bytes,
        *,
        row_id: RowId,
        security: SecurityStatus,
        original: bytes | None,
        internal_date: int,
        also: Callable[[Transaction], None] | None = None,
    ) -> bool:
        """Stores a message durably in INBOX; False, and nothing done, if the row is there."""
        ...


class Engine(Protocol):
    """What receiving needs of the sync engine: a pull, then a push, both complete when it returns."""

    async def sync(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Item:
    """A sealed mail to open, from the inbox or from quarantine."""

    row_id: str
    key_id: str
    received: int
    sealed: bytes


class IncomingMail:
    """The way in of one account on this device."""

    def __init__(
        self,
        account: Mailbox,
        store: Soledad,
        keymanager: SignerKeys,
        remote: Remote,
        engine: Engine,
        *,
        may_claim: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        opener: Callable[..., Awaitable[Opened]] = open_mail,
    ) -> None:
        """`may_claim` says no while the device is provisional; `jitter` gives [0, 1)."""
        self._account = account
        self._store = store
        self._keys = keymanager
        self._remote = remote
        self._engine = engine
        self._may_claim = may_claim
        self._now = now
        self._jitter = jitter
        self._open_mail = opener
        self._own_domain = domain_of(account.address)
        self._woken = asyncio.Event()
        self._slot = 0  # of the documents of consumed ids: where this batch notes its items
        self._retry_quarantine = True
        self._keys_tried: frozenset[str] = frozenset()

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
                        await self.retry_quarantine()
                    while await self.process_once():
                        pass
                    failures = 0
                except Exception as error:
                    logger.info("receiving stops for now: %s", type(error).__name__)
                    timeout = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 12))
                    timeout *= 0.75 + self._jitter() / 2
                    failures += 1
                # Not wait_for: before Python 3.12 it can swallow a cancellation (gh-86296).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._woken.wait()
        finally:
            unsubscribe()

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
        results = await self._in_parallel(claimed.items, known)
        failed = [one for one in results if isinstance(one[1], BaseException)]
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
            assert isinstance(error, BaseException)
            raise error
        return len(claimed.items)

    async def _learn_what_others_stored(self, items: Sequence[InboxItem]) -> None:
        """Pulls, now that nobody else can claim these items: the ids which others consumed come with it."""
        try:
            async with asyncio.timeout(PULL_PATIENCE):
                await self._engine.sync()
        except (Unreachable, NotOpen):
            with contextlib.suppress(SoledadError):
                await self._remote.release_inbox([item.inbox_id for item in items])
            raise
        except (TimeoutError, SoledadError) as error:
            # Sync stands still or is busy for long. Mail that is not shown would be worse than one that
            # could come back: it is stored here, and acked only when a sync succeeds.
            logger.info("mail is stored without a pull before it: %s", type(error).__name__)

    # -- quarantine ---------------------------------------------------------------------------

    async def quarantined(self) -> list[Quarantined]:
        """What could not be opened yet, oldest first."""
        documents = await self._store.find_docs(quarantine.QUARANTINE)
        found = [quarantine.item_of(one.doc_id, one.content) for one in documents]
        return sorted((one for one in found if one is not None), key=lambda one: one.received)

    async def retry_quarantine(self) -> int:
        """Tries to open everything in quarantine again; answers how many left it."""
        self._retry_quarantine = False
        self._keys_tried = self._key_ids()
        released = 0
        for one in await self.quarantined():
            try:
                sealed = one.sealed
                if sealed is None and one.blob is not None:
                    sealed = await self._store.read_blob(one.blob)
                if sealed is None:
                    continue
                raw = await self._unseal(sealed)
                opened = await self._opened(raw)
            except ProviderLies:
                continue
            except _OURS as error:
                logger.info("a mail in quarantine cannot be read now: %s", type(error).__name__)
                continue
            item = _Item(one.row_id, one.key_id, one.received, sealed)
            with contextlib.suppress(TooLarge):
                await self._deliver(item, opened, partial(_release, one.row_id))
                released += 1
        return released

    async def _quarantine(self, item: _Item, reason: str) -> None:
        logger.warning("a mail could not be opened and is kept in quarantine: %s", reason)
        blob = None
        if len(item.sealed) > quarantine.INLINE:
            blob = await self._store.seal_blob(item.sealed)
        kept = Quarantined(
            item.row_id,
            item.key_id,
            item.received,
            reason,
            sealed=item.sealed if blob is None else None,
            blob=None if blob is None else blob.ref,
        )

        def job(tx: Transaction) -> None:
            quarantine.keep(tx, kept, blob)
            self._note_stored(item.row_id, tx)

        await self._store.transact(job, durable=True)

    # -- one item -----------------------------------------------------------------------------

    async def _in_parallel(
        self, items: Sequence[InboxItem], known: Mapping[str, int]
    ) -> list[tuple[InboxItem, str | BaseException]]:
        """(item, its row id when it is safe here, or what this machine failed with)."""
        gate = _Budget(AT_ONCE, MEMORY)

        async def one(item: InboxItem) -> tuple[InboxItem, str | BaseException]:
            async with gate.room(len(item.sealed)):
                try:
                    return item, await self._store_one(item, known)
                except _OURS as error:
                    return item, error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
        return [task.result() for task in tasks]

    async def _store_one(self, item: InboxItem, known: Mapping[str, int]) -> str:
        row_id = self._store.row_key(hashlib.sha256(item.sealed).digest())
        if consumed.item_key(row_id) in known:
            return row_id
        sealed = _Item(row_id, item.key_id, item.received, item.sealed)
        try:
            opened = await self._opened(await self._unseal(item.sealed))
            await self._deliver(sealed, opened, partial(self._note_stored, row_id))
        except (ProviderLies, TooLarge) as error:
            await self._quarantine(sealed, str(error))
        except _OURS:
            raise
        except Exception as error:
            # A fault of ours that this mail brings out must not stop those behind it.
            await self._quarantine(sealed, f"this version cannot store it ({type(error).__name__})")
        return row_id

    async def _unseal(self, sealed: bytes) -> bytes:
        material = self._store.material
        if material is None:
            raise SoledadError("the account is not set up on this device")
        keys, account = material.inbox_keys, material.account_id
        if len(sealed) < _UNSEAL_OFF_LOOP:
            return open_from_inbox(sealed, keys, account)
        return await asyncio.to_thread(open_from_inbox, sealed, keys, account)

    async def _opened(self, raw: bytes) -> Opened:
        try:
            return await self._open_mail(
                raw, self._keys, own_domain=self._own_domain, now=self._now
            )
        except _OURS:
            raise
        except Exception as error:
            logger.warning("a mail is served as it came: %s", type(error).__name__)
            status = SecurityStatus(
                encryption="undecryptable",
                note="This version could not open it; it is kept as it came.",
            )
            return Opened(
                with_security_fields(status, without_forged(raw, self._own_domain)), status, None
            )

    async def _deliver(
        self, item: _Item, opened: Opened, also: Callable[[Transaction], None]
    ) -> None:
        stored = await self._account.deliver(
            opened.served,
            row_id=RowId(item.row_id),
            security=opened.security,
            original=opened.original,
            internal_date=item.received,
            also=also,
        )
        if not stored:  # the row is there, or was: from another device, or before a crash
            await self._store.transact(also, durable=True)

    def _note_stored(self, row_id: str, tx: Transaction) -> None:
        consumed.note_stored(tx, self._device_id, self._slot, row_id, self._now())

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


def _release(row_id: str, tx: Transaction) -> None:
    quarantine.release(tx, row_id)


class _Budget:
    """Lets tasks in while there is room for their count and their octets; one too large goes alone."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._inside = 0
        self._taken = 0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._inside == 0
                    or (self._inside < self._count and self._taken + size <= self._size)
                )
            )
            self._inside += 1
            self._taken += size
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._taken -= size
                self._changed.notify_all()
