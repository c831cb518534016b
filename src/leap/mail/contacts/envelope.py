"""Who wrote a message and to whom, read from its IMAP ENVELOPE, which is all that a header record keeps of it. Pure.

envelope = "(" date SP subject SP from SP sender SP reply-to SP to SP cc SP bcc SP in-reply-to SP message-id ")"
address  = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"          ; RFC 9051 7.5.2, 9
"""

from __future__ import annotations

import re
from typing import NamedTuple

from leap.keymanager.canonical import canonical
from leap.mail.message.addresses import Address

MOST = 100  # that count: a message with more is a mailing, and each costs time when it is stored
MAX_ADDRESS, MAX_NAME = 320, 200  # characters; RFC 5321 4.5.3.1 allows 64 + 1 + 255

_STRING = rb'(?:NIL|"(?:[^"\\]|\\.)*+")'
_ADDRESS = re.compile(rb"\((%b) %b (%b) (%b)\)" % (_STRING, _STRING, _STRING, _STRING), re.DOTALL)
_LIST = rb"(?:NIL|\((?:\(%b %b %b %b\))++\))" % ((_STRING,) * 4)
_ENVELOPE = re.compile(
    rb"\(%b %b (%b) %b %b (%b) (%b) (%b) %b %b\)"
    % (_STRING, _STRING, _LIST, _LIST, _LIST, _LIST, _LIST, _LIST, _STRING, _STRING),
    re.DOTALL,
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|\{(\d{1,9})\}\r\n', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Person(NamedTuple):
    """An address in canonical form, and the name it was given, "" without one."""

    address: str
    name: str


def people_of(envelope: bytes) -> tuple[list[Person], list[Person]]:
    """Senders (From) and recipients (To, Cc, Bcc), each address once. Of what is no envelope nobody. Never
    raises."""
    from_, *others = address_lists(envelope)
    return _people(from_), _people(*others)


def address_lists(envelope: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """From, To, Cc and Bcc as they stand, their literals quoted; of what is no envelope NIL. Never raises."""
    if b"{" in envelope:
        envelope = _quoted(envelope)
    found = _ENVELOPE.fullmatch(envelope)
    return (found[1], found[2], found[3], found[4]) if found else (b"NIL",) * 4


def first_address(listed: bytes) -> Address | None:
    """The first address of a list that `address_lists` gave; the begin of a group is one, too (RFC 9051 7.5.2)."""
    found = _ADDRESS.match(listed, 1)
    return Address(_text(found[1]), None, _text(found[2]), _text(found[3])) if found else None


def _people(*lists: bytes) -> list[Person]:
    out: dict[str, str] = {}
    for one in lists:
        for name, local, domain in _ADDRESS.findall(one):
            written = Address(_text(name), None, _text(local), _text(domain))
            if not written.domain or not written.local:
                continue  # begin or end of a group, or no address
            address = canonical(written.address)
            if len(address) > MAX_ADDRESS or not address.isprintable():
                continue
            out[address] = out.get(address) or " ".join(written.display_name[:MAX_NAME].split())
            if len(out) == MOST:
                break
    return [Person(address, name) for address, name in list(out.items())[:MOST]]


def _text(written: bytes) -> bytes | None:
    if written == b"NIL":
        return None
    inner = written[1:-1]
    return _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner


def _quoted(envelope: bytes) -> bytes:
    """The same with its literals written as quoted strings."""
    out: list[bytes] = []
    position = 0
    while found := _TOKEN.search(envelope, position):
        out.append(envelope[position : found.start()])
        position = found.end()
        if found[1] is None:
            out.append(found[0])
            continue
        literal = envelope[position : position + int(found[1])]
        position += len(literal)
        out.append(b'"' + literal.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
    out.append(envelope[position:])
    return b"".join(out)
