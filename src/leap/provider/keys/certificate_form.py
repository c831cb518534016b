"""The form of what someone publishes: a binary public key naming its owner's address, and perhaps former ones after it.

Signatures are not checked here: who looks a key up checks them, and who publishes is logged in. This
only keeps out what must never be published: above all secret keys, and names of other addresses, which somebody
who looks this key up could take for checked.

Former keys, which their owner revoked, go along with the new one, so that whoever has one of them hears of it
(draft-koch-openpgp-webkey-service 3.1).

    packet stream  RFC 9580 4.2: tag octet, length, body; lengths of keys are never partial (4.2.1.4)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

MAX_CERTIFICATES = 4  # the one in use and the revoked ones
MAX_CERTIFICATE_BYTES = 256 * 1024  # an ML-KEM certificate has 2 kB, one with a photo some 30 kB

_PUBLIC_KEY, _PUBLIC_SUBKEY, _SIGNATURE, _USER_ID, _USER_ATTRIBUTE = 6, 14, 2, 13, 17  # RFC 9580 5
_REVOCATION = b"\x20"  # RFC 9580 5.2.1
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


def check_certificate(data: bytes, address: str, aliases: Collection[str] = ()) -> None:
    """Raise NotACertificate unless `data` is a binary public key with user ids of `address`, `aliases` and no other.

    After it up to three more of that form may follow that are revoked.
    """
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise NotACertificate(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    if data.startswith(b"-----"):
        raise NotACertificate("the certificate must be binary, not armored")
    keys: list[list[tuple[int, bytes]]] = []  # the packets of each
    for tag, body, _ in _packets(data):
        if tag in _SECRET:
            raise NotACertificate("this holds a secret key; only public keys are published")
        if tag not in _ALLOWED:
            raise NotACertificate(f"a packet of type {tag} does not belong into a certificate")
        if tag == _PUBLIC_KEY:
            keys.append([])
        elif not keys:
            raise NotACertificate("this is not one public key")
        keys[-1].append((tag, body))
    if not 0 < len(keys) <= MAX_CERTIFICATES:
        raise NotACertificate("this is not one public key, with a few former ones")
    for key in keys:
        _check_addresses(key, address, aliases)
    if not all(_is_revoked(key) for key in keys[1:]):
        raise NotACertificate("only one of the public keys may be one that is not revoked")


def named_form(data: bytes, address: str) -> bytes:
    """The keys which have a user id of `address`, without those of other addresses; b"" when there is none.

    `data` was checked. Who asks for one address of an account does not hear of the others.
    """
    out = b""
    for key in _keys(data):
        names = {_address_of(body) for tag, body, _ in key if tag == _USER_ID}
        if address in names:
            out += b"".join(octets for _, _, octets in _without_others(key, address))
    return out


def _keys(data: bytes) -> Iterator[list[tuple[int, bytes, bytes]]]:
    """The packets of each key: type, body, all octets."""
    key: list[tuple[int, bytes, bytes]] = []
    for packet in _packets(data):
        if packet[0] == _PUBLIC_KEY and key:
            yield key
            key = []
        key.append(packet)
    if key:
        yield key


def _without_others(
    key: list[tuple[int, bytes, bytes]], address: str
) -> Iterator[tuple[int, bytes, bytes]]:
    unwanted = False
    for tag, body, octets in key:
        if tag == _USER_ID:
            other = _address_of(body)
            unwanted = "@" in other and other != address
        elif tag != _SIGNATURE:
            unwanted = False
        if not unwanted:
            yield tag, body, octets


def _check_addresses(key: list[tuple[int, bytes]], address: str, aliases: Collection[str]) -> None:
    addresses = {_address_of(body) for tag, body in key if tag == _USER_ID}
    if address not in addresses:
        raise NotACertificate(f"the certificate has no user id of {address}")
    if any("@" in other for other in addresses - {address, *aliases}):
        raise NotACertificate(f"the certificate has a user id of another address than {address}")


def _is_revoked(key: list[tuple[int, bytes]]) -> bool:
    """Whether it says so: a signature (version 4 or 6) of the type for that."""
    return any(tag == _SIGNATURE and body[1:2] == _REVOCATION for tag, body in key)


def _address_of(user_id: bytes) -> str:
    text = user_id.decode("utf-8", "replace")
    found = _IN_BRACKETS.search(text)
    return (found[1] if found else text).strip().lower()


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, body and all octets of each."""
    position = 0
    while position < len(data):
        start = position
        tag, length, position = _header(data, position)
        if position + length > len(data):
            raise NotACertificate("the certificate is cut short")
        yield tag, data[position : position + length], data[start : position + length]
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
