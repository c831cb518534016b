"""The commands of QUOTA (RFC 9208 4.1).

getquota = "GETQUOTA" SP quota-root-name        getquotaroot = "GETQUOTAROOT" SP mailbox
"""

from __future__ import annotations

from dataclasses import dataclass

from leap.mail.imap.wire.scanner import Scanner


@dataclass(frozen=True, slots=True)
class GetQuota:
    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    mailbox: str


def parse_getquota(scanner: Scanner) -> GetQuota:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    scanner.space()
    return GetQuota(scanner.astring())


def parse_getquotaroot(scanner: Scanner) -> GetQuotaRoot:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    scanner.space()
    return GetQuotaRoot(scanner.mailbox())
