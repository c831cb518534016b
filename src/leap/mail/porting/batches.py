"""Mail on its way in, some messages at a time: what an import asks of every source; files answer in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import NamedTuple, Protocol

from leap.mail.porting.found import FileSource, Found, Oddity, SourceMailbox
from leap.soledad.transaction import Transaction

MOST_MESSAGES = 500
MOST_OCTETS = 8 * 1024 * 1024  # held three times at most: read, made ready, written


class Batch(NamedTuple):
    """Messages that are stored in one transaction, in which `noted` runs too, also when none of them is new."""

    found: list[Found]
    odd: list[Oddity]
    noted: Callable[[Transaction], None] | None = None


class MailSource(Protocol):
    """Where mail comes from. Raises OSError and AccountError, whose texts are for people."""

    async def mailboxes(self) -> list[SourceMailbox]: ...

    def batches(self, mailbox: SourceMailbox, limit: int) -> AsyncGenerator[Batch, None]:
        """All that is to be imported of a mailbox; messages above `limit` octets are told and passed over."""


class FileBatches:
    """A `FileSource` as a `MailSource`."""

    def __init__(self, source: FileSource) -> None:
        self._source = source

    async def mailboxes(self) -> list[SourceMailbox]:
        return await asyncio.to_thread(self._source.mailboxes)

    async def batches(self, mailbox: SourceMailbox, limit: int) -> AsyncGenerator[Batch, None]:
        odd: list[Oddity] = []
        messages = self._source.messages(mailbox, odd.append, limit)
        while True:
            found = await asyncio.to_thread(_take, messages)
            yield Batch(found, list(odd))
            odd.clear()
            if not found:
                return


def _take(messages: Iterator[Found]) -> list[Found]:
    """The next few messages; none at the end."""
    out: list[Found] = []
    octets = 0
    for one in messages:
        out.append(one)
        octets += len(one.raw)
        if len(out) >= MOST_MESSAGES or octets >= MOST_OCTETS:
            break
    return out
