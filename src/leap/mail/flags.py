"""Flags and keywords as they are stored: one spelling each, never \\Recent, a sorted text of words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from leap.mail.contract import NotPermitted

# flag = "\\Answered" / "\\Flagged" / "\\Deleted" / "\\Seen" / "\\Draft" / flag-keyword / flag-extension (RFC 9051 9)
SYSTEM = {
    flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
}
_ATOM = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,255}")
MAX_FLAGS = 300  # on one message; keeps a page of 256 rows within what sync carries


def checked_flags(flags: Iterable[str]) -> frozenset[str]:
    """The flags in their usual spelling. Raises NotPermitted for \\Recent (RFC 3501 2.3.2) and what is no flag."""
    out = frozenset(SYSTEM.get(flag.lower(), flag) for flag in flags)
    for flag in out:
        if flag.lower() == "\\recent":
            raise NotPermitted("\\Recent cannot be set or cleared.")
        if not _ATOM.fullmatch(flag):
            raise NotPermitted(
                "A flag is a single word without spaces, quotes or brackets, up to 255 octets."
            )
    if len(out) > MAX_FLAGS:
        raise NotPermitted(f"A message has at most {MAX_FLAGS} flags.")
    return out


def flags_text(flags: Iterable[str]) -> str:
    return " ".join(sorted(flags))


@lru_cache(maxsize=4096)
def flags_of(text: str) -> tuple[str, ...]:
    """Few distinct texts among many rows: one tuple each."""
    return tuple(text.split())
