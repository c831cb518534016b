"""The log of each account: pages out, staged pushes in, and the one step which moves the head.

Invariants:
* A commit is one durable transaction: the head is compared and swapped, all its items are written, its
  staged items are gone. It happens as a whole or not at all.
* The i-th item (from 0) of a commit on parent seq P has seq P + 1 + i; the head then has P + count.
* A commit whose head is the current head already happened; it is answered as the first time.
* A page and the head in it come from one snapshot.
* Whose commit it is, is checked in that transaction: no head of a device comes after its token has ended.
* An index of a push is staged once; the same bytes again change nothing, other bytes are refused.
* A log is founded anew once for each generation, and only for the one which the stored keyset names: a founding
  commit that comes again, or late, deletes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from leap.provider.errors import BadRequest, HeadMoved, StageDiffers, TooLarge, Unauthorized
from leap.provider.storage.room import Room
from leap.soledad.keyset import open_keyset
from leap.soledad.sqlite import Connection, Database
from leap.soledad.wire import (
    MAX_COMMIT_BYTES,
    MAX_COMMIT_ITEMS,
    CommitReply,
    CommitRequest,
    Item,
    LoggedItem,
    PullPage,
    PullRequest,
    StageReply,
    StageRequest,
)

MAX_HEAD_BYTES = 256 * 1024  # some hundred devices; a head of one device is about 1 kB
# One push may be staged in several requests, but it is one transaction of the only writer: what
# this allows takes about half a second.
MAX_PUSH_ITEMS = 10 * MAX_COMMIT_ITEMS
MAX_PUSH_BYTES = 16 * MAX_COMMIT_BYTES
MAX_STAGED_BYTES = 4 * MAX_PUSH_BYTES  # of one account, over all its pushes
MAX_STAGED_ITEMS = 4 * MAX_PUSH_ITEMS  # an item without content is a row on the disk, too
STAGED_LIFETIME = 24 * 3600  # seconds
FIRST_PARENT = b""  # what the first commit of an account names as its parent

_UPSERT = """
    INSERT INTO item (account, item_id, version, seq, sealed) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (account, item_id) DO UPDATE
    SET version = excluded.version, seq = excluded.seq, sealed = excluded.sealed
