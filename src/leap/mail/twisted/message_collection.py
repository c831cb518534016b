"""`MessageCollection` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred

from leap.mail.choosing import Chosen, Target
from leap.mail.collection import MessageCollection as AsyncMessageCollection
from leap.mail.contract import (
    Appended,
    MailboxInfo,
    MailboxStatus,
    MessageRow,
    NewMessage,
    Transferred,
    Uid,
)
from leap.mail.twisted.bridge import run, run_as
from leap.mail.twisted.message import Message
from leap.mail.twisted.stream import Stream
from leap.mail.twisted.twin import Twin, listed, optional


class MessageCollection(Twin[AsyncMessageCollection]):
    """The messages of one mailbox, ascending by uid. With Deferreds; `MessageCollection(that)` is made of one of
    `leap.mail`."""

    @property
    def mailbox(self) -> MailboxInfo:
        return self.asyncio.mailbox

    @mailbox.setter
    def mailbox(self, value: MailboxInfo) -> None:
        self.asyncio.mailbox = value

    def status(self) -> Deferred[MailboxStatus]:
        """Counts, size, and what IMAP says of a mailbox."""
        return run(self.asyncio.status())

    def count(self) -> Deferred[int]:
        """How many messages there are."""
        return run(self.asyncio.count())

    def unseen(self) -> Deferred[int]:
        """How many of them are unread."""
        return run(self.asyncio.unseen())

    def recent(self) -> Deferred[int]:
        """How many came since a mail program last looked (IMAP's \\Recent)."""
        return run(self.asyncio.recent())

    def rows(self, *, first: int = 1, last: int | None = None) -> Deferred[list[MessageRow]]:
        """The rows with uids in [first, last], ascending: flags, sizes and dates without more."""
        return run(self.asyncio.rows(first=first, last=last))

    def window(
        self, start: int = 0, count: int = 50, *, newest_first: bool = True
    ) -> Deferred[list[Message]]:
        """`count` messages from position `start`, with what a list shows of them.

        Position 0 is the newest message, or the oldest without `newest_first`. Raises ContentUnavailable.
        """
        return run_as(listed(Message), self.asyncio.window(start, count, newest_first=newest_first))

    def window_from(
        self, uid: int, count: int = 50, *, newest_first: bool = True
    ) -> Deferred[list[Message]]:
        """The next `count` messages from this uid on, going to older ones, or without `newest_first` to newer ones.

        The message with the uid is the first if it is still there. Unlike positions, uids mean the same when mail
        comes or goes between two windows. Raises ContentUnavailable.
        """
        return run_as(
            listed(Message), self.asyncio.window_from(uid, count, newest_first=newest_first)
        )

    def by_uid(self, uid: int) -> Deferred[Message | None]:
        """The message with this uid, or None."""
        return run_as(optional(Message), self.asyncio.by_uid(uid))

    def __aiter__(self) -> Stream[Message]:
        """Every message there is when the iteration begins; those that go meanwhile raise when they are read."""
        return Stream(Message, aiter(self.asyncio))

    def each(self, callback: Callable[[Message], object]) -> Deferred[None]:
        """Calls back with one after another; see `Stream.each`."""
        return aiter(self).each(callback)

    def search(self, needle: str, *, body_only: bool = False) -> Deferred[list[Message]]:
        """Messages whose decoded text holds `needle`, letter case and accents aside; fetches what is still at the
        provider. Raises ContentUnavailable.
        """
        return run_as(listed(Message), self.asyncio.search(needle, body_only=body_only))

    def add(
        self,
        raw: bytes,
        *,
        flags: Sequence[str] = (),
        internal_date: int | None = None,
        zone: int = 0,
    ) -> Deferred[Appended]:
        """Adds one message, its octets kept exactly. `internal_date` is in seconds since 1970 (now without it),
        `zone` in minutes east of UTC. Raises TooLarge, StorageFull, NotPermitted for what can be no flag.
        """
        return run(self.asyncio.add(raw, flags=flags, internal_date=internal_date, zone=zone))

    def add_many(self, messages: Iterable[NewMessage]) -> Deferred[list[Appended]]:
        """Adds messages in order, in one transaction for each 500 or 32 MiB: an error leaves the batches before.
        Raises what `add` raises.
        """
        return run(self.asyncio.add_many(messages))

    def expunge(self, chosen: Chosen | None = None) -> Deferred[list[Uid]]:
        """Removes messages flagged `\\Deleted` (among `chosen` when given); answers the uids of what went."""
        return run(self.asyncio.expunge(chosen))

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
