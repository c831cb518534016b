"""What SORT and THREAD ask of a message, taken from its header record once. Pure.

Texts are kept as RFC 5051 compares them, so that the order of their octets is the order asked for.
"""

from __future__ import annotations

from typing import NamedTuple

from leap.mail.contacts.envelope import address_lists, first_address
from leap.mail.message.addresses import Address
from leap.mail.model import HeaderRecord
from leap.mail.sorting.collation import casemap
from leap.mail.threads.facts import Facts
from leap.mail.threads.subject import base_subject


class SortKeys(NamedTuple):
    """Of one message, in the order of the columns of `mail_sort`. `ids` as `leap.mail.threads.facts` packs them: its
    own, then those of its references, oldest first."""

    sent: int | None  # of the Date field, seconds since 1970
    subject: str  # the base subject
    reply: bool  # the subject was that of a reply or a forward
    sender: str  # local part of the first From address
    recipient: str
    copied: str
    shown_sender: str  # display name of the first From address, else the address
    shown_recipient: str
    ids: bytes


def sort_keys(record: HeaderRecord, facts: Facts) -> SortKeys:
    """CPU about 30 µs. Never raises."""
    from_, to, cc, _ = address_lists(record.envelope)
    sender, recipient, copied = map(first_address, (from_, to, cc))
    base = base_subject(record.subject)
    return SortKeys(
        sent=facts.date,
        subject=casemap(base.text),
        reply=base.reply,
        sender=_local(sender),
        recipient=_local(recipient),
        copied=_local(copied),
        shown_sender=_shown(sender),
        shown_recipient=_shown(recipient),
        ids=facts.ids_octets,
    )


def _local(address: Address | None) -> str:
    """RFC 5256 3: addr-mailbox of ENVELOPE, "" without an address."""
    return "" if address is None else casemap((address.local or b"").decode("utf-8", "replace"))


def _shown(address: Address | None) -> str:
    """RFC 5957 2: the group's name, the display name, or the address."""
    if address is None:
        return ""
    return casemap(address.display_name if address.is_mailbox and address.name else address.address)
