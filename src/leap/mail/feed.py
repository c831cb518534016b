"""The change feed of an account: who listens hears of every change, and nobody's slowness costs memory.

Invariants:
* A change is announced after its transaction committed, and before whoever made it is answered.
* A wake-up is never lost: what is announced while a reader is busy waits for it.
* Changes of one thing (a mailbox, the list of them, annotations of one, an entry of the outbox, sync) that wait for a
  slow reader become one, the newest; a reader therefore holds at most one change for each, in the order of their
  sequence numbers.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

import msgspec

from leap.mail.contract import Change, MailboxId, ModSeq, Topic


class ChangeStream:
    """The feed for one reader, from the moment it was made; ends when the account closes or `aclose` is called."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[Topic, MailboxId | None, str], Change] = {}
        self._ended = False
        self._wake = asyncio.Event()

    def push(self, change: Change) -> None:
        """Announces a change; one about the same thing that still waits is replaced by it."""
        about = (change.topic, change.mailbox_id, change.outbox_id)
        waiting = self._waiting.pop(about, None)
        if waiting is not None and waiting.entries:
            entries = tuple(sorted({*waiting.entries, *change.entries}))
            change = msgspec.structs.replace(change, entries=entries)
        self._waiting[about] = change
        self._wake.set()

    def end(self) -> None:
        """No more will come; what waits is still given out."""
        self._ended = True
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    async def aclose(self) -> None:
        """Ends it for its reader."""
        self._waiting.clear()
        self.end()


class ChangeFeed:
    """Numbers changes and hands them to all readers. A reader that is dropped without `aclose` is forgotten."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[ChangeStream] = weakref.WeakSet()
        self._seq = 0
        self._ended = False

    def open(self) -> ChangeStream:
        stream = ChangeStream()
        if self._ended:
            stream.end()
        self._streams.add(stream)
        return stream

    def announce(
        self,
        topic: Topic,
        mailbox_id: MailboxId | None = None,
        modseq: ModSeq = ModSeq(0),
        *,
        outbox_id: str = "",
        entries: tuple[str, ...] = (),
    ) -> None:
        self._seq += 1
        change = Change(
            seq=self._seq,
            topic=topic,
            mailbox_id=mailbox_id,
            modseq=modseq,
            outbox_id=outbox_id,
            entries=entries,
        )
        for stream in list(self._streams):
            stream.push(change)

    def end(self) -> None:
        self._ended = True
        for stream in list(self._streams):
            stream.end()
