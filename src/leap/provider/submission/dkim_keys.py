"""The keys with which a provider signs outgoing mail, in DIR/dkim: made, told to the DNS, then taken into use.

    SELECTOR.pem    a private key (PKCS #8), 0600
    in-use          the selector of the one that signs; without this file nothing is signed

A new key is made beside the old one, and used only when the operator says that its record is in the DNS; the old
record stays there until the mail signed with it has arrived everywhere.

Functions here block on disk and on key generation; call them before serving or in a thread.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pybase64
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from leap.provider.submission.dkim_signing import DkimSigner
from leap.soledad.private_file import write_private

KeyKind = Literal["rsa", "ed25519"]
RSA_BITS = 2048  # RFC 8301 3.2 asks for it; a longer key does not fit into one string of the DNS, nor one datagram
IN_USE = "in-use"
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_STRING = 255  # octets of one string of a text record (RFC 1035 3.3)


class BadDkimKey(Exception):
    """What was asked for cannot be done; the text says why."""


class DkimKeys:
    """The keys of the provider of `domain` in `folder`."""

    def __init__(self, folder: Path, domain: str) -> None:
        self._folder = folder / "dkim"
        self._domain = domain

    def selectors(self) -> list[str]:
        """Of all keys there are, in order."""
        return sorted(path.stem for path in self._folder.glob("*.pem"))

    def in_use(self) -> str | None:
        """The selector of the key that signs."""
        try:
            return (self._folder / IN_USE).read_text("ascii").strip() or None
        except FileNotFoundError:
            return None

    def make(self, selector: str, kind: KeyKind = "rsa") -> None:
        """A new key; it signs nothing yet. Raises BadDkimKey, OSError."""
        if not _SELECTOR.fullmatch(selector):
            raise BadDkimKey("a selector is a short name of letters, digits and hyphens")
        path = self._path(selector)
        if path.exists():
            raise BadDkimKey(f"there is a key called {selector} already")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        rsa = kind == "rsa"
        key = generate_private_key(65537, RSA_BITS) if rsa else Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def use(self, selector: str) -> None:
        """This key signs from the next start on. Raises BadDkimKey, OSError."""
        self._key(selector)
        write_private(self._folder / IN_USE, f"{selector}\n".encode("ascii"))

    def signer(self) -> DkimSigner | None:
        """What signs with the key in use; None when none is. Raises BadDkimKey, OSError."""
        selector = self.in_use()
        return None if selector is None else DkimSigner(self._domain, selector, self._key(selector))

    def record_name(self, selector: str) -> str:
        """Where the record of a key belongs in the DNS."""
        return f"{selector}._domainkey.{self._domain}"

    def record(self, selector: str) -> str:
        """The text record that publishes a key. Raises BadDkimKey, OSError."""
        key = self._key(selector)
        if isinstance(key, RSAPrivateKey):
            octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={pybase64.b64encode(octets).decode()}"
        octets = key.public_key().public_bytes_raw()
        return f"v=DKIM1; k=ed25519; p={pybase64.b64encode(octets).decode()}"

    def _path(self, selector: str) -> Path:
        return self._folder / f"{selector}.pem"

    def _key(self, selector: str) -> RSAPrivateKey | Ed25519PrivateKey:
        if not _SELECTOR.fullmatch(selector):
            raise BadDkimKey("a selector is a short name of letters, digits and hyphens")
        path = self._path(selector)
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except FileNotFoundError:
            raise BadDkimKey(f"there is no key called {selector}") from None
        except (ValueError, TypeError):
            raise BadDkimKey(f"{path} cannot be read") from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise BadDkimKey(f"{path} is not a key made by this program")
        return key


def zone_line(name: str, text: str) -> str:
    """The record as a line of a zone file."""
    strings = " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))
    return f"{name}. IN TXT {strings}"
