"""The Autocrypt header field, and Autocrypt-Gossip, which has the same form (Autocrypt 1.1, "The Autocrypt Header").

    value     = *(attribute ";") keydata [";"]
    attribute = name "=" text        ; "_" before a name: not critical, passed over when unknown
    keydata   = "keydata=" base64    ; last, white space means nothing in it

Invariants:
* An unknown critical attribute, a repeated one, or one that is out of place makes the whole field invalid.
* What is parsed is bounded, in linear time, and answers None rather than raise.
* A value that is built has only ASCII in it, and no line end.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp.packets import Tag

PreferEncrypt = Literal["nopreference", "mutual"]

# Octets of the whole field, name and folding too: larger ones must not be sent, and count as invalid.
MAX_FIELD: Final = 10 * 1024
MAX_FIELDS: Final = (
    16  # of one mail looked at; there should be one, and newer versions may add theirs
)
MAX_ADDRESS: Final = 320  # RFC 5321 4.5.3.1: 64, "@" and 255
NAME: Final = "Autocrypt"
GOSSIP_NAME: Final = "Autocrypt-Gossip"

_SPACE = b" \t\r\n"
_ADDRESS = re.compile(r"[^\s;<>,\"\x00-\x1f\x7f]+@[^\s;<>,\"@\x00-\x1f\x7f]+")
_WRITTEN = re.compile(r"[!-:=?-~]+@[!-:=?-~]+")  # ASCII without space, ";", "<" and ">"
_LINE = 72  # base64 digits between two spaces, at which the field can be folded


class Header(NamedTuple):
    """One valid field. `keydata` are octets which begin as a certificate does; nothing of them was checked."""

    address: str
    prefer_encrypt: PreferEncrypt
    keydata: bytes


def parse_header(value: bytes) -> Header | None:
    """A field's value, folded or not; None for one that is invalid."""
    if len(value) > MAX_FIELD - len(NAME) - 1:
        return None
    body = value.strip(_SPACE)
    # base64 has no ";": what follows the last one is keydata, or the field is invalid
    before, _, last = body.removesuffix(b";").rpartition(b";")
    name, _, digits = last.partition(b"=")
    if name.strip(_SPACE) != b"keydata":
        return None
    attributes, keydata = _attributes(before), _keydata(digits)
    return None if attributes is None or keydata is None else _header(attributes, keydata)


def _attributes(text: bytes) -> dict[str, str] | None:
    """The attributes before keydata, unknown ones that are not critical left out."""
    found: dict[str, str] = {}
    for piece in text.split(b";"):
        name, equals, value = piece.strip(_SPACE).partition(b"=")
        key = name.rstrip(_SPACE).decode("latin-1")
        if key.startswith("_"):
            continue
        if not equals or key not in ("addr", "prefer-encrypt") or key in found:
            return None
        try:
            found[key] = value.strip(_SPACE).decode("utf-8")
        except UnicodeDecodeError:
            return None
    return found


def _keydata(text: bytes) -> bytes | None:
    try:
        octets = base64.b64decode(text.translate(None, _SPACE), validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if _begins_certificate(octets) else None


def _begins_certificate(octets: bytes) -> bool:
    """Whether the first packet is a public key (RFC 9580 4.2, 5.5.1.1): neither a secret one nor something else."""
    first = octets[0] if octets else 0
    tag = first & 0x3F if first & 0x40 else (first & 0x3C) >> 2
    return bool(first & 0x80) and tag == Tag.PUBLIC_KEY


def _header(attributes: dict[str, str], keydata: bytes) -> Header | None:
    address = attributes.get("addr", "")
    if len(address) > MAX_ADDRESS or not _ADDRESS.fullmatch(address):
        return None
    mutual = attributes.get("prefer-encrypt") == "mutual"  # any other value means no preference
    return Header(canonical(address), "mutual" if mutual else "nopreference", keydata)


def only_header(values: Iterable[bytes], from_address: str) -> Header | None:
    """The one valid Autocrypt field of a mail from an address; None when there is none, or more than one.

    (Autocrypt 1.1, "Updating Autocrypt Peer State": several valid ones are an error, all are discarded.)
    """
    sender = canonical(from_address)
    headers = [parse_header(value) for value in values]
    valid = [header for header in headers if header is not None and header.address == sender]
    return valid[0] if len(valid) == 1 else None


def header_value(
    address: str, certificate: bytes, prefer_encrypt: PreferEncrypt = "nopreference"
) -> str | None:
    """The value of a field for a minimal binary certificate, with spaces where it may be folded.

    None when it would be over the limit, or the address cannot stand in it. "nopreference" is not written: its
    absence means the same, and gossip must not have it.
    """
    if not _WRITTEN.fullmatch(address):
        return None
    digits = base64.b64encode(certificate).decode("ascii")
    lines = " ".join(digits[at : at + _LINE] for at in range(0, len(digits), _LINE))
    mutual = "prefer-encrypt=mutual; " if prefer_encrypt == "mutual" else ""
    value = f"addr={address}; {mutual}keydata= {lines}"
    folded = len(GOSSIP_NAME) + 2 + len(value) + 2 * (value.count(" ") + 2)
    return value if folded <= MAX_FIELD else None
