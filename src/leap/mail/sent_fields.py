"""What became of a mail, in front of its copy in Sent: one field for each recipient.

    sent  = "X-Leap-Sent:" SP "state=" state ";" SP "how=" how [";" SP "code=" 3DIGIT] ";" SP "to=" address CRLF
    state = "sent" / "failed" / "cancelled"
    how   = "encrypted" / "signed" / "clear" / "as-is" / "none"

`sent`: handed to the provider. `signed` and `clear` could be read on the way; `as-is`: the mail program encrypted it.
`code` is the last answer of the provider. The fields are the first of the message, and ours: X-Leap-* of others are
dropped on submission and on arrival.

Invariant: reading raises for no octets, and an address cannot begin another field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from leap.mail.message.header_lines import empty_line
from leap.mail.outbox_contract import RecipientResult
from leap.mail.outgoing.names import SENT_FIELD

_LINE = re.compile(
    rb"(X-Leap-Sent: state=([a-z]+); how=([a-z-]+)(?:; code=(\d{3}))?; to=([^\r\n]*)\r\n)"
)
_ALL = re.compile(rb"(?:X-Leap-Sent:[^\r\n]*\r\n)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


class SentTo(NamedTuple):
    """How a mail went to one recipient; `code` is 0 when there was no answer."""

    address: str
    state: str
    how: str
    code: int = 0


def sent_fields(results: Iterable[RecipientResult]) -> bytes:
    """The fields for these recipients, in their order; none for those who still wait."""
    lines = []
    for one in results:
        if one.state == "waiting":
            continue
        code = f"; code={one.code:03}" if 0 < one.code < 1000 else ""
        address = _CONTROL.sub(" ", one.address)
        how = "none" if one.state == "cancelled" else one.how or "none"
        lines.append(f"{SENT_FIELD}: state={one.state}; how={how}{code}; to={address}\r\n")
    return "".join(lines).encode("utf-8", "replace")


def joined_sent_fields(raw: bytes, newer: bytes) -> bytes:
    """The message with the fields in front of `newer`, and its own about other recipients."""
    ours, theirs = _front(raw), _front(newer)
    named = {line[4] for line in _lines(theirs)}
    kept = b"".join(line[0] for line in _lines(ours) if line[4] not in named)
    return kept + theirs + raw[len(ours) :]


def is_same_mail(one: bytes, other: bytes) -> bool:
    """Whether two messages have the same body: a Message-ID that is used again must not make one of two mails."""
    return one[empty_line(one) :] == other[empty_line(other) :]


def read_sent_fields(raw: bytes) -> list[SentTo]:
    """What the fields in front of a message say; nothing when there are none."""
    return [
        SentTo(address.decode("utf-8", "replace"), state.decode(), how.decode(), int(code or b"0"))
        for _, state, how, code, address in _lines(_front(raw))
    ]


def _front(raw: bytes) -> bytes:
    found = _ALL.match(raw)
    return found[0] if found is not None else b""


def _lines(front: bytes) -> list[tuple[bytes, bytes, bytes, bytes, bytes]]:
    """Each line, its state, how, code and address."""
    found: list[tuple[bytes, bytes, bytes, bytes, bytes]] = _LINE.findall(front)
    return found
