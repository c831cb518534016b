"""What is left of forged fields where layers were not gone through one by one: too deep, or too many. Pure.

Invariants:
* When it is done, no header of a message in the message, as far as the scanner goes, has a field in our name.
* Where the scanner goes no further, and in what is encoded, what may hold such a header is a file and no message.
* It takes one scan or two, however deep the layers lie, and does not recurse. A mail without such words costs a search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from leap.mail.incoming.security_fields import without_forged
from leap.mail.message.decoding import decode_body
from leap.mail.message.defects import DefectKind
from leap.mail.message.header_lines import empty_line
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.field_lines import header_fields, join_fields

_WORDS = re.compile(rb"x-leap-|authentication\s*-\s*results", re.IGNORECASE)
_ENCODED = re.compile(rb"content-transfer-encoding", re.IGNORECASE)
_IDENTITY = frozenset({"7bit", "8bit", "binary"})
_FILE = b"Content-Type: application/octet-stream\r\n"
_ENDS = frozenset({DefectKind.TOO_DEEP, DefectKind.TOO_MANY_PARTS})
_ROUNDS = 4  # a header that was cut shorter may be read in another way; never seen twice


def without_forged_anywhere(message: bytes, own_domain: str = "") -> bytes:
    """The message without forged fields in its header and in those of all messages in it; itself when there are none.

    CPU: one scan, and a copy for each message in a message.
    """
    cleaned = without_forged(message, own_domain)
    for _ in range(_ROUNDS):
        edits = sorted(_edits(cleaned, own_domain))
        if not edits:
            break
        pieces: list[bytes] = []
        done = 0
        for start, end, octets in edits:
            if start >= done:
                pieces += (cleaned[done:start], octets)
                done = end
        cleaned = b"".join((*pieces, cleaned[done:]))
    return cleaned


def _edits(message: bytes, own_domain: str) -> Iterator[tuple[int, int, bytes]]:
    if _WORDS.search(message) is None and _ENCODED.search(message) is None:
        return
    for part in scan(message).walk():
        if part.is_message and part.encoding not in _IDENTITY:
            held = decode_body(message, part)
            if without_forged_anywhere(held, own_domain) != held:
                yield _as_file(message, part)
        elif any(one.kind in _ENDS for one in part.defects):
            if _WORDS.search(message, part.body_start, part.end):
                yield _as_file(message, part)
        elif part.is_message and part.children:
            [child] = part.children
            whole = message[child.header_start : child.end]
            header = whole[: empty_line(whole)]
            if (kept := without_forged(header, own_domain)) != header:
                yield child.header_start, child.header_start + len(header), kept


def _as_file(message: bytes, part: Part) -> tuple[int, int, bytes]:
    """The edit that makes a file of a part; its octets stay."""
    header = message[part.header_start : part.body_start]
    end = empty_line(header)
    fields = [one for one in header_fields(header) if one.name != "content-type"]
    start = part.header_start
    return start, start + end, _FILE + join_fields(fields)
