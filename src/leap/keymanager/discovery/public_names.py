"""Which names the public net can have: about the others nobody is asked, so that none of them leaks.

.test .example .invalid .localhost   RFC 6761, RFC 2606; and example.com, .net, .org
.local                               RFC 6762: answered by whoever is in the same room
.onion                               RFC 7686: only through Tor, that is, a proxy
.alt                                 RFC 9476: not names of the DNS
[192.0.2.1], 192.0.2.1               RFC 5321 4.1.3: no name at all
"""

from __future__ import annotations

import ipaddress

import idna

_NEVER = frozenset({"test", "example", "invalid", "localhost", "local", "alt"})
_EXAMPLES = frozenset({"example.com", "example.net", "example.org"})
_INSIDE = frozenset({"internal", "lan", "home", "corp", "intranet", "private"})
MAX_NAME = 253  # octets, RFC 1035 2.3.4 less the length octets


def ascii_domain(domain: str) -> str | None:
    """A domain in lower case and in A-labels (RFC 5891), as certificates and URLs have it; None if it is none."""
    name = domain.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    labels = name.split(".")
    fine = all(
        0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum()
        for label in labels
    )
    return name if fine and len(name) <= MAX_NAME else None


def is_public_name(domain: str, *, proxied: bool = False) -> bool:
    """Whether the public DNS, or with a proxy Tor, may know a name (as `ascii_domain` gives it)."""
    labels = domain.split(".")
    if len(labels) < 2 or is_literal(domain):
        return False
    if labels[-1] == "onion":
        return proxied
    return labels[-1] not in _NEVER and ".".join(labels[-2:]) not in _EXAMPLES


def is_outside_name(domain: str) -> bool:
    """Whether a name is not one of those which networks give to what is inside them (also RFC 8375)."""
    labels = domain.split(".")
    return labels[-1] not in _INSIDE and labels[-2:] != ["home", "arpa"]


def is_literal(host: str) -> bool:
    """Whether a host is an address and not a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_outside_address(address: str) -> bool:
    """Whether an IP address is one of the public net, not of this machine or the network it is in."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
