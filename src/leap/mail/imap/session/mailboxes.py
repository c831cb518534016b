"""SELECT and the commands about mailboxes as wholes (RFC 3501 6.3.1-6.3.6, 6.3.10; RFC 6154, 5819, 8438, 2342)."""

from __future__ import annotations

from leap.mail.contract import MailboxInfo, MailboxStatus
from leap.mail.imap.session.replies import Bad, No, ok
from leap.mail.imap.session.resync import resync_mailbox
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView
from leap.mail.imap.wire.commands import (
    Create,
    Delete,
    Rename,
    Select,
    Simple,
    Status,
    Subscribe,
)
from leap.mail.imap.wire.listing import StatusItem
from leap.mail.imap.wire.mailbox_names import SEPARATOR
from leap.mail.imap.wire.responses import mailbox, object_id

_SPECIAL_USES = {
    use.lower(): use
    for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
}


async def select(session: SessionState, command: Select) -> bytes:
    account = session.signed_in()
    if command.resync is not None and not session.qresync:  # RFC 7162 3.2.5
        raise Bad("ENABLE QRESYNC comes first.")
    if session.view is not None:
        session.unselect()  # RFC 3501 6.3.1: also when what follows fails
        session.untagged(b"OK [CLOSED] The other mailbox is closed")
    info = await session.find_mailbox(command.mailbox)
    # The status first: what happens between these questions is learned again by the next refresh.
    status = await account.status(info.mailbox_id)
    rows = await account.rows(info.mailbox_id)
    recent = () if command.read_only else await account.claim_recent(info.mailbox_id)
    if command.condstore:
        session.enable_condstore()
    view = MailboxView(status, rows, recent)
    view.tells_modseq = session.condstore
    session.view = view
    session.read_only = command.read_only
    shown_recent = min(status.recent, len(view)) if command.read_only else view.recent_count
    uid_next = max(status.uid_next, rows[-1].uid + 1 if rows else 1)
    unseen = view.first_unseen()
    lines = session.flags_lines(view)
    lines.append(b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view), shown_recent))
    if unseen is not None:
        lines.append(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    lines.append(b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % status.uid_validity)
    lines.append(b"* OK [UIDNEXT %d] Next UID\r\n" % uid_next)
    lines.append(b"* OK [MAILBOXID (%s)] Its id\r\n" % object_id(info.mailbox_id))
    lines.append(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % status.highest_modseq)
    session.output.write(b"".join(lines))
    if command.resync is not None:
        await resync_mailbox(session, view, command.resync)
    if command.read_only:
        return ok("Examined.", b"READ-ONLY")
    return ok("Selected.", b"READ-WRITE")


async def create(session: SessionState, command: Create) -> bytes:
    account = session.signed_in()
    name = command.mailbox.removesuffix(
        SEPARATOR
    )  # RFC 3501 6.3.3: only says that inferiors follow
    use = None
    if command.special_use:
        use = _SPECIAL_USES.get(command.special_use[0].lower())
        if use is None or len(command.special_use) > 1:
            raise No("A mailbox can have one of the special uses of RFC 6154.", b"USEATTR")
        if any(info.special_use == use for info in await account.list_mailboxes()):
            raise No("Another mailbox has this special use.", b"USEATTR")
    info = await account.create_mailbox(name, use)
    return ok("Created.", b"MAILBOXID (%s)" % object_id(info.mailbox_id))  # RFC 8474 4.1


async def delete(session: SessionState, command: Delete) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    await session.signed_in().delete_mailbox(info.mailbox_id)
    if session.is_selected(info.mailbox_id):
        session.unselect()
        session.untagged(b"OK [CLOSED] The selected mailbox was deleted")
    return ok("Deleted.")


async def rename(session: SessionState, command: Rename) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    new = command.new.removesuffix(SEPARATOR)
    await session.signed_in().rename_mailbox(info.mailbox_id, new)
    session.stale = True
    return ok("Renamed.")


async def subscribe(session: SessionState, command: Subscribe) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    await session.signed_in().set_subscribed(info.mailbox_id, command.wanted)
    return ok("Subscribed." if command.wanted else "Unsubscribed.")


async def status(session: SessionState, command: Status) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    session.untagged(await status_line(session, info, command.items))
    return ok("That is its status.")


async def status_line(
    session: SessionState, info: MailboxInfo, items: tuple[StatusItem, ...]
) -> bytes:
    """STATUS for one mailbox (RFC 3501 7.2.4)."""
    if "HIGHESTMODSEQ" in items:  # RFC 7162 3.1
        session.enable_condstore()
    found = await session.signed_in().status(info.mailbox_id)
    values = b" ".join(b"%s %s" % (item.encode(), _value(found, item)) for item in items)
    return b"STATUS " + mailbox(info.name) + b" (" + values + b")"


def _value(status: MailboxStatus, item: StatusItem) -> bytes:
    if item == "MAILBOXID":  # RFC 8474 4.3
        return b"(%s)" % object_id(status.mailbox_id)
    return b"%d" % _count(status, item)


def _count(status: MailboxStatus, item: StatusItem) -> int:
    match item:
        case "MESSAGES":
            return status.messages
        case "RECENT":
            return status.recent
        case "UIDNEXT":
            return status.uid_next
        case "UIDVALIDITY":
            return status.uid_validity
        case "UNSEEN":
            return status.unseen
        case "SIZE":
            return status.size
        case _:
            return status.highest_modseq


async def namespace(session: SessionState, command: Simple) -> bytes:
    session.signed_in()
    session.untagged(b'NAMESPACE (("" "/")) NIL NIL')
    return ok("One namespace, your own.")


async def close_mailbox(session: SessionState, command: Simple) -> bytes:
    """CLOSE expunges in silence, unless the mailbox is read-only (RFC 3501 6.4.2)."""
    view = session.selected()
    if not session.read_only:
        await session.signed_in().expunge(view.mailbox_id)
    session.unselect()
    return ok("Closed.")


async def unselect(session: SessionState, command: Simple) -> bytes:
    session.selected()
    session.unselect()
    return ok("Unselected.")
