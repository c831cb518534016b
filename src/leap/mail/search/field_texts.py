"""What one header field says to a search: its decoded text, and addresses which comments or spaces tear apart in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from leap.mail.message.addresses import parse_addresses
from leap.mail.message.header import Field

OF_ADDRESSES = frozenset({"from", "to", "cc", "bcc", "sender", "reply-to"})
_MAY_BE_TORN = re.compile(r"[(]|\s@|@\s")


def field_texts(field: Field) -> Iterator[str]:
    """The texts to look in, decoded, not folded.

    RFC 9051 6.4.4 looks for a FROM in the ENVELOPE, where `bob (my friend) @ (home) example.test` is bob@example.test.
    """
    text = field.text
    yield text
    yield from torn_addresses(field, text)


def torn_addresses(field: Field, text: str) -> Iterator[str]:
    """The addresses of a field which do not stand in its decoded `text` as such."""
    if field.key in OF_ADDRESSES and "@" in text and _MAY_BE_TORN.search(text):
        for one in parse_addresses(field.value):
            if one.is_mailbox and one.address not in text:
                yield one.address
