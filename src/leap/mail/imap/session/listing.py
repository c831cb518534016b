"""LIST and LSUB (RFC 3501 6.3.8, 6.3.9; RFC 5258, 5819, 6154)."""

from __future__ import annotations

from collections.abc import Iterable

from leap.mail.contract import MailboxInfo, NoSuchMailbox
from leap.mail.imap.session.mailboxes import status_line
from leap.mail.imap.session.replies import ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import List, Lsub
from leap.mail.imap.wire.listing import ListRequest
from leap.mail.imap.wire.mailbox_names import SEPARATOR, Pattern
from leap.mail.imap.wire.responses import mailbox


async def list_mailboxes(session: SessionState, command: List) -> bytes:
    account = session.signed_in()
    request = command.request
    if request.patterns == ("",) and not request.extended:  # RFC 3501 6.3.8: asks for the separator
        session.untagged(b'LIST (\\Noselect) "/" ""')
        return ok("That is the separator.")
    tree = _Tree(await account.list_mailboxes())
    patterns = [
        Pattern(request.reference + pattern, session.limits.wildcards)
        for pattern in request.patterns
        if pattern
    ]
    for name in tree.names:
        if not any(pattern.matches(name) for pattern in patterns):
            continue
        line = _list_line(tree, name, request, session.utf8)
        if line is None:
            continue
        session.untagged(line)
        info = tree.existing.get(name)
        if request.status and info is not None:  # RFC 5819 2: only for those that can be selected
            try:
                session.untagged(await status_line(session, info, request.status))
            except NoSuchMailbox:
                continue
        await session.output.drain()
    return ok("Those are the mailboxes.")


async def list_subscribed(session: SessionState, command: Lsub) -> bytes:
    account = session.signed_in()
    tree = _Tree(info for info in await account.list_mailboxes() if info.subscribed)
    pattern = Pattern(command.reference + command.pattern, session.limits.wildcards)
    for name in tree.names:
        if not pattern.matches(name):
            continue
        if name in tree.existing:
            session.untagged(b'LSUB () "/" ' + mailbox(name, session.utf8))
        elif command.pattern.endswith("%"):  # RFC 3501 6.3.9: the parent of a subscribed one
            session.untagged(b'LSUB (\\Noselect) "/" ' + mailbox(name, session.utf8))
    return ok("Those are the subscribed mailboxes.")


class _Tree:
    """Mailboxes and the names above them, INBOX first."""

    def __init__(self, mailboxes: Iterable[MailboxInfo]) -> None:
        self.existing = {info.name: info for info in mailboxes}
        self.parents: set[str] = set()
        self.parents_of_subscribed: set[str] = set()
        for name, info in self.existing.items():
            levels = name.split(SEPARATOR)
            above = {SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))}
            self.parents |= above
            if info.subscribed:
                self.parents_of_subscribed |= above
        self.names = sorted(
            self.existing.keys() | self.parents, key=lambda name: (name != "INBOX", name)
        )


def _list_line(tree: _Tree, name: str, request: ListRequest, utf8: bool) -> bytes | None:
    """One LIST answer, None when the selection options leave the mailbox out."""
    info = tree.existing.get(name)
    subscribed = info is not None and info.subscribed
    special = info.special_use if info is not None else None
    child_info = b""
    only_subscribed = "SUBSCRIBED" in request.select
    # RFC 5258 3.5: a name is told for the sake of what lies below it
    for_inferiors = "RECURSIVEMATCH" in request.select and name in tree.parents_of_subscribed
    if only_subscribed and not subscribed and not for_inferiors:
        return None
    if only_subscribed and for_inferiors:
        child_info = b' (CHILDINFO ("SUBSCRIBED"))'
    if "SPECIAL-USE" in request.select and special is None:
        return None
    attributes: list[str] = []
    if info is None:
        attributes.append("\\NonExistent" if request.extended else "\\Noselect")
    attributes.append("\\HasChildren" if name in tree.parents else "\\HasNoChildren")
    if subscribed and ("SUBSCRIBED" in request.select or "SUBSCRIBED" in request.returns):
        attributes.append("\\Subscribed")
    if special is not None:
        attributes.append(special)
    return (
        b"LIST ("
        + " ".join(attributes).encode("ascii")
        + b') "/" '
        + mailbox(name, utf8)
        + child_info
    )
