"""Whose name a submitted mail bears: the account's own, in the envelope and in its From field (RFC 6409 6.1).

Pure. Sender and Resent fields are not looked at: programs show From as the author, and nobody's signature is
taken for another's by them. Sender is often the machine's own word for the account (RFC 6409 8.1 lets
a server add one), and Resent fields tell of earlier journeys of the mail (RFC 5322 3.6.6).
"""

from __future__ import annotations

from leap.mail.outgoing.addresses import normal, only_address, without_tag
from leap.mail.outgoing.field_lines import split_header, values_of


def is_own(address: str, principal: str | None) -> bool:
    """Whether an address is the account's, with or without a +tag."""
    return principal is not None and principal in (normal(address), without_tag(normal(address)))


def author_of(raw: bytes) -> str | None:
    """The one address of the one From field, in the form in which addresses are compared; None when in doubt.

    What two readers could read differently is nobody's (`leap.mail.outgoing.addresses`).
    """
    fields, _ = split_header(raw)
    return only_address(values_of(fields, "from"))
