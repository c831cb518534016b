"""What an account says of contacts, in values that travel."""

from __future__ import annotations

import msgspec


class ContactUse(msgspec.Struct, frozen=True, kw_only=True):
    """How often messages were written to an address, and came from it; `last` is when the newest of them arrived,
    seconds since 1970. `name` is what the newest message that had one calls it."""

    address: str  # in the form of `leap.keymanager.canonical`
    name: str
    written_to: int
    written_from: int
    last: int
