"""Names of folders elsewhere, as names of mailboxes here."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.mailbox_names import decode_name
from leap.mail.mailboxes import MAX_NAME
from leap.mail.porting.found import SourceMailbox

_LEVEL_OCTETS = 200
# What mail programs and providers call these (Thunderbird, Outlook, Apple Mail, Gmail), in lower case
_SPECIAL = {
    "sent": "\\Sent",
    "sent mail": "\\Sent",
    "sent items": "\\Sent",
    "sent messages": "\\Sent",
    "drafts": "\\Drafts",
    "draft": "\\Drafts",
    "trash": "\\Trash",
    "bin": "\\Trash",
    "deleted items": "\\Trash",
    "deleted messages": "\\Trash",
    "junk": "\\Junk",
    "junk email": "\\Junk",
    "junk e-mail": "\\Junk",
    "spam": "\\Junk",
    "archive": "\\Archive",
    "archives": "\\Archive",
}


def decoded_level(level: str) -> str:
    """A folder's name, which may be in modified UTF-7 as Courier, Dovecot, mbsync and we write it."""
    try:
        return decode_name(level.encode("utf-8", "surrogateescape"))
    except ImapSyntaxError:
        return level


def usable_level(level: str) -> str:
    """One level of a mailbox name, near to what it was: what no name may hold becomes "_".

    Octets of a file's name that are no UTF-8 are taken as Latin-1.
    """
    if any("\udc80" <= c <= "\udcff" for c in level):  # PEP 383
        with contextlib.suppress(UnicodeEncodeError):  # other surrogates are nobody's octets
            level = level.encode("utf-8", "surrogateescape").decode("latin-1")
    kept = "".join("_" if _is_bad(c) else c for c in level).strip()
    cut = kept.encode("utf-8")[:_LEVEL_OCTETS].decode("utf-8", "ignore").strip()
    return cut or "_"


def _is_bad(c: str) -> bool:
    return (
        ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 or c in "*%/"
    )  # `leap.mail.mailboxes.check_name`


def usable_name(levels: Sequence[str]) -> str:
    """The mailbox of a folder at these levels; "INBOX" for none. As many levels as a name may have."""
    if not levels:
        return "INBOX"
    name = ""
    for level in map(usable_level, levels):
        longer = f"{name}/{level}" if name else level
        if len(longer.encode()) > MAX_NAME:
            break
        name = longer
    first, slash, rest = name.partition("/")
    return "INBOX" + slash + rest if first.upper() == "INBOX" else name


def folder_of(levels: Sequence[str]) -> SourceMailbox:
    """The mailbox of a folder of files, with its special use where the name says it."""
    name = usable_name(levels)
    return SourceMailbox(name, _SPECIAL.get(name.lower()))
