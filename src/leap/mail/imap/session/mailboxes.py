"""SELECT and the commands about mailboxes as wholes (RFC 3501 6.3.1-6.3.6, 6.3.10; RFC 6154, 5819, 8438, 2342)."""

from __future__ import annotations

from collections.abc import Mapping

from leap.mail.contract import INBOX, MailboxInfo, MailboxStatus
from leap.mail.imap.session.list_lines import ATTRIBUTES, MailboxTree, list_line, old_name
from leap.mail.imap.session.quota import DELETED_ITEMS, deleted_values
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
    claims = not command.read_only and not session.rev2
    recent = await account.claim_recent(info.mailbox_id) if claims else ()
    if command.condstore:
        session.enable_condstore()
    view = MailboxView(status, rows, recent)
    view.tells_modseq = session.condstore
    session.view = view
    session.read_only = command.read_only
    if command.read_only and not session.rev2:
        view.learn_recent(status)
    uid_next = max(status.uid_next, rows[-1].uid + 1 if rows else 1)
    unseen = view.first_unseen()
    lines = session.flags_lines(view)
    lines.append(b"* %d EXISTS\r\n" % len(view))
    if session.rev2:  # RFC 9051 6.3.2
        lines.append(b"* " + await _list_line(session, info.name, command.mailbox) + b"\r\n")
    else:
        lines.append(b"* %d RECENT\r\n" % view.recent_count)
    if (
        unseen is not None and not session.rev2 and not session.uid_only
    ):  # it would be a number (RFC 9586 3)
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
    # RFC 3501 6.3.3: a separator at the end only says that inferiors follow
    given = command.mailbox.removesuffix(SEPARATOR)
    name = session.as_named(given)
    use = None
    if command.special_use:
        use = _SPECIAL_USES.get(command.special_use[0].lower())
        if use is None or len(command.special_use) > 1:
            raise No("A mailbox can have one of the special uses of RFC 6154.", b"USEATTR")
        if any(info.special_use == use for info in await account.list_mailboxes()):
            raise No("Another mailbox has this special use.", b"USEATTR")
    info = await account.create_mailbox(name, use)
    if given != command.mailbox:  # a level above others: nobody asked to see it as a mailbox
        await account.set_subscribed(info.mailbox_id, subscribed=False)
    session.watching.made(info)
    if info.name != given:  # RFC 9051 6.3.4
        session.untagged(await _list_line(session, info.name, given))
    return ok("Created.", b"MAILBOXID (%s)" % object_id(info.mailbox_id))  # RFC 8474 4.1


async def delete(session: SessionState, command: Delete) -> bytes:
    below = command.mailbox + SEPARATOR
    mailboxes = await session.signed_in().list_mailboxes()
    names = {info.name for info in mailboxes}
    if command.mailbox not in names and any(name.startswith(below) for name in names):
        raise No("There are mailboxes below this name, and nothing else.", b"HASCHILDREN")
    info = await session.find_mailbox(command.mailbox)
    await session.signed_in().delete_mailbox(info.mailbox_id)
    session.watching.deleted(info.mailbox_id)
    if session.is_selected(info.mailbox_id):
        session.unselect()
        session.untagged(b"OK [CLOSED] The selected mailbox was deleted")
    return ok("Deleted.")


async def rename(session: SessionState, command: Rename) -> bytes:
    existing = {info.name: info for info in await session.signed_in().list_mailboxes()}
    below = command.mailbox + SEPARATOR
    if command.mailbox not in existing and any(name.startswith(below) for name in existing):
        return await _rename_inferiors(session, command, existing)
    info = await session.find_mailbox(command.mailbox)
    given = command.new.removesuffix(SEPARATOR)
    new = session.as_named(given)
    await session.signed_in().rename_mailbox(info.mailbox_id, new)
    if info.mailbox_id == INBOX:  # it stays, and its mail is in a new one (RFC 3501 6.3.5)
        session.watching.made(await session.find_mailbox(new))
    else:
        session.watching.renamed(info.mailbox_id, new)
    session.stale = True
    if new != given or info.name != command.mailbox:  # RFC 9051 6.3.6
        session.untagged(await _list_line(session, new, command.mailbox))
    return ok("Renamed.")


async def _rename_inferiors(
    session: SessionState, command: Rename, existing: Mapping[str, MailboxInfo]
) -> bytes:
    """RENAME of a name that LIST shows only for what lies below it: programs show it as a folder like others."""
    old, new = command.mailbox, session.as_named(command.new.removesuffix(SEPARATOR))
    if (new + SEPARATOR).startswith(old + SEPARATOR):
        raise No("A mailbox cannot become its own inferior.", b"CANNOT")
    moved = {
        name: new + name.removeprefix(old) for name in existing if name.startswith(old + SEPARATOR)
    }
    if new in existing or not existing.keys().isdisjoint(moved.values()):
        raise No("A mailbox of that name exists.", b"ALREADYEXISTS")
    for name, its in sorted(moved.items()):
        if any(name.startswith(above + SEPARATOR) for above in moved):
            continue  # goes with that one
        await session.signed_in().rename_mailbox(existing[name].mailbox_id, its)
        session.watching.renamed(existing[name].mailbox_id, its)
    session.stale = True
    return ok("Renamed.")


async def _list_line(session: SessionState, name: str, given: str) -> bytes:
    """LIST of one mailbox, with the name the client gave if that is another (RFC 9051 6.3.9.7)."""
    tree = MailboxTree(await session.signed_in().list_mailboxes())
    line = list_line(tree, name, ATTRIBUTES, session.utf8)
    line = line or b'LIST (\\NonExistent) "/" ' + mailbox(name, session.utf8)
    return line + old_name(given, session.utf8) if given != name else line


async def subscribe(session: SessionState, command: Subscribe) -> bytes:
    info = await session.find_mailbox(command.mailbox)
    await session.signed_in().set_subscribed(info.mailbox_id, command.wanted)
    session.watching.subscribed(info.mailbox_id, command.wanted)
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
    account = session.signed_in()
    found = await account.status(info.mailbox_id)
    more: dict[StatusItem, bytes] = {"APPENDLIMIT": b"%d" % session.limits.message}
    if not DELETED_ITEMS.isdisjoint(items):
        more.update(await deleted_values(account, info.mailbox_id))
    if session.view is not None and session.is_selected(info.mailbox_id):
        seen = session.view.recent_count  # of these the session itself was told first
        more["RECENT"] = b"%d" % (
            max(found.recent, seen) if session.read_only else found.recent + seen
        )
    return format_status(session, info, found, items, more)


def format_status(
    session: SessionState,
    info: MailboxInfo,
    found: MailboxStatus,
    items: tuple[StatusItem, ...],
    more: Mapping[StatusItem, bytes] | None = None,
) -> bytes:
    """STATUS from what is known; `more` are values which are not in `found`."""
    told = more or {}
    values = (told[item] if item in told else _value(found, item) for item in items)
    pairs = b" ".join(b"%s %s" % (i.encode(), v) for i, v in zip(items, values, strict=True))
    return b"STATUS " + mailbox(info.name, session.utf8) + b" (" + pairs + b")"


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
