"""What a pull takes from the provider: pages, each checked before anything of it is put aside.

Invariants:
* The head is opened and its signature checked before the first item is kept; no item lies behind its seq. A head that
  moves between two pages is checked in turn.
* An item is put aside only if its envelope opens: so what a hostile provider can fill a disk with is what the devices
  of the account wrote themselves, once, and there are no more rounds than that has items.
* No page is larger than was asked for.
* A log that was founded anew, or purged beyond what is known here, is taken from its beginning (`rejoin`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from leap.soledad.envelope import open_envelope
from leap.soledad.errors import BadPage, BadReply, BeingFounded, ForgedHead, RolledBack
from leap.soledad.head import Head, HeadRecord, check_successor, head_hash
from leap.soledad.material import AccountMaterial
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.items import KIND
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import STAGED_TO, STAGED_WHOLE, SyncState, forget_aside
from leap.soledad.transaction import save_setting
from leap.soledad.wire import LoggedItem, PullPage, PullRequest

Progress = Callable[[int, int, int], None]  # items and octets so far; how many items at most follow
OpenHead = Callable[[bytes, int], Awaitable[Head]]  # sealed head, seq it is shown at


async def fetch_news(
    store: Soledad,
    remote: SyncRemote,
    state: SyncState,
    open_head: OpenHead,
    progress: Progress | None,
) -> tuple[bytes, Head | None]:
    """Puts all news aside; answers the head they lead to, sealed and opened (None: the log is empty).

    Raises ProviderLies, Unreachable, Refused.
    """
    return await _Fetching(store, remote, state, open_head, progress).fetch()


class _Fetching:
    """One pull: what it has reached."""

    def __init__(
        self,
        store: Soledad,
        remote: SyncRemote,
        state: SyncState,
        open_head: OpenHead,
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._remote = remote
        self._state = state
        self._open_head = open_head
        self._progress = progress
        self._sealed = b""
        self._head = state.head
        self._since = 0
        self._whole: int | None = None
        self._count = 0
        self._bytes = 0

    async def fetch(self) -> tuple[bytes, Head | None]:
        staged_to = await self._store.setting(STAGED_TO)
        self._whole = await self._store.setting(STAGED_WHOLE)
        if staged_to is not None:
            self._since = int(staged_to)
        elif self._whole is None:
            self._since = self._state.seq
        while True:
            request = PullRequest(since=self._since)
            more: bool | None = None
            async with aclosing(self._remote.pull_pages(request)) as pages:
                async for page in pages:
                    if more is False:
                        raise BadReply("the provider's answer to a pull goes on behind its end")
                    if not page.head:
                        _check_empty(page, self._head)
                        return b"", None
                    more = page.more
                    if not await self._take(page):
                        more = True
                        break
            if not more:
                return self._sealed, self._head

    def _founded(self) -> int:
        """The generation in the newest keyset known here; opening a head may have fetched it."""
        return self._material.open_keyset().generation

    @property
    def _material(self) -> AccountMaterial:
        """As it is now: opening a head may have brought a keyset with new epochs."""
        assert self._store.material is not None
        return self._store.material

    async def _take(self, page: PullPage) -> bool:
        """Puts one page aside; False if the log has to be taken from its beginning instead."""
        _check_page(page, PullRequest(since=self._since))
        if page.head != self._sealed:
            self._head = await _checked_head(
                page, self._state, self._head, self._open_head, self._founded
            )
            self._sealed = page.head
        assert self._head is not None
        wanted = _whole_wanted(self._state, self._head.record)
        if wanted is not None and wanted != self._whole:
            await self._store.write(partial(forget_aside, whole=wanted))
            self._whole, self._since = wanted, 0
            return False
        if page.items:
            await asyncio.to_thread(_open_all, page.items, self._material)
            self._since = page.items[-1].seq
            self._count += len(page.items)
            self._bytes += sum(len(item.sealed) for item in page.items)
            await self._store.write(partial(_put_aside, items=page.items))
            if self._progress is not None:
                self._progress(self._count, self._bytes, page.head_seq - self._since)
        return True


def _whole_wanted(state: SyncState, record: HeadRecord) -> int | None:
    """The generation of which everything has to be taken; None if the news suffice."""
    if state.record is None:
        return None
    if record.generation > state.record.generation or record.purge_seq > state.seq:
        return record.generation
    return None


def _check_empty(page: PullPage, head: Head | None) -> None:
    if head is not None:
        raise RolledBack("the provider shows an empty log; this device has seen it full")
    if page.items or page.head_seq:
        raise ForgedHead("the provider shows a log without a signed head")


async def _checked_head(
    page: PullPage,
    state: SyncState,
    before: Head | None,
    open_head: OpenHead,
    founded: Callable[[], int],
) -> Head:
    if before is not None and head_hash(page.head) == before.hash:
        if page.head_seq != before.record.seq:
            raise ForgedHead(f"a head signed for seq {before.record.seq} is shown at another one")
        return before
    head = await open_head(page.head, page.head_seq)
    if state.founding is not None and head.record.generation < state.founding.generation:
        raise BeingFounded("this account's log is being founded anew, and is not there yet")
    check_successor(state.own, state.head, head, founded())
    # After the rules: an old head of a founding that is over is not news of one that goes on.
    if head.record.partial and head.record.author != state.device_id:
        raise BeingFounded("another device is founding this account's log anew, and is not done")
    same = before is not None and before.record.generation == head.record.generation
    if same and before is not None and head.record.seq < before.record.seq:
        raise RolledBack("the end of the log moves back while it is pulled")
    return head


def _check_page(page: PullPage, request: PullRequest) -> None:
    """Raises BadPage for a page that does not lead on to the head, or is not what was asked for."""
    last = request.since
    for item in page.items:
        if item.seq <= last:
            raise BadPage("the provider's answer to a pull is not in order")
        last = item.seq
    if last > page.head_seq and page.items:
        raise BadPage("the provider shows items behind the end of the log")
    if page.more and not page.items:
        raise BadPage("the provider says there are more items, but gives none")
    size = sum(len(item.sealed) for item in page.items)
    if len(page.items) > request.max_items or size > request.max_bytes:
        raise BadPage("the provider's answer to a pull is larger than was asked for")


def _open_all(items: Sequence[LoggedItem], material: AccountMaterial) -> None:
    """Raises ForgedEnvelope unless a device of this account sealed each of them as it is shown."""
    epochs = material.epochs_by_number
    for item in items:
        open_envelope(
            item.sealed,
            kind=KIND,
            account=material.account_id,
            item_id=item.item_id,
            version=item.version,
            epochs=epochs,
        )


def _put_aside(connection: Connection, items: Sequence[LoggedItem]) -> None:
    connection.executemany(
        "INSERT INTO pulled_item (item_id, seq, version, sealed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (item_id) DO UPDATE SET seq = excluded.seq, version = excluded.version,"
        " sealed = excluded.sealed",
        [(item.item_id, item.seq, item.version, item.sealed) for item in items],
    )
    save_setting(connection, STAGED_TO, items[-1].seq)
