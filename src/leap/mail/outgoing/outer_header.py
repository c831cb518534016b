"""The header everybody on the way can read: as little as delivery and foreign programs need.

Kept outside: From, To, Cc, Date, Message-ID, TLS-Required. Obscured: Subject ("[...]", RFC 9788 3.2.1). Everything else
is only in the payload, References and In-Reply-To too: no relay needs to know who answers what, and every
program that knows RFC 9788 or its forerunners threads by the protected ones. From, To and Cc stay as
they were written, display names too: recipients whose program shows no protected header see them.

Invariants:
* All values are ASCII without line breaks, and no word in them is over 900 octets, so that folded lines stay
  under 998 (RFC 5322 2.1.1).
* The From outside is an address of the account, which accepting the mail made sure of; nothing of Bcc is ever read
  here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.header import Header
from email.utils import formataddr, formatdate, parsedate_to_datetime

from leap.mail.outgoing.addresses import lenient_mailboxes, only_address
from leap.mail.outgoing.field_lines import Field, values_of

OBSCURED_SUBJECT = "[...]"
NO_RECIPIENTS = "undisclosed-recipients:;"  # RFC 5322 A.1.3
MAX_WORD = 900
MAX_ADDRESS_FIELD = 60_000  # octets; some servers refuse headers over 64 kB

_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_PRINTABLE = re.compile(r"[ -~]*")


def outer_fields(
    fields: Sequence[Field], *, sender: str, message_id: str, now: float
) -> list[tuple[str, str]]:
    """The protected fields' outer form, in order; structural ones and Autocrypt are not among them.

    `message_id` is used when the message has none that can travel, `now` when it has no such Date.
    """
    outer = [("From", _from(fields, sender))]
    to = _address_field(values_of(fields, "to"))
    cc = _address_field(values_of(fields, "cc"))
    if to or not cc:
        outer.append(("To", to or NO_RECIPIENTS))
    if cc:
        outer.append(("Cc", cc))
    outer.append(("Date", _date(values_of(fields, "date"), now)))
    outer.append(("Message-ID", message_id_of(values_of(fields, "message-id")) or message_id))
    outer.append(("Subject", OBSCURED_SUBJECT))
    if [value.strip().lower() for value in values_of(fields, "tls-required")] == [b"no"]:
        outer.append(("TLS-Required", "No"))  # RFC 8689 3: it is for the servers on the way
    return outer


def _from(fields: Sequence[Field], sender: str) -> str:
    values = values_of(fields, "from")
    address = only_address(values)
    if address is not None:
        written = _address_field(values)
        if written:
            return written
    return sender


def _address_field(values: Sequence[bytes]) -> str:
    """One value for all fields of a kind: as written when that can travel, else written anew."""
    values = [value for value in values if value]
    if not values:
        return ""
    if len(values) == 1 and len(values[0]) <= MAX_ADDRESS_FIELD:
        text = values[0].decode("latin-1").replace("\t", " ")
        if _PRINTABLE.fullmatch(text) and all(len(word) <= MAX_WORD for word in text.split(" ")):
            return text
    decoded = ", ".join(_decoded(value[:MAX_ADDRESS_FIELD]) for value in values)
    written: list[str] = []
    total = 0
    for name, address in lenient_mailboxes(decoded):
        if not _PRINTABLE.fullmatch(address):
            continue  # an address that needs SMTPUTF8 stays inside; the envelope delivers it
        one = formataddr((_display(name), address))
        if len(address) > MAX_WORD or total + len(one) > MAX_ADDRESS_FIELD:
            continue
        written.append(one)
        total += len(one) + 2
    return ", ".join(written)


def _decoded(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return "".join(char if char.isprintable() else " " for char in text)


def _display(name: str) -> str:
    name = name[:500]
    if name.isascii():
        return name if all(len(word) <= MAX_WORD for word in name.split(" ")) else ""
    try:
        return Header(name, "utf-8", maxlinelen=70).encode(linesep="\n").replace("\n", "")
    except (UnicodeError, ValueError):
        return ""


def _date(values: Sequence[bytes], now: float) -> str:
    if len(values) == 1 and len(values[0]) < 100:
        text = values[0].decode("latin-1").replace("\t", " ")
        if _PRINTABLE.fullmatch(text):
            try:
                parsedate_to_datetime(text)
            except (ValueError, TypeError, IndexError, OverflowError):
                pass
            else:
                return text
    return formatdate(int(now))


def message_id_of(values: Sequence[bytes]) -> str | None:
    if len(values) == 1:
        text = values[0].decode("latin-1")
        if len(text) <= MAX_WORD and _MESSAGE_ID.fullmatch(text):
            return text
    return None
