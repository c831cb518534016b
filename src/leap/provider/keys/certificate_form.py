"""The form of a certificate someone publishes: one binary public key, naming its owner's address.

Signatures are not checked here: who looks a key up checks them, and who publishes is logged in. This
only keeps out what must never be published: above all secret keys, and names of other addresses, which somebody
who looks this key up could take for checked.

    packet stream  RFC 9580 4.2: tag octet, length, body; lengths of keys are never partial (4.2.1.4)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_CERTIFICATE_BYTES = 256 * 1024  # an ML-KEM certificate has 2 kB, one with a photo some 30 kB

_PUBLIC_KEY, _PUBLIC_SUBKEY, _SIGNATURE, _USER_ID, _USER_ATTRIBUTE = 6, 14, 2, 13, 17  # RFC 9580 5
_TRUST, _MARKER, _PADDING = 12, 10, 21
_ALLOWED = {
    _PUBLIC_KEY,
    _PUBLIC_SUBKEY,
    _SIGNATURE,
    _USER_ID,
    _USER_ATTRIBUTE,
    _TRUST,
    _MARKER,
    _PADDING,
}
_SECRET = {5, 7}
_IN_BRACKETS = re.compile(r"<([^<>]*)>\s*$")


class NotACertificate(ValueError):
    """What someone wants to publish is not one public key of theirs; the text says why."""


def check_certificate(data: bytes, address: str) -> None:
    """Raise NotACertificate unless `data` is one binary public key with a user id of `address` and of no other."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise NotACertificate(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    if data.startswith(b"-----"):
        raise NotACertificate("the certificate must be binary, not armored")
    tags: list[int] = []
    addresses: set[str] = set()
    for tag, body in _packets(data):
        if tag in _SECRET:
            raise NotACertificate("this holds a secret key; only public keys are published")
        if tag not in _ALLOWED:
            raise NotACertificate(f"a packet of type {tag} does not belong into a certificate")
        tags.append(tag)
        if tag == _USER_ID:
            addresses.add(_address_of(body))
    if not tags or tags[0] != _PUBLIC_KEY or tags.count(_PUBLIC_KEY) != 1:
        raise NotACertificate("this is not one public key")
    if address not in addresses:
        raise NotACertificate(f"the certificate has no user id of {address}")
    if any("@" in other for other in addresses - {address}):
        raise NotACertificate(f"the certificate has a user id of another address than {address}")


def _address_of(user_id: bytes) -> str:
    text = user_id.decode("utf-8", "replace")
    found = _IN_BRACKETS.search(text)
    return (found[1] if found else text).strip().lower()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        tag, length, position = _header(data, position)
        if position + length > len(data):
            raise NotACertificate("the certificate is cut short")
        yield tag, data[position : position + length]
        position += length


def _header(data: bytes, position: int) -> tuple[int, int, int]:
    """Type, length of the body, where the body begins."""
    first = data[position]
    if not first & 0x80:
        raise NotACertificate("this is not OpenPGP data")
    if first & 0x40:  # RFC 9580 4.2.1
        return first & 0x3F, *_length(data, position + 1)
    size = (1, 2, 4, 0)[first & 3]  # RFC 9580 4.2.2, the old format
    if size == 0:
        raise NotACertificate("a packet of a certificate has no length")
    octets = data[position + 1 : position + 1 + size]
    if len(octets) != size:
        raise NotACertificate("the certificate is cut short")
    return first >> 2 & 0x0F, int.from_bytes(octets, "big"), position + 1 + size


def _length(data: bytes, position: int) -> tuple[int, int]:
    octets = data[position : position + 5]
    if not octets:
        raise NotACertificate("the certificate is cut short")
    first = octets[0]
    if first < 192:
        return first, position + 1
    if first < 224 and len(octets) >= 2:
        return (first - 192 << 8) + octets[1] + 192, position + 2
    if first == 255 and len(octets) == 5:
        return int.from_bytes(octets[1:], "big"), position + 5
    raise NotACertificate("a packet of the certificate has a length which keys do not have")
