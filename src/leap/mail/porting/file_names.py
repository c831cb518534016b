"""Names of mailboxes as names of files and folders: none can lead out of the folder they are made in.

Everything but plain ASCII is written in modified UTF-7 (RFC 3501 5.1.3), as Dovecot, Courier and mbsync do; so are
dots, where they would mean something. A name that is too long for a file system is cut, and told apart by a hash.
"""

from __future__ import annotations

import hashlib

from leap.mail.imap.wire.mailbox_names import encode_name

_LONGEST = 200  # octets; file systems take 255, and suffixes follow
_DOT = "&AC4-"


def level_name(level: str) -> str:
    """One level of a mailbox name as the name of a file or folder, without any dot."""
    name = encode_name(level.replace("\0", "_")).decode("ascii").replace(".", _DOT)
    return _short(name.replace("/", "_") or "_")


def maildir_folder(mailbox: str) -> str:
    """The folder of a mailbox in a Maildir++; "" for INBOX, which is the Maildir itself."""
    if mailbox.upper() == "INBOX":
        return ""
    return _short("." + ".".join(level_name(level) for level in mailbox.split("/")))


def mbox_path(mailbox: str) -> tuple[str, ...]:
    """The file of a mailbox, as levels below the folder of the export."""
    *above, last = [level_name(level) for level in mailbox.split("/")]
    return (*above, f"{last}.mbox")


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
