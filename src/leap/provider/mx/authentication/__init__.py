"""Who stands behind a mail from outside: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989)."""

from leap.provider.mx.authentication.checks import MailChecks, submitted_by
from leap.provider.mx.authentication.dns_contract import NoAnswer, Resolver

__all__ = ["MailChecks", "NoAnswer", "Resolver", "submitted_by"]
