"""The header fields that lists of messages ask for, kept apart from the octets: all but the traces of the way.

Programs that fill their own lists ask for a dozen fields of every message (RFC 3501 6.4.5, HEADER.FIELDS). What they do
not ask for is most of a header: signatures of machines, stamps of relays, verdicts of filters.

Invariants: fields are whole and in their order; which ones are left out is part of the format of header records, so
a field may be taken off these lists only together with a new name for what is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_KEPT = 16 * 1024  # octets; longer ones are read from the message when they are asked for
LEFT_OUT = (
    b"received",
    b"x-received",
    b"return-path",
    b"received-spf",
    b"authentication-results",
    b"dkim-signature",
    b"domainkey-signature",
    b"x-google-dkim-signature",
    b"x-gm-message-state",
    b"autocrypt",
    b"autocrypt-gossip",
    b"face",
    b"x-face",
)
LEFT_OUT_PREFIXES = (
    b"arc-",
    b"x-ms-",
    b"x-microsoft-",
    b"x-forefront-",
    b"x-spam-",
    b"x-google-smtp-",
)
_NAME = re.compile(rb"[!-9;-~]+\Z")
_LEFT_OUT = re.compile(
    rb"^(?:(?:" + b"|".join(map(re.escape, LEFT_OUT)) + rb")[ \t]*+|"
    rb"(?:" + b"|".join(map(re.escape, LEFT_OUT_PREFIXES)) + rb")[!-9;-~]*+[ \t]*+)"
    rb":[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)


def kept_fields(header: bytes) -> bytes:
    """A header without the fields left out; its empty line stays."""
    return _LEFT_OUT.sub(b"", header)


def are_kept(names: Iterable[bytes]) -> bool:
    """Whether what is kept answers for all fields of these names."""
    return all(
        _NAME.match(name)
        and (lower := name.lower()) not in LEFT_OUT
        and not lower.startswith(LEFT_OUT_PREFIXES)
        for name in names
    )
