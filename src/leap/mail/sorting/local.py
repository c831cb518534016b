"""SORT and THREAD of an account on Soledad.

The order of a mailbox is worked out once for each list of keys and kept while no message arrives: uids and what they
are sorted by never change, so what was expunged is only left out. A forest is kept while it is asked of the same
messages and the mailbox holds the same.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from leap.mail.contract import ContentUnavailable, MailboxId, RowId, Uid
from leap.mail.reading import MessageReader
from leap.mail.sorting.asking import forest, read_order, read_sent, read_uids
from leap.mail.sorting.model import SortKey, ThreadAlgorithm, ThreadLine
from leap.soledad.sqlite import Connection

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
KEPT = 8  # orders, and as many forests; of 100,000 messages an order has 800 kB, a forest 6 MB
_INLINE = 1_000  # uids compared on the event loop


class _Holds(NamedTuple):
    """Two that are equal hold the same; with equal `uid_next` the later holds nothing that the earlier did not."""

    uid_validity: int
    uid_next: int
    messages: int


class Worked(NamedTuple):
    """Orders and forests that were worked out, the last used at the end."""

    orders: OrderedDict[tuple[MailboxId, tuple[SortKey, ...]], tuple[_Holds, array[int]]]
    forests: OrderedDict[
        tuple[MailboxId, ThreadAlgorithm], tuple[_Holds, frozenset[Uid], list[ThreadLine]]
    ]

    @classmethod
    def nothing(cls) -> Worked:
        return cls(OrderedDict(), OrderedDict())


class LocalSorting:
    """A part of `LocalAccount`."""

    _reader: MessageReader
    _worked: Worked

    async def _look(self, mailbox_id: MailboxId, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def sorted_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], keys: Sequence[SortKey]
    ) -> list[Uid]:
        order = await self._order(mailbox_id, tuple(keys))
        wanted = set(uids)

        def chosen() -> list[Uid]:
            return [Uid(uid) for uid in order if uid in wanted]

        return chosen() if len(order) < _INLINE else await asyncio.to_thread(chosen)

    async def _order(self, mailbox_id: MailboxId, keys: tuple[SortKey, ...]) -> array[int]:
        known = self._worked.orders.get((mailbox_id, keys))

        def job(connection: Connection) -> tuple[_Holds, array[int], list[RowId]]:
            holds = _holds(connection, mailbox_id)
            if known is not None:
                before, order = known
                if before == holds:
                    return holds, order, []
                if before[:2] == holds[:2]:
                    there = read_uids(connection, mailbox_id)
                    return holds, array("Q", [uid for uid in order if uid in there]), []
            found = read_order(connection, mailbox_id, keys)
            return holds, array("Q", found.uids), found.absent

        for _ in range(2):
            holds, order, absent = await self._look(mailbox_id, job)
            if not absent:
                _keep(self._worked.orders, (mailbox_id, keys), (holds, order))
                return order
            await self._reader.open_headers(absent)
        raise ContentUnavailable("A message's header record cannot be found.")

    async def threaded_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], algorithm: ThreadAlgorithm
    ) -> list[ThreadLine]:
        wanted = frozenset(uids)
        known = self._worked.forests.get((mailbox_id, algorithm))

        def job(connection: Connection) -> tuple[_Holds, list[ThreadLine], list[RowId]]:
            holds = _holds(connection, mailbox_id)
            if known is not None and known[0] == holds and known[1] == wanted:
                return holds, known[2], []
            messages, absent = read_sent(connection, mailbox_id)
            chosen = [message for message in messages if message.key in wanted]
            return holds, forest(chosen, algorithm), absent

        for _ in range(2):
            holds, lines, absent = await self._look(mailbox_id, job)
            if not absent:
                _keep(self._worked.forests, (mailbox_id, algorithm), (holds, wanted, lines))
                return list(lines)
            await self._reader.open_headers(absent)
        raise ContentUnavailable("A message's header record cannot be found.")


def _keep(kept: OrderedDict[K, V], name: K, value: V) -> None:
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > KEPT:
        kept.popitem(last=False)


def _holds(connection: Connection, mailbox_id: MailboxId) -> _Holds:
    return _Holds(
        *connection.execute(
            "SELECT uid_validity, uid_next, messages FROM mail_box WHERE mailbox_id = ?",
            (mailbox_id,),
        ).fetchone()
    )
