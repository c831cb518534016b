"""The DKIM signature which this provider puts on mail of its users (RFC 6376, RFC 8463). Pure.

Both canonical forms are "relaxed": mail that is only folded anew on the way still verifies. Fields that should stand
once are signed once more than they stand, so that none can be added; so is Autocrypt, which brings a key.

Invariants:
* The signature comes last: nothing that is signed changes after it.
* The key never leaves this object.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pybase64
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from leap.provider.mx.authentication.dkim_canonical import (
    HeaderField,
    body_digest,
    by_name,
    header_octets,
    plain_fields,
    signed_fields,
    split_mail,
)

# RFC 6376 5.4.1, and what a mail program acts upon. Not the trace fields, which others add to.
SIGNED = (
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "autocrypt",
    "openpgp",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
_LINE = 72  # characters of base64 on a line


@dataclass(frozen=True, slots=True)
class DkimSigner:
    """Signs for one domain with the key that it publishes under `selector`."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    def signature_field(self, raw: bytes, now: float) -> bytes:
        """The field to be put in front of a mail; b"" when its header is not one that all programs read alike."""
        header, body = split_mail(raw)
        fields = plain_fields(header)
        if fields is None or not any(one.name == "from" for one in fields):
            return b""
        digest, _ = body_digest(raw, body, relaxed=True, length=None)
        present = by_name(fields)
        names = [name for name in SIGNED for _ in range(len(present.get(name, ())) + 1)]
        value = (
            f" v=1; a={self._algorithm}; c=relaxed/relaxed; d={self.domain};\r\n"
            f"\ts={self.selector}; t={int(now)};\r\n"
            f"\th={_folded_names(names)};\r\n"
            f"\tbh={pybase64.b64encode(digest).decode()};\r\n"
            "\tb="
        ).encode()
        unsigned = HeaderField(
            "dkim-signature", b"DKIM-Signature:" + value + b"\r\n", value + b"\r\n"
        )
        data = header_octets(signed_fields(present, names), unsigned, relaxed=True)
        text = pybase64.b64encode(self._sign(data)).decode()
        lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
        return b"DKIM-Signature:" + value + "\r\n\t ".join(lines).encode() + b"\r\n"

    @property
    def _algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(data).digest())  # RFC 8463 3


def _folded_names(names: list[str]) -> str:
    """The names with colons, in lines below 78 characters."""
    lines, line = [], ""
    for index, name in enumerate(names):
        piece = name + (":" if index + 1 < len(names) else "")
        if line and len(line) + len(piece) > _LINE:
            lines.append(line)
            line = ""
        line += piece
    return "\r\n\t ".join([*lines, line])
