"""Key gossip: keys of the other recipients, inside an encrypted mail (Autocrypt 1.1, "Key Gossip"). Pure.

Invariants:
* Only recipients the mail itself names are gossiped about, and never those of Bcc.
* Two different keys for one address are nobody's word: neither is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Final

from leap.keymanager.autocrypt.header import header_value, parse_header
from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp import Certificate, OpenPGPError

MAX_GOSSIP: Final = 64  # fields of one mail, written and read: 64 kB of small keys


def read_gossip(values: Iterable[bytes], recipients: Collection[str]) -> dict[str, bytes]:
    """Keydata by address, of those whom To, Cc and Reply-To name; a `prefer-encrypt` means nothing in it."""
    named = {canonical(address) for address in recipients}
    found: dict[str, bytes] = {}
    doubtful: set[str] = set()
    for value in islice(values, MAX_GOSSIP):
        header = parse_header(value)
        if header is None or header.address not in named:  # step 1 of the update
            continue
        if found.setdefault(header.address, header.keydata) != header.keydata:
            doubtful.add(header.address)
    return {address: keydata for address, keydata in found.items() if address not in doubtful}


def write_gossip(certificates: Mapping[str, Certificate], at: float) -> list[str]:
    """The values of the fields for a mail to these visible recipients by address, in their order, at a time.

    None at all for one recipient, who needs no introduction. CPU: 0.1 ms a recipient.
    """
    if len(certificates) < 2:
        return []
    values = []
    for address, certificate in islice(certificates.items(), MAX_GOSSIP):
        # a user id of the address where there is one ("Key Gossip Injection in Outbound Messages")
        named = certificate.addresses
        chosen = address if address in named else next(iter(named), address)
        try:
            octets = certificate.minimal(chosen, at).binary
        except OpenPGPError:
            continue  # no user id, or nothing in it that one could encrypt to: no word of it
        if value := header_value(address, octets):
            values.append(value)
    return values
