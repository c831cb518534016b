"""What a session wants to hear of, and what it has not heard yet (RFC 5465, RFC 5464 4.4). No input, no output.

Invariants:
* before the first NOTIFY the selected mailbox is told of at the end of commands and in IDLE, and nothing else;
* a change is kept until it is told; changes of one thing become one, so little is held however slow a client is;
* what this session did itself is not told to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from leap.mail.contract import Change, MailboxId, MailboxInfo, MailboxStatus, Uid
from leap.mail.imap.wire.fetching import FetchItem
from leap.mail.imap.wire.notify import OF_MESSAGES, EventGroup, NotifyEvent

_NOTHING: frozenset[NotifyEvent] = frozenset()
Place = MailboxId | None  # of annotations; None is the server


class Watching:
    """The groups of events of one session."""

    def __init__(self) -> None:
        self.groups: tuple[EventGroup, ...] | None = None  # None: NOTIFY was never used
        self.annotations = False  # ENABLE METADATA (RFC 5464 4.1)
        self.directory: dict[MailboxId, MailboxInfo] = {}  # as the client knows it
        self.known: dict[MailboxId, MailboxStatus] = {}
        self.messages: set[MailboxId] = set()
        self.mailboxes = False
        self.entries: dict[Place, set[str]] = {}
        self.new_uids: list[Uid] = []  # of the selected mailbox, announced, of which items are due
        self._own_uids: set[Uid] = set()
        self._own_values: dict[tuple[Place, str], bytes | None] = {}

    def watch(self, groups: tuple[EventGroup, ...]) -> None:
        """NOTIFY: these groups replace the others (RFC 5465 3.1)."""
        self.groups = groups
        self.known.clear()
        self.messages.clear()
        self.mailboxes = False

    @property
    def active(self) -> bool:
        """Whether the client hears of events while no command is carried out."""
        return bool(self.groups)

    @property
    def pending(self) -> bool:
        return bool(self.messages or self.mailboxes or self.entries or self.new_uids)

    # -- the selected mailbox

    @property
    def _selected(self) -> EventGroup | None:
        return next((group for group in self.groups or () if group.selected), None)

    @property
    def at_once(self) -> bool:
        """Whether an expunge is told at any time (RFC 5465 6.1.1)."""
        group = self._selected
        return group is not None and group.filter == "SELECTED"

    def tells(self, event: NotifyEvent) -> bool:
        """Whether the client is told of this event in the selected mailbox (RFC 5465 3.1)."""
        if self.groups is None:
            return True
        group = self._selected
        return group is not None and event in group.events

    @property
    def tells_all(self) -> bool:
        return all(map(self.tells, OF_MESSAGES))

    @property
    def items(self) -> Sequence[FetchItem]:
        """What is sent of each new message (RFC 5465 5.2)."""
        group = self._selected
        return () if group is None else group.items

    def announced(self, uids: Iterable[Uid]) -> None:
        """EXISTS was sent for these; of those that this session did not make the items are due."""
        if self.items:
            self.new_uids.extend(uid for uid in uids if uid not in self._own_uids)
        self._own_uids.clear()

    # -- other mailboxes

    def events_of(self, info: MailboxInfo) -> frozenset[NotifyEvent]:
        """All that is asked for of a mailbox as one which is not selected; NONE in any group takes all of it."""
        found: set[NotifyEvent] = set()
        for group in self.groups or ():
            if not group.selected and _covers(group, info):
                if not group.events:
                    return _NOTHING
                found |= group.events
        return frozenset(found)

    def _asks(self, *events: NotifyEvent) -> bool:
        return any(
            event in group.events
            for group in self.groups or ()
            if not group.selected
            for event in events
        )

    @property
    def asks_server_annotations(self) -> bool:
        return self.annotations or self._asks("ServerMetadataChange")

    def hears(self, change: Change, selected: MailboxId | None) -> bool:
        """Keeps a change that is to be told; False when it is none of the session's business."""
        match change.topic:
            case "messages" if change.mailbox_id is not None and change.mailbox_id != selected:
                if not self._asks("MessageNew"):
                    return False
                self.messages.add(change.mailbox_id)
            case "mailboxes":
                if not self._asks("MailboxName", "SubscriptionChange"):
                    return False
                self.mailboxes = True
            case "annotations":
                if not self.annotations and not self._asks(
                    "MailboxMetadataChange", "ServerMetadataChange"
                ):
                    return False
                self.entries.setdefault(change.mailbox_id, set()).update(change.entries)
            case _:
                return False
        return True

    # -- what the session does itself (RFC 5465 5)

    def made(self, info: MailboxInfo) -> None:
        self.directory[info.mailbox_id] = info

    def deleted(self, mailbox_id: MailboxId) -> None:
        self.directory.pop(mailbox_id, None)

    def renamed(self, mailbox_id: MailboxId, name: str) -> None:
        info = self.directory.get(mailbox_id)
        if info is None:
            return
        below = info.name + "/"
        for one, other in self.directory.items():
            if other.name.startswith(below):
                moved = f"{name}/{other.name[len(below) :]}"
                self.directory[one] = msgspec.structs.replace(other, name=moved)
        self.directory[mailbox_id] = msgspec.structs.replace(info, name=name)

    def subscribed(self, mailbox_id: MailboxId, wanted: bool) -> None:
        info = self.directory.get(mailbox_id)
        if info is not None:
            self.directory[mailbox_id] = msgspec.structs.replace(info, subscribed=wanted)

    def added(self, mailbox_id: MailboxId, uids: Sequence[Uid], selected: bool) -> None:
        """Messages that this session put into a mailbox."""
        known = self.known.get(mailbox_id)
        if selected and self.items:
            self._own_uids.update(uids)
        elif known is not None and uids and min(uids) == known.uid_next:
            self.known[mailbox_id] = msgspec.structs.replace(
                known, uid_next=Uid(max(uids) + 1), messages=known.messages + len(uids)
            )

    def annotated(self, place: Place, values: Mapping[str, bytes | None]) -> None:
        if self.annotations or self.active:
            self._own_values.update({(place, name): value for name, value in values.items()})

    def is_own(self, place: Place, name: str, value: bytes | None) -> bool:
        """Whether an annotation is as this session set it."""
        return (place, name) in self._own_values and self._own_values[place, name] == value


def _covers(group: EventGroup, info: MailboxInfo) -> bool:
    """RFC 5465 6.2 to 6.6; all mailboxes are the person's own, and mail can be delivered to any."""
    match group.filter:
        case "INBOXES" | "PERSONAL":
            return True
        case "SUBSCRIBED":
            return info.subscribed
        case "MAILBOXES":
            return info.name in group.names
        case "SUBTREE":
            name = info.name
            return any(name == top or name.startswith(top + "/") for top in group.names)
        case _:
            return False
