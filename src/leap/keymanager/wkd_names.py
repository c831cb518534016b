"""Web Key Directory names (draft-koch-openpgp-webkey-service section 3.1): how an address becomes a URL.

    advanced  https://openpgpkey.<domain>/.well-known/openpgpkey/<domain>/hu/<hash>?l=<local part>
    direct    https://<domain>/.well-known/openpgpkey/hu/<hash>?l=<local part>
    policy    .../policy in the place of .../hu/<hash>

<hash> is the z-base-32 form (RFC 6189 section 5.1.6) of the SHA-1 of the local part in lower case. Pure: the provider
names what it serves by it, and the key manager what it asks for.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

WELL_KNOWN = "/.well-known/openpgpkey"
SUB_DOMAIN = "openpgpkey"
HASH_LENGTH = 32  # 160 bits at 5 a letter

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"


def z_base_32(data: bytes) -> str:
    """Whole bytes, five bits a letter, the last letter filled with zero bits."""
    bits = len(data) * 8
    letters = -(-bits // 5)
    number = int.from_bytes(data, "big") << (letters * 5 - bits)
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(letters - 1, -1, -1))


def wkd_hash(local_part: str) -> str:
    """The name of a local part in the directory; only ASCII letters are lowered, as the draft says."""
    lowered = local_part.encode("utf-8", "surrogatepass").lower()  # bytes.lower() is ASCII only
    return z_base_32(hashlib.sha1(lowered, usedforsecurity=False).digest())


def advanced_path(address: str) -> str:
    """The path of an address on the host openpgpkey.<domain>."""
    local_part, _, domain = address.rpartition("@")
    return f"{WELL_KNOWN}/{domain.lower()}/hu/{wkd_hash(local_part)}"


def direct_path(address: str) -> str:
    """The path of an address on the host <domain>."""
    return f"{WELL_KNOWN}/hu/{wkd_hash(address.rpartition('@')[0])}"


def advanced_url(local_part: str, domain: str) -> str:
    """Where the key of an address is by the advanced method; the local part as it was typed, the domain in A-labels."""
    path = advanced_path(f"{local_part}@{domain}")
    return f"https://{SUB_DOMAIN}.{domain}{path}?l={_escaped(local_part)}"


def direct_url(local_part: str, domain: str) -> str:
    """Where it is by the direct method."""
    return f"https://{domain}{direct_path(f'{local_part}@{domain}')}?l={_escaped(local_part)}"


def policy_url(domain: str, *, advanced: bool) -> str:
    """Where the policy flags of a directory are (section 4.5)."""
    if advanced:
        return f"https://{SUB_DOMAIN}.{domain}{WELL_KNOWN}/{domain}/policy"
    return f"https://{domain}{WELL_KNOWN}/policy"


def _escaped(local_part: str) -> str:
    return quote(local_part.encode("utf-8", "surrogatepass"), safe="")
