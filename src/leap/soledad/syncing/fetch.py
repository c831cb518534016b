"""What a pull takes from the provider: pages, each checked before anything of it is put aside.

Invariants:
* The head is opened and its signature checked before the first item is kept; no item lies behind its seq. A head that
  moves between two pages is checked in turn.
* An item is put aside only if its envelope opens: so what a hostile provider can fill a disk with is what the devices
  of the account wrote themselves, once, and there are no more rounds than that has items.
* No page is larger than was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from leap.soledad.envelope import open_envelope
from leap.soledad.errors import BadPage, ForgedHead, RolledBack
from leap.soledad.head import Head, check_successor, head_hash
from leap.soledad.material import AccountMaterial
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.items import KIND
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.state import STAGED_TO, SyncState
from leap.soledad.transaction import save_setting
from leap.soledad.wire import LoggedItem, PullPage, PullRequest

Progress = Callable[[int, int], None]  # items pulled so far, seq to go to
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
    assert store.material is not None
    staged_to = await store.setting(STAGED_TO)
    since = state.seq if staged_to is None else int(staged_to)
    sealed, head = b"", state.head
    count = 0
    while True:
        request = PullRequest(since=since)
        page = await remote.pull(request)
        if not page.head:
            _check_empty(page, head)
            return b"", None
        _check_page(page, request)
        if page.head != sealed:
            head = await _checked_head(page, state, head, open_head)
            sealed = page.head
        if page.items:
            await asyncio.to_thread(_open_all, page.items, store.material)
            since = page.items[-1].seq
            count += len(page.items)
            await store.write(partial(_put_aside, items=page.items))
            if progress is not None:
                progress(count, page.head_seq)
        if not page.more:
            return sealed, head


def _check_empty(page: PullPage, head: Head | None) -> None:
    if head is not None:
        raise RolledBack("the provider shows an empty log; this device has seen it full")
    if page.items or page.head_seq:
        raise ForgedHead("the provider shows a log without a signed head")


async def _checked_head(
    page: PullPage, state: SyncState, before: Head | None, open_head: OpenHead
) -> Head:
    if before is not None and head_hash(page.head) == before.hash:
        if page.head_seq != before.record.seq:
            raise ForgedHead(f"a head signed for seq {before.record.seq} is shown at another one")
        return before
    head = await open_head(page.head, page.head_seq)
    check_successor(state.own, state.head, head)
    if before is not None and head.record.seq < before.record.seq:
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
