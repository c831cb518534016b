"""Messages of all mailboxes that have something in common: a query, a tag, a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from leap.mail.answers import QueryCount
from leap.mail.choosing import Choosing, Chosen, grouped
from leap.mail.contract import AccountBackend, FoundMessage, MailboxId, Uid
from leap.mail.messages import Message, messages_of

PAGE = 10_000  # rows asked for at a time when all are wanted; as many as one search answers


class FoundMessages(Choosing):
    """The messages of an account that fit a query, newest first, wherever they are; a copy counts as one more.

    It has the methods of `MessageCollection` that do not belong to one mailbox, and nothing of the messages is held
    here: it is asked anew each time. Methods that change messages take them as `window` gives them, and do so in one
    transaction for each mailbox. Every method may raise QueryError and AccountUnavailable.
    """

    def __init__(self, backend: AccountBackend, query: str) -> None:
        self.backend = backend
        self.query = query

    def __repr__(self) -> str:
        return "FoundMessages()"  # what a person looks for is never in a log

    def _group(self, chosen: Chosen) -> Mapping[MailboxId, Sequence[Uid]]:
        return grouped(chosen)

    async def status(self) -> QueryCount:
        """How many there are, how many of them are unread, and how many more cannot be looked at now."""
        return await self.backend.count(self.query)

    async def count(self) -> int:
        """How many messages there are."""
        return (await self.status()).messages

    async def unseen(self) -> int:
        """How many of them are unread."""
        return (await self.status()).unseen

    async def rows(self, start: int = 0, count: int | None = None) -> list[FoundMessage]:
        """The rows from position `start` on, newest first, each with its mailbox."""
        out: dict[str, FoundMessage] = {}
        start = max(0, start)
        end = None if count is None else start + max(0, count)
        while end is None or start < end:
            limit = PAGE if end is None else min(PAGE, end - start)
            page = await self.backend.search(self.query, limit, start)
            # mail that came between two pages moves the others on: none is told twice
            out.update((one.row.row_id, one) for one in page.found)
            start += limit
            if not page.more:
                break
        return list(out.values())

    async def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> list[Message]:
        """`count` messages from position `start`, with what a list shows of them.

        Position 0 is the newest message, or the oldest without `newest_first`. Raises ContentUnavailable.
        """
        start, count = max(0, start), max(0, count)
        if newest_first:
            rows = await self.rows(start, count)
        else:
            end = max(0, await self.count() - start)
            first = max(0, end - count)
            rows = (await self.rows(first, end - first))[::-1]
        return await messages_of(self.backend, [(one.mailbox_id, one.row) for one in rows])

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Every message there is when the iteration begins, newest first; those that go meanwhile raise when they
        are read."""
        for one in await self.rows():
            yield Message(self.backend, one.mailbox_id, one.row)
