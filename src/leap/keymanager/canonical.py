"""The one form in which mail addresses are compared: lower case, the domain in A-labels. Pure.

A mail program sends to bob@xn--bcher-kva.example what a person typed as bob@bücher.example: with two forms there
would be two contacts, and mail to the one would know nothing of the key that was verified for the other.
"""

from __future__ import annotations

import idna

_MAX_DOMAIN = (
    253  # octets of a name of the DNS (RFC 1035 2.3.4, less the length octets); letters here
)


def canonical(address: str) -> str:
    """The form in which addresses are compared (Autocrypt 1.1, "E-mail Address Canonicalization")."""
    folded = address.strip().lower()
    if folded.isascii():
        return folded
    local, at, domain = folded.rpartition("@")
    if not domain.isascii() and len(domain) <= _MAX_DOMAIN:
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")  # RFC 5891 4.4
        except (idna.IDNAError, UnicodeError):
            pass  # no name of the DNS: then it is compared as it stands
    return f"{local}{at}{domain}"
