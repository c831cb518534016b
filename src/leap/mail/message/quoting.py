"""What a reply or a forwarded mail takes from the mail it is about: people, subject, references, text.

    Reply-To, or From, becomes To; To and Cc become Cc when everyone is answered (RFC 5322 3.6.2, 3.6.3)
    References = parent's References (or its In-Reply-To) and the parent's Message-ID (RFC 5322 3.6.4)

Only what the other person wrote is quoted: what they had quoted themselves, and their signature, stay behind. Of a mail
of which some parts came encrypted and others did not nothing is quoted: whoever wrote the readable ones may have put
the others beside them to get them back (EFAIL's replies).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from leap.mail.message.addresses import Address
from leap.mail.message.compose import is_address, is_id
from leap.mail.message.dates import format_date
from leap.mail.message.view import Message

MAX_REFERENCES = 20  # the first, which names the conversation, and the newest
NOT_QUOTED = "> [not quoted: parts of it came encrypted, and others did not]"
# "Re:" as programs of several languages and "Re[2]:" of some write it
_PREFIX = re.compile(
    r"^\s*(?:(?:re|aw|sv|antw|vs|odp|ynt|rif|res)\s*(?:\[\d{1,3}\])?\s*[:\uff1a]\s*)+",
    re.IGNORECASE,
)
_FORWARDED = re.compile(r"^\s*(?:(?:fwd?|wg|tr|rv|i|enc|doorst)\s*:\s*)+", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")
_ATTRIBUTION = re.compile(r"^[^\n>]{1,200}:[ \t]*\n+(?=>)", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply begins with. `to` and `cc` are (display name, address) pairs, as `compose` takes them."""

    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    subject: str
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    text: str


def reply(
    message: Message, *, own: Collection[str], everyone: bool = False, quote: bool = True
) -> Reply:
    """The beginning of a reply to `message` by who has the addresses `own`; `quote`: with its text.

    A reply to one's own mail goes to whom that went. Nobody is named twice, and oneself only when nobody else is.
    """
    ours = {address.lower() for address in own}
    sender = message.addresses("reply-to") or message.addresses("from")
    if sender and all(one.address.lower() in ours for one in sender):
        sender = message.addresses("to") or sender
    seen: set[str] = set()
    to = _people(sender, seen)
    others = [*message.addresses("to"), *message.addresses("cc")] if everyone else []
    cc = _people((one for one in others if one.address.lower() not in ours), seen)
    parent = _parent(message)
    return Reply(
        to=to,
        cc=cc,
        subject=reply_subject(message.subject),
        in_reply_to=(parent,) if parent else (),
        references=references(message),
        text=f"{attribution(message)}\n{quoted(message.body_text) if quote else NOT_QUOTED}\n",
    )


def references(message: Message) -> tuple[str, ...]:
    """The References of a reply (RFC 5322 3.6.4), of a very long conversation its first and newest."""
    parent = _parent(message)
    before = [one for one in message.references if one != parent and is_id(one)]
    ids = before + ([parent] if parent else [])
    return tuple(ids if len(ids) <= MAX_REFERENCES else [ids[0], *ids[1 - MAX_REFERENCES :]])


def _parent(message: Message) -> str | None:
    """The Message-ID, if it is one: some have spaces or raw octets in it, which no new header may have."""
    found = message.message_id
    return found if found and is_id(found) else None


def reply_subject(subject: str) -> str:
    """ "Re: " and the subject, whatever "Re:" in any language it began with."""
    return f"Re: {_PREFIX.sub('', subject)}".strip()


def forward_subject(subject: str) -> str:
    """ "Fwd: " and the subject, once."""
    return f"Fwd: {_FORWARDED.sub('', subject)}".strip()


def attribution(message: Message) -> str:
    """The line above a quotation: when, and who."""
    senders = message.addresses("from")
    who = (senders[0].display_name or senders[0].readable) if senders else ""
    date = message.date
    when = f"On {format_date(*date)}, " if date else ""
    return f"{when}{who or 'somebody'} wrote:"


def quoted(text: str) -> str:
    """The words of a text's own writer, each line marked with ">"."""
    own = _ATTRIBUTION.sub("", f"{text.strip()}\n")
    own = "\n".join(line for line in own.split("\n") if not line.startswith(">"))
    if signature := _SIGNATURE.search(own):
        own = own[: signature.start()]
    own = _BLANK_LINES.sub("\n\n", own).strip("\n")
    return "\n".join(f"> {line}".rstrip() for line in own.split("\n")) if own.strip() else ""


def forwarded(message: Message, *, quote: bool = True) -> str:
    """A mail as text inside another, under the fields that people ask about. Its files are not in it."""
    lines = ["---------- Forwarded message ----------"]
    for name in ("From", "Date", "Subject", "To", "Cc"):
        if field := message.field(name):
            lines.append(f"{name}: {field.text}")
    return "\n".join([*lines, "", message.body_text.rstrip("\n") if quote else NOT_QUOTED, ""])


def _people(addresses: Iterable[Address], seen: set[str]) -> tuple[tuple[str, str], ...]:
    out: list[tuple[str, str]] = []
    for one in addresses:
        key = one.address.lower()
        if one.domain and key not in seen and is_address(one.address):  # others nobody can write to
            seen.add(key)
            out.append((_CONTROL.sub("", one.display_name), one.address))
    return tuple(out)
