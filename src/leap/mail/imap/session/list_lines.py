"""The lines of LIST: names, what lies above them, and their attributes (RFC 3501 7.2.2; RFC 5258 3; RFC 6154)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from leap.mail.contract import MailboxInfo
from leap.mail.imap.wire.listing import ListRequest
from leap.mail.imap.wire.mailbox_names import SEPARATOR
from leap.mail.imap.wire.responses import mailbox

# What a line tells which nobody asked for (RFC 5465 5.4; RFC 9051 6.3.2)
ATTRIBUTES = ListRequest("", (), returns=frozenset({"SUBSCRIBED"}), extended=True)


class MailboxTree:
    """Mailboxes and the names above them, INBOX first."""

    def __init__(self, mailboxes: Iterable[MailboxInfo]) -> None:
        self.existing = {info.name: info for info in mailboxes}
        self.parents: set[str] = set()
        self.subscribed_below: dict[str, list[str]] = {}
        for name, info in self.existing.items():
            levels = name.split(SEPARATOR)
            above = {SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))}
            self.parents |= above
            if info.subscribed:
                for parent in above:
                    self.subscribed_below.setdefault(parent, []).append(name)
        self.names = sorted(
            self.existing.keys() | self.parents, key=lambda name: (name != "INBOX", name)
        )


def list_line(
    tree: MailboxTree,
    name: str,
    request: ListRequest,
    utf8: bool,
    matches: Callable[[str], bool] = lambda _: False,
) -> bytes | None:
    """One LIST answer, None when the selection options leave the mailbox out; `matches` are the request's patterns."""
    info = tree.existing.get(name)
    subscribed = info is not None and info.subscribed
    special = info.special_use if info is not None else None
    child_info = b""
    only_subscribed = "SUBSCRIBED" in request.select
    # RFC 5258 3.5: a name is told for the sake of what lies below it
    below = tree.subscribed_below.get(name, ()) if "RECURSIVEMATCH" in request.select else ()
    if only_subscribed and not subscribed and all(map(matches, below)):
        return None  # RFC 5258 3: what is told by itself is not told by its parents too
    if only_subscribed and below:
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


def meets(info: MailboxInfo, request: ListRequest) -> bool:
    """Whether a mailbox is told for its own sake, and not only for what lies below it (RFC 5258 3.5)."""
    return ("SUBSCRIBED" not in request.select or info.subscribed) and (
        "SPECIAL-USE" not in request.select or info.special_use is not None
    )


def old_name(name: str, utf8: bool) -> bytes:
    """What a line ends with when the client knows, or gave, another name (RFC 9051 6.3.9.7)."""
    return b' ("OLDNAME" (' + mailbox(name, utf8) + b"))"
