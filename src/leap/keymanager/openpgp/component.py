"""The parts of a certificate or secret key in a stream of packets, grouped and reduced to what is public.

Invariant: what comes out of `read_components` holds no secret, whatever went in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp.errors import Malformed, OpenPGPError, TooLarge
from leap.keymanager.openpgp.packets import Packet, Tag, read_packets
from leap.keymanager.openpgp.public_key import PublicKey

# post-quantum ones have some kB, many-signature ones a few hundred
MAX_CERTIFICATE = 4 * 1024 * 1024
MAX_USER_IDS = 1_000  # people have some dozens; each costs up to half a millisecond to look at
_ADDRESS = re.compile(r"<([^<>\s]+@[^<>\s]+)>\s*\Z|\A\s*([^<>\s]+@[^<>\s]+)\s*\Z")

_PRIMARY = frozenset({Tag.PUBLIC_KEY, Tag.SECRET_KEY})
_PUBLIC_TAG: dict[int, int] = {
    Tag.SECRET_KEY: Tag.PUBLIC_KEY,
    Tag.SECRET_SUBKEY: Tag.PUBLIC_SUBKEY,
    Tag.PUBLIC_KEY: Tag.PUBLIC_KEY,
    Tag.PUBLIC_SUBKEY: Tag.PUBLIC_SUBKEY,
    Tag.USER_ID: Tag.USER_ID,
    Tag.USER_ATTRIBUTE: Tag.USER_ATTRIBUTE,
}


class Component(NamedTuple):
    """A primary key, user id, attribute or subkey with the signature packets that follow it."""

    tag: int
    body: bytes
    signatures: tuple[bytes, ...]


def address_of(user_id: str) -> str:
    """The mail address in a user id, as `canonical` gives it; empty when there is none."""
    found = _ADDRESS.search(user_id)
    return canonical(found[1] or found[2]) if found else ""


def address_in(body: bytes) -> str:
    """The same of a user id as it stands in its packet."""
    return address_of(readable(body))


def readable(octets: bytes) -> str:
    """A text that somebody wrote into a key, to be shown: in it nothing steers a terminal or hides what stands there.

    Such characters (ends of lines, escapes, changes of direction) and what is no UTF-8 become U+FFFD.
    """
    text = octets.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if category(c) == "Zs" else "\ufffd" for c in text)


def split_keys(data: bytes) -> list[list[Packet]]:
    """Packets of `data` in groups, each beginning with a primary key; raises Malformed."""
    groups: list[list[Packet]] = []
    for item in read_packets(data):
        if item.tag in _PRIMARY:
            groups.append([item])
        elif item.tag in (Tag.MARKER, Tag.PADDING, Tag.TRUST):
            continue
        elif not groups:
            raise Malformed("these OpenPGP packets do not begin with a key")
        else:
            groups[-1].append(item)
    return groups


def read_components(group: Sequence[Packet]) -> list[Component]:
    """The components of one group, public parts only; raises TooLarge, Malformed, Unsupported."""
    if sum(len(p.body) for p in group) > MAX_CERTIFICATE:
        raise TooLarge("an OpenPGP certificate is absurdly large")
    if sum(p.tag == Tag.USER_ID for p in group) > MAX_USER_IDS:
        raise TooLarge("an OpenPGP certificate has absurdly many user ids")
    parts: list[tuple[int, bytes, dict[bytes, None]]] = []
    keep = True
    for tag, body in group:
        if tag == Tag.SIGNATURE:
            if keep:
                parts[-1][2].setdefault(body)
            continue
        if tag in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY):
            try:
                key, _ = PublicKey.read_prefix(body)
            except OpenPGPError:
                if tag == Tag.SECRET_KEY:
                    raise
                keep = False  # where its public part ends is unknown, so that it cannot be kept without its secret
                continue
            body = key.body
        keep = tag in _PUBLIC_TAG
        if keep:
            parts.append((_PUBLIC_TAG[tag], body, {}))
    return [Component(tag, body, tuple(signatures)) for tag, body, signatures in parts]
