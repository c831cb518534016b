"""NOTIFY (RFC 5465 8): of what a client wants to hear, and of which mailboxes.

notify       = "NOTIFY" SP ("SET" [SP "STATUS"] 1*(SP "(" filter SP events ")") / "NONE")
filter       = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed"
             / ("subtree" / "mailboxes") SP (mailbox / "(" mailbox *(SP mailbox) ")")
events       = "(" event *(SP event) ")" / "NONE"
event        = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" / ...

Events without brackets are taken too, for RFC 5465 writes them so in its examples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.fetching import BodySection, FetchItem, parse_items
from leap.mail.imap.wire.scanner import Scanner

NotifyEvent = Literal[
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
]
EVENTS: tuple[NotifyEvent, ...] = (
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
)
_BY_NAME: dict[str, NotifyEvent] = {event.upper(): event for event in EVENTS}
OF_MESSAGES: frozenset[NotifyEvent] = frozenset({"MessageNew", "MessageExpunge", "FlagChange"})
Filter = Literal[
    "SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES"
]
_FILTERS: dict[str, Filter] = {
    "SELECTED": "SELECTED",
    "SELECTED-DELAYED": "SELECTED-DELAYED",
    "INBOXES": "INBOXES",
    "PERSONAL": "PERSONAL",
    "SUBSCRIBED": "SUBSCRIBED",
    "SUBTREE": "SUBTREE",
    "MAILBOXES": "MAILBOXES",
}
MAX_GROUPS = 50
MAX_MAILBOXES = 1_000  # named in one command


@dataclass(frozen=True, slots=True)
class EventGroup:
    """`names` are the mailboxes of SUBTREE and MAILBOXES; `items` is fetched of each new message."""

    filter: Filter
    names: frozenset[str] = frozenset()
    events: frozenset[NotifyEvent] = frozenset()
    items: tuple[FetchItem, ...] = ()

    @property
    def selected(self) -> bool:
        return self.filter.startswith("SELECTED")


@dataclass(frozen=True, slots=True)
class Notify:
    """Without groups it is NOTIFY NONE; `unsupported`: an event was named that there is not."""

    groups: tuple[EventGroup, ...]
    status: bool = False
    unsupported: bool = False


def parse_notify(scanner: Scanner) -> Notify:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    scanner.space()
    word = scanner.keyword()
    if word == "NONE":
        return Notify(())
    if word != "SET":
        raise ImapSyntaxError("Here should be SET or NONE.")
    return _Parser(scanner).notify()


class _Parser:
    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.named = 0
        self.unsupported = False

    def notify(self) -> Notify:
        scanner = self.scanner
        scanner.space()
        status = False
        if not scanner.at(b"("):
            if scanner.keyword() != "STATUS":
                raise ImapSyntaxError("Here should be a group of events.")
            status = True
            scanner.space()
        groups = [self.group()]
        while not scanner.at_end():
            scanner.space()
            groups.append(self.group())
            if len(groups) > MAX_GROUPS:
                raise ImapSyntaxError("Too many groups of events.")
        if sum(group.selected for group in groups) > 1:  # RFC 5465 6.1
            raise ImapSyntaxError("The selected mailbox has one group of events.")
        return Notify(tuple(groups), status, self.unsupported)

    def group(self) -> EventGroup:
        scanner = self.scanner
        scanner.expect(b"(")
        chosen = _FILTERS.get(scanner.keyword())
        if chosen is None:
            raise ImapSyntaxError("There is no such choice of mailboxes.")
        scanner.space()
        names: frozenset[str] = frozenset()
        if chosen in ("SUBTREE", "MAILBOXES"):
            names = self.names()
            scanner.space()
        events, items = self.events()
        group = EventGroup(chosen, names, events, items)
        _check(group)
        return group

    def names(self) -> frozenset[str]:
        scanner = self.scanner
        if not scanner.skip(b"("):
            return frozenset({scanner.mailbox()})
        found = {scanner.mailbox()}
        while not scanner.skip(b")"):
            scanner.space()
            found.add(scanner.mailbox())
            self.named += 1
            if self.named > MAX_MAILBOXES:
                raise ImapSyntaxError("Too many mailboxes.")
        return frozenset(found)

    def events(self) -> tuple[frozenset[NotifyEvent], tuple[FetchItem, ...]]:
        """Up to and with the bracket that ends the group."""
        scanner = self.scanner
        found: set[NotifyEvent] = set()
        items: tuple[FetchItem, ...] = ()
        brackets = scanner.skip(b"(")
        count = 0
        while not scanner.skip(b")"):
            if count:
                scanner.space()
            count += 1
            word = scanner.keyword()
            if word == "NONE" and not brackets and count == 1:
                scanner.expect(b")")
                return frozenset(), ()
            event = _BY_NAME.get(word)
            if event is None:
                self.unsupported = True
            else:
                found.add(event)
            if event == "MessageNew" and scanner.at(b" ("):
                scanner.space()
                items = tuple(map(_peeking, parse_items(scanner)))
            if count > 2 * len(EVENTS):
                raise ImapSyntaxError("Too many events.")
        if not count:
            raise ImapSyntaxError("Here should be events, or NONE.")
        if brackets:
            scanner.expect(b")")
        return frozenset(found), items


def _peeking(item: FetchItem) -> FetchItem:
    """What nobody asked for one by one sets no \\Seen."""
    return dataclasses.replace(item, peek=True) if isinstance(item, BodySection) else item


def _check(group: EventGroup) -> None:
    """The rules of RFC 5465 5, 6.1 and 8 on what goes with what."""
    events = group.events
    if group.selected and events - OF_MESSAGES:
        raise ImapSyntaxError("Of the selected mailbox only events of messages can be asked for.")
    if group.items and not group.selected:
        raise ImapSyntaxError("What is to be fetched is said of the selected mailbox only.")
    both = {"MessageNew", "MessageExpunge"}
    # Section 5 asks it of all groups and its own examples (erratum 1804) do otherwise; numbers hang on it only here.
    if group.selected and events & OF_MESSAGES and not events >= both:
        raise ImapSyntaxError("MessageNew and MessageExpunge go together, FlagChange with both.")
