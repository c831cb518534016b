"""Takes words out of the vocabulary that no message has any more, so that deleted mail leaves none behind.

In the background, when an account is opened and daily, if messages went since: slice by slice, in short transactions.
Invariants:
* A term goes only if no message has it, in the transaction that looked: no search ever misses one.
* When a term goes, the vocabulary gets another name: what was remembered of it under the old one counts no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable

from leap.soledad.errors import NotOpen, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad, work_in_background
from leap.soledad.transaction import find_setting, save_setting

SLICE = 100  # terms looked at in one transaction: about 3 ms
PAUSE_SECONDS = (
    0.02  # between slices: a vocabulary of 100,000 takes half a minute, at a tenth of a processor
)
DAY = 24 * 3600.0
_SETTING = "mail-terms-swept"  # how many messages had gone when it was last done
_log = logging.getLogger(__name__)


def forget_terms(connection: Connection, after: int, last: int, limit: int = SLICE) -> int | None:
    """Looks at the terms behind the id `after` up to `last`; answers where it ended, None when it is through."""
    terms = connection.execute(
        "SELECT id, term FROM mail_term WHERE id > max(?, 1) AND id <= ? ORDER BY id LIMIT ?",
        (after, last, limit),
    ).fetchall()
    unused = [(number,) for number, term in terms if not _is_used(connection, term)]
    if unused:
        connection.executemany("DELETE FROM mail_term_parts WHERE rowid = ?", unused)
        connection.executemany("DELETE FROM mail_term WHERE id = ?", unused)
        name = "\ue07f" + secrets.token_hex(16)
        connection.execute("UPDATE mail_term SET term = ? WHERE id = 1", (name,))
    return terms[-1][0] if terms else None


def _is_used(connection: Connection, term: str) -> bool:
    phrase = '"' + term.replace('"', '""') + '"'
    return (
        connection.execute(
            "SELECT 1 FROM mail_words WHERE mail_words MATCH ? LIMIT 1", (phrase,)
        ).fetchone()
        is not None
    )


class Forgetting:
    """Works in the background from `start` to `close`."""

    def __init__(
        self, store: Soledad, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="mail search vocabulary")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        work_in_background()
        while True:
            try:
                await self.forget()
                await self._store.empty_trash()  # sync does it, too; not every account has one
            except NotOpen:
                return
            except SoledadError as error:
                _log.debug("the vocabulary waits: %s", type(error).__name__)
            await self._sleep(DAY)

    async def forget(self) -> None:
        """Looks at the whole vocabulary, if messages went since that was last done."""
        gone, swept, last = await self._store.read(_state)
        if gone == swept:
            return
        at: int | None = 0
        while at is not None:
            at = await self._store.write(lambda c: forget_terms(c, at or 0, last))  # noqa: B023
            await self._sleep(PAUSE_SECONDS)
        await self._store.write(lambda c: save_setting(c, _SETTING, gone))


def _state(connection: Connection) -> tuple[int, int, int]:
    """How many messages left the index, how many had when this was last done, and the newest term."""
    numbered = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'mail_text'")
    last = (numbered.fetchone() or (0,))[0]
    left = connection.execute("SELECT count(*) FROM mail_text").fetchone()[0]
    newest = connection.execute("SELECT max(id) FROM mail_term").fetchone()[0]
    return int(last) - int(left), find_setting(connection, _SETTING) or 0, int(newest)
