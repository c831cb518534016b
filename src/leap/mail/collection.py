"""The messages of one mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from leap.mail.choosing import LAST_UID, Choosing, Chosen, grouped
from leap.mail.contract import (
    AccountBackend,
    Appended,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageRow,
    NewMessage,
    Uid,
)
from leap.mail.messages import Message, messages_of

BATCH_MESSAGES = 500
BATCH_OCTETS = 32 * 1024 * 1024  # one transaction; larger ones make others wait for the disk


class MessageCollection(Choosing):
    """The messages of one mailbox, ascending by uid. Nothing of them is held here.

    Methods that change messages take them, their rows or their uids. Every method may raise NoSuchMailbox, when the
    mailbox was deleted, and AccountUnavailable.
    """

    def __init__(self, backend: AccountBackend, mailbox: MailboxInfo) -> None:
        self.backend = backend
        self.mailbox = mailbox

    def __repr__(self) -> str:
        return f"MessageCollection({self.mailbox.mailbox_id!r})"

    def _group(self, chosen: Chosen) -> Mapping[MailboxId, Sequence[Uid]]:
        # also without any: a mailbox that is gone is told so
        return grouped(chosen, self.mailbox.mailbox_id) or {self.mailbox.mailbox_id: []}

    async def status(self) -> MailboxStatus:
        """Counts, size, and what IMAP says of a mailbox."""
        return await self.backend.status(self.mailbox.mailbox_id)

    async def count(self) -> int:
        """How many messages there are."""
        return (await self.status()).messages

    async def unseen(self) -> int:
        """How many of them are unread."""
        return (await self.status()).unseen

    async def recent(self) -> int:
        """How many came since a mail program last looked (IMAP's \\Recent)."""
        return (await self.status()).recent

    async def rows(self, *, first: int = 1, last: int | None = None) -> list[MessageRow]:
        """The rows with uids in [first, last], ascending: flags, sizes and dates without more."""
        first = max(1, min(first, LAST_UID + 1))
        last = LAST_UID if last is None else max(0, min(last, LAST_UID))
        return await self.backend.rows(
            self.mailbox.mailbox_id, first=Uid(first), last=None if last == LAST_UID else Uid(last)
        )

    async def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> list[Message]:
        """`count` messages from position `start`, with what a list shows of them.

        Position 0 is the newest message, or the oldest without `newest_first`. Raises ContentUnavailable.
        """
        start, end = max(0, start), max(0, start) + max(0, count)
        rows = await (self._newest(end) if newest_first else self._oldest(end))
        return await self._messages(rows[start:end])

    async def window_from(
        self, uid: int, count: int = 50, *, newest_first: bool = True
    ) -> list[Message]:
        """The next `count` messages from this uid on, going to older ones, or without `newest_first` to newer ones.

        The message with the uid is the first if it is still there. Unlike positions, uids mean the same when mail
        comes or goes between two windows. Raises ContentUnavailable.
        """
        count = max(0, count)
        if newest_first:
            rows = await self._newest(count, below=min(uid, LAST_UID) + 1)
        else:
            rows = await self._oldest(count, first=max(1, uid))
        return await self._messages(rows[:count])

    async def _newest(self, count: int, below: int | None = None) -> list[MessageRow]:
        """The newest `count` rows with uids under `below`, newest first, without reading a large mailbox whole."""
        uid_next = (await self.status()).uid_next
        end = uid_next if below is None else min(below, uid_next)
        span = max(2 * count, 100)
        while True:
            first = max(1, end - span)
            rows = await self.rows(first=first, last=None if below is None else max(0, end - 1))
            if len(rows) >= count or first == 1:
                return rows[::-1]
            span *= 4

    async def _oldest(self, count: int, first: int = 1) -> list[MessageRow]:
        uid_next = (await self.status()).uid_next
        span = max(2 * count, 100)
        while True:
            rows = await self.rows(first=first, last=first + span)
            if len(rows) >= count or first + span >= uid_next:
                return rows
            span *= 4

    async def by_uid(self, uid: int) -> Message | None:
        """The message with this uid, or None."""
        found = await self.rows(first=uid, last=uid) if 1 <= uid <= LAST_UID else []
        return (await self._messages(found))[0] if found else None

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Every message there is when the iteration begins; those that go meanwhile raise when they are read."""
        for row in await self.rows():
            yield Message(self.backend, self.mailbox.mailbox_id, row)

    async def search(self, needle: str, *, body_only: bool = False) -> list[Message]:
        """Messages whose decoded text holds `needle`, letter case and accents aside; fetches what is still at the
        provider. Raises ContentUnavailable."""
        rows = await self.rows()
        found = set(
            await self.backend.search_text(
                self.mailbox.mailbox_id,
                [row.uid for row in rows],
                "body" if body_only else "text",
                needle,
            )
        )
        return await self._messages([row for row in rows if row.uid in found])

    async def add(
        self,
        raw: bytes,
        *,
        flags: Sequence[str] = (),
        internal_date: int | None = None,
        zone: int = 0,
    ) -> Appended:
        """Adds one message, its octets kept exactly. `internal_date` is in seconds since 1970 (now without it),
        `zone` in minutes east of UTC. Raises TooLarge, StorageFull, NotPermitted for what can be no flag."""
        message = NewMessage(raw=raw, flags=tuple(flags), internal_date=internal_date, zone=zone)
        return (await self.backend.append(self.mailbox.mailbox_id, [message]))[0]

    async def add_many(self, messages: Iterable[NewMessage]) -> list[Appended]:
        """Adds messages in order, in one transaction for each 500 or 32 MiB: an error leaves the batches before.
        Raises what `add` raises."""
        out: list[Appended] = []
        batch: list[NewMessage] = []
        octets = 0
        for message in messages:
            if batch and (len(batch) >= BATCH_MESSAGES or octets + len(message.raw) > BATCH_OCTETS):
                out += await self.backend.append(self.mailbox.mailbox_id, batch)
                batch, octets = [], 0
            batch.append(message)
            octets += len(message.raw)
        if batch:
            out += await self.backend.append(self.mailbox.mailbox_id, batch)
        return out

    async def expunge(self, chosen: Chosen | None = None) -> list[Uid]:
        """Removes messages flagged `\\Deleted` (among `chosen` when given); answers the uids of what went."""
        uids = None if chosen is None else self._group(chosen)[self.mailbox.mailbox_id]
        return await self.backend.expunge(self.mailbox.mailbox_id, uids)

    async def _messages(self, rows: Sequence[MessageRow]) -> list[Message]:
        return await messages_of(self.backend, [(self.mailbox.mailbox_id, row) for row in rows])
