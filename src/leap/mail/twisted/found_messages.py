"""`FoundMessages` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from leap.mail.answers import QueryCount
from leap.mail.choosing import Chosen, Target
from leap.mail.contract import FoundMessage, MessageRow, Transferred
from leap.mail.found_messages import FoundMessages as AsyncFoundMessages
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.message import Message
from leap.mail.twisted.stream import Stream
from leap.mail.twisted.twin import Twin, listed


class FoundMessages(Twin[AsyncFoundMessages]):
    """The messages of an account that fit a query, newest first, wherever they are; a copy counts as one more. With
    Deferreds; `FoundMessages(that)` is made of one of `leap.mail`."""

    @property
    def query(self) -> str:
        return self.asyncio.query

    @query.setter
    def query(self, value: str) -> None:
        self.asyncio.query = value

    def status(self) -> Deferred[QueryCount]:
        """How many there are, how many of them are unread, and how many more cannot be looked at now."""
        return run(self.asyncio.status())

    def count(self) -> Deferred[int]:
        """How many messages there are."""
        return run(self.asyncio.count())

    def unseen(self) -> Deferred[int]:
        """How many of them are unread."""
        return run(self.asyncio.unseen())

    def rows(self, start: int = 0, count: int | None = None) -> Deferred[list[FoundMessage]]:
        """The rows from position `start` on, newest first, each with its mailbox."""
        return run(self.asyncio.rows(start, count))

    def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> Deferred[list[Message]]:
        """`count` messages from position `start`, with what a list shows of them.

        Position 0 is the newest message, or the oldest without `newest_first`. Raises ContentUnavailable.
        """
        return run_as(listed(Message), self.asyncio.window(start, count, newest_first=newest_first))

    def __aiter__(self) -> Stream[Message]:
        """Every message there is when the iteration begins, newest first; those that go meanwhile raise when they
        are read.
        """
        return Stream(Message, aiter(self.asyncio))

    def each(self, callback: Callable[[Message], object]) -> Deferred[None]:
        """Calls back with one after another; see `Stream.each`."""
        return aiter(self).each(callback)

    def set_flags(self, chosen: Chosen, flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Gives messages these flags and no others, keywords and tags included; answers their rows then."""
        return run(self.asyncio.set_flags(chosen, flags))

    def add_flags(self, chosen: Chosen, flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Adds flags, as `\\Seen`; answers the rows then. Raises NotPermitted for what can be no flag."""
        return run(self.asyncio.add_flags(chosen, flags))

    def remove_flags(self, chosen: Chosen, flags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Takes flags away; answers the rows then."""
        return run(self.asyncio.remove_flags(chosen, flags))

    def set_tags(self, chosen: Chosen, tags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Gives messages these tags and no others, all else about them staying; answers the rows then.

        New tags come in one transaction, the others go in a second. Raises NotPermitted for what can be no tag.
        """
        return run(self.asyncio.set_tags(chosen, tags))

    def add_tags(self, chosen: Chosen, tags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Adds tags; answers the rows then. Raises NotPermitted for what can be no tag."""
        return run(self.asyncio.add_tags(chosen, tags))

    def remove_tags(self, chosen: Chosen, tags: Sequence[str]) -> Deferred[list[MessageRow]]:
        """Takes tags away, in whatever letter case a mail program has put them on; answers the rows then."""
        return run(self.asyncio.remove_tags(chosen, tags))

    def copy_to(self, chosen: Chosen, target: Target) -> Deferred[Transferred]:
        """Copies messages into a mailbox; their octets are not stored again. Raises NoSuchMailbox.

        The answer has the uids there, in the order of mailboxes and their uids.
        """
        return run(self.asyncio.copy_to(chosen, target))

    def move_to(self, chosen: Chosen, target: Target) -> Deferred[Transferred]:
        """Moves messages into a mailbox: they keep their ids and get new uids. Raises NoSuchMailbox."""
        return run(self.asyncio.move_to(chosen, target))

    def delete(self, chosen: Chosen) -> Deferred[int]:
        """Removes messages for good, whatever their flags; answers how many went."""
        return run(self.asyncio.delete(chosen))
