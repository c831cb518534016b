"""NOTIFY, and what a session is told of beyond its selected mailbox (RFC 5465; METADATA: RFC 5464 4.4.2).

Invariant: these lines are written between commands or at the end of one, never within the answers of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leap.mail.contract import MailboxId, MailboxInfo, NoSuchMailbox
from leap.mail.imap.session.fetch import answer
from leap.mail.imap.session.list_lines import ATTRIBUTES, MailboxTree, list_line, old_name
from leap.mail.imap.session.mailboxes import format_status
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.session.watching import Place
from leap.mail.imap.wire.listing import StatusItem
from leap.mail.imap.wire.metadata import format_entry, format_place
from leap.mail.imap.wire.notify import EVENTS, OF_MESSAGES, Notify, NotifyEvent
from leap.mail.imap.wire.responses import mailbox

_ORDER: tuple[StatusItem, ...] = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ")
Directory = Mapping[MailboxId, MailboxInfo]


async def notify(session: SessionState, command: Notify) -> bytes:
    account = session.signed_in()
    if command.unsupported:  # RFC 5465 3.1
        raise No("There is no such event.", b"BADEVENT (%s)" % " ".join(EVENTS).encode("ascii"))
    watching = session.watching
    watching.watch(command.groups)
    watching.directory = {info.mailbox_id: info for info in await account.list_mailboxes()}
    for info in list(watching.directory.values()):
        events = watching.events_of(info) & OF_MESSAGES
        if not events:
            continue
        try:
            status = await account.status(info.mailbox_id)
        except NoSuchMailbox:
            continue
        watching.known[info.mailbox_id] = status
        if command.status and not session.is_selected(info.mailbox_id):
            items: set[StatusItem] = {"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
            if "FlagChange" in events:
                items.add("HIGHESTMODSEQ")
            session.untagged(format_status(session, info, status, _ordered(items)))
            await session.output.drain()
    session.stale = session.view is not None  # RFC 5465 3.1: as a NOOP does
    return ok("You will hear." if command.groups else "You will hear nothing.")


async def tell(session: SessionState) -> None:
    """Writes all that is due; the selected mailbox was announced before."""
    watching = session.watching
    if watching.new_uids:
        uids, watching.new_uids = watching.new_uids, []
        if session.view is not None:
            numbers = session.view.find_all(uids)
            await answer(session, session.view, numbers, tuple(watching.items))
    if not watching.pending:
        return
    try:
        infos = {info.mailbox_id: info for info in await session.signed_in().list_mailboxes()}
        if watching.mailboxes:
            watching.mailboxes = False
            before, watching.directory = watching.directory, infos
            _tell_mailboxes(session, before, infos)
        messages, watching.messages = watching.messages, set()
        for mailbox_id in sorted(messages & infos.keys()):
            await _tell_messages(session, infos[mailbox_id])
        entries, watching.entries = watching.entries, {}
        for place, names in entries.items():
            await _tell_annotations(session, infos, place, names)
    except NoSuchMailbox:  # it went just now, which is told next
        return


async def _tell_messages(session: SessionState, info: MailboxInfo) -> None:
    """STATUS of a mailbox which is not selected (RFC 5465 5.1 to 5.3)."""
    watching = session.watching
    events = watching.events_of(info)
    if not events & OF_MESSAGES or session.is_selected(info.mailbox_id):
        return
    status = await session.signed_in().status(info.mailbox_id)
    known = watching.known.get(info.mailbox_id)
    watching.known[info.mailbox_id] = status
    items: set[StatusItem] = set()
    if known is None or (known.messages, known.uid_next) != (status.messages, status.uid_next):
        items |= {"MESSAGES", "UIDNEXT"}
    if known is None or known.uid_validity != status.uid_validity:
        items |= {"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
    if "FlagChange" in events:
        if known is None or known.unseen != status.unseen:
            items.add("UNSEEN")
        if session.condstore and (known is None or known.highest_modseq != status.highest_modseq):
            items |= {"UIDVALIDITY", "HIGHESTMODSEQ"}
    if items and session.condstore:
        items.add("HIGHESTMODSEQ")
    if items:
        session.untagged(format_status(session, info, status, _ordered(items)))


def _ordered(items: set[StatusItem]) -> tuple[StatusItem, ...]:
    return tuple(item for item in _ORDER if item in items)


def _tell_mailboxes(session: SessionState, before: Directory, after: Directory) -> None:
    """LIST for each name that came, went, or has another subscription now (RFC 5465 5.4, 5.5)."""
    tree = MailboxTree(after.values())
    names: dict[str, MailboxInfo] = {}  # to be told as they are now
    for mailbox_id in before.keys() | after.keys():
        old, new = before.get(mailbox_id), after.get(mailbox_id)
        if old is None or new is None:
            info = old or new
            if info is not None:
                names[info.name] = info
                parent = info.name.rpartition("/")[0]
                if parent:
                    names.setdefault(parent, msgspec.structs.replace(info, name=parent))
        elif old.name != new.name:
            if not _went_along(old, new, before, after) and _wants(
                session, "MailboxName", old, new
            ):
                line = list_line(tree, new.name, ATTRIBUTES, session.utf8) or b""
                session.untagged(line + old_name(old.name, session.utf8))
        elif old.subscribed != new.subscribed and _wants(session, "SubscriptionChange", old, new):
            session.untagged(list_line(tree, new.name, ATTRIBUTES, session.utf8) or b"")
    for name in sorted(names):
        info = tree.existing.get(name) or names[name]
        if not _wants(session, "MailboxName", info):
            continue
        shown = None
        if name in tree.existing or name in tree.parents:
            shown = list_line(tree, name, ATTRIBUTES, session.utf8)
        session.untagged(shown or b'LIST (\\NonExistent) "/" ' + mailbox(name, session.utf8))


def _went_along(old: MailboxInfo, new: MailboxInfo, before: Directory, after: Directory) -> bool:
    """Whether a mailbox above it was renamed, which is told for both (RFC 5465 5.4)."""
    for mailbox_id, above in before.items():
        now = after.get(mailbox_id)
        if now is None or now.name == above.name or not old.name.startswith(above.name + "/"):
            continue
        if new.name == now.name + old.name[len(above.name) :]:
            return True
    return False


def _wants(session: SessionState, event: NotifyEvent, *infos: MailboxInfo) -> bool:
    return any(event in session.watching.events_of(info) for info in infos)


async def _tell_annotations(
    session: SessionState, infos: Directory, place: Place, names: set[str]
) -> None:
    """METADATA with the names of what others changed (RFC 5464 4.4.2; RFC 5465 5.6, 5.7)."""
    watching = session.watching
    if place is None:
        if not watching.asks_server_annotations:
            return
        name = None
    else:
        info = infos.get(place)
        if info is None or not (
            watching.annotations or _wants(session, "MailboxMetadataChange", info)
        ):
            return
        name = info.name
    values = await session.signed_in().annotations(place)
    foreign = [one for one in sorted(names) if not watching.is_own(place, one, values.get(one))]
    if foreign:
        entries = b" ".join(map(format_entry, foreign))
        session.untagged(b"METADATA " + format_place(name, session.utf8) + b" " + entries)
