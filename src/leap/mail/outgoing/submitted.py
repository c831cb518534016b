"""A message as a mail program submitted it, made ready to travel: what leaves it, what is added.

Invariants:
* Bcc, Resent-Bcc and X-Leap-* leave it, before anything else looks at it.
* Message-ID and Date are added only when the message has no such field; nothing is re-written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from leap.mail.outgoing.addresses import domain_of, mentioned_addresses, only_address
from leap.mail.outgoing.field_lines import (
    Field,
    drop_fields,
    is_reserved,
    join_fields,
    split_header,
    values_of,
)
from leap.mail.outgoing.names import DROPPED_ON_SUBMISSION, POLICY_FIELD

_DROPPED = frozenset(name.lower() for name in DROPPED_ON_SUBMISSION)


@dataclass(frozen=True, slots=True)
class Submitted:
    """`message` is what was submitted, less what must not travel; `added` are our field lines.

    `visible` are the addresses its To and Cc name; `wish` is what its X-Leap-Encrypt field said;
    `from_address` is None unless one From field names one address beyond doubt.
    """

    message: bytes = field(repr=False)
    added: tuple[bytes, ...]
    fields: tuple[Field, ...] = field(repr=False)
    from_address: str | None
    visible: frozenset[str] = field(repr=False)
    message_id: str
    wish: str = ""


def read_submission(raw: bytes, sender: str, *, now: float, new_id: Callable[[], str]) -> Submitted:
    """Takes a submitted message apart as far as sending it asks. Never raises."""
    fields, rest = split_header(raw)
    wishes = values_of(fields, POLICY_FIELD.lower())
    kept = drop_fields(fields, lambda name: name in _DROPPED or is_reserved(name))
    names = {one.name for one in kept}
    message_id = f"<{new_id()}@{domain_of(sender) or 'localhost'}>"
    added = []
    if "message-id" not in names:  # RFC 6409 8.3
        added.append(f"Message-ID: {message_id}\r\n".encode("ascii", "replace"))
    if "date" not in names:  # RFC 6409 8.2
        added.append(f"Date: {formatdate(int(now))}\r\n".encode())
    return Submitted(
        message=join_fields(kept) + rest,
        added=tuple(added),
        fields=tuple(kept),
        from_address=only_address(values_of(kept, "from")),
        visible=frozenset(mentioned_addresses(values_of(kept, "to") + values_of(kept, "cc"))),
        message_id=message_id,
        wish=wishes[0].decode("ascii", "replace") if wishes else "",
    )
