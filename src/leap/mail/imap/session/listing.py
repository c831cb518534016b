"""LIST and LSUB (RFC 3501 6.3.8, 6.3.9; RFC 5258, 5819, 6154)."""

from __future__ import annotations

from leap.mail.contract import NoSuchMailbox
from leap.mail.imap.session.list_lines import MailboxTree, list_line, meets
from leap.mail.imap.session.mailboxes import status_line
from leap.mail.imap.session.metadata import metadata_line
from leap.mail.imap.session.replies import ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import List, Lsub
from leap.mail.imap.wire.mailbox_names import Pattern
from leap.mail.imap.wire.responses import mailbox


async def list_mailboxes(session: SessionState, command: List) -> bytes:
    account = session.signed_in()
    request = command.request
    if request.patterns == ("",) and not request.extended:  # RFC 3501 6.3.8: asks for the separator
        session.untagged(b'LIST (\\Noselect) "/" ""')
        return ok("That is the separator.")
    tree = MailboxTree(await account.list_mailboxes())
    patterns = [
        Pattern(session.as_named(request.reference + pattern), session.limits.wildcards)
        for pattern in request.patterns
        if pattern
    ]

    def matches(name: str) -> bool:
        return any(pattern.matches(name) for pattern in patterns)

    for name in tree.names:
        if not matches(name):
            continue
        line = list_line(tree, name, request, session.utf8, matches)
        if line is None:
            continue
        session.untagged(line)
        info = tree.existing.get(name)
        # RFC 5819 2, RFC 9590 3: only for those that can be selected and are told for their own sake
        if info is not None and meets(info, request):
            try:
                if request.status:
                    session.untagged(await status_line(session, info, request.status))
                if request.metadata:
                    session.untagged(await metadata_line(session, info, request.metadata))
            except NoSuchMailbox:
                continue
        await session.output.drain()
    return ok("Those are the mailboxes.")


async def list_subscribed(session: SessionState, command: Lsub) -> bytes:
    account = session.signed_in()
    tree = MailboxTree(info for info in await account.list_mailboxes() if info.subscribed)
    pattern = Pattern(command.reference + command.pattern, session.limits.wildcards)
    for name in tree.names:
        if not pattern.matches(name):
            continue
        if name in tree.existing:
            session.untagged(b'LSUB () "/" ' + mailbox(name, session.utf8))
        elif command.pattern.endswith("%"):  # RFC 3501 6.3.9: the parent of a subscribed one
            session.untagged(b'LSUB (\\Noselect) "/" ' + mailbox(name, session.utf8))
    return ok("Those are the subscribed mailboxes.")
