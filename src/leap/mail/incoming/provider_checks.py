"""What the own provider says of a mail that came out of its inbox seal, and whether that vouches for its sender. Pure.

    Return-Path: <...>                       ; the MX's trace block, by which every mail in the seal begins
    Authentication-Results: own domain; ...
    Received: ...
    what the sender sent

Invariants:
* Position counts: only the second line of what was sealed is the provider's word. What is sent can stand only behind a
  Received field of the MX, so no sender writes there, whatever the provider's version.
* Nothing here raises, and what is not exactly as the MX writes it says nothing.
* A mail is vouched for only for the one address of its one From.
"""

from __future__ import annotations

import re

from leap.mail.authentication_results import read_results_field
from leap.mail.contract import ProviderChecks
from leap.mail.outgoing.addresses import domain_of, without_tag

MAX_FIELD = 8 * 1024  # octets; the MX's field with eight signatures has some 2.5 kB

# CRLF is the only line end of the MX, and a field of it holds no other
_BLOCK = re.compile(
    rb"Return-Path: <[^\r\n]*>\r\n"
    rb"(?P<results>Authentication-Results: [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)*)"
    rb"Received: "
)
_RETURN_PATH = b"Return-Path: <"
_MAX_BLOCK = MAX_FIELD + 2 * 1024


def provider_checks(raw: bytes, own_domain: str) -> ProviderChecks | None:
    """What the provider of `own_domain` found when it took in `raw`, as it came out of the seal; None: nothing."""
    if not own_domain or not raw.startswith(_RETURN_PATH):
        return None
    block = _BLOCK.match(raw, 0, min(len(raw), _MAX_BLOCK))
    if block is None or len(block["results"]) > MAX_FIELD:
        return None
    return read_results_field(block["results"], own_domain)


def vouches_for(checks: ProviderChecks | None, from_address: str) -> bool:
    """Whether the provider says that a mail is from this address, in normal form: by the log-in of its account, or as
    DMARC does, that its domain stands behind it."""
    if checks is None:
        return False
    if checks.submitter:
        return checks.submitter in (from_address, without_tag(from_address))
    return checks.dmarc == "pass" and checks.dmarc_domain == domain_of(from_address)


def signs_for(checks: ProviderChecks | None, from_address: str) -> frozenset[str]:
    """The domains whose DKIM signatures passed and which answer for an address: its own, or one that is above it.

    None counts where the domain's policy is not met: with "adkim=s" a parent's signature is no word of the child.
    """
    if checks is None or checks.dmarc not in ("pass", "none"):
        return frozenset()
    domain = domain_of(from_address)
    return frozenset(
        one.domain
        for one in checks.dkim
        if one.result == "pass"
        and "." in one.domain
        and (domain == one.domain or domain.endswith(f".{one.domain}"))
    )


def is_disowned(checks: ProviderChecks | None) -> bool:
    """Whether the domain that From names says that this mail is not its own (RFC 9989: a DMARC failure under a policy
    other than "none")."""
    return checks is not None and checks.dmarc == "fail" and checks.policy != "none"
