"""The envelope of a message as values: who wrote to whom, when, about what. Read from what was made at storage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from leap.mail.message.addresses import Address
from leap.mail.message.dates import parse_date
from leap.mail.message.header import message_ids
from leap.mail.message.words import decode_words

# What `message.envelope` writes (RFC 9051 7.5.2): parentheses, NIL, quoted strings, literals
_TOKEN = re.compile(rb' *(?:(\()|(\))|(NIL)|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PLACES = 10  # date subject from sender reply-to to cc bcc in-reply-to message-id


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a mail address; `name` is what they call themselves, or is empty."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of a message's header that lists show, decoded.

    `date` is what the Date field says, with the writer's zone; None when it says nothing. `reply_to` is From where
    there is no Reply-To. Ids are with their angle brackets. Groups of addresses are opened.
    """

    date: datetime | None
    subject: str
    from_: tuple[Person, ...]
    sender: tuple[Person, ...]
    reply_to: tuple[Person, ...]
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    bcc: tuple[Person, ...]
    in_reply_to: tuple[str, ...]
    message_id: str


def read_envelope(octets: bytes) -> Envelope:
    """The values of an IMAP ENVELOPE that was made at storage. Never raises: what is none is an empty envelope."""
    found = _parse(octets)
    fields = found if isinstance(found, list) and len(found) == _PLACES else [None] * _PLACES
    date, subject, *lists, in_reply_to, message_id = fields
    ids = message_ids(_octets(message_id))
    from_, sender, reply_to, to, cc, bcc = (tuple(_people(one)) for one in lists)
    return Envelope(
        date=_date(_octets(date)),
        subject=decode_words(_octets(subject)),
        from_=from_,
        sender=sender,
        reply_to=reply_to,
        to=to,
        cc=cc,
        bcc=bcc,
        in_reply_to=tuple(message_ids(_octets(in_reply_to))),
        message_id=ids[0] if ids else "",
    )


def people_of(addresses: list[Address]) -> tuple[Person, ...]:
    """The mailboxes among parsed addresses."""
    return tuple(
        Person(one.display_name, one.address) for one in addresses if one.is_mailbox and one.local
    )


def _octets(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _people(value: object) -> Iterator[Person]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, list) and len(entry) == 4:
            name, route, local, domain = (one if isinstance(one, bytes) else None for one in entry)
            yield from people_of([Address(name, route, local, domain)])


def _date(value: bytes) -> datetime | None:
    found = parse_date(value) if value else None
    if found is None:
        return None
    try:
        zone = timezone(timedelta(minutes=found.zone))
        return datetime.fromtimestamp(found.seconds, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return None


def _parse(octets: bytes) -> object:
    """Lists of octets and None; None when it is no such thing."""
    stack: list[list[object]] = [[]]
    at = 0
    while at < len(octets):
        found = _TOKEN.match(octets, at)
        if found is None:
            return None
        at = found.end()
        if found[1]:
            stack.append([])
        elif found[2]:
            if len(stack) < 2:
                return None
            done = stack.pop()
            stack[-1].append(done)
        elif found[3]:
            stack[-1].append(None)
        elif found[5]:
            size = int(found[5])
            stack[-1].append(octets[at : at + size])
            at += size
        else:
            stack[-1].append(_ESCAPED.sub(rb"\1", found[4]))
    return stack[0][0] if len(stack) == 1 and len(stack[0]) == 1 else None
