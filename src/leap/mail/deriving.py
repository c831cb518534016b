"""What an account makes of its messages after they were stored: words, threads, contacts.

A transaction that stores a message writes what is needed to list and fetch it, and notes the rest. One worker each for
words and for threads and contacts does that soon after, in batches, while nobody writes; whoever asks for any of it
waits until it is done.
"""

from __future__ import annotations

import contextlib

from leap.mail.model import MAIL_ROWS
from leap.mail.search.filling import FEW, MOST_BEHIND, Filling
from leap.mail.threads.behind import FollowingBehind
from leap.soledad.changes import Accepted, BulkChange, ChangeSet, SetChanged
from leap.soledad.pace import Pace
from leap.soledad.store import Soledad

MOST_SECONDS = 20.0  # that it waits for a pause of those who write


class Deriving:
    """Of one account, from `start` to `close`."""

    def __init__(self, store: Soledad) -> None:
        self._store = store
        self._pace = Pace(most=MOST_SECONDS, busy=lambda: store.owes_changes)
        self.words = Filling(store, self._pace)
        self.threads = FollowingBehind(store, self._pace)

    def start(self) -> None:
        self.words.start()
        self.threads.start()

    def follow(self, changes: ChangeSet) -> None:
        """Called on the loop after each COMMIT."""
        if Accepted() in changes.tags:
            self._pace.wrote()
        rows = [change for change in changes.rows if change.schema == MAIL_ROWS.name]
        bulk = [change for change in changes.bulk if change.schema == MAIL_ROWS.name]
        if not rows and not changes.arrived and not bulk:
            return
        if rows or changes.arrived or not all(map(_is_of_a_set, bulk)):
            self.threads.noted()
        if changes.from_sync:
            self.words.rows_arrived()
            return
        self._pace.wrote()
        added = sum(change.before is None for change in rows)
        if added:
            self.words.added(added)

    async def before_adding(self) -> None:
        """Whoever adds faster than words can be indexed waits here."""
        await self.words.catch_up(MOST_BEHIND)

    def make_way(self) -> None:
        """Somebody reads many messages: what nobody waits for can wait a moment."""
        self._pace.read()

    async def before_searching(self) -> None:
        """A few messages without words a search can read by itself; threads have to be right."""
        await self._store.settle()
        await self.words.catch_up(FEW)
        await self.threads.catch_up()

    async def finish(self) -> None:
        """Returns when everything that was added until now is done."""
        await self._store.settle()
        await self.words.catch_up()
        await self.threads.catch_up()

    def hurrying(self) -> contextlib.AbstractContextManager[None]:
        """Within it nobody is waited for."""
        return self._pace.hurry()

    async def close(self) -> None:
        """What is not done yet is done when the account is opened again."""
        await self.words.close()
        await self.threads.close()


def _is_of_a_set(change: BulkChange) -> bool:
    return isinstance(change, SetChanged)
