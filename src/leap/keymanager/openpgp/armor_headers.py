"""Header lines of armored text (RFC 9580 6.2.2), which say something for people or programs and prove nothing.

armor-header = key ": " value       one a line, before the empty line that begins the base64
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from leap.keymanager.openpgp.errors import Malformed

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_MAX_LINES = 64
_FIRST_LINE = re.compile(rb"(?m)^-----BEGIN PGP [A-Z ,/0-9]+-----[ \t]*\r?$")


def header_lines(headers: Mapping[str, str]) -> bytes:
    """The lines that follow the first line of armored text; raises Malformed when they cannot be written."""
    for name, value in headers.items():
        if not _NAME.match(name) or not value.isprintable():
            raise Malformed("an armor header has a name or value that cannot be written")
    return "".join(f"{name}: {value}\n" for name, value in headers.items()).encode()


def read_armor_headers(text: bytes) -> dict[str, str]:
    """The header lines of the first armored block in `text`, of two alike the first."""
    found: dict[str, str] = {}
    start = _FIRST_LINE.search(text)
    if start is None:
        return found
    at = start.end() + 1
    for _ in range(_MAX_LINES):
        end = text.find(b"\n", at)
        line = text[at : end if end >= 0 else len(text)].strip()
        name, colon, value = line.partition(b":")
        if not colon:
            break
        found.setdefault(name.decode("ascii", "replace"), value.strip().decode("utf-8", "replace"))
        at = end + 1
        if end < 0:
            break
    return found
