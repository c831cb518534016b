"""DKIM keys as a domain publishes them (RFC 6376 3.6.1, RFC 8463), and signatures verified with them. Pure.

    v=DKIM1; k=rsa / ed25519; h=hash:hash; s=*:email; t=y:s; p=base64

Invariant: RSA keys below 1024 bits and SHA-1 verify nothing (RFC 8301); nothing is raised but `BadKey`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from leap.mail.message.dkim_signature import BadSignature, base64
from leap.mail.message.tag_list import tag_list

MIN_BITS = 1024  # RFC 8301 3.2
MAX_BITS = 8192  # RFC 8301 asks for 4096; verifying costs 0.3 ms with this
MAX_EXPONENT = 1 << 33  # 65537 is common; with a long one verifying costs as much as signing
ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}  # and the key type for each


class BadKey(Exception):
    """The key cannot be used: `result` is the word of RFC 8601 for that."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result


@dataclass(frozen=True, slots=True)
class DkimKey:
    """`exact`: i= must be d= itself. `testing`: the domain says that its signatures mean nothing yet."""

    public: RSAPublicKey | Ed25519PublicKey
    testing: bool
    exact: bool

    def verifies(self, signature: bytes, data: bytes, digest: bytes) -> bool:
        """Whether it made the signature; `digest` is the SHA-256 of `data`."""
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(signature, data, PKCS1v15(), SHA256())
            else:
                self.public.verify(signature, digest)  # RFC 8463 3: the hash is what is signed
        except InvalidSignature:
            return False
        return True


def find_key(records: list[bytes], algorithm: str) -> DkimKey:
    """The key of a selector's text records, for an algorithm of `ALGORITHMS`. Raises BadKey."""
    keys = [tags for tags in map(_tags, records) if tags is not None]
    if not keys:
        raise BadKey("permerror", "there is no key")
    if len(keys) > 1:  # RFC 6376 3.6.2.2: undefined
        raise BadKey("permerror", "there are two keys")
    [tags] = keys
    if tags["p"] == "":
        raise BadKey("permerror", "the key was revoked")
    kind = tags.get("k", "rsa").lower()
    if kind != ALGORITHMS[algorithm]:
        raise BadKey("permerror", "the key is of another type")
    hashes, services = _words(tags.get("h", "sha256")), _words(tags.get("s", "*"))
    if "sha256" not in hashes or not services & {"*", "email"}:
        raise BadKey("permerror", "the key is not for this")
    flags = _words(tags.get("t", ""))
    return DkimKey(_public(kind, tags["p"]), "y" in flags, "s" in flags)


def _tags(record: bytes) -> dict[str, str] | None:
    tags = tag_list(record.decode("ascii", "surrogateescape"))
    if tags is None or "p" not in tags:
        return None
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        return None
    return tags


def _words(text: str) -> set[str]:
    return {one.strip(" \t\r\n").lower() for one in text.split(":")}


@lru_cache(maxsize=512)
def _public(kind: str, text: str) -> RSAPublicKey | Ed25519PublicKey:
    try:
        octets = base64(text)
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        public = load_der_public_key(octets)
    except (BadSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey("permerror", "the key cannot be read") from None
    if not isinstance(public, RSAPublicKey):
        raise BadKey("permerror", "the key is of another type")
    if public.key_size < MIN_BITS:
        raise BadKey("policy", "the key is weak")
    if public.key_size > MAX_BITS or public.public_numbers().e > MAX_EXPONENT:
        raise BadKey("policy", "the key is too costly")
    return public
