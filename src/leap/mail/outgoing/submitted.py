"""A message as a mail program submitted it, made ready to travel: what leaves it, what is added.

Invariants:
* Bcc, Resent-Bcc and X-Leap-* leave it, before anything else looks at it.
* Tell-tale fields leave it too, unless the mail program signed or encrypted it: then it is `untouched` otherwise.
* Message-ID and Date are added only when the message has no such field; nothing is re-written, but for a Subject whose
  tag the person asked to be obeyed.
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
from leap.mail.outgoing.names import DROPPED_ON_SUBMISSION
from leap.mail.outgoing.pgp_mime import is_encrypted
from leap.mail.outgoing.signed_mail import is_signed
from leap.mail.outgoing.telltale import is_telltale
from leap.mail.outgoing.wish import Wish, wish_of, with_subject_tag

_DROPPED = frozenset(name.lower() for name in DROPPED_ON_SUBMISSION)


@dataclass(frozen=True, slots=True)
class Submitted:
    """`message` is what was submitted, less what must not travel; `added` are our field lines.

    `visible` are the addresses its To and Cc name; `wish` is what its fields, or a tag in its subject, asked for;
    `from_address` is None unless one From field names one address beyond doubt. `encrypted` and `signed`: by the mail
    program.
    """

    message: bytes = field(repr=False)
    added: tuple[bytes, ...]
    fields: tuple[Field, ...] = field(repr=False)
    from_address: str | None
    visible: frozenset[str] = field(repr=False)
    message_id: str
    wish: Wish
    encrypted: bool
    signed: bool


def read_submission(
    raw: bytes,
    sender: str,
    *,
    now: float,
    new_id: Callable[[], str],
    subject_tags: bool = False,
) -> Submitted:
    """Takes a submitted message apart as far as sending it asks. Never raises."""
    fields, rest = split_header(raw)
    encrypted, signed = is_encrypted(raw), is_signed(raw)
    untouched = encrypted or signed
    wish = wish_of(fields)
    if subject_tags and not untouched:
        fields, wish = with_subject_tag(fields, wish)
    kept = drop_fields(
        fields,
        lambda name: name in _DROPPED or is_reserved(name) or (is_telltale(name) and not untouched),
    )
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
        wish=wish,
        encrypted=encrypted,
        signed=signed,
    )
