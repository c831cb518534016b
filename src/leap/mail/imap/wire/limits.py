"""How much of anything one IMAP client may ask for at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read; a session over one of them is answered, not ended."""

    line: int = (
        65_536  # a command without its literals; mail programs name thousands of uids in one set
    )
    line_before_login: int = (
        65_536  # an ID of 30 pairs of 1,024 octets comes before the log-in (RFC 2971 3.3)
    )
    literal: int = 65_536  # search words, names, passwords; RFC 7888 asks for 4096 at least
    literal_before_login: int = 4_096
    literals_together: int = 262_144  # in one command which is not APPEND
    message: int = 50 * 1024 * 1024  # what the provider's MX takes too
    messages_together: int = 64 * 1024 * 1024  # one APPEND of several messages (RFC 3502)
    literal_count: int = 4_096
    nesting: int = 50  # brackets, NOT and OR in one SEARCH, each costs a stack frame
    search_keys: int = 2_000
    set_ranges: int = 20_000  # a line full of them
    fetch_items: int = 200
    list_patterns: int = 100
    wildcards: int = 20  # in one LIST pattern; matching costs wildcards x name
    keyword: int = 255  # octets of one
    flags: int = 200  # in one command


DEFAULT_LIMITS = Limits()
