"""IMAP ENVELOPE as wire bytes (RFC 9051 7.5.2, the same in RFC 3501 7.4.2).

    envelope = "(" date SP subject SP from SP sender SP reply-to SP to SP cc SP bcc SP in-reply-to SP message-id ")"

A field that is absent is NIL, one that is empty is ""; address lists without an address are NIL; Sender and Reply-To
default to From. Several fields of one name count as one list, so that no program shows another From than was checked.
"""

from __future__ import annotations

from collections.abc import Iterable

from leap.mail.message.addresses import Address, parse_address_fields
from leap.mail.message.header import Field
from leap.mail.message.nstring import nstring

_LISTS = ("from", "sender", "reply-to", "to", "cc", "bcc")
_SINGLE = ("date", "subject", "in-reply-to", "message-id")


def envelope(fields: Iterable[Field]) -> bytes:
    """The ENVELOPE of a header, parentheses included."""
    single: dict[str, bytes] = {}
    values: dict[str, list[bytes]] = {}
    for field in fields:
        key = field.key
        if key in _SINGLE:
            single.setdefault(key, field.value)
        elif key in _LISTS:
            values.setdefault(key, []).append(field.value)
    lists = {name: parse_address_fields(its) for name, its in values.items()}
    for name in ("sender", "reply-to"):
        if not any(address.is_mailbox for address in lists.get(name, ())):
            lists[name] = lists.get("from", [])
    return b"(%b %b %b %b %b)" % (
        nstring(single.get("date")),
        nstring(single.get("subject")),
        b" ".join(_address_list(lists.get(name, [])) for name in _LISTS),
        nstring(single.get("in-reply-to")),
        nstring(single.get("message-id")),
    )


def _address_list(addresses: list[Address]) -> bytes:
    if not addresses:
        return b"NIL"
    return b"(%b)" % b"".join(map(_address, addresses))


def _address(address: Address) -> bytes:
    # address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
    return b"(%b %b %b %b)" % (
        nstring(address.name),
        nstring(address.route),
        nstring(address.local),
        nstring(address.domain),
    )