"""


class Log:
    """The logs of all accounts; `account` is always the number of one."""

    def __init__(self, db: Database, room: Room, *, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._room = room
        self._now = now

    async def pull(self, account: int, request: PullRequest) -> PullPage:
        """A page of items above `since`, with the head of the same moment."""
        return await self._db.read(lambda connection: _pull(connection, account, request))

    async def head_seq(self, account: int) -> int:
        """The seq of the current head, 0 before the first commit."""
        return await self._db.read(lambda connection: _head(connection, account)[2])

    async def stage(self, account: int, *requests: StageRequest) -> StageReply:
        """Keeps items for a commit to come, in one transaction. Raises TooLarge, StageDiffers.

        Several requests belong to one push; the answer is as after the last.
        """
        for request in requests:
            self._room.need(_check_items(request.items))
            if request.first + len(request.items) > MAX_PUSH_ITEMS:
                raise TooLarge(f"a push holds at most {MAX_PUSH_ITEMS} items")
        created = int(self._now())
        return await self._db.write(
            lambda connection: _stage(connection, account, requests, created),
            durable=True,
        )

    async def commit(
        self, account: int, request: CommitRequest, *, by: bytes | None = None
    ) -> CommitReply:
        """Swaps the head. Raises HeadMoved, StageDiffers, BadRequest, TooLarge; then nothing changed.

        `by` is the hash of the device's token. Raises Unauthorized when it has ended: a device that was revoked while
        its commit was on its way must not move the head, for all others would stop at it.
        """
        self._room.need(_check_items(request.items) + len(request.head))
        if not 0 < len(request.head) <= MAX_HEAD_BYTES:
            raise TooLarge("a head has between 1 and 262144 bytes")

        def job(connection: Connection) -> CommitReply:
            if by is not None:
                _check_token(connection, account, by)
            return _commit(connection, account, request)

        return await self._db.write(job, durable=True)

    async def expire_staged(self) -> int:
        """Forgets pushes nobody finished within a day; how many items."""
        before = int(self._now()) - STAGED_LIFETIME
        return await self._db.write(
            lambda connection: (
                connection.execute("DELETE FROM staged WHERE created < ?", (before,)).rowcount
            )
        )


def _check_token(connection: Connection, account: int, token_hash: bytes) -> None:
    found = connection.execute(
        "SELECT 1 FROM token WHERE account = ? AND token_hash = ?", (account, token_hash)
    ).fetchone()
    if found is None:
        raise Unauthorized


def _check_items(items: list[Item]) -> int:
    """The size of all. Raises TooLarge."""
    if len(items) > MAX_COMMIT_ITEMS:
        raise TooLarge(f"a request holds at most {MAX_COMMIT_ITEMS} items")
    size = sum(len(item.sealed) for item in items)
    if size > MAX_COMMIT_BYTES:
        raise TooLarge(f"a request holds at most {MAX_COMMIT_BYTES} bytes of items")
    return size


def _head(connection: Connection, account: int) -> tuple[bytes, bytes, int]:
    """Head, its hash and its seq."""
    row = connection.execute(
        "SELECT head, head_hash, seq FROM head WHERE account = ?", (account,)
    ).fetchone()
    return row or (b"", FIRST_PARENT, 0)


def _pull(connection: Connection, account: int, request: PullRequest) -> PullPage:
    head, _, head_seq = _head(connection, account)
    max_items = min(max(request.max_items, 1), MAX_COMMIT_ITEMS)
    max_bytes = min(request.max_bytes, MAX_COMMIT_BYTES)
    rows = connection.execute(
        "SELECT seq, item_id, version, sealed FROM item WHERE account = ? AND seq > ? ORDER BY seq"
        " LIMIT ?",
        (account, request.since, max_items + 1),
    )
    items: list[LoggedItem] = []
    size = 0
    more = False
    for seq, item_id, version, sealed in rows:
        size += len(sealed)
        if items and (len(items) == max_items or size > max_bytes):
            more = True
            break
        items.append(LoggedItem(seq=seq, item_id=item_id, version=version, sealed=sealed))
    return PullPage(items=items, head=head, head_seq=head_seq, more=more)


def _staged_too_much(connection: Connection, account: int) -> bool:
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(length(sealed)), 0) FROM staged WHERE account = ?",
        (account,),
    ).fetchone()
    return bool(count > MAX_STAGED_ITEMS or size > MAX_STAGED_BYTES)


def _stage(
    connection: Connection, account: int, requests: Sequence[StageRequest], created: int
) -> StageReply:
    """All of one push. What is staged is counted once for all: it may be some hundred thousand rows."""
    push_id = requests[-1].push_id
    if _staged_too_much(connection, account):
        # An account must not be shut out for a day by the pushes of a device that crashed.
        connection.execute(
            "DELETE FROM staged WHERE account = ? AND push_id <> ?", (account, push_id)
        )
    for request in requests:
        _stage_items(connection, account, request, created)
    size, last, count = connection.execute(
        "SELECT coalesce(sum(length(sealed)), 0), coalesce(max(position), -1), count(*)"
        " FROM staged WHERE account = ? AND push_id = ?",
        (account, push_id),
    ).fetchone()
    if size > MAX_PUSH_BYTES:
        raise TooLarge(f"a push holds at most {MAX_PUSH_BYTES} bytes of items")
    if count == last + 1:
        return StageReply(staged=count)
    return StageReply(staged=_without_gap(connection, account, push_id))


def _stage_items(connection: Connection, account: int, request: StageRequest, created: int) -> None:
    for offset, item in enumerate(request.items):
        position = request.first + offset
        added = connection.execute(
            "INSERT INTO staged (account, push_id, position, item_id, version, created, sealed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                account,
                request.push_id,
                position,
                item.item_id,
                item.version,
                created,
                item.sealed,
            ),
        ).rowcount
        if added:
            continue
        there = connection.execute(
            "SELECT item_id, version, sealed FROM staged"
            " WHERE account = ? AND push_id = ? AND position = ?",
            (account, request.push_id, position),
        ).fetchone()
        if there != (item.item_id, item.version, item.sealed):
            raise StageDiffers(f"item {position} of this push was staged with other bytes")


def _without_gap(connection: Connection, account: int, push_id: str) -> int:
    staged = 0
    for (position,) in connection.execute(
        "SELECT position FROM staged WHERE account = ? AND push_id = ? ORDER BY position",
        (account, push_id),
    ):
        if position != staged:
            break
        staged += 1
    return staged


def _commit(connection: Connection, account: int, request: CommitRequest) -> CommitReply:
    head, head_hash, head_seq = _head(connection, account)
    if head and request.head == head:
        return CommitReply(head_seq=head_seq)
    if request.founding is not None:
        _check_founding(connection, account, request.founding)
    elif request.parent != head_hash:
        raise HeadMoved("another device wrote first")
    staged: list[tuple[int, bytes, int, bytes]] = []
    if request.push_id is not None:
        staged = connection.execute(
            "SELECT position, item_id, version, sealed FROM staged"
            " WHERE account = ? AND push_id = ? ORDER BY position",
            (account, request.push_id),
        ).fetchall()
    if len(staged) + len(request.items) != request.count:
        raise StageDiffers(
            f"{len(staged)} items are staged and {len(request.items)} came now,"
            f" which is not {request.count}"
        )
    if staged and staged[-1][0] != len(staged) - 1:
        raise StageDiffers("items are missing in the middle of this push")
    first = request.head_seq - request.count + 1  # seq of the first item
    if request.founding is None and first != head_seq + 1:
        raise BadRequest(f"the head's seq must be {head_seq + request.count}")
    if first <= head_seq:
        raise BadRequest(f"the head's seq must be {head_seq + request.count} or more")
    new = [(item_id, version, sealed) for _, item_id, version, sealed in staged]
    new += [(item.item_id, item.version, item.sealed) for item in request.items]
    if request.founding is not None:
        connection.execute("DELETE FROM item WHERE account = ?", (account,))
        connection.execute(
            "DELETE FROM staged WHERE account = ? AND push_id IS NOT ?", (account, request.push_id)
        )
    connection.executemany(
        "DELETE FROM item WHERE account = ? AND item_id = ?",
        ((account, item_id) for item_id in request.purged),
    )
    connection.executemany(
        _UPSERT,
        (
            (account, item_id, version, first + index, sealed)
            for index, (item_id, version, sealed) in enumerate(new)
        ),
    )
    if request.push_id is not None:
        connection.execute(
            "DELETE FROM staged WHERE account = ? AND push_id = ?", (account, request.push_id)
        )
    generation = request.founding
    connection.execute(
        "INSERT INTO head (account, head, head_hash, seq, generation)"
        " VALUES (?, ?, ?, ?, coalesce(?5, 1)) ON CONFLICT (account) DO UPDATE"
        " SET head = excluded.head, head_hash = excluded.head_hash, seq = excluded.seq,"
        " generation = coalesce(?5, generation)",
        (
            account,
            request.head,
            hashlib.sha256(request.head).digest(),
            request.head_seq,
            generation,
        ),
    )
    return CommitReply(head_seq=request.head_seq)


def _check_founding(connection: Connection, account: int, generation: int) -> None:
    """Raises HeadMoved unless this generation is the keyset's, and no log of it, or of a later one, is here."""
    keyset, root_public = connection.execute(
        "SELECT keyset, root_public FROM account WHERE number = ?", (account,)
    ).fetchone()
    if open_keyset(keyset, root_public=root_public).generation != generation:
        raise HeadMoved("the keyset names another generation of the log")
    found = connection.execute(
        "SELECT 1 FROM head WHERE account = ? AND generation >= ?", (account, generation)
    ).fetchone()
    if found is not None:
        raise HeadMoved("this generation of the log was founded already")
