"""What mail programs note about a message in its header, in mbox files: flags, keywords, deletion."""

from __future__ import annotations

import re
from typing import NamedTuple

# One field a line, in the header alone; folded ones do not occur here
_NOTES = re.compile(
    rb"(?im)^(status|x-status|x-keywords|x-mozilla-status|x-mozilla-keys):[ \t]*([^\r\n]*)"
)
_STATUS = {"R": "\\Seen"}  # "O": not new any more
_X_STATUS = {"A": "\\Answered", "F": "\\Flagged", "T": "\\Draft", "D": "\\Deleted"}
# Thunderbird's bits, four hexadecimal digits
_MOZILLA = {0x0001: "\\Seen", 0x0002: "\\Answered", 0x0004: "\\Flagged", 0x1000: "$Forwarded"}
_MOZILLA_EXPUNGED = 0x0008
# The message in which Dovecot, Pine and UW IMAP keep data of the folder
_INTERNAL = re.compile(rb"(?im)^subject: *don't delete this message")


class Noted(NamedTuple):
    flags: tuple[str, ...]
    expunged: bool
    internal: bool


def noted(header: bytes) -> Noted:
    """What a header says about its message's state."""
    flags: dict[str, None] = {}
    expunged = False
    for name, value in _NOTES.findall(header):
        text = value.decode("utf-8", "replace").strip()
        match name.lower():
            case b"status":
                flags.update(dict.fromkeys(_STATUS[c] for c in text.upper() if c in _STATUS))
            case b"x-status":
                flags.update(dict.fromkeys(_X_STATUS[c] for c in text.upper() if c in _X_STATUS))
            case b"x-mozilla-status":
                if re.fullmatch(r"[0-9A-Fa-f]{4}", text):
                    bits = int(text, 16)
                    expunged = bool(bits & _MOZILLA_EXPUNGED)
                    flags.update(dict.fromkeys(f for bit, f in _MOZILLA.items() if bits & bit))
            case _:
                flags.update(dict.fromkeys(text.split()))
    internal = b"imapbase:" in header.lower() or b"x-imap:" in header.lower()
    return Noted(tuple(flags), expunged, internal and _INTERNAL.search(header) is not None)
